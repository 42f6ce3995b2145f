"""CoNLL: a token a line with its tag, and an empty line between sentences.

The token is the first column and the tag the last; columns are divided by tabs where a line has
one, by blanks elsewhere. Lines of -DOCSTART- and comments are left out. A comment begins with "#"
and has either another number of columns than its sentence, or "# " and no tag at its end: a "#"
that a writer of tweets has typed is a token like any other.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import pairwise
from pathlib import Path

from evokd.answers import Span, read_spans
from evokd.errors import InputError
from evokd.examples import Example
from evokd.formats.tags import encode, parts
from evokd.pieces import attached

BLANKS = " \t\r\n"
Line = tuple[int, str]


def read(path: Path) -> Iterator[tuple[int, dict[str, object]]]:
    """Yield (first line's number, {"tokens", "tags"}) a sentence; no tags if there is one column.

    Raises:
        InputError: naming the line, where some lines of a sentence have a tag and others do not;
            at the end, where the first column counts the tokens of every sentence.
    """
    longest, counted = 0, True
    for block in _blocks(path):
        width = _width([text for _, text in block])
        rows = [(n, _columns(text)) for n, text in block if not _is_comment(text, width)]
        if not any(columns[0].strip() for _, columns in rows):
            continue
        lone = [number for number, columns in rows if len(columns) == 1]
        if lone and len(lone) < len(rows):
            raise InputError(
                f"{path}, line {lone[0]}: no tag", "a line is a token, a tab or blank, and its tag"
            )
        record: dict[str, object] = {"tokens": [columns[0] for _, columns in rows]}
        if not lone:
            record["tags"] = [columns[-1] for _, columns in rows]
        longest = max(longest, len(rows))
        counted &= all(c[0] == str(n) and len(c) > 2 for n, (_, c) in enumerate(rows, start=1))
        yield rows[0][0], record
    if counted and longest > 1:
        raise InputError(
            f"{path}: the first column counts the tokens",
            "the token comes first: cut the count off",
        )


def write(examples: Iterable[Example]) -> str:
    """Return examples of entities as CoNLL with tabs, in IOB2.

    Texts are cut at white space, around every mark that is neither letter, digit nor underscore,
    around every Chinese, Japanese or Korean character, and where an entity begins or ends. A
    combining mark stays with its letter. What is read back has one space between any two tokens.
    """
    return "\n".join(
        "".join(f"{token}\t{tag}\n" for token, tag in tagged(e.text, read_spans(e.label)))
        for e in examples
    )


def _blocks(path: Path) -> Iterator[list[Line]]:
    """Yield the numbered lines of every sentence, comments included."""
    block: list[Line] = []
    with path.open(encoding="utf-8-sig") as lines:
        for number, line in enumerate(lines, start=1):
            if line.strip(BLANKS) and not line.startswith("-DOCSTART-"):
                block.append((number, line))
            elif block:
                yield block
                block = []
    if block:
        yield block


def _columns(line: str) -> list[str]:
    """Return a line's columns; an empty one before a tab is a token of nothing, and counts."""
    kept = line.rstrip(BLANKS)
    columns = kept.split("\t") if "\t" in kept else re.split(" +", kept.strip(BLANKS))
    return [column.strip(BLANKS) for column in columns]


def _width(lines: list[str]) -> int:
    """Return how many columns a sentence has: as most of its lines that cannot be comments."""
    tokens = [line for line in lines if not line.startswith("# ")] or lines[-1:]
    return Counter(len(_columns(line)) for line in reversed(tokens)).most_common(1)[0][0]


def _is_comment(line: str, width: int) -> bool:
    columns = _columns(line)
    untagged = line.startswith("# ") and parts(columns[-1]) is None
    return line.startswith("#") and (untagged or len(columns) != width)


def tagged(text: str, spans: tuple[Span, ...]) -> Iterator[tuple[str, str]]:
    """Yield a text's tokens with their tags in IOB2; see `write` for where it is cut."""
    edges = {edge for span in spans for edge in (span.start, span.end)}
    inner = [at for at in range(1, len(text)) if at in edges or not _together(text, at)]
    places = [(a, b) for a, b in pairwise([0, *inner, len(text)]) if text[a:b].strip()]
    first = {start: number for number, (start, _) in enumerate(places)}
    last = {end: number for number, (_, end) in enumerate(places)}
    chunks = [(first[s.start], last[s.end] + 1, s.label) for s in spans]
    tags = encode(chunks, len(places))
    yield from ((text[a:b], tag) for (a, b), tag in zip(places, tags, strict=True))


def _together(text: str, at: int) -> bool:
    """Return whether the character at `at` belongs to the same token as the one before it."""
    before, after = text[at - 1], text[at]
    if before.isspace() or after.isspace():
        return False
    stays = attached(before, after) or unicodedata.category(after) == "Cf"
    return stays or (_in_word(before) and _in_word(after))


def _in_word(character: str) -> bool:
    if character.isalnum():
        return unicodedata.east_asian_width(character) != "W"
    return character == "_" or unicodedata.category(character)[0] == "M"
