"""Score choices by a single reply of a server that can be made to write no other.

A bare answer tells which choice it is. With the likeliest tokens at its places it also tells of the
others, by what was likely where they part from it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from evokd.teacher.remote_scoring import LEAST, Values

FLOOR = -20.0  # log-probability of what was not chosen, where the server tells nothing else
AROUND = " \t\r\n.,;:!\"'`*"  # what may stand around an answer
LOWEST = 100.0  # nats; some servers write -9999 for what is out of sight
TINY = 1e-300  # instead of a probability too small for a float
Places = Sequence[tuple[bytes, dict[bytes, float]]]


def one_hot(choices: Sequence[str], answer: str) -> Values:
    """Return what a bare answer says: 0 for the choice that it is, `FLOOR` for all others.

    An answer that is no choice says nothing: all are equal.
    """
    given = chosen(choices, answer)
    logprobs = tuple(0.0 if text == given else FLOOR for text in choices)
    return Values(logprobs, tuple(n for n, value in enumerate(logprobs) if value == FLOOR))


def chosen(choices: Sequence[str], reply: str) -> str | None:
    """Return the choice that a reply is, perhaps with quotes or a full stop; None if it is none."""
    for signs in (None, AROUND):
        for text in choices:
            if text.strip(signs) == reply.strip(signs):
                return text
    return None


def by_reply(choices: Sequence[str], reply: str, places: Places) -> Values | None:
    """Return what one reply says of all choices, by what was likely where they part from it.

    Choices that part in the same token get the same bound. Where such a bound is not below the
    best that is known, they are not told apart: the reply alone counts then, as in `one_hot`.

    Args:
        choices: the texts.
        reply: what was written; None is returned when it is no choice.
        places: its tokens' bytes, each with the log-probabilities of the likeliest there.
    """
    given = chosen(choices, reply)
    if given is None:
        return None
    known = _nodes(places)
    texts = [text.strip().encode("utf-8", "replace") for text in choices]
    ranges = [_range(text, b"", known, texts) for text in texts]
    exact = [low >= high / 2 for low, high in ranges]
    shares = [low if told else high for (low, high), told in zip(ranges, exact, strict=True)]
    best = max((share for share, told in zip(shares, exact, strict=True) if told), default=0.0)
    bounded = tuple(n for n, told in enumerate(exact) if not told)
    if not exact[choices.index(given)] or any(shares[n] >= best for n in bounded):
        return one_hot(choices, given)
    return Values(tuple(math.log(max(share, TINY)) for share in shares), bounded)


def _nodes(places: Places) -> dict[bytes, dict[bytes, float]]:
    """Return bytes so far -> probabilities of what follows; blanks before a reply are left out."""
    known: dict[bytes, dict[bytes, float]] = {}
    at = b""
    for written, likeliest in places:
        piece = written if at else written.lstrip()
        if not at and not piece:
            continue
        node: dict[bytes, float] = {}
        for other, logprob in likeliest.items():
            start = other if at else other.lstrip()
            node[start] = node.get(start, 0.0) + math.exp(min(0.0, max(-LOWEST, logprob)))
        known.setdefault(at, node)
        at += piece
    known.setdefault(at, {})
    return known


def _range(
    text: bytes, at: bytes, known: Mapping[bytes, Mapping[bytes, float]], texts: Sequence[bytes]
) -> tuple[float, float]:
    """Return the least and the most probability of a text behind what is written so far."""
    node, rest = known.get(at), text[len(at) :]
    others = [other for other in texts if other != text]
    if node is None:  # nobody looked there
        return (0.0, 1.0) if rest or _any_begins(others, at) else (1.0, 1.0)
    if not rest:
        longer = [s for p, s in node.items() if p and _any_begins(others, at + p)]
        return (max(1.0 - sum(longer), LEAST),) * 2
    ways = []
    for piece, share in node.items():
        if piece and rest.startswith(piece):
            low, high = _range(text, at + piece, known, texts)
            ways.append((share * low, share * high))
        elif piece.startswith(rest) and not _any_begins(others, at + piece):
            ways.append((share, share))  # a token that goes on behind the text
    if not ways:  # out of sight; where a reply ends, all that does not is less likely than that
        return 0.0, min(node.values(), default=0.5)
    return sum(low for low, _ in ways), min(sum(high for _, high in ways), 1.0)


def _any_begins(texts: Sequence[bytes], start: bytes) -> bool:
    return any(text.startswith(start) for text in texts)
