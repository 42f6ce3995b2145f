"""Reading labelled and unlabelled texts. One module a format; the ending of the name decides."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from pathlib import Path

from evokd.errors import InputError
from evokd.examples import Example, is_unicode
from evokd.formats import csv, jsonl

# A reader yields (line number, record) and raises InputError naming file and line.
Reader = Callable[[Path], Iterator[tuple[int, dict[str, object]]]]
READERS: dict[str, Reader] = {".jsonl": jsonl.read, ".csv": csv.read, ".tsv": csv.read}


def read_examples(path: Path, labels: Collection[str]) -> list[Example]:
    """Read labelled texts.

    Raises:
        InputError: naming file and line, for a missing or unreadable file, a record without a
            text or label, a label that the task lacks, or a file without records.
    """
    made = []
    for line, record in _records(path):
        text = _text(path, line, record)
        label = record.get("label")
        if not isinstance(label, str) or not label:
            raise InputError(f'{path}, line {line}: no "label"', "give every text one label")
        if label not in labels:
            raise InputError(
                f"{path}, line {line}: label {label!r} is not in the task",
                f"the task's labels are: {', '.join(labels)}",
            )
        made.append(Example(text, label))
    return made


def read_texts(path: Path) -> list[str]:
    """Read texts without regard to labels; see `read_examples` for errors."""
    return [_text(path, line, record) for line, record in _records(path)]


def _records(path: Path) -> Iterator[tuple[int, dict[str, object]]]:
    reader = READERS.get(path.suffix.lower())
    if reader is None:
        raise InputError(
            f"{path}: unknown format {path.suffix!r}", f"known endings: {', '.join(READERS)}"
        )
    if not path.is_file():
        raise InputError(f"{path}: no such file", "paths in task.yaml are relative to it")
    empty = True
    try:
        for pair in reader(path):
            empty = False
            yield pair
    except UnicodeDecodeError as broken:
        line = _undecodable(path)
        raise InputError(f"{path}, line {line}: not UTF-8 text", "save it as UTF-8") from broken
    except OSError as broken:
        raise InputError(f"{path}: cannot be read ({broken.strerror})") from broken
    if empty:
        raise InputError(f"{path}: holds no examples", "add at least one line")


def _text(path: Path, line: int, record: dict[str, object]) -> str:
    text = record.get("text")
    if not isinstance(text, str) or not text.strip():
        raise InputError(f'{path}, line {line}: no "text"', "give every record a text")
    if not is_unicode(text):
        raise InputError(f"{path}, line {line}: half of a character", "write it whole or drop it")
    return text.strip()


def _undecodable(path: Path) -> int:
    """Return the first line that is not UTF-8; a reader's own position is inside its buffer."""
    with path.open("rb") as lines:
        for number, line in enumerate(lines, start=1):
            try:
                line.decode("utf-8")
            except UnicodeDecodeError:
                return number
    return number
