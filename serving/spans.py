"""Entities as spans of a text, and as the tags of its tokens: the way there and back.

Made for a student that tags tokens, and used alike when it is trained, scored and served. Needs
numpy alone. A text is read so, with the windows of `serving.windows`:

    encoding = tokenizer.encode(text, add_special_tokens=False)
    parts = windows(len(encoding.ids), room)
    logits = joined(parts, [read(encoding.ids[part.start : part.stop]) for part in parts])
    together = units(text, encoding.offsets, encoding.word_ids if whole_words else None)
    found = find_spans(log_softmax(logits), together, types)

`read` gives the logits of a window's own tokens, [tokens, tags]; it puts the special tokens of
`frame` around them and drops what the model says of those. `room` is what they leave of the most
that the model reads. `whole_words` is what WHOLE_WORDS says in the student's config.json.

Tags are numbers in the order of `tags_of`: 0 for O, then B and I of every type. Offsets are code
points. What is decided is the tag of a unit, not of a token: a unit is a run of tokens that no
span may cut, so that a span always begins and ends where a token does.
"""

from __future__ import annotations

import unicodedata
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from evokd.answers import Span
from evokd.errors import InputError

WHOLE_WORDS = "evokd_whole_words"  # in config.json: whether entities begin and end with words
IGNORED = -100  # the tag of a token that shows no character; losses of torch skip this number
OUTSIDE = "O"

Floats = NDArray[Any]


@dataclass(frozen=True, slots=True, order=True)
class Found:
    """An entity that a student found: code points from `start` to before `end`, and its type.

    Attributes:
        score: the probability of its least sure token, in [0, 1].
    """

    start: int
    end: int
    label: str
    score: float

    @property
    def span(self) -> Span:
        """The entity without its score, as answers are made of."""
        return Span(self.start, self.end, self.label)


@dataclass(frozen=True, slots=True)
class Unit:
    """Tokens that are tagged together.

    Attributes:
        tokens: their numbers in the text, rising.
        start: the code point of the text at which they begin.
        end: the code point before which they end.
    """

    tokens: tuple[int, ...]
    start: int
    end: int


class Placed(Protocol):
    """Anything that lies in a text, such as a `Span` or a `Found`."""

    @property
    def start(self) -> int: ...  # noqa: D102
    @property
    def end(self) -> int: ...  # noqa: D102


Place = TypeVar("Place", bound=Placed)


def tags_of(types: Iterable[str]) -> tuple[str, ...]:
    """Return the names of the tags of entity types: O, then B-type and I-type of each in order."""
    return (OUTSIDE, *(f"{letter}-{name}" for name in types for letter in "BI"))


def types_of(tags: Sequence[str]) -> tuple[str, ...]:
    """Return the types whose `tags_of` these are.

    Raises:
        InputError: when the tags are others, or in another order.
    """
    types = tuple(tag[2:] for tag in tags[1::2])
    if tuple(tags) != tags_of(types):
        raise InputError(
            f"the model's labels are not O, B-type, I-type, ...: {', '.join(tags[:5])}",
            "use a student that evokd trained to tag entities",
        )
    return types


def without_overlaps(spans: Iterable[Place]) -> list[Place]:
    """Return spans of which no two overlap, in the order of the text.

    The rule: the longer one stays; of equally long ones the earlier; of two in the same place the
    one that was given first. An empty span is left out.
    """
    kept: list[Place] = []
    for span in sorted(spans, key=lambda s: (s.start - s.end, s.start)):
        if span.start < span.end and all(
            span.end <= other.start or other.end <= span.start for other in kept
        ):
            kept.append(span)
    return sorted(kept, key=lambda span: span.start)


def units(
    text: str,
    offsets: Sequence[tuple[int, int]],
    words: Sequence[int | None] | None = None,
) -> list[Unit]:
    """Return the units of a text, in its order; they never overlap.

    Tokens that share a character are one unit: several may spell one emoji. Tokens of one word
    are too, when `words` are given. Tokens of white space alone are in none. Accents that the
    tokenizer dropped belong to the letter before them.

    Args:
        offsets: the code points of every token, (start, end); special tokens left out.
        words: the number of the word that every token is in; None is a word of its own.
    """
    made: list[Unit] = []
    last: int | None = None
    for number, (start, end) in enumerate(offsets):
        shown = text[start:end]
        start, end = end - len(shown.lstrip()), end - len(shown) + len(shown.rstrip())
        if start >= end:
            continue
        word = words[number] if words is not None else None
        together = word is not None and word == last
        if made and (together or start < made[-1].end):
            before = made.pop()
            made.append(Unit((*before.tokens, number), before.start, max(before.end, end)))
        else:
            made.append(Unit((number,), start, end))
        last = word
    return _with_marks(text, made)


def write_tags(
    parts: Sequence[Unit], spans: Sequence[Span], types: Sequence[str], *, tokens: int
) -> list[int]:
    """Return the tag of every token, as a student is to learn them.

    A unit that a span touches belongs to it, also where the span covers only a part of it; a
    unit that several spans touch belongs to the one that `without_overlaps` would keep.

    Args:
        parts: the units of the text.
        tokens: how many tokens the text has; those in no unit get IGNORED.

    Raises:
        InputError: when a span's type is none of the types.
    """
    number = {name: i for i, name in enumerate(types)}
    unknown = sorted({span.label for span in spans} - number.keys())
    if unknown:
        raise InputError(f"unknown type '{unknown[0]}'; known types: {', '.join(types)}")
    tags = [IGNORED] * tokens
    for part in parts:
        for token in part.tokens:
            tags[token] = 0
    starts, ends = [part.start for part in parts], [part.end for part in parts]
    free = set(range(len(parts)))
    for span in sorted(spans, key=lambda s: (s.start - s.end, s.start)):
        places = range(bisect_right(ends, span.start), bisect_left(starts, span.end))
        touched = [i for i in places if i in free]
        inside = 2 * number[span.label] + 2
        for token in (token for i in touched for token in parts[i].tokens):
            tags[token] = inside
        if touched:
            tags[parts[touched[0]].tokens[0]] = inside - 1
        free.difference_update(touched)
    return tags


def log_softmax(logits: Floats, temperature: float = 1.0) -> Floats:
    """Return the log-probability of every tag, float64 of the same shape."""
    exact = logits.astype(np.float64) / temperature
    exact -= exact.max(-1, keepdims=True, initial=-np.inf)
    scaled: Floats = exact - np.log(np.exp(exact).sum(-1, keepdims=True))
    return scaled


def find_spans(rows: Floats, parts: Sequence[Unit], types: Sequence[str]) -> list[Found]:
    """Return the entities of a text, in its order; they never overlap.

    They are read from the most probable of all legal sequences of tags, those in which I-type
    follows B-type or I-type and the tokens of a unit agree.

    Args:
        rows: the log-probability of every token's tags, [tokens, tags].
        parts: the units of the text.
    """
    if not parts:
        return []
    found: list[Found] = []
    for part, tag in zip(parts, best_tags(_of_units(rows, parts)).tolist(), strict=True):
        if tag == 0:
            continue
        sure = [rows[token, tag + tag % 2] for token in part.tokens[1:]]
        score = float(np.exp(min(rows[part.tokens[0], tag], *sure, 0.0)))
        if tag % 2:
            found.append(Found(part.start, part.end, types[tag // 2], score))
        else:
            begun = found.pop()
            found.append(Found(begun.start, part.end, begun.label, min(begun.score, score)))
    return found


def best_tags(scores: Floats) -> NDArray[np.int64]:
    """Return the legal sequence of tags with the greatest sum of scores (Viterbi).

    Args:
        scores: log-probabilities, [units, tags]; at least one unit.
    """
    count, width = scores.shape
    begin, inside = np.arange(1, width, 2), np.arange(2, width, 2)
    came = np.empty((count, width), np.int64)
    best = scores[0].copy()
    best[inside] = -np.inf
    for i in range(1, count):
        came[i] = best.argmax()
        came[i, inside] = np.where(best[begin] >= best[inside], begin, inside)
        best = best[came[i]] + scores[i]
    path = np.empty(count, np.int64)
    path[-1] = best.argmax()
    for i in range(count - 1, 0, -1):
        path[i - 1] = came[i, path[i]]
    return path


def _of_units(rows: Floats, parts: Sequence[Unit]) -> Floats:
    """Return the log-probability that all of a unit's tokens say its tag, [units, tags]."""
    scores = rows[[part.tokens[0] for part in parts]]
    rest = [(i, token) for i, part in enumerate(parts) for token in part.tokens[1:]]
    if rest:
        tags = np.arange(rows.shape[1])
        unit, token = np.array(rest).T
        np.add.at(scores, unit, rows[token][:, tags + tags % 2])  # after B-type comes I-type
    return scores


def _with_marks(text: str, made: list[Unit]) -> list[Unit]:
    """Let units end behind the combining marks that follow them and that no token shows."""
    starts = {unit.start for unit in made} | {len(text)}
    for i, unit in enumerate(made):
        end = unit.end
        while end not in starts and unicodedata.category(text[end]).startswith("M"):
            end += 1
        if end > unit.end:
            made[i] = Unit(unit.tokens, unit.start, end)
    return made
