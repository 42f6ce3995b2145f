"""JSON lines, the canonical form: {"text": ..., "label": ...} a line; empty lines are skipped."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path

from evokd.errors import InputError
from evokd.examples import Example


def read(path: Path) -> Iterator[tuple[int, dict[str, object]]]:
    """Yield (line number, record); a line that is no JSON object is an InputError."""
    with path.open(encoding="utf-8-sig") as lines:
        for number, line in enumerate(lines, start=1):
            if not line.strip():
                continue
            try:
                record = json.loads(line)
            except (ValueError, RecursionError) as broken:
                raise InputError(
                    f"{path}, line {number}: not JSON", 'write {"text": "...", "label": "..."}'
                ) from broken
            if not isinstance(record, dict):
                raise InputError(
                    f"{path}, line {number}: not an object",
                    'write {"text": "...", "label": "..."}',
                )
            yield number, record


def write(examples: Iterable[Example]) -> str:
    """Return examples as JSON lines that `read` gives back equal."""
    return "".join(
        json.dumps({"text": e.text, "label": e.label}, ensure_ascii=False) + "\n" for e in examples
    )
