"""Reading labelled and unlabelled texts. One module a format; the ending of the name decides."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Collection, Iterator
from pathlib import Path

from evokd.answers import KindName, Span, names_in, write_labels, write_spans
from evokd.errors import InputError
from evokd.examples import Example, is_unicode
from evokd.formats import conll, csv, entities, jsonl, tag_names

# A reader yields (line number, record) and raises InputError naming file and line.
Record = dict[str, object]
Reader = Callable[[Path], Iterator[tuple[int, Record]]]
READERS: dict[str, Reader] = {
    ".jsonl": jsonl.read,
    ".csv": csv.read,
    ".tsv": csv.read,
    ".conll": conll.read,
    ".iob": conll.read,
    ".bio": conll.read,
}
_aside = logging.getLogger("evokd").warning  # stderr, where nothing is set up


def read_examples(
    path: Path,
    labels: Collection[str],
    kind: KindName = "classification",
    *,
    note: Callable[[str], None] = _aside,
) -> list[Example]:
    """Read labelled texts; labels are written as `evokd.answers` says.

    Args:
        labels: the task's labels, or its types of entities.
        note: hears a line where tags had to be repaired (see `evokd.formats.tags`), and one
            where offsets do not look like what they should be.

    Raises:
        InputError: naming file and line, for a missing or unreadable file, a record without a
            text or an answer of this kind, a label that the task lacks, entities that cannot be
            (see `evokd.formats.entities.read`), or a file without records.
    """
    rows = list(_records(path))
    if kind == "ner":
        rows = tag_names.named(path, rows)
    made = []
    for line, record in rows:
        where = f"{path}, line {line}"
        text = _text(where, record)
        example = Example(text.strip(), ANSWERS[kind](where, record, text))
        for name in names_in(example.label, kind):
            if name not in labels:
                raise InputError(
                    f"{where}: label {name!r} is not in the task",
                    f"the task's labels are: {', '.join(labels)}",
                )
        made.append(example)
    if kind == "ner":
        entities.report(path, rows, note)
        entities.report_cuts(path, zip((line for line, _ in rows), made, strict=True), note)
    return made


def read_texts(path: Path) -> list[str]:
    """Read texts without regard to labels; see `read_examples` for errors."""
    return [_text(f"{path}, line {line}", record).strip() for line, record in _records(path)]


def _label(where: str, record: Record, text: str) -> str:
    label = record.get("label")
    if not isinstance(label, str) or not label:
        raise InputError(*_unlike(where, record, "label", "give every text one label"))
    return label


def _labels(where: str, record: Record, text: str) -> str:
    labels = record.get("labels")
    if not isinstance(labels, list) or not all(isinstance(name, str) for name in labels):
        hint = "give every text a list of labels, [] if none applies"
        raise InputError(*_unlike(where, record, "labels", hint))
    return write_labels(labels)


def _unlike(where: str, record: Record, name: str, hint: str) -> tuple[str, str]:
    """Say what stands in place of the answer, where something does."""
    other = {"label": "labels", "labels": "label"}[name]
    if (given := record.get(name)) is not None and given != "":
        hint = "write a label in double quotes" if isinstance(given, int | float) else hint
        return f'{where}: "{name}" is {json.dumps(given, ensure_ascii=False)[:40]}', hint
    if record.get(other) is not None:
        kind = "multilabel" if other == "labels" else "classification"
        return f'{where}: no "{name}", but "{other}"', f"{hint}; or is it kind: {kind}?"
    return f'{where}: no "{name}"', hint


def _spans(where: str, record: Record, text: str) -> str:
    """Return the answer for the text without white space at its ends."""
    lead = len(text) - len(text.lstrip())
    spans = entities.read(where, record, text)
    return write_spans(Span(s.start - lead, s.end - lead, s.label) for s in spans)


ANSWERS: dict[KindName, Callable[[str, Record, str], str]] = {
    "classification": _label,
    "multilabel": _labels,
    "ner": _spans,
}


def _records(path: Path) -> Iterator[tuple[int, Record]]:
    reader = READERS.get(path.suffix.lower())
    if reader is None:
        raise InputError(
            f"{path}: unknown format {path.suffix!r}", f"known endings: {', '.join(READERS)}"
        )
    if not path.is_file():
        raise InputError(
            f"{path}: no such file",
            "a path in a task.yaml is relative to it, any other to this folder",
        )
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


def _text(where: str, record: Record) -> str:
    """Return a record's text as it stands, or its tokens with a space between any two."""
    text = record.get("text")
    if text is None and "tokens" in record:
        text = " ".join(filter(None, entities.words(where, record)))
    if not isinstance(text, str) or not text.strip():
        raise InputError(f'{where}: no "text"', "give every record a text")
    if not is_unicode(text):
        raise InputError(f"{where}: half of a character", "write it whole or drop it")
    return text


def _undecodable(path: Path) -> int:
    """Return the first line that is not UTF-8; a reader's own position is inside its buffer."""
    with path.open("rb") as lines:
        for number, line in enumerate(lines, start=1):
            try:
                line.decode("utf-8")
            except UnicodeDecodeError:
                return number
    return number
