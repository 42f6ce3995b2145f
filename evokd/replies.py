"""Strict parsers of what a teacher says. What they refuse has a reason, and nothing is guessed.

A reply may stand in a code fence and may carry words before or after its JSON; its content must
have exactly the asked shape. Texts come back on one line, with white space folded.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Literal, TypeGuard, TypeVar, get_args

from evokd.answers import Span
from evokd.examples import is_unicode
from evokd.pieces import is_whole, pieces
from evokd.teacher import TOO_LONG, Refusal, Written
from serving.spans import without_overlaps

Reject = (
    Refusal
    | Literal[
        "cut",
        "no json",
        "wrong shape",
        "no text",
        "unknown label",
        "unknown type",
        "no answer",
        "not in the text",
    ]
)
Fault = Literal["empty text", "text too long", "text not Unicode", "not asked for"]
FAULTS: tuple[Fault, ...] = get_args(Fault)
"""Why a text is left out of a reply whose other texts are read."""
MAX_TEXT = 2000
Item = TypeVar("Item", tuple[str, str], tuple[str, str, str])


@dataclass(frozen=True, slots=True)
class Texts:
    """Texts of one reply, as (expected, text); expected is "hard", "easy" or "cover".

    Attributes:
        reject: why the whole reply is refused.
        left_out: why texts are left out of one that is read, a reason for each.
    """

    texts: tuple[tuple[str, str], ...] = ()
    reject: Reject | None = None
    left_out: tuple[Fault, ...] = ()


def parse_list(reply: Written, most: int | None = None) -> Texts:
    """Read a JSON list of strings (the reply to `ask_cover`), `most` of them; None is all."""
    value, reject = _read(reply, "[]")
    if reject:
        return Texts(reject=reject)
    if not _is_texts(value):
        return Texts(reject="wrong shape")
    return _made([("cover", text) for text in value], None if most is None else {"cover": most})


def parse_hard_easy(reply: Written, most: Mapping[str, int] | None = None) -> Texts:
    """Read {"hard": [...], "easy": [...]} (the reply to `ask_texts`).

    Args:
        most: how many texts of "hard" and of "easy" are read; the others were not asked for. None
            is all.
    """
    value, reject = _read(reply, "{}")
    if reject:
        return Texts(reject=reject)
    if not isinstance(value, dict) or not value or value.keys() - {"hard", "easy"}:
        return Texts(reject="wrong shape")
    if not all(_is_texts(part) for part in value.values()):
        return Texts(reject="wrong shape")
    return _made([(kind, text) for kind in ("hard", "easy") for text in value.get(kind, ())], most)


@dataclass(frozen=True, slots=True)
class LabelledTexts:
    """Texts of one reply, as (expected, text, label); expected is "hard" or "easy".

    The rest is as in `Texts`.
    """

    texts: tuple[tuple[str, str, str], ...] = ()
    reject: Reject | None = None
    left_out: tuple[Fault, ...] = ()


def refusals(parsed: Texts | LabelledTexts) -> tuple[str, ...]:
    """Return the reasons to count for a reply: its own, or one for each text that is left out."""
    return (parsed.reject,) if parsed.reject else parsed.left_out


def parse_labelled(
    reply: Written, labels: Collection[str], most: Mapping[str, int] | None = None
) -> LabelledTexts:
    """Read {"hard": [{"text", "class"}, ...], "easy": [...]} (the reply to a labelled P2).

    One text of no known label refuses the reply. `most` is as in `parse_hard_easy`.
    """
    value, reject = _read(reply, "{}")
    if reject:
        return LabelledTexts(reject=reject)
    if not isinstance(value, dict) or not value or value.keys() - {"hard", "easy"}:
        return LabelledTexts(reject="wrong shape")
    if not all(isinstance(part, list) and all(map(_is_labelled, part)) for part in value.values()):
        return LabelledTexts(reject="wrong shape")
    if any(item["class"] not in labels for part in value.values() for item in part):
        return LabelledTexts(reject="unknown label")
    read, left_out = _sound(
        [
            (expected, _folded(item["text"]), item["class"])
            for expected in ("hard", "easy")
            for item in value.get(expected, ())
        ],
        most,
    )
    return LabelledTexts(read, None, left_out) if read else LabelledTexts(reject="no text")


def _is_labelled(item: object) -> bool:
    return (
        isinstance(item, dict)
        and item.keys() == {"text", "class"}
        and all(isinstance(value, str) for value in item.values())
    )


@dataclass(frozen=True, slots=True)
class Attributes:
    """Ways in which texts differ, none of them empty, or why the reply is refused."""

    topics: tuple[str, ...] = ()
    styles: tuple[str, ...] = ()
    speakers: tuple[str, ...] = ()
    reject: Reject | None = None


def parse_attributes(reply: Written) -> Attributes:
    """Read lists of topics, styles and speakers (the reply to `ask_attributes`)."""
    value, reject = _read(reply, "{}")
    if reject:
        return Attributes(reject=reject)
    names = ("topics", "styles", "speakers")
    if not isinstance(value, dict) or value.keys() != {*names}:
        return Attributes(reject="wrong shape")
    if not all(_is_texts(part) for part in value.values()):
        return Attributes(reject="wrong shape")
    topics, styles, speakers = (
        tuple(text for _, text in _made([("", given) for given in value[name]]).texts)
        for name in names
    )
    if not (topics and styles and speakers):
        return Attributes(reject="no text")
    return Attributes(topics, styles, speakers)


@dataclass(frozen=True, slots=True)
class Entities:
    """Entities of one reply, in the order of the text, or why the reply is refused.

    Attributes:
        overlaps: those that are left out because a longer or earlier one stands there.
    """

    spans: tuple[Span, ...] = ()
    reject: Reject | None = None
    overlaps: tuple[Span, ...] = ()


def parse_entities(reply: Written, text: str, types: Collection[str]) -> Entities:
    """Read a JSON list of {"text", "type"} (the reply to `ask_entities`) as spans of the text.

    Of several equal runs of words, "nth" says which is meant; without it, it is the first one
    behind the entity before, or else the first that is free, and a part of a number or a name such
    as "5:30" or "O'Neil" only where there is no other. Of entities that overlap the longer
    one stays, of equally long ones the earlier. One entity that is not in the text, or of no
    known type, refuses the reply.
    """
    value, reject = _read(reply, "[]")
    if reject:
        return Entities(reject=reject)
    if not isinstance(value, list) or not all(map(_is_entity, value)):
        return Entities(reject="wrong shape")
    if any(item["type"] not in types for item in value):
        return Entities(reject="unknown type")
    found: list[Span] = []
    for item in value:
        places = occurrences(text, item["text"])
        taken = {(span.start, span.end) for span in found}
        if "nth" in item:
            places = places[item["nth"] - 1 : item["nth"]]
        else:
            behind = found[-1].end if found else 0
            free = [place for place in places if place not in taken]
            free = [place for place in free if is_whole(text, *place)] or free
            places = [place for place in free if place[0] >= behind] or free or places
        if not places:
            return Entities(reject="not in the text")
        found.append(Span(*places[0], item["type"]))
    spans = without_overlaps(found)
    return Entities(tuple(spans), None, tuple(s for s in dict.fromkeys(found) if s not in spans))


def occurrences(text: str, words: str) -> list[tuple[int, int]]:
    """Return where words stand in a text, as (start, end); never within a longer word."""
    parts = words.split()
    if not parts:
        return []
    pattern = r"\s+".join(map(re.escape, parts))
    edges = {0, len(text)}
    at = 0
    for piece in pieces(text):
        edges.add(at)
        at += len(piece)
    matches = re.finditer(rf"(?=({pattern}))", text)
    places = [match.span(1) for match in matches]
    return [place for place in places if place[0] in edges and place[1] in edges]


def _is_entity(item: object) -> bool:
    if not isinstance(item, dict) or item.keys() - {"text", "type", "nth"}:
        return False
    nth = item.get("nth", 1)
    named = isinstance(item.get("text"), str) and isinstance(item.get("type"), str)
    return named and isinstance(nth, int) and not isinstance(nth, bool) and nth > 0


def parse_patterns(reply: Written) -> tuple[str, ...]:
    """Read the weaknesses: the lines that start with a dash, or else the whole reply."""
    lines = [line.strip() for line in reply.text.splitlines() if line.strip()]
    patterns = [line.lstrip("-*• ").strip() for line in lines if line[0] in "-*•"]
    return tuple(p for p in patterns or lines if p)


def _made(pairs: list[tuple[str, str]], most: Mapping[str, int] | None = None) -> Texts:
    good, left_out = _sound([(kind, _folded(text)) for kind, text in pairs], most)
    return Texts(good, None, left_out) if good else Texts(reject="no text")


def _folded(text: str) -> str:
    return " ".join(text.split())


def _sound(
    items: list[Item], most: Mapping[str, int] | None
) -> tuple[tuple[Item, ...], tuple[Fault, ...]]:
    """Return the items whose text, the second part, can be used, and why the others cannot.

    A grammar writes no more than `most`, the number for each first part; where none holds the
    reply, what is over it is left out here.
    """
    good: list[Item] = []
    faults: list[Fault] = []
    read: Counter[str] = Counter()
    for item in items:
        fault = _fault(item[1])
        if fault is None and most is not None and read[item[0]] >= most.get(item[0], 0):
            fault = "not asked for"
        if fault:
            faults.append(fault)
        else:
            read[item[0]] += 1
            good.append(item)
    return tuple(good), tuple(faults)


def _fault(text: str) -> Fault | None:
    if not text:
        return "empty text"
    if len(text) > MAX_TEXT:
        return "text too long"
    return None if is_unicode(text) else "text not Unicode"


def _is_texts(value: object) -> TypeGuard[list[str]]:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)


def _read(reply: Written, brackets: str) -> tuple[object, Reject | None]:
    """Return the JSON value between the first opening and the last closing bracket, or why not."""
    if reply.finish in ("budget", TOO_LONG):
        return None, reply.finish
    if reply.finish in ("length", "context"):
        return None, "cut"
    start, end = reply.text.find(brackets[0]), reply.text.rfind(brackets[1])
    if start < 0 or end <= start:
        return None, "no json"
    try:
        value: object = json.loads(reply.text[start : end + 1], strict=False)
    except (ValueError, RecursionError):
        return None, "no json"
    return value, None if value is not None else "no json"
