"""A teacher that need not be asked twice: what another run heard from it, it says again.

Runs that are compared begin with the same requests, seeds and all. To have them answered anew
would cost as much time as several rounds, and would add the engine's chance to what is compared.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any

from evokd.calls import read_reply, refused
from evokd.errors import TeacherError
from evokd.ledger import Ledger
from evokd.teacher import Generate, OnScored, OnWritten, Score, Scored, Teacher, Written


class Heard:
    """A teacher with the finished calls of another run (see `evokd.teacher.Teacher`).

    Args:
        scope: what the scopes of the calls that are said again start with.

    Raises:
        TeacherError: when the other run had another model.
    """

    def __init__(self, teacher: Teacher, other: Ledger, scope: str) -> None:
        self.teacher = teacher
        self.name, self.fingerprint = teacher.name, teacher.fingerprint
        known = other.meta("teacher")
        if known is not None and known["fingerprint"] != teacher.fingerprint:
            teacher.close()
            raise TeacherError(
                f"{other.path.parent} was run with {known['name']}, another model than now",
                "compare with one model, or give --out a new folder",
            )
        # What the other was refused is for this one's budget and context to decide.
        self._replies: dict[str, Any] = {
            _named(call.kind, call.request): reply
            for call in other.calls(scope)
            if call.reply is not None and not refused(reply := read_reply(call.reply, call.tokens))
        }

    def generate(
        self, requests: Sequence[Generate], on_done: OnWritten | None = None
    ) -> list[Written]:
        """Say again what was heard, and ask for the rest."""
        return self._answer("generate", requests, self.teacher.generate, on_done)

    def score(self, requests: Sequence[Score], on_done: OnScored | None = None) -> list[Scored]:
        """Give the scores that were heard, and ask for the rest."""
        return self._answer("score", requests, self.teacher.score, on_done)

    def check(self, requests: Sequence[Generate | Score]) -> None:
        """Have the model refuse what is too long for it."""
        self.teacher.check(requests)

    def close(self) -> None:
        """Free the model."""
        self.teacher.close()

    def _answer(
        self, kind: str, requests: Sequence[Any], ask: Callable[..., list[Any]], on_done: Any
    ) -> list[Any]:
        replies = [self._replies.get(_named(kind, asdict(request))) for request in requests]
        new = [i for i, reply in enumerate(replies) if reply is None]

        def done(index: int, reply: Any) -> None:
            if on_done is not None:
                on_done(new[index], reply)

        for index, reply in enumerate(replies):
            if reply is not None and on_done is not None:
                on_done(index, reply)
        if new:
            for index, reply in zip(new, ask([requests[i] for i in new], done), strict=True):
                replies[index] = reply
        return replies


def _named(kind: str, request: object) -> str:
    return json.dumps([kind, request], sort_keys=True)
