"""Asking a teacher through the ledger: a call that is recorded is never made again.

A call's key is made of its scope (the round and step), the request itself, and its occurrence
number in the scope. The model is opened at the first call that the ledger lacks, so that a
finished run is replayed without one. What the budget refuses is recorded like a reply, of no
tokens, so that a run that goes on and a replay decide as the first attempt did; and so is what is
too long for the teacher.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from functools import partial
from typing import Any

from evokd.budget import OUTSIDE, Budget
from evokd.errors import ReplayMiss, TeacherError
from evokd.ledger import Ledger
from evokd.settings import SIDE_BY_SIDE, BudgetSettings
from evokd.teacher import TOO_LONG, Generate, Refusal, Score, Scored, Teacher, Written
from evokd.watch import Tick

Scope = str | Sequence[str]
"""The scope of all requests, or one for each."""
Stored = tuple[Any, int | None, int | None, int | None]
"""A recorded reply and its tokens: in, out and really decoded; None where it was refused."""
NOTHING = (None, None, None)


class Calls:
    """A teacher behind a ledger.

    Args:
        open_model: opens the teacher; None when no model may be asked.
        budget: caps on what is asked; None when there are none.
        width: requests in a batch, by which a budget may be exceeded.
        thoughts: see `Budget`.
    """

    def __init__(
        self,
        ledger: Ledger,
        open_model: Callable[[], Teacher] | None,
        *,
        budget: BudgetSettings | None = None,
        width: int = SIDE_BY_SIDE,
        thoughts: int = 0,
    ) -> None:
        self.ledger = ledger
        capped = budget is not None and (budget.tokens, budget.minutes) != (None, None)
        self.budget = Budget(budget, ledger, width, thoughts) if budget and capped else None
        self._share = 1.0  # of the budget, what calls may come to now
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

    def check(self, requests: Sequence[Generate | Score]) -> None:
        """Raise a TeacherError where a prompt is too long for the model; nothing is recorded."""
        self.teacher.check(requests)

    def spent(self) -> bool:
        """Say whether the budget is spent, so that nothing more would be asked."""
        return self.budget is not None and self.budget.over()

    def keep_free(self, seconds: float) -> None:
        """Leave this long, of a budget of minutes, for the training that follows what is asked."""
        if self.budget is not None:
            self.budget.keep_free(seconds)

    def keys(self, scope: Scope, requests: Sequence[Generate | Score]) -> list[str]:
        """Return the requests' keys, without counting them as asked."""
        seen: Counter[str] = Counter()
        scopes = _each(scope, requests)
        return [self._key(*pair, seen) for pair in zip(scopes, requests, strict=True)]

    def reserve(self, scope: Scope, requests: Sequence[Generate | Score]) -> None:
        """Record requests as in flight before the first of them is made."""
        scopes = _each(scope, requests)
        calls = list(zip(scopes, self.keys(scope, requests), requests, strict=True))
        for name in dict.fromkeys(scopes):
            mine = [(key, _kind(r), asdict(r)) for of, key, r in calls if of == name]
            self.ledger.reserve(name, mine)

    @contextmanager
    def part_of_budget(self, share: float) -> Iterator[None]:
        """Let what is asked inside come to this share of the caps at most; an inner one of that."""
        before = self._share
        self._share *= share
        try:
            yield
        finally:
            self._share = before

    def generate(
        self, scope: Scope, requests: Sequence[Generate], on_call: Tick | None = None
    ) -> list[Written]:
        """Return the replies, from the ledger where it has them."""
        return self._answer(scope, requests, on_call)

    def score(
        self, scope: Scope, requests: Sequence[Score], on_call: Tick | None = None
    ) -> list[Scored]:
        """Return the log-probabilities, from the ledger where it has them."""
        return self._answer(scope, requests, on_call)

    def _answer(self, scope: Scope, requests: Sequence[Any], on_call: Tick | None) -> list[Any]:
        keys = self.keys(scope, requests)
        stored = {key: self.ledger.reply(key) for key in keys}
        missing = [i for i, key in enumerate(keys) if stored[key] is None]
        for _ in range(len(requests) - len(missing)):
            _tell(on_call)
        if missing:
            with self.ledger.transaction():
                self.reserve(scope, requests)
            outside = _each(scope, requests)[0].startswith(OUTSIDE)
            budget = None if outside else self.budget
            ask = self._asker(requests, keys, budget, on_call)
            if budget is None:
                ask(missing)
            else:
                self._within(budget, requests, keys, ask, on_call)
            stored |= {keys[i]: self.ledger.reply(keys[i]) for i in missing}
        replies = [stored[key] for key in keys]
        if any(reply is None for reply in replies):
            raise TeacherError("the teacher left a request without an answer", "run again")
        return [_read(reply) for reply in replies if reply is not None]

    def _asker(
        self,
        requests: Sequence[Any],
        keys: Sequence[str],
        budget: Budget | None,
        on_call: Tick | None,
    ) -> Callable[[list[int]], None]:
        """Return what asks for the requests with some indices, and records their replies."""

        def ask(indices: list[int]) -> None:
            def done(index: int, reply: Written | Scored) -> None:
                tokens = (reply.tokens_in, reply.tokens_out, reply.decoded)
                spent = NOTHING if refused(reply) else tokens
                self.ledger.record(keys[indices[index]], _stored(reply), spent)
                if budget is not None:
                    budget.spent += reply.tokens_in + reply.tokens_out
                _tell(on_call)

            asked = [requests[i] for i in indices]
            if isinstance(asked[0], Generate):
                self.teacher.generate(asked, done)
            else:
                self.teacher.score(asked, done)

        return ask

    def _within(
        self,
        budget: Budget,
        requests: Sequence[Any],
        keys: Sequence[str],
        ask: Callable[[list[int]], None],
        on_call: Tick | None,
    ) -> None:
        """Ask for what is missing while the budget lasts, and record that the rest was refused.

        Batches are cut from all requests, not from the missing ones, and what later ones have cost
        does not count yet: an attempt that goes on decides as one that was not interrupted.
        """
        share = self._share
        costs = [_cost(self.ledger.reply(key)) for key in keys]
        start = 0
        while start < len(requests):
            later = sum(cost or 0 for cost in costs[start:])
            count = budget.fitting(requests[start:], less=later, share=share)
            missing = [i for i in range(start, start + count) if costs[i] is None]
            if missing and budget.over(less=later, share=share):
                break
            if missing:
                budget.time(type(requests[start]), len(missing), partial(ask, missing))
            start += count
        with self.ledger.transaction():
            for i in range(start, len(requests)):
                if costs[i] is None:
                    self.ledger.record(keys[i], _refusal(requests[i]), NOTHING)
                    _tell(on_call)

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


def _each(scope: Scope, requests: Sequence[Any]) -> Sequence[str]:
    return [scope] * len(requests) if isinstance(scope, str) else scope


def _tell(on_call: Tick | None) -> None:
    if on_call is not None:
        on_call()


def _kind(request: Generate | Score) -> str:
    return "generate" if isinstance(request, Generate) else "score"


def _stored(reply: Written | Scored) -> object:
    if isinstance(reply, Written):
        return {"text": reply.text, "finish": reply.finish}
    said = {"logprobs": reply.logprobs, "lengths": reply.lengths, "bounded": reply.bounded}
    return said | ({"refused": reply.refused} if reply.refused else {})


def read_reply(stored: Any, tokens: tuple[int, int, int]) -> Written | Scored:
    """Return a recorded reply."""
    reply: Written | Scored = _read((stored, *tokens))
    return reply


def refused(reply: Written | Scored) -> Refusal | None:
    """Return why a request was never asked; None when it was."""
    if isinstance(reply, Scored):
        return reply.refused
    finish = reply.finish
    return finish if finish == "budget" or finish == TOO_LONG else None


def _refusal(request: Generate | Score) -> object:
    if isinstance(request, Generate):
        return {"text": "", "finish": "budget"}
    return {"logprobs": (), "refused": "budget"}


def _cost(stored: Stored | None) -> int | None:
    """Return the tokens of a call; None while it is not finished."""
    return None if stored is None else (stored[1] or 0) + (stored[2] or 0)


def _read(stored: Stored) -> Any:
    return (_written if "text" in stored[0] else _scored)(stored)


def _written(stored: Stored) -> Written:
    return Written(stored[0]["text"], stored[0]["finish"], *(n or 0 for n in stored[1:]))


def _scored(stored: Stored) -> Scored:
    # Ledgers of older runs have the log-probabilities alone, or none where the budget was spent.
    parts = (tuple(stored[0].get(name, ())) for name in ("logprobs", "lengths", "bounded"))
    logprobs, lengths, bounded = parts
    read, written, decoded = (n or 0 for n in stored[1:])
    why = stored[0].get("refused", None if logprobs else "budget")
    return Scored(logprobs, read, written, decoded, lengths, bounded, why)
