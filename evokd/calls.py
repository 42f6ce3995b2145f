"""Asking a teacher through the ledger: a call that is recorded is never made again.

A call's key is made of its scope (the round and step), the request itself, and its occurrence
number in the scope. The model is opened at the first call that the ledger lacks, so that a
finished run is replayed without one.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any

from evokd.errors import ReplayMiss, TeacherError
from evokd.ledger import Ledger
from evokd.teacher import Generate, Score, Scored, Teacher, Written

OnCall = Callable[[], None]


class Calls:
    """A teacher behind a ledger. `open` is None when no model may be asked."""

    def __init__(self, ledger: Ledger, open_model: Callable[[], Teacher] | None) -> None:
        self.ledger = ledger
        self._open = open_model
        self._teacher: Teacher | None = None

    @property
    def teacher(self) -> Teacher:
        """The model, opened now if it was not; it must be the one that the run began with."""
        if self._teacher is None:
            if self._open is None:
                raise ReplayMiss("the ledger lacks this call", "replay a finished run")
            teacher = self._open()
            try:
                self._same_model(teacher)
            except TeacherError:
                teacher.close()
                raise
            self._teacher = teacher
        return self._teacher

    def close(self) -> None:
        """Free the model, if it was opened."""
        if self._teacher is not None:
            self._teacher.close()
            self._teacher = None

    def keys(self, scope: str, requests: Sequence[Generate | Score]) -> list[str]:
        """Return the requests' keys, without counting them as asked."""
        seen: Counter[str] = Counter()
        return [self._key(scope, request, seen) for request in requests]

    def reserve(self, scope: str, requests: Sequence[Generate | Score]) -> None:
        """Record requests as in flight before the first of them is made."""
        pairs = zip(self.keys(scope, requests), requests, strict=True)
        self.ledger.reserve(scope, [(key, _kind(r), asdict(r)) for key, r in pairs])

    def generate(
        self, scope: str, requests: Sequence[Generate], on_call: OnCall | None = None
    ) -> list[Written]:
        """Return the replies, from the ledger where it has them."""

        def make(missing: list[Generate], done: Callable[[int, Written], None]) -> None:
            self.teacher.generate(missing, done)

        return self._answer(scope, requests, make, _written, on_call)

    def score(
        self, scope: str, requests: Sequence[Score], on_call: OnCall | None = None
    ) -> list[Scored]:
        """Return the log-probabilities, from the ledger where it has them."""

        def make(missing: list[Score], done: Callable[[int, Scored], None]) -> None:
            self.teacher.score(missing, done)

        return self._answer(scope, requests, make, _scored, on_call)

    def _answer(
        self,
        scope: str,
        requests: Sequence[Any],
        make: Callable[[list[Any], Callable[[int, Any], None]], None],
        read: Callable[[tuple[Any, int, int, int]], Any],
        on_call: OnCall | None,
    ) -> list[Any]:
        keys = self.keys(scope, requests)
        stored = {key: self.ledger.reply(key) for key in keys}
        missing = [i for i, key in enumerate(keys) if stored[key] is None]
        for _ in range(len(requests) - len(missing)):
            _tell(on_call)
        if missing:
            with self.ledger.transaction():
                self.reserve(scope, requests)

            def done(index: int, reply: Any) -> None:
                tokens = (reply.tokens_in, reply.tokens_out, reply.decoded)
                self.ledger.record(keys[missing[index]], _stored(reply), tokens)
                _tell(on_call)

            make([requests[i] for i in missing], done)
            stored |= {keys[i]: self.ledger.reply(keys[i]) for i in missing}
        replies = [stored[key] for key in keys]
        if any(reply is None for reply in replies):
            raise TeacherError("the teacher left a request without an answer", "run again")
        return [read(reply) for reply in replies if reply is not None]

    def _key(self, scope: str, request: Generate | Score, seen: Counter[str]) -> str:
        canonical = json.dumps([scope, _kind(request), asdict(request)], sort_keys=True)
        seen[canonical] += 1
        named = f"{seen[canonical]} {canonical}"
        return hashlib.blake2b(named.encode("utf-8"), digest_size=16).hexdigest()

    def _same_model(self, teacher: Teacher) -> None:
        known = self.ledger.meta("teacher")
        mine = {"name": teacher.name, "fingerprint": teacher.fingerprint}
        if known is None:
            self.ledger.set_meta("teacher", mine)
        elif known["fingerprint"] != mine["fingerprint"]:
            raise TeacherError(
                f"this run was begun with {known['name']}, another model or engine build than now",
                "use the same model, or another --out",
            )


def _tell(on_call: OnCall | None) -> None:
    if on_call is not None:
        on_call()


def _kind(request: Generate | Score) -> str:
    return "generate" if isinstance(request, Generate) else "score"


def _stored(reply: Written | Scored) -> object:
    if isinstance(reply, Written):
        return {"text": reply.text, "finish": reply.finish}
    return {"logprobs": reply.logprobs, "lengths": reply.lengths, "bounded": reply.bounded}


def _written(stored: tuple[Any, int, int, int]) -> Written:
    return Written(stored[0]["text"], stored[0]["finish"], *stored[1:])


def _scored(stored: tuple[Any, int, int, int]) -> Scored:
    # Ledgers of older runs have the log-probabilities alone.
    parts = (tuple(stored[0].get(name, ())) for name in ("logprobs", "lengths", "bounded"))
    logprobs, lengths, bounded = parts
    return Scored(logprobs, *stored[1:], lengths, bounded)
