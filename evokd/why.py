"""Where a text of a run came from: who wrote it, after what, who labelled it, what it passed.

Reads the ledger alone. `matches` finds the text that is meant, `why` tells its lineage. A text
came from those that its prompt showed: mistakes and right answers for hard and easy texts,
examples for cover; or from the seed that was edited; and they from earlier ones, back to the seeds.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property, partial
from typing import Any

from evokd.answers import in_words, unmarked
from evokd.arms.edits import edits
from evokd.calls import read_reply
from evokd.curate import is_near
from evokd.examples import Example, normalise, text_id, trigrams
from evokd.feedback import Group
from evokd.kinds import kind_of
from evokd.labelling import distribution, unanswered
from evokd.ledger import Ledger
from evokd.lineage import Ancestor, Lineage, Opinion, Shown, Told, checks
from evokd.prior import taken_off, without
from evokd.records import Call, Prediction, Row
from evokd.replay import recorded_task
from evokd.replies import parse_patterns
from evokd.rounds_told import fate
from evokd.selection import learnt
from evokd.shorter import LEVELS, clipped
from evokd.teacher import Scored, Written
from evokd.trust import was_labelled
from evokd.wording import quote

PREFIX = 4  # digits that an id may be shortened to
UNUSED = "unlabelled, not used"
LEFT_OUT = "kept, but the student that was chosen was not trained on it"


def matches(ledger: Ledger, sought: str) -> list[Told]:
    """Return the texts that may be meant: the one with this text or id, else all that fit.

    Args:
        sought: a text, an id, the first digits of one, or a part of a text in any case.

    Raises:
        InputError: when the ledger holds no run.
    """
    texts = {told.id: told for told in Record(ledger).texts()}
    exact = texts.get(text_id(sought)) or texts.get(sought.strip().lower())
    if exact or not sought.strip():
        return [exact] if exact else []
    part = sought.casefold()
    return [
        told
        for told in texts.values()
        if part in told.text.casefold() or (len(part) >= PREFIX and told.id.startswith(part))
    ]


def why(ledger: Ledger, text: str) -> Lineage:
    """Return the lineage of exactly this text.

    Raises:
        KeyError: when the run does not have it.
        InputError: when the ledger holds no run.
    """
    record = Record(ledger)
    told, row = record.told(text), record.row(text)
    also = tuple(record.one(other) for other in record.by_text.get(text, ()) if other is not row)
    if row is None:
        return Lineage(told, {}, also=also)
    call, shown = record.call(row), record.shown(row)
    labelling = tuple(record.opinions(row))
    return Lineage(
        told,
        dict(zip(record.task.names, row.example.soft, strict=False)),
        tested=record.said(row),
        call=call,
        analysis=record.analysis(call),
        weakness=_weakness(call),
        shown=shown,
        labelling=labelling,
        checks=checks(
            row,
            labelled=bool(labelling),
            twin=lambda: _twin(record, row),
            tell=partial(in_words, record.task.kind),
        ),
        ancestors=tuple(record.ancestors(shown)),
        also=also,
    )


class Record:
    """A run's ledger, indexed for questions about single texts."""

    def __init__(self, ledger: Ledger) -> None:
        self.ledger = ledger
        self.task, self.data = recorded_task(ledger)
        self.rows = ledger.rows()
        self.by_text: dict[str, list[Row]] = {}
        for row in self.rows:
            self.by_text.setdefault(row.example.text, []).append(row)
        self._tested: dict[int, dict[str, Prediction]] = {}
        self._plans: dict[int, dict[str, Any]] = {}

    @cached_property
    def own(self) -> dict[str, Told]:
        """The user's texts, and the labels' definitions, which are trained on too."""
        groups = (
            (UNUSED, [Example(text, "") for text in self.data.unlabeled]),
            ("definition of a label", kind_of(self.task).definitions()),
            ("gold test", self.data.test),
            ("gold dev", self.data.dev),
            ("seed example", self.data.seed),
        )
        return {e.text: Told(e.id, e.text, e.label, name) for name, some in groups for e in some}

    def texts(self) -> list[Told]:
        """Return every text that can be asked about, each once, the user's own first."""
        return [self.told(text) for text in dict.fromkeys((*self.own, *self.by_text))]

    def told(self, text: str) -> Told:
        """Return a text in one line; KeyError when the run does not have it."""
        row = self.row(text)
        return self.one(row) if row else self.own[text]

    def one(self, row: Row) -> Told:
        """Return what the run made of a text in one line."""
        e = row.example
        now = fate(row) if (row.round, e.text) not in self._left_out else LEFT_OUT
        return Told(e.id, e.text, e.label, now, row.round, e.origin, row.source or "")

    @cached_property
    def _left_out(self) -> set[tuple[int, str]]:
        """The kept texts that the student which was chosen in the end had not been trained on."""
        kept, taught = self.ledger.rows(split="train"), learnt(self.ledger)
        return {(r.round, r.example.text) for r in kept} - {
            (r.round, r.example.text) for r in taught
        }

    def row(self, text: str) -> Row | None:
        """Return what the run made of a text; None of the user's own, though it came up again."""
        rows, own = self.by_text.get(text), self.own.get(text)
        return min(rows, key=_kept_first) if rows and (not own or own.fate == UNUSED) else None

    def call(self, row: Row) -> Call | None:
        """Return the call that wrote a text."""
        return None if row.call is None else self.ledger.call(row.call)

    def analysis(self, call: Call | None) -> Call | None:
        """Return the call whose conversation a writing call goes on with.

        It has shown as much, or more where that had no place with the reply to it.
        """
        if call is None or len(call.request["messages"]) < 3:
            return None
        *begun, replied, _ = call.request["messages"]
        earlier = [
            c for c in self.ledger.calls(f"{_round(call)}/analyse")
            if c.reply and c.reply["text"].strip() == replied["content"]
        ]  # fmt: skip
        same = (c for c in earlier if c.request["messages"] == begun)
        return next(same, earlier[0] if len(earlier) == 1 else None)

    def said(self, row: Row) -> Prediction | None:
        """Return what the student said of a text before it was trained on it."""
        if row.round not in self._tested:
            tested = self.ledger.tested(row.round)
            self._tested[row.round] = {r.example.text: said for r, said in tested}
        return self._tested[row.round].get(row.example.text)

    def shown(self, row: Row) -> tuple[Shown, ...]:
        """Return the texts that the prompt of a text showed, or the seed that was edited to it."""
        plan, source = self._plan(row.round), row.source or ""
        if row.example.origin == "edited":
            # No row says of which seed, but the edits come out again as they did then.
            made = edits(self.task, f"round {row.round}", plan)
            found = [e.seed for e in made if e.text == row.example.text]
            return tuple(Shown(self.told(seed), "edited") for seed in found)
        if row.example.origin in ("hard", "easy") and source.startswith("group "):
            group = Group.from_json(plan["groups"][int(source.removeprefix("group ")) - 1])
            group = group.within(self._asked(row), self.task.kind)
            seen = [("wrong", s) for s in group.wrong] + [("right", s) for s in group.right]
            return tuple(
                Shown(self.told(s.text), role, s.predicted, self._sure(s.text, row.round))
                for role, s in seen
            )
        if not (asked := self._asked(row)):
            return ()
        # The plans of texts for the gate are not kept; what was kept then is all they may show.
        kept = (t for t, rows in self.by_text.items() if any(r.split == "train" for r in rows))
        planned = plan.get("examples", {}).get(source, ())
        texts = [t for t in planned if _quoted(t, asked)] or (
            [t for t in (*self.own, *kept) if _quoted(t, asked)]
        )
        return tuple(Shown(self.told(t), "example") for t in texts)

    def ancestors(self, shown: Sequence[Shown]) -> Iterator[Ancestor]:
        """Give the texts shown and all that they came from, each once, the nearest first."""
        queue = {s.told.text: s.told for s in shown}
        seen: set[str] = set()
        while queue:
            parents: dict[str, Told] = {}
            for text, told in queue.items():
                row = self.row(text)
                before = self.shown(row) if row else ()
                yield Ancestor(told, tuple(s.told.id for s in before))
                parents |= {s.told.text: s.told for s in before}
            seen |= queue.keys()
            queue = {text: told for text, told in parents.items() if text not in seen}

    def opinions(self, row: Row) -> Iterator[Opinion]:
        """Give the calls that labelled a text."""
        if not was_labelled(row):
            return
        call = self.call(row)
        begun = _round(call) if call else f"round {row.round}"
        about = f"Text: {quote(row.example.text)}"
        asked_about = [*self.ledger.calls(f"{begun}/label", about)]
        asked_about += self.ledger.calls(f"{begun}/verdicts")  # of which some mark the words meant
        for asked in asked_about:
            lines = asked.request["messages"][-1]["content"].splitlines()[-2:]
            if about not in (lines if "/label" in asked.scope else self._unmarked(lines)):
                continue  # it shows the text beside another one
            reply = None if asked.reply is None else read_reply(asked.reply, asked.tokens)
            if not isinstance(reply, Scored) or unanswered(reply):
                yield Opinion(asked, {})
                continue
            choices = asked.request["choices"]
            said = distribution(reply, choices, choices)
            told = without(self._prior(asked), said, bounded=reply.bounded).tolist()
            yield Opinion(asked, dict(zip(choices, told, strict=True)))

    def _unmarked(self, lines: Sequence[str]) -> list[str]:
        return [unmarked(line, self.task.names) for line in lines]

    def _prior(self, call: Call) -> list[float] | None:
        """Return what a labelling call was freed of, in the order of its choices."""
        number = call.scope.rpartition("/label ")[2]
        known = taken_off(self.ledger, call.scope)
        if known is None or not number.isdigit():
            return None
        by_name = dict(zip(self.task.names, known[int(number) - 1], strict=True))
        return [by_name[choice] for choice in call.request["choices"]]

    def _asked(self, row: Row) -> str:
        """Return the first question of the conversation that a text was written in."""
        call = self.call(row)
        return str(call.request["messages"][0]["content"]) if call else ""

    def _plan(self, number: int) -> dict[str, Any]:
        if number not in self._plans:
            self._plans[number] = self.ledger.plan(number) or {}
        return self._plans[number]

    def _sure(self, text: str, number: int) -> float | None:
        """Return how sure the student was of a text when a round showed it."""
        before = [row for row in self.by_text.get(text, ()) if row.round == number - 1]
        said = self.said(before[0]) if before else None
        return said.confidence if said else None


def _twin(record: Record, row: Row) -> str:
    """Name the text that a dropped text is too like."""
    place = next(i for i, other in enumerate(record.rows) if other is row)
    earlier = [r.example for r in record.rows[:place] if was_labelled(r)]
    gold = (*record.data.test, *record.data.dev, *record.data.seed)
    words, grams = normalise(row.example.text), trigrams(row.example.text)
    for like in (*gold, *earlier):
        if normalise(like.text) == words or is_near(trigrams(like.text), grams):
            return f"{row.reason}: {like.id} {quote(like.text)}"
    return row.reason or ""


def _quoted(text: str, asked: str) -> bool:
    """Say whether a question shows a text, or the beginning of it."""
    return any(quote(shown) in asked for shown in {clipped(text, level) for level in LEVELS})


def _weakness(call: Call | None) -> tuple[str, ...]:
    """Return the patterns of the analysis that a writing call goes on with."""
    messages = call.request["messages"] if call else []
    if len(messages) < 3:
        return ()
    return parse_patterns(Written(messages[-2]["content"], "stop", 0, 0, 0))


def _kept_first(row: Row) -> tuple[bool, bool]:
    # The same text may come again and be dropped; the one that was kept is meant.
    return row.split is None, not row.example.label


def _round(call: Call) -> str:
    return call.scope.rpartition("/")[0]
