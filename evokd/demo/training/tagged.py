"""Texts with entities that the teacher may learn from, and how they are changed piece by piece.

A text is held as *pieces*, (words, type) with type "" between the entities, so that whatever
changes a piece (case, slips, another name of the same type) leaves the entities where they are.
The same guard and the same halves as for the other texts (`corpus`).
"""

from __future__ import annotations

import hashlib
import json
import random
import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

from evokd.answers import Span
from evokd.demo.training.corpus import guarded_texts, half, near_any, plain, resource
from evokd.demo.training.noise import CLOSINGS, OPENINGS, typo, vary

SETS = ("snips_raw", "wnut17", "wikigold")
MOST_WORDS = 45
"""Longer sentences would leave no room for others in a conversation."""

Pieces = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Tagged:
    """A text of a public set with its entities, by the set's own types."""

    source: str
    pieces: Pieces
    half: str

    @property
    def text(self) -> str:
        """The text itself."""
        return "".join(words for words, _ in self.pieces)

    @property
    def types(self) -> frozenset[str]:
        """The types of its entities."""
        return frozenset(label for _, label in self.pieces if label)


@dataclass(frozen=True, slots=True)
class Type:
    """A type as a task may show it: names, definitions, and the sets' types that it joins.

    Attributes:
        trim: what is left off the front of an entity, as a regular expression; "" is nothing.
        join: what is taken in behind an entity, likewise.
    """

    names: tuple[str, ...]
    definitions: tuple[str, ...]
    members: frozenset[str]
    trim: str = ""
    join: str = ""


def read_tagged(data: Path) -> tuple[list[Tagged], int]:
    """Read the train files of the tagged sets without what resembles a dev, test or demo text.

    Returns the texts and the number of texts removed.
    """
    rows = []
    for source in SETS:
        for line in (data / source / "train.jsonl").read_text(encoding="utf-8").splitlines():
            stored = json.loads(line)
            pieces = cut(stored["tokens"], stored["tags"], stored.get("text"))
            made = Tagged(source, pieces, "")
            rows.append(Tagged(source, pieces, half(made.text)))
    close = near_any([row.text for row in rows], list(guarded_texts(data)))
    kept = {
        (row.source, plain(row.text)): row
        for row, bad in zip(rows, close, strict=True)
        if not bad and plain(row.text) and len(row.text.split()) <= MOST_WORDS
    }
    return list(kept.values()), len(rows) - len(kept)


def inventories(about: str = "types") -> dict[str, list[Type]]:
    """Return set -> types of entities.json; `about` is "types", or "fine" for narrower ones."""
    made = {}
    for source, entry in resource("entities.json").items():
        types: dict[str, Any] = entry.get(about, {})  # type: ignore[attr-defined]
        if types:
            made[source] = [_type(**stored) for stored in types.values()]
    return made


def _type(
    names: list[str], definitions: list[str], members: list[str], trim: str = "", join: str = ""
) -> Type:
    return Type(tuple(names), tuple(definitions), frozenset(members), trim, join)


def cut(tokens: Sequence[str], tags: Sequence[str], text: str | None) -> Pieces:
    """Return the pieces of a text from its tokens and BIO tags; without a text it is joined."""
    text = join(tokens) if text is None else " ".join(text.split())
    spans: list[Span] = []
    at = 0
    for token, tag in zip(tokens, tags, strict=True):
        start = text.index(token, at)
        at = start + len(token)
        kind, label = tag[:1], tag[2:]
        if kind == "I" and spans and spans[-1].label == label:
            spans[-1] = Span(spans[-1].start, at, label)
        elif label:
            spans.append(Span(start, at, label))
    return pieces_of(text, spans)


def pieces_of(text: str, spans: Iterable[Span]) -> Pieces:
    """Return a text with its spans, which do not overlap, as pieces."""
    made, at = [], 0
    for span in sorted(spans):
        made += [(text[at : span.start], ""), (text[span.start : span.end], span.label)]
        at = span.end
    return tuple((words, label) for words, label in [*made, (text[at:], "")] if words)


def join(tokens: Sequence[str]) -> str:
    """Return tokens as a text: half of the time with blanks between all, as such files are."""
    spaced = " ".join(tokens)
    if hashlib.blake2b(spaced.encode(), digest_size=1).digest()[0] % 2:
        return spaced
    closed = re.sub(r" ([.,;:!?)\]%]|'s|n't|'\w\w?)(?= |$)", r"\1", spaced)
    return re.sub(r"(?<= )([(\[$]) ", r"\1", closed)


def spans_of(pieces: Iterable[tuple[str, str]]) -> tuple[str, list[Span]]:
    """Return the text and the spans of pieces."""
    text, spans = "", []
    for words, label in pieces:
        if label:
            spans.append(Span(len(text), len(text) + len(words), label))
        text += words
    return text, spans


class Names:
    """The entities of one half by set and type, to put one in another's place."""

    def __init__(self, rows: Iterable[Tagged]) -> None:
        found: dict[tuple[str, str], dict[str, None]] = defaultdict(dict)
        for row in rows:
            for words, label in row.pieces:
                if label:
                    found[row.source, label][words] = None
        self._of = {key: tuple(names) for key, names in found.items()}

    def swap(self, row: Tagged, rng: random.Random, *, mixed: bool) -> Pieces:
        """Return the row's pieces, some entities replaced by others of the same type.

        `mixed` also makes names of two halves: nobody has seen them, they can only be copied.
        """
        share = rng.choice((0.0, 0.3, 0.7))
        return tuple(
            (self._other((row.source, label), words, rng, mixed=mixed), label)
            if label and rng.random() < share
            else (words, label)
            for words, label in row.pieces
        )

    def _other(self, key: tuple[str, str], words: str, rng: random.Random, *, mixed: bool) -> str:
        names = self._of.get(key, (words,))
        one = rng.choice(names)
        if mixed and len(one.split()) > 1 and rng.random() < 0.3:
            return " ".join([*one.split()[:1], *rng.choice(names).split()[-1:]])
        return one


def typed(pieces: Pieces, rng: random.Random, *, strong: bool = False) -> Pieces:
    """Return the pieces as typed in a hurry: case, marks, fillers, slips (as `noise.disturb`)."""
    words = [part for part, _ in pieces]
    if strong or rng.random() < 0.6:
        words = [part.lower() for part in words]
    if strong or rng.random() < 0.4:
        words = [re.sub(r"(?<=\w)[.,?!'](?=\s|$)", "", part) for part in words]
    made = list(zip(words, (label for _, label in pieces), strict=True))
    if rng.random() < 0.2:
        made.insert(0, (rng.choice(OPENINGS), ""))
    if rng.random() < 0.15:
        made.append((rng.choice(CLOSINGS), ""))
    for _ in range(rng.randint(1, 2) if strong else rng.randint(0, 1)):
        i = rng.randrange(len(made))
        parts = made[i][0].split(" ")
        j = rng.randrange(len(parts))
        parts[j] = typo(parts[j], rng)
        made[i] = (" ".join(parts), made[i][1])
    return folded(made)


def varied(pieces: Pieces, rng: random.Random) -> Pieces:
    """Return the pieces with numbers, days, foods and the like drawn anew (as `noise.vary`)."""
    return folded([(vary(words, rng), label) for words, label in pieces])


def folded(pieces: Iterable[tuple[str, str]]) -> Pieces:
    """Return the pieces with white space folded, none at the ends of the text or of an entity."""
    made: list[tuple[str, str]] = []
    text = ""
    for words, label in pieces:
        part = re.sub(r"\s+", " ", words)
        part = part.strip() if label else part
        part = part.lstrip() if not text or text.endswith(" ") else part
        if part:
            made.append((part, label))
            text += part
    while made and made[-1][0] != made[-1][0].rstrip():
        made[-1] = (made[-1][0].rstrip(), made[-1][1])
        made = [piece for piece in made if piece[0]]
    return tuple(made)


def shown(pieces: Pieces, names: dict[str, str]) -> Pieces:
    """Return the pieces with the types as a task names them; other entities are plain words."""
    named = [(words, names.get(label, "")) for words, label in pieces]
    made: list[tuple[str, str]] = []
    for label, group in groupby(named, key=lambda piece: piece[1]):
        parts = list(group)
        made += parts if label else [("".join(words for words, _ in parts), "")]
    return tuple(made)


def fitted(spans: Iterable[Span], text: str, types: dict[str, Type]) -> list[Span]:
    """Return the spans of a text as their types, by name, want them trimmed and joined."""
    made: list[Span] = []
    for span in spans:
        kind = types[span.label]
        start, end = span.start, span.end
        while kind.trim and (front := re.compile(kind.trim, re.I).match(text, start, end)):
            start = front.end()
        if kind.join and (behind := re.compile(kind.join, re.I).match(text, end)):
            end = behind.end()
        made.append(Span(start, end, span.label))
    return [a for a, b in zip(made, [*made[1:], None], strict=False) if not b or a.end <= b.start]
