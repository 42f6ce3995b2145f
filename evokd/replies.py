"""Strict parsers of what a teacher says. What they refuse has a reason, and nothing is guessed.

A reply may stand in a code fence and may carry words before or after its JSON; its content must
have exactly the asked shape. Texts come back on one line, with white space folded.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Literal, TypeGuard

from evokd.examples import is_unicode
from evokd.teacher import Written

Reject = Literal["cut", "no json", "wrong shape", "no text"]
MAX_TEXT = 2000


@dataclass(frozen=True, slots=True)
class Texts:
    """Texts of one reply, as (expected, text); expected is "hard", "easy" or "cover"."""

    texts: tuple[tuple[str, str], ...] = ()
    reject: Reject | None = None


def parse_list(reply: Written) -> Texts:
    """Read a JSON list of strings (the reply to `ask_cover`)."""
    if reply.finish == "length":
        return Texts(reject="cut")
    value = _json(reply.text, "[", "]")
    if value is None:
        return Texts(reject="no json")
    if not _is_texts(value):
        return Texts(reject="wrong shape")
    return _made([("cover", text) for text in value])


def parse_hard_easy(reply: Written) -> Texts:
    """Read {"hard": [...], "easy": [...]} (the reply to `ask_texts`)."""
    if reply.finish == "length":
        return Texts(reject="cut")
    value = _json(reply.text, "{", "}")
    if value is None:
        return Texts(reject="no json")
    if not isinstance(value, dict) or not value or value.keys() - {"hard", "easy"}:
        return Texts(reject="wrong shape")
    if not all(_is_texts(part) for part in value.values()):
        return Texts(reject="wrong shape")
    return _made([(kind, text) for kind in ("hard", "easy") for text in value.get(kind, ())])


def parse_patterns(reply: Written) -> tuple[str, ...]:
    """Read the weaknesses: the lines that start with a dash, or else the whole reply."""
    lines = [line.strip() for line in reply.text.splitlines() if line.strip()]
    patterns = [line.lstrip("-*• ").strip() for line in lines if line[0] in "-*•"]
    return tuple(p for p in patterns or lines if p)


def _made(pairs: list[tuple[str, str]]) -> Texts:
    folded = [(kind, " ".join(text.split())) for kind, text in pairs]
    good = tuple(
        (kind, text) for kind, text in folded if 0 < len(text) <= MAX_TEXT and is_unicode(text)
    )
    return Texts(good) if good else Texts(reject="no text")


def _is_texts(value: object) -> TypeGuard[list[str]]:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)


def _json(text: str, opening: str, closing: str) -> object:
    """Return the JSON value between the first opening and the last closing bracket, or None."""
    start, end = text.find(opening), text.rfind(closing)
    if start < 0 or end <= start:
        return None
    try:
        value: object = json.loads(text[start : end + 1], strict=False)
    except (ValueError, RecursionError):
        return None
    return value
