"""The run's database, run.db: every teacher call, every example, every round, every stage.

A record exists only when what it records is whole, so that a run that was killed goes on from its
records. Knows no teacher, no student and no prompts: it stores what they give it.

    calls        one row a teacher call; `reply` is null while the call is in flight
    examples     every text written, kept or dropped, with reason, round and the call behind it
    predictions  what the student said of a round's texts before it was trained on them
    rounds       `plan` is written before a round's first call, `result` when its training is done
    stages       what a run has finished, with its result
    attempts     when work was done, so that `seconds` counts every attempt
    meta         facts about the run: its settings, its texts, its teacher
"""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

from evokd.errors import InputError
from evokd.examples import Example
from evokd.records import Call, Prediction, Row, Split
from evokd.rundb import connect, lock, open_read_only

FORMAT = 1
EXAMPLE = "round, text, label, soft, origin, split, reason, call, source"
"""The columns of an example, but its number."""


@contextmanager
def reading(path: Path) -> Iterator[Ledger]:
    """Open a ledger to read it as it is now, beside a run at work too; it cannot be written."""
    ledger = Ledger.__new__(Ledger)
    ledger.path, ledger._attempt = path, None
    with closing(open_read_only(path)) as ledger._db:
        try:
            ledger._db.execute("BEGIN")  # one moment for all that is read
            ledger.meta("format")
        except sqlite3.DatabaseError as broken:
            raise InputError(
                f"{path}: not a ledger ({broken})", "give the folder of a run"
            ) from broken
        yield ledger


class Ledger:
    """An open run.db. One process at a time; every method commits what it writes.

    Args:
        attempt: whether the time it is open counts as work on the run.
    """

    def __init__(
        self, path: Path, *, clock: Callable[[], float] = time.time, attempt: bool = True
    ) -> None:
        self.path = path
        self.clock = clock
        self._lock = lock(path)
        try:
            self._db = connect(path)
        except InputError:
            self._lock.close()
            raise
        if self.meta("format") is None:
            self.set_meta("format", FORMAT)
        self._attempt: int | None = None  # the time it is open counts as no work
        if attempt:
            now = self.clock()
            self._db.execute("INSERT INTO attempts (began, seen) VALUES (?, ?)", (now, now))
            self._attempt = self._one("SELECT max(number) FROM attempts")

    def close(self) -> None:
        """Note the time and close; everything is on disk already."""
        with suppress(sqlite3.OperationalError):  # a full disk was told before
            self._touch()
        self._db.close()
        self._lock.close()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Make everything inside one commit, or none of it; an inner one joins the outer."""
        if self._db.in_transaction:
            yield
            return
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._db.execute("ROLLBACK")
            raise
        self._touch()
        self._db.execute("COMMIT")

    # -- facts about the run ------------------------------------------------------------------

    def meta(self, key: str) -> Any:
        """Return a fact about the run, or None."""
        return _load(self._one("SELECT value FROM meta WHERE key = ?", key))

    def set_meta(self, key: str, value: object) -> None:
        """Record a fact about the run."""
        self._db.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (key, _dump(value)))

    def stage(self, name: str) -> Any:
        """Return the result of a finished stage, or None."""
        return _load(self._one("SELECT result FROM stages WHERE name = ?", name))

    def finish_stage(self, name: str, result: object) -> None:
        """Record that a stage is whole."""
        with self.transaction():
            self._db.execute("INSERT OR REPLACE INTO stages VALUES (?, ?)", (name, _dump(result)))

    def seconds(self) -> float:
        """Return the seconds of all attempts together, as far as records show."""
        self._touch()
        return float(self._one("SELECT sum(seen - began) FROM attempts") or 0.0)

    # -- calls --------------------------------------------------------------------------------

    def reserve(self, scope: str, calls: Iterable[tuple[str, str, object]]) -> None:
        """Record calls (key, kind, request) as in flight; those already there stay as they are."""
        self._db.executemany(
            "INSERT OR IGNORE INTO calls (key, scope, kind, request) VALUES (?, ?, ?, ?)",
            [(key, scope, kind, _dump(request)) for key, kind, request in calls],
        )

    def record(
        self, key: str, reply: object, tokens: tuple[int, int, int] | tuple[None, None, None]
    ) -> None:
        """Record a reply with its tokens in, out and really decoded; a reply never changes.

        A refusal, of a call that was never made, has None for tokens and counts as no call.
        """
        with self.transaction():
            self._db.execute(
                "UPDATE calls SET reply = ?, tokens_in = ?, tokens_out = ?, decoded = ?"
                " WHERE key = ? AND reply IS NULL",
                (_dump(reply), *tokens, key),
            )

    def reply(self, key: str) -> tuple[Any, int | None, int | None, int | None] | None:
        """Return a finished call's reply and tokens, or None."""
        row = self._db.execute(
            "SELECT reply, tokens_in, tokens_out, decoded FROM calls"
            " WHERE key = ? AND reply IS NOT NULL",
            (key,),
        ).fetchone()
        return None if row is None else (json.loads(row[0]), *row[1:])

    def call(self, key: str) -> Call | None:
        """Return a call, or None."""
        return next(self._calls("key = ?", key), None)

    def calls(self, scope: str, about: str = "") -> list[Call]:
        """Return the calls whose scope starts so and whose conversation has these words."""
        quoted = json.dumps(about, ensure_ascii=False)[1:-1]
        where = "scope >= ?1 AND scope < ?1 || char(0x10ffff) AND instr(request, ?2) ORDER BY rowid"
        return list(self._calls(where, scope, quoted))

    def _calls(self, where: str, *values: str) -> Iterator[Call]:
        columns = "key, scope, kind, request, reply, tokens_in, tokens_out, decoded"
        for key, scope, kind, request, reply, *tokens in self._db.execute(
            f"SELECT {columns} FROM calls WHERE {where}", values
        ):
            read, written, decoded = (int(n or 0) for n in tokens)
            yield Call(key, scope, kind, _load(request), _load(reply), (read, written, decoded))

    def copy_calls(self, other: Ledger) -> None:
        """Take over the finished calls of another ledger."""
        query = "SELECT * FROM calls WHERE reply IS NOT NULL ORDER BY rowid"
        with self.transaction():
            self._db.executemany(
                "INSERT OR IGNORE INTO calls VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                other._db.execute(query),
            )

    def call_totals(self, scope: str = "", *, step: str = "") -> dict[str, int]:
        """Return calls, tokens_in, tokens_out and decoded of scopes that start with `scope`.

        Args:
            step: of the calls of this step alone, such as "label": how a scope's last part begins.
        """
        row = self._db.execute(
            "SELECT count(tokens_in), sum(tokens_in), sum(tokens_out), sum(decoded) FROM calls"
            " WHERE reply IS NOT NULL AND substr(scope, 1, ?) = ? AND instr(scope, ?)",
            (len(scope), scope, step and f"/{step}"),
        ).fetchone()
        names = ("calls", "tokens_in", "tokens_out", "decoded")
        return {name: int(value or 0) for name, value in zip(names, row, strict=True)}

    # -- examples -----------------------------------------------------------------------------

    def add_rows(self, rows: Sequence[Row]) -> None:
        """Record texts, kept and dropped (use inside a transaction with what belongs to them)."""
        self._db.executemany(
            f"INSERT INTO examples ({EXAMPLE}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            [
                (r.round, r.example.text, r.example.label, _dump(r.example.soft),
                 r.example.origin, r.split, r.reason, r.call, r.source)
                for r in rows
            ],
        )  # fmt: skip

    def rows(self, *, round: int | None = None, split: Split | None = None) -> list[Row]:
        """Return texts in the order they were recorded."""
        query = (
            f"SELECT {EXAMPLE} FROM examples"
            " WHERE (?1 IS NULL OR round = ?1) AND (?2 IS NULL OR split = ?2) ORDER BY number"
        )
        return [_row(*columns) for columns in self._db.execute(query, (round, split))]

    def labels(self, split: Split) -> list[tuple[str, str]]:
        """Return (text, label) of what serves something: many times faster than `rows`."""
        query = "SELECT text, label FROM examples WHERE split = ? ORDER BY number"
        return list(self._db.execute(query, (split,)))

    def roll_back(self, round: int) -> None:
        """Take a round's texts out of training: they hurt."""
        query = "UPDATE examples SET split = NULL, reason = 'round rolled back'"
        self._db.execute(f"{query} WHERE round = ? AND split = 'train'", (round,))

    def drop(self, texts: Iterable[str], reason: str) -> None:
        """Take texts out of training."""
        with self.transaction():
            self._db.execute("CREATE TEMP TABLE gone (text TEXT PRIMARY KEY)")
            self._db.executemany("INSERT OR IGNORE INTO gone VALUES (?)", ((t,) for t in texts))
            self._db.execute(
                "UPDATE examples SET split = NULL, reason = ?"
                " WHERE split = 'train' AND text IN (SELECT text FROM gone)",
                (reason,),
            )
            self._db.execute("DROP TABLE gone")

    # -- rounds -------------------------------------------------------------------------------

    def plan(self, round: int) -> Any:
        """Return a round's plan, or None when it has not begun."""
        return _load(self._one("SELECT plan FROM rounds WHERE number = ?", round))

    def set_plan(self, round: int, plan: object) -> None:
        """Record a round's plan: what it will show and the seeds it will use."""
        query = "INSERT OR IGNORE INTO rounds (number, plan) VALUES (?, ?)"
        self._db.execute(query, (round, _dump(plan)))

    def result(self, round: int) -> Any:
        """Return a finished round's result, or None."""
        return _load(self._one("SELECT result FROM rounds WHERE number = ?", round))

    def finish_round(self, round: int, result: object) -> None:
        """Record that a round is whole (use inside a transaction with a roll-back, if any)."""
        self._db.execute("UPDATE rounds SET result = ? WHERE number = ?", (_dump(result), round))

    def results(self) -> list[dict[str, Any]]:
        """Return the results of all finished rounds, in order."""
        query = "SELECT result FROM rounds WHERE result IS NOT NULL ORDER BY number"
        return [json.loads(result) for (result,) in self._db.execute(query)]

    def add_predictions(self, round: int, predictions: Sequence[Prediction]) -> None:
        """Record what the student said of a round's training texts, in their order."""
        query = "SELECT number FROM examples WHERE round = ? AND split = 'train' ORDER BY number"
        numbers = [number for (number,) in self._db.execute(query, (round,))]
        self._db.executemany(
            "INSERT INTO predictions VALUES (?, ?, ?, ?)",
            [
                (number, p.predicted, p.confidence, p.margin)
                for number, p in zip(numbers, predictions, strict=True)
            ],
        )

    def tested(self, round: int) -> list[tuple[Row, Prediction]]:
        """Return the texts of a round with what the student said of them; [] before its test."""
        query = (
            f"SELECT predicted, confidence, margin, {EXAMPLE} FROM predictions"
            " JOIN examples ON example = number WHERE round = ? ORDER BY number"
        )
        found = self._db.execute(query, (round,))
        return [(_row(*columns[3:]), Prediction(*columns[:3])) for columns in found]

    def _touch(self) -> None:
        if self._attempt is None:
            return
        self._db.execute(
            "UPDATE attempts SET seen = max(seen, ?) WHERE number = ?",
            (self.clock(), self._attempt),
        )

    def _one(self, query: str, *values: object) -> Any:
        row = self._db.execute(query, values).fetchone()
        return None if row is None else row[0]


def _row(round: int, text: str, label: str, soft: str, origin: str, *rest: Any) -> Row:
    return Row(round, Example(text, label, origin, tuple(json.loads(soft))), *rest)


def _dump(value: object) -> str:
    # Keys keep their order: that of the labels is the order of every probability vector.
    return json.dumps(value, ensure_ascii=False)


def _load(text: str | None) -> Any:
    return None if text is None else json.loads(text)
