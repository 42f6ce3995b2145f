"""CSV and TSV with a header that names the columns text and label, or text and labels.

Several labels of one text are divided by "|"; an empty field says that none applies. Other columns
are ignored.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path

from evokd.errors import InputError


def read(path: Path) -> Iterator[tuple[int, dict[str, object]]]:
    """Yield (line number, record); a header without "text" or a broken row is an InputError."""
    delimiter = "\t" if path.suffix.lower() == ".tsv" else ","
    with path.open(encoding="utf-8-sig", newline="") as lines:
        reader = csv.DictReader(lines, delimiter=delimiter, strict=True)
        try:
            if "text" not in (reader.fieldnames or ()):
                raise InputError(
                    f'{path}, line 1: no column "text"',
                    "the first line must be: text,label; a CoNLL file must end in .conll",
                )
            for record in reader:
                if None in record:
                    raise InputError(
                        f"{path}, line {reader.line_num}: more fields than the header",
                        "put texts with commas in double quotes",
                    )
                yield reader.line_num, _split(record)
        except csv.Error as broken:
            # The last whole row ends at line_num; an open quote runs on to the end of the file.
            raise InputError(
                f"{path}, line {reader.line_num + 1}: {broken}",
                "quote a field as a whole, and double the quotes in it",
            ) from broken


def _split(record: dict[str, str]) -> dict[str, object]:
    """Return the record with its labels as a list; a missing field stays None."""
    labels = record.get("labels")
    if labels is None:
        return dict(record)
    return {**record, "labels": [name.strip() for name in labels.split("|") if name.strip()]}
