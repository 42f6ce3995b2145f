"""Budgets: every arm keeps them, and an attempt that goes on decides as the first one did."""

from __future__ import annotations

import itertools
import random
import tempfile
from collections import Counter
from collections.abc import Sequence
from contextlib import closing, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fake_kinds import AnyLearner, AnyTeacher, make_kind_task
from fake_run import Notes, grow, make_task, tables
from fakes import LABELS, FakeLearner, ScriptedTeacher, Stopped, digest, user
from hypothesis import given, settings
from hypothesis import strategies as st

from evokd.arms import ARMS
from evokd.budget import Budget, loop_tokens, most_tokens
from evokd.calls import Calls, refused
from evokd.errors import TeacherError
from evokd.gathering import within
from evokd.kinds import kind_of
from evokd.ledger import Ledger
from evokd.records import Row
from evokd.replay import replay
from evokd.settings import BudgetSettings
from evokd.spending import tokens
from evokd.task import Task
from evokd.teacher import Generate, Score, Scored, Written

WIDTH = 4
ROUNDS = {"rounds": 40}
PATIENT = {"patience": 40, "tolerance": 1.0}


class Costly(ScriptedTeacher):
    """Costs what a seed says, never more than the worst case of a request.

    Attributes:
        batches: tokens of every four requests that reached it, in their order.
    """

    def __init__(self, seed: int = 0, **how: Any) -> None:
        super().__init__(**how)
        self.seed, self.calls_made = seed, 0
        self.dearest = 0

    def _cost(self, request: Generate | Score) -> tuple[int, int]:
        rng = random.Random(digest(self.seed, request))
        most = most_tokens(request)
        spent = rng.choice((most, rng.randint(2, most), rng.randint(2, 40)))
        self.dearest = max(self.dearest, spent)
        return spent - spent // 3, spent // 3

    def _write(self, request: Generate) -> Written:
        read, written = self._cost(request)
        return replace(super()._write(request), tokens_in=read, tokens_out=written)

    def _score(self, request: Score) -> Scored:
        read, written = self._cost(request)
        return replace(super()._score(request), tokens_in=read, tokens_out=written)


def small(folder: Path, **groups: Any) -> Task:
    """A task whose budget, and nothing else, ends its run."""
    loop = ROUNDS | groups.pop("loop", {})
    return make_task(folder, teacher={"sequences": WIDTH}, selection=PATIENT, loop=loop, **groups)


def spent_by(folder: Path) -> int:
    ledger = Ledger(folder / "run.db", attempt=False)
    try:
        return loop_tokens(ledger)
    finally:
        ledger.close()


# -- what is asked --------------------------------------------------------------------------------


@pytest.mark.parametrize("arm", sorted(ARMS))
@settings(max_examples=2, deadline=None)
@given(cap=st.integers(5_000, 60_000), seed=st.integers(0, 99))
def test_every_arm_keeps_its_tokens(arm: str, cap: int, seed: int) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        task = small(folder / "task", pool=40, budget={"tokens": cap}, loop={"arm": arm})
        teacher, notes = Costly(seed), Notes()
        with suppress(TeacherError):  # a budget too small for a single label that is kept
            grow(task, folder / "run", teacher, watch=notes)
        spent = spent_by(folder / "run")
        assert spent < cap + WIDTH * teacher.dearest
        if arm in ("evokd", "static"):  # they always have something more to ask
            assert spent >= cap
        whole = tables(folder / "run" / "run.db")
        assert all(reply is not None for _, _, _, _, reply, *_ in whole["calls"])


@pytest.mark.parametrize("arm", ["zerogen", "auggpt", "pool", "evokd"])
def test_texts_to_hold_out_leave_half_of_a_small_budget_to_the_arm(
    arm: str, tmp_path: Path
) -> None:
    """They are written and labelled apart, unless a round's own texts are held out."""
    cap = 12_000
    loop = {"arm": arm, "rounds": 3}
    task = small(tmp_path / "task", pool=40, budget={"tokens": cap}, loop=loop)
    task = task.model_copy(
        update={"method": task.method.model_copy(update={"init": "none"}),
                "selection": task.selection.model_copy(update={"texts": 40})}
    )  # fmt: skip
    teacher = Costly(1)
    grow(task, tmp_path / "run", teacher)
    with closing(Ledger(tmp_path / "run" / "run.db", attempt=False)) as ledger:
        apart = tokens(ledger.call_totals("round 0/dev"))
        writing = tokens(ledger.call_totals("round 0/dev", step="cover"))
        assert ledger.rows(split="train")
    assert 0 < apart < cap / 2 + WIDTH * teacher.dearest
    assert writing < cap / 4 + WIDTH * teacher.dearest


class CostlyOfKinds(Costly, AnyTeacher):
    """Answers the questions of every kind, at some cost."""


@pytest.mark.parametrize("kind", ["multilabel", "ner"])
@pytest.mark.parametrize("arm", ["evokd", "static", "auggpt", "pool"])
def test_every_kind_keeps_its_tokens(arm: str, kind: str, tmp_path: Path) -> None:
    cap = 20_000
    task = make_kind_task(
        tmp_path / "task", kind, pool=40, teacher={"sequences": WIDTH}, selection=PATIENT,
        loop=ROUNDS | {"arm": arm}, budget={"tokens": cap},
    )  # fmt: skip
    teacher = CostlyOfKinds(3)
    with suppress(TeacherError):
        grow(task, tmp_path / "run", teacher, AnyLearner(task))  # type: ignore[arg-type]
    spent = spent_by(tmp_path / "run")
    assert cap / 2 < spent < cap + WIDTH * teacher.dearest


@pytest.fixture
def ledger(tmp_path: Path) -> Any:
    opened = Ledger(tmp_path / "run.db")
    yield opened
    opened.close()


class Fixed(ScriptedTeacher):
    """Every call costs as much, and the sizes of what it is asked at once are noted."""

    def __init__(self, cost: int) -> None:
        super().__init__()
        self.cost = cost
        self.at_once: list[int] = []

    def generate(self, requests: Sequence[Generate], on_done: Any = None) -> list[Written]:
        self.at_once.append(len(requests))
        return super().generate(requests, on_done)

    def _write(self, request: Generate) -> Written:
        return Written("- a pattern", "stop", self.cost - 1, 1, self.cost)


def writes(count: int, longest: int = 16) -> list[Generate]:
    return [Generate(user("why?"), seed=n, max_tokens=longest) for n in range(count)]


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 60), st.integers(1, 9), st.integers(1, 5000))
def test_a_batch_begins_only_below_the_cap(count: int, width: int, cap: int) -> None:
    with tempfile.TemporaryDirectory() as name:
        ledger = Ledger(Path(name) / "run.db")
        teacher = Fixed(100)
        calls = Calls(
            ledger, lambda: teacher, budget=BudgetSettings(tokens=cap), width=width
        )  # fmt: skip
        said = calls.generate("round 0/analyse", writes(count))
        # Batch by batch, each as large as `width`, while less than the cap is spent.
        asked = next(n for n in itertools.count(0, width) if n >= count or 100 * n >= cap)
        assert [not refused(reply) for reply in said] == [n < asked for n in range(count)]
        ledger.close()


def test_far_from_the_cap_all_is_asked_at_once(ledger: Ledger) -> None:
    requests = writes(64)
    worst = sum(map(most_tokens, requests))
    teacher = Fixed(100)
    calls = Calls(ledger, lambda: teacher, budget=BudgetSettings(tokens=worst), width=8)
    calls.generate("round 0/cover", requests)
    assert teacher.at_once == [64]


def test_near_the_cap_it_is_asked_in_ever_smaller_parts(ledger: Ledger) -> None:
    requests = writes(64)
    teacher = Fixed(100)
    calls = Calls(ledger, lambda: teacher, budget=BudgetSettings(tokens=6000), width=4)
    calls.generate("round 0/cover", requests)
    assert sum(teacher.at_once) == 60
    assert teacher.at_once == sorted(teacher.at_once, reverse=True)
    assert teacher.at_once[0] > 4 == teacher.at_once[-1]


def test_texts_for_the_gate_are_outside_the_budget(ledger: Ledger) -> None:
    teacher = Fixed(100)
    calls = Calls(ledger, lambda: teacher, budget=BudgetSettings(tokens=250), width=1)
    assert not any(map(refused, calls.generate("gate 0/cover", writes(9))))
    assert loop_tokens(ledger) == 0
    said = calls.generate("round 0/cover", writes(9))
    assert [refused(reply) for reply in said] == [None] * 3 + ["budget"] * 6
    assert not any(map(refused, calls.generate("gate 1/cover", writes(9))))
    assert (loop_tokens(ledger), calls.spent()) == (300, True)


def test_a_refusal_costs_nothing_counts_as_no_call_and_stays(ledger: Ledger) -> None:
    calls = Calls(ledger, lambda: Fixed(100), budget=BudgetSettings(tokens=100), width=1)
    calls.generate("round 0/cover", writes(3))
    assert ledger.call_totals() == {"calls": 1, "tokens_in": 99, "tokens_out": 1, "decoded": 100}
    later = Calls(ledger, None).generate("round 0/cover", writes(3))
    assert [reply.finish for reply in later] == ["stop", "budget", "budget"]
    score = Score(user("?"), LABELS)
    assert refused(calls.score("round 0/label 1", [score])[0])
    assert refused(Calls(ledger, None).score("round 0/label 1", [score])[0])


def test_progress_ticks_for_what_is_refused_too(ledger: Ledger) -> None:
    calls = Calls(ledger, lambda: Fixed(100), budget=BudgetSettings(tokens=100), width=2)
    ticks: list[int] = []
    calls.generate("round 0/cover", writes(7), lambda: ticks.append(1))
    assert len(ticks) == 7


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6), st.integers(0, 10**6), st.integers(1, 9))
def test_what_fits_is_whole_batches(cap: int, less: int, width: int) -> None:
    with tempfile.TemporaryDirectory() as name:
        ledger = Ledger(Path(name) / "run.db")
        budget = Budget(BudgetSettings(tokens=max(1, cap)), ledger, width, spent=0)
        requests = writes(40)
        count = budget.fitting(requests, less=less)
        assert width <= count or count == 40
        assert count % width == 0 or count == 40
        # All but the last batch stay below the cap, whatever they cost.
        before = (count - 1) // width * width
        assert before == 0 or sum(map(most_tokens, requests[:before])) < max(1, cap) + less
        ledger.close()


# -- labelling ------------------------------------------------------------------------------------


class Sure(ScriptedTeacher):
    """Finds no entities, says yes to everything, and every call costs ten tokens."""

    def _write(self, request: Generate) -> Written:
        return Written("[]", "stop", 9, 1, 10)

    def _score(self, request: Score) -> Scored:
        best = [0.0, *(-9.0 for _ in request.choices[1:])]
        return Scored(tuple(best), 9, 1, 10)


@pytest.mark.parametrize(
    ("kind", "calls_a_text"), [("classification", 2), ("multilabel", 6), ("ner", 2)]
)
@pytest.mark.parametrize("texts_paid", [0, 1, 3])
def test_the_budget_cuts_off_whole_texts(
    ledger: Ledger, kind: str, calls_a_text: int, texts_paid: int
) -> None:
    task = Task.model_validate(
        {
            "name": "t",
            "kind": kind,
            "domain": "requests",
            "labels": dict.fromkeys(LABELS, "?"),
            "data": {"seed": "s"},
        }
    )
    paid = 10 * calls_a_text * texts_paid + 1  # and one call of the next text
    budget = BudgetSettings(tokens=paid)
    calls = Calls(ledger, lambda: Sure(), budget=budget, width=1)
    labelled = kind_of(task).label(calls, "round 0", ["a b", "c d", "e f", "g h"], Notes().progress)
    assert [one.reason == "budget" for one in labelled] == [n >= texts_paid for n in range(4)]
    assert not any(one.label for one in labelled if one.reason == "budget")


# -- the whole loop -------------------------------------------------------------------------------


def ended(folder: Path, task: Task, teacher: ScriptedTeacher | None = None) -> Notes:
    notes = Notes()
    grow(task, folder, teacher or Costly(), watch=notes)
    return notes


def test_the_loop_says_why_it_ends(tmp_path: Path) -> None:
    notes = ended(tmp_path / "run", small(tmp_path / "task", budget={"tokens": 60_000}))
    assert notes.said == ["the budget is spent: the loop ends here"]
    assert 0 < len(notes.results) < 40


@pytest.mark.parametrize("cap", [40_000, 60_000, 80_000])
def test_every_proposal_is_a_row_and_the_round_is_finished(tmp_path: Path, cap: int) -> None:
    task = small(tmp_path / "task", budget={"tokens": cap})
    ended(tmp_path / "run", task)
    ledger = Ledger(tmp_path / "run" / "run.db")
    results = ledger.results()
    rows = [row for row in ledger.rows() if row.round >= 0]
    assert [result["written"] for result in results] == [
        len([row for row in rows if row.round == result["round"]]) for result in results
    ]
    for row in rows:
        assert (row.reason != "budget") or (row.split is None and not row.example.label)
    assert not any("budget" in result["dropped"] for result in results[:-1])
    assert ledger.rows(split="gate"), "the gate's texts come after the budget"
    ledger.close()


def test_a_small_budget_still_covers_every_label(tmp_path: Path) -> None:
    task = small(tmp_path / "task", budget={"tokens": 6000}, loop={"cover": 60})
    ended(tmp_path / "run", task, ScriptedTeacher())
    ledger = Ledger(tmp_path / "run" / "run.db")
    kept = Counter(row.example.label for row in ledger.rows(split="train"))
    dropped = [row for row in ledger.rows(round=0) if row.reason == "budget"]
    assert dropped
    assert set(kept) == set(LABELS)
    assert max(kept.values()) <= 3 * min(kept.values())
    ledger.close()


@pytest.mark.parametrize("cap", [6_000, 12_000, 24_000])
def test_a_start_is_labelled_however_long_its_writing_would_take(tmp_path: Path, cap: int) -> None:
    task = small(tmp_path / "task", budget={"tokens": cap}, loop={"cover": 600})
    ended(tmp_path / "run", task, ScriptedTeacher())
    ledger = Ledger(tmp_path / "run" / "run.db", attempt=False)
    written = tokens(ledger.call_totals("round 0/cover"))
    assert cap / 2 <= written < cap / 2 + 1_000  # at most a batch over its half
    assert any(row.reason == "budget" for row in ledger.rows(round=0))
    assert {row.example.label for row in ledger.rows(split="train")} == set(LABELS)
    ledger.close()


def test_a_budget_for_nothing_is_a_user_error(tmp_path: Path) -> None:
    task = small(tmp_path / "task", budget={"tokens": 1})
    with pytest.raises(TeacherError, match="none of the teacher's first texts") as refusal:
        ended(tmp_path / "run", task)
    assert refusal.value.hint == "raise the budget"


@pytest.mark.parametrize("cap", [1, 4, 17, 40])
def test_no_more_training_texts_than_allowed(tmp_path: Path, cap: int) -> None:
    task = small(tmp_path / "task", budget={"examples": cap})
    notes = ended(tmp_path / "run", task, ScriptedTeacher())
    ledger = Ledger(tmp_path / "run" / "run.db")
    kept = Counter(row.example.label for row in ledger.rows(split="train"))
    cut = {row.example.label for row in ledger.rows(round=0) if row.reason == "budget"}
    ledger.close()
    assert kept.total() == cap
    assert notes.said == ["as many texts are kept as the budget allows: the loop ends here"]
    if cap < 20:  # the first round alone: every label in turn, as long as it has any left
        assert cut
        assert all(kept[label] >= max(kept.values()) - 1 for label in cut)


def test_over_the_examples_rows_are_dropped_and_dev_stays(tmp_path: Path) -> None:
    from evokd.examples import Example

    kind = kind_of(make_task(tmp_path / "task"))
    rows = [Row(0, Example(f"{n}", LABELS[n // 4]), "dev" if n % 4 == 3 else "train")
            for n in range(12)]  # fmt: skip
    assert within(kind, rows, None) == rows
    kept = within(kind, rows, 4)
    assert [r for r in kept if r.split == "dev"] == [r for r in rows if r.split == "dev"]
    assert Counter(r.example.label for r in kept if r.split == "train") == {
        LABELS[0]: 2, LABELS[1]: 1, LABELS[2]: 1,
    }  # fmt: skip
    assert {r.reason for r in kept if r.split is None} == {"budget"}


class Timed(ScriptedTeacher):
    """Every answer moves a clock on."""

    def __init__(self, now: list[float], seconds: float) -> None:
        super().__init__()
        self.now, self.seconds = now, seconds

    def _all(self, requests: Sequence[Any], answer: Any, on_done: Any) -> list[Any]:
        def waits(request: Any) -> Any:
            self.now[0] += self.seconds
            return answer(request)

        return super()._all(requests, waits, on_done)


class Sitting(FakeLearner):
    """Every training moves a clock on by a minute."""

    def __init__(self, labels: Sequence[str], now: list[float]) -> None:
        super().__init__(labels)
        self.now = now

    def fit(self, *examples: Any, **how: Any) -> Any:
        self.now[0] += 60
        return super().fit(*examples, **how)


def ended_at(
    task: Task, folder: Path, teacher: Timed, learner: FakeLearner | None = None
) -> list[float]:
    """Run a task; return when its watcher was told anything. The first time is the loop's end."""
    notes, told = Notes(), list[float]()
    notes.progress = lambda what, total: lambda: None  # type: ignore[method-assign]
    notes.note = lambda text: told.append(teacher.now[0])  # type: ignore[method-assign]
    grow(task, folder, teacher, learner, watch=notes, clock=lambda: teacher.now[0])
    return told


def test_minutes(tmp_path: Path) -> None:
    """A clock that a call moves by a second: the loop stops at the cap and one batch behind."""
    teacher = Timed([0.0], 1.0)
    told = ended_at(small(tmp_path / "task", budget={"minutes": 3}), tmp_path / "run", teacher)
    assert 180 <= told[0] <= 180 + WIDTH
    assert teacher.now[0] > told[0], "the gate's texts are outside the budget"


@pytest.mark.parametrize("minutes", [4, 4.5, 5])
def test_minutes_leave_room_for_the_training_of_the_round(minutes: float, tmp_path: Path) -> None:
    teacher = Timed([0.0], 0.1)
    task = small(tmp_path / "task", budget={"minutes": minutes})
    told = ended_at(task, tmp_path / "run", teacher, Sitting(task.names, teacher.now))
    assert 60 * minutes - 70 <= told[0] <= 60 * minutes + 0.1 * WIDTH


def test_the_room_for_a_training_outlives_an_attempt(tmp_path: Path) -> None:
    for seconds in (40.0, 0.0, 20.0):
        with closing(Ledger(tmp_path / "run.db", clock=lambda: 0.0)) as ledger:
            budget = Budget(BudgetSettings(minutes=1), ledger, WIDTH)
            budget.keep_free(seconds)
            assert budget.seconds_left() == 60 - 40
            assert budget.seconds_left(0.5) == (60 - 40) / 2, "the room is whole, and shared once"


def test_a_model_that_thinks_may_cost_twice_its_reply(tmp_path: Path) -> None:
    short, long = (Generate(user("a"), max_tokens=most) for most in (1, 1001))
    assert most_tokens(long) - most_tokens(short) == 2000


def test_minutes_that_are_over_before_the_first_round_are_told(tmp_path: Path) -> None:
    now = [0.0]
    task = small(tmp_path / "task", budget={"minutes": 0.5})
    for _ in range(2):  # and again when it is tried again
        with pytest.raises(TeacherError) as told:
            grow(task, tmp_path / "run", ScriptedTeacher(), Sitting(task.names, now),
                 clock=lambda: now[0])  # fmt: skip
        assert told.value.hint == "raise the budget"


# -- going on, and replay -------------------------------------------------------------------------


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Task, Path, int]:
    """A run that its budgets ended."""
    folder = tmp_path_factory.mktemp("budget")
    task = small(folder / "task", budget={"tokens": 90_000}, pool=4)
    teacher = Costly()
    grow(task, folder / "run", teacher)
    return task, folder / "run" / "run.db", teacher.answered


@pytest.mark.parametrize("every", [7, 29])
def test_stopped_every_few_calls(whole: tuple[Task, Path, int], tmp_path: Path, every: int) -> None:
    task, file, calls = whole
    answered = 0
    for _ in range(400):
        teacher = Costly(fail_after=every)
        stopped = True
        with suppress(Stopped):
            grow(task, tmp_path / "run", teacher)
            stopped = False
        answered += teacher.answered
        if not stopped:
            break
    assert answered == calls
    ours, theirs = tables(tmp_path / "run" / "run.db"), tables(file)
    for table in theirs:
        assert ours[table] == theirs[table], table


def test_stopped_at_every_training(whole: tuple[Task, Path, int], tmp_path: Path) -> None:
    task, file, _ = whole
    for _ in range(60):
        with suppress(Stopped):
            grow(task, tmp_path / "run", Costly(), FakeLearner(fail_at=1))
            break
    assert tables(tmp_path / "run" / "run.db") == tables(file)


@pytest.mark.parametrize("caps", [{"tokens": 90_000}, {"examples": 15}, {"minutes": 0.45}])
def test_a_run_that_its_budget_ended_is_replayed(tmp_path: Path, caps: dict[str, Any]) -> None:
    ticking = itertools.count(0, 0.1)
    task = small(tmp_path / "task", budget=caps)
    grow(task, tmp_path / "run", Costly(), clock=lambda: next(ticking))
    ledger = Ledger(tmp_path / "run" / "run.db")
    rows = ledger.rows()
    assert any(row.reason == "budget" for row in rows)
    assert replay(ledger) == rows
    ledger.close()
