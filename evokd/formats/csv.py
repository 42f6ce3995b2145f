"""CSV and TSV with a header that names the columns text and label, or text and labels.

Several labels of one text are divided by "|"; an empty field says that none applies. Other columns
are ignored.
"""

from __future__ import annotations

import csv
import sys
from collections.abc import Iterator
from pathlib import Path

from evokd.errors import InputError


def read(path: Path) -> Iterator[tuple[int, dict[str, object]]]:
    """Yield (line number, record); a header without "text" or a broken row is an InputError."""
    csv.field_size_limit(sys.maxsize)  # a text may be long
    delimiter = "\t" if path.suffix.lower() == ".tsv" else ","
    with path.open(encoding="utf-8-sig", newline="") as lines:
        reader = csv.DictReader(lines, delimiter=delimiter, strict=True)
        try:
            names = reader.fieldnames = [name.strip() for name in reader.fieldnames or ()]
            if "text" not in names:
                raise InputError(f'{path}, line 1: no column "text"', _hint(names))
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


def _hint(names: list[str]) -> str:
    if names and "text" in names[0].split(";"):
        return "divide by commas in place of semicolons, or by tabs in a file that ends in .tsv"
    return "the first line must be: text,label; a CoNLL file must end in .conll"


def _split(record: dict[str, str]) -> dict[str, object]:
    """Return the record with its labels as a list and its label stripped; what is missing stays."""
    made: dict[str, object] = dict(record)
    if (label := record.get("label")) is not None:
        made["label"] = label.strip()
    if (labels := record.get("labels")) is not None:
        made["labels"] = [name.strip() for name in labels.split("|") if name.strip()]
    return made
