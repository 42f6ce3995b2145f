"""A record's entities: offsets into its text, or tokens with tags. Offsets count code points."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import accumulate, pairwise
from pathlib import Path
from reprlib import repr as short

from evokd.answers import Span, read_spans
from evokd.errors import InputError
from evokd.examples import Example
from evokd.formats import tags
from evokd.pieces import pieces

Record = Mapping[str, object]
OFFSETS = "count code points from 0, the end exclusive; not bytes, not UTF-16 units"


def read(where: str, record: Record, text: str) -> list[Span]:
    """Return the entities of a text in its order, without white space at their ends.

    Raises:
        InputError: beginning with `where`, for a record without entities or tags, for an entity
            that is malformed, empty, outside of the text or over another one, for tags that are
            none, and for tokens that are not the text's.
    """
    entities = record.get("entities")
    if field_of(record) is not None:
        return _tagged(where, record, text)
    if not isinstance(entities, list):
        raise InputError(
            f'{where}: no "entities", so the text is unlabelled',
            "[] says that a text has none (in CoNLL: O); unlabelled texts go in data.unlabeled",
        )
    spans = sorted({_span(f"{where}: entity {n}", e, text) for n, e in enumerate(entities, 1)})
    for one, other in pairwise(spans):
        if other.start < one.end:
            raise InputError(
                f"{where}: {_shown(one, text)} and {_shown(other, text)} overlap",
                "give every character to one entity at most",
            )
    return spans


def words(where: str, record: Record) -> list[str]:
    """Return a record's tokens; those of white space alone are "", as some files have them."""
    tokens = record.get("tokens")
    if not isinstance(tokens, list) or not all(isinstance(token, str) for token in tokens):
        raise InputError(f'{where}: no "tokens"', 'give a list of words, such as ["in", "Rome"]')
    return [token.strip() for token in tokens]


def report(path: Path, rows: Iterable[tuple[int, Record]], note: Callable[[str], None]) -> None:
    """Say which scheme a file's tags follow if some of them break it; silent otherwise.

    Args:
        rows: (line number, record), all of which `read` has accepted.
    """
    kept = [
        (line, tokens_and_tags(str(path), record))
        for line, record in rows
        if record.get("entities") is None
    ]
    scheme, broken = tags.repairs([given for _, (_, given) in kept])
    if broken:
        sentence, token = broken[0]
        line, (tokens, given) = kept[sentence]
        note(
            f"{path}: {len(broken)} of {sum(len(g) for _, (_, g) in kept)} tags break {scheme}, "
            f"first line {line}, token {token + 1} {short(tokens[token])}: {given[token]!r}; "
            "entities were taken to begin and end where their types do"
        )


def report_cuts(
    path: Path, rows: Iterable[tuple[int, Example]], note: Callable[[str], None]
) -> None:
    """Say it if most entities begin or end within a word, as offsets that count otherwise do.

    Few may: of a compound word, or before an ending that a language hangs on a name.

    Args:
        rows: (line number, text with its entities).
    """
    total, cut = 0, []
    for line, example in rows:
        edges = {0, *accumulate(map(len, pieces(example.text)))}
        for span in read_spans(example.label):
            total += 1
            if not {span.start, span.end} <= edges:
                cut.append((line, _shown(span, example.text)))
    if 2 * len(cut) > total:
        line, shown = cut[0]
        note(
            f"{path}: {len(cut)} of {total} entities begin or end within a word, first line "
            f"{line}: {shown}; {OFFSETS}"
        )


def tokens_and_tags(where: str, record: Record) -> tuple[list[str], list[str]]:
    """Return a record's tokens and as many valid tags, without tokens of white space alone."""
    tokens, field = words(where, record), field_of(record)
    given = record.get(field or "")
    if not isinstance(given, list):
        raise InputError(f'{where}: no "tags"', 'give a list with a tag a token, such as "B-PER"')
    if len(given) != len(tokens):
        raise InputError(
            f"{where}: {len(tokens)} tokens but {len(given)} tags", "give every token one tag"
        )
    for number, (token, tag) in enumerate(zip(tokens, given, strict=True), 1):
        if not isinstance(tag, str) or tags.parts(tag) is None:
            raise InputError(
                f"{where}, token {number} {short(token)}: {short(tag)} is no tag",
                "tags are O, B-TYPE and I-TYPE; E- and S-, or L- and U-, are understood too",
            )
    pairs = [(token, tag) for token, tag in zip(tokens, given, strict=True) if token]
    return [token for token, _ in pairs], [tag for _, tag in pairs]


def field_of(record: Record) -> str | None:
    """Return the name of the field that holds the tags; None where offsets come before them."""
    if record.get("entities") is not None:
        return None
    return next((name for name in ("tags", "ner_tags") if record.get(name) is not None), None)


def _tagged(where: str, record: Record, text: str) -> list[Span]:
    tokens, given = tokens_and_tags(where, record)
    places = _places(where, tokens, text)
    return [
        Span(places[first][0], places[end - 1][1], label)
        for first, end, label in tags.decode(given)
    ]


def _places(where: str, tokens: Sequence[str], text: str) -> list[tuple[int, int]]:
    """Return start and end of every token; between tokens the text may have white space alone."""
    places = []
    at = 0
    for number, token in enumerate([*tokens, ""], 1):
        while text[at : at + 1].isspace():
            at += 1
        if not (text.startswith(token, at) if token else at == len(text)):
            wanted = f"token {number} {short(token)} is" if token else "the tokens' end is"
            raise InputError(
                f"{where}: where {wanted} due, the text has {short(text[at : at + 30])}",
                "tokens must be the text's own; without a text, it is made of them",
            )
        places.append((at, at + len(token)))
        at += len(token)
    return places


def _span(where: str, entity: object, text: str) -> Span:
    if not isinstance(entity, dict):
        raise InputError(f"{where} is no object", 'write {"start": 0, "end": 4, "label": "TYPE"}')
    start, end, label = entity.get("start"), entity.get("end"), entity.get("label")
    if type(start) is not int or type(end) is not int:  # True is an int, and no offset
        raise InputError(f'{where} has no whole numbers "start" and "end"', OFFSETS)
    if not isinstance(label, str) or not label:
        raise InputError(f'{where} has no "label"', "give every entity one of the task's types")
    if not 0 <= start <= end <= len(text):
        raise InputError(
            f"{where} is {short(start)} to {short(end)} in a text of {len(text)} characters",
            OFFSETS,
        )
    surface = text[start:end]
    if not surface.strip():
        raise InputError(f"{where} is empty ({start} to {end})", OFFSETS)
    given = entity.get("text")
    if given is not None and not (isinstance(given, str) and given.strip() == surface.strip()):
        raise InputError(
            f"{where} is {short(given)}, but the text has {short(surface)} at {start} to {end}",
            OFFSETS,
        )
    start += len(surface) - len(surface.lstrip())
    return Span(start, start + len(surface.strip()), label)


def _shown(span: Span, text: str) -> str:
    """Return one span for an error message."""
    return f"{short(text[span.start : span.end])} ({span.start} to {span.end}, {span.label})"
