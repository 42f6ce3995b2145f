"""Asking again with less to show, where a prompt has no place in the teacher's context.

A prompt first shows all that is planned. Only where the teacher refuses it as too long, or its
context ends before the reply does, is it made again: at every level half as many texts, one at
least, and of each at most half as many letters. Nobody but the teacher has to count tokens, and
every attempt is a call in the ledger (a refusal costs nothing), so that a run that goes on, or is
replayed, comes to the same prompts.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TypeVar

from evokd.answers import Span, read_spans, write_spans
from evokd.teacher import TOO_LONG, Generate, Score, Scored, Written
from evokd.wording import Seen

LEVELS = range(6)
LETTERS = 1600  # of a text at level 0, were it clipped there: 800 at level 1, and 50 at the last
MORE = "…"
T = TypeVar("T")
Request = TypeVar("Request", Generate, Score)
Reply = TypeVar("Reply", Written, Scored)


def ask(
    put: Callable[[Sequence[int], Sequence[Request]], Sequence[Reply]],
    requests: Callable[[int], Sequence[Request]],
) -> tuple[list[Request], list[Reply]]:
    """Ask, and ask again what has no place, as long as there is less to show.

    Args:
        put: asks requests with some numbers, and returns their replies.
        requests: makes all requests at a level.

    Returns:
        The requests as they were put last, and their replies.
    """
    asked = list(requests(0))
    replies = list(put(range(len(asked)), asked)) if asked else []
    for level in LEVELS[1:]:
        if all(map(has_place, replies)):
            break
        less = requests(level)
        again = [i for i, r in enumerate(replies) if not has_place(r) and less[i] != asked[i]]
        if again:
            for i, reply in zip(again, put(again, [less[i] for i in again]), strict=True):
                asked[i], replies[i] = less[i], reply
    return asked, replies


def has_place(reply: Written | Scored) -> bool:
    """Say whether the context had place for a prompt and the whole of its reply."""
    if isinstance(reply, Scored):
        return reply.refused != TOO_LONG
    return reply.finish not in (TOO_LONG, "context")


def fewer(items: Sequence[T], level: int) -> Sequence[T]:
    """Return the first of the items, one at least."""
    return items[: -(-len(items) // 2**level)]


def clipped(text: str, level: int) -> str:
    """Return the beginning of a text that is only shown, with an ellipsis where it goes on."""
    most = LETTERS >> level
    return text if not level or len(text) <= most else text[:most] + MORE


def clipped_seen(seen: Seen, level: int, kind: str) -> Seen:
    """Return the same of a text with answers.

    Of a text with entities the part around the first that the student got wrong is shown.
    """
    if kind != "ner" or clipped(seen.text, level) == seen.text:
        return replace(seen, text=clipped(seen.text, level))
    wrong = sorted({*read_spans(seen.label)} ^ {*read_spans(seen.predicted)})
    most = LETTERS >> level
    start = max(0, wrong[0].start - most // 2) if wrong else 0
    before, end = MORE * (start > 0), start + most
    after = MORE * (end < len(seen.text))

    def within(answer: str) -> str:
        move = len(before) - start
        inside = [s for s in read_spans(answer) if start <= s.start and s.end <= end]
        return write_spans(Span(s.start + move, s.end + move, s.label) for s in inside)

    part = before + seen.text[start:end] + after
    return Seen(part, within(seen.label), within(seen.predicted))
