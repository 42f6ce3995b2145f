"""JSON lines, the canonical form; empty lines are skipped.

A line is {"text", "label"}, {"text", "labels": [...]} or {"text", "entities": [{"start", "end",
"label"}]}; the last with offsets in code points, the end exclusive. Of entities, the fields tokens
and tags (or ner_tags) with or without a text are read too; for tags that are numbers see
`evokd.formats.tag_names`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from pathlib import Path

from evokd.answers import KindName, read_labels, read_spans
from evokd.errors import InputError
from evokd.examples import Example
from evokd.formats import conll

SAMPLE = 'write one object a line, such as {"text": "..."}'


def read(path: Path) -> Iterator[tuple[int, dict[str, object]]]:
    """Yield (line number, record); a line that is no JSON object is an InputError."""
    with path.open(encoding="utf-8-sig") as lines:
        for number, line in enumerate(lines, start=1):
            if not line.strip():
                continue
            try:
                record = json.loads(line)
            except (ValueError, RecursionError) as broken:
                raise InputError(f"{path}, line {number}: not JSON", SAMPLE) from broken
            if not isinstance(record, dict):
                raise InputError(f"{path}, line {number}: not an object", SAMPLE)
            yield number, record


def write(examples: Iterable[Example], kind: KindName = "classification") -> str:
    """Return examples as JSON lines that `read_examples` gives back equal."""
    rows = ({"text": e.text} | answer_of(e, kind) for e in examples)
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def answer_of(example: Example, kind: KindName) -> dict[str, object]:
    """Return the field of an example's answer."""
    if kind == "multilabel":
        return {"labels": list(read_labels(example.label))}
    if kind == "ner":
        return {"entities": [asdict(span) for span in read_spans(example.label)]}
    return {"label": example.label}


def tags_of(example: Example) -> dict[str, object]:
    """Return an example's tokens and tags by name, in the fields of Hugging Face's data sets."""
    pairs = list(conll.tagged(example.text, read_spans(example.label)))
    return {"tokens": [token for token, _ in pairs], "ner_tags": [tag for _, tag in pairs]}
