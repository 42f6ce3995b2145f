from __future__ import annotations

import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from evokd.errors import InputError
from evokd.examples import Example
from evokd.ledger import Ledger, reading
from evokd.records import Prediction, Row


class Clock:
    """Tells the time that it was set to."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    opened = Ledger(tmp_path / "run.db")
    yield opened
    opened.close()


def row(text: str, *, number: int = 0, split: str | None = "train", reason: str = "") -> Row:
    return Row(number, Example(text, "a", "cover", (0.75, 0.25)), split, reason or None)  # type: ignore[arg-type]


def stop_inside(ledger: Ledger, work: Callable[[], object]) -> None:
    """Do work in a transaction that then fails as Ctrl-C does."""
    with ledger.transaction():
        work()
        raise KeyboardInterrupt


def test_a_transaction_is_all_or_nothing(ledger: Ledger) -> None:
    def work() -> None:
        ledger.add_rows([row("one")])
        ledger.set_plan(0, {"x": 1})

    with pytest.raises(KeyboardInterrupt):
        stop_inside(ledger, work)
    assert ledger.rows() == []
    assert ledger.plan(0) is None
    with ledger.transaction():
        ledger.add_rows([row("one")])
    assert [r.example.text for r in ledger.rows()] == ["one"]


def test_an_inner_transaction_joins_the_outer(ledger: Ledger) -> None:
    with pytest.raises(KeyboardInterrupt):
        stop_inside(ledger, lambda: ledger.finish_stage("inner", {"opens": "its own"}))
    assert ledger.stage("inner") is None


def test_what_was_committed_is_there_after_reopening(tmp_path: Path) -> None:
    first = Ledger(tmp_path / "run.db")
    first.set_meta("fact", {"b": 1, "a": [2]})
    first.finish_stage("done", "whole")
    first.close()
    second = Ledger(tmp_path / "run.db")
    assert (second.meta("fact"), second.stage("done")) == ({"b": 1, "a": [2]}, "whole")
    assert (second.meta("none"), second.stage("none")) == (None, None)
    second.close()


def test_records_keep_the_order_of_their_keys(ledger: Ledger) -> None:
    ledger.set_plan(0, {"cover": {"weather": 1, "alarm": 2}})
    ledger.set_meta("labels", {"weather": "", "alarm": ""})
    assert list(ledger.plan(0)["cover"]) == ["weather", "alarm"]
    assert list(ledger.meta("labels")) == ["weather", "alarm"]


def test_a_reply_never_changes(ledger: Ledger) -> None:
    ledger.reserve("round 0", [("k", "generate", {"q": 1})])
    assert ledger.reply("k") is None
    ledger.record("k", {"text": "first 🙂"}, (1, 2, 3))
    ledger.record("k", {"text": "second"}, (9, 9, 9))
    ledger.reserve("round 0", [("k", "generate", {"q": 2})])
    assert ledger.reply("k") == ({"text": "first 🙂"}, 1, 2, 3)


def test_fixed_columns_and_a_call_in_flight(ledger: Ledger) -> None:
    ledger.reserve("round 0", [("k", "score", {})])
    with closing(sqlite3.connect(ledger.path)) as other:
        assert other.execute("SELECT key, reply FROM calls").fetchall() == [("k", None)]
        ledger.record("k", {"logprobs": [-0.5]}, (1, 0, 1))
        ((reply,),) = other.execute("SELECT reply FROM calls").fetchall()
    assert reply == '{"logprobs": [-0.5]}'


def test_totals_count_finished_calls_of_a_scope(ledger: Ledger) -> None:
    for scope, key in (("round 1/cover", "a"), ("round 1/label 1", "b"), ("round 10", "c")):
        ledger.reserve(scope, [(key, "generate", {}), (f"{key} in flight", "generate", {})])
        ledger.record(key, "said", (10, 3, 7))
    assert ledger.call_totals("round 1/") == {
        "calls": 2, "tokens_in": 20, "tokens_out": 6, "decoded": 14,
    }  # fmt: skip
    assert ledger.call_totals()["calls"] == 3
    assert ledger.call_totals("gate")["tokens_in"] == 0
    assert ledger.call_totals(step="label") == ledger.call_totals("round 1/label")
    assert ledger.call_totals("round 1/", step="cover")["calls"] == 1
    assert ledger.call_totals("round 10", step="cover")["calls"] == 0
    assert ledger.call_totals(step="round 10")["calls"] == 0  # no step, though it ends a scope


rows = st.builds(
    Row,
    round=st.integers(-1, 3),
    example=st.builds(
        Example,
        text=st.text(st.characters(exclude_categories=["Cs"])),
        label=st.sampled_from(["", "a", "b 🙂"]),
        origin=st.sampled_from(["cover", "hard", "pool"]),
        soft=st.lists(st.floats(0, 1), max_size=3).map(tuple),
    ),
    split=st.sampled_from(["train", "dev", "gate", None]),
    reason=st.none() | st.text(st.characters(exclude_categories=["Cs"]), max_size=5),
    call=st.none() | st.just("f00"),
    source=st.none() | st.just("group 2"),
)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(rows, max_size=8))
def test_rows_come_back_as_they_were(
    tmp_path_factory: pytest.TempPathFactory, given_rows: list[Row]
) -> None:
    ledger = Ledger(tmp_path_factory.mktemp("rows") / "run.db")
    ledger.add_rows(given_rows)
    assert ledger.rows() == given_rows
    for number in (-1, 0, 2):
        assert ledger.rows(round=number) == [r for r in given_rows if r.round == number]
    one = [r for r in given_rows if r.round == 1 and r.split == "train"]
    assert ledger.rows(round=1, split="train") == one
    ledger.close()


def test_tested_pairs_texts_with_what_the_student_said(ledger: Ledger) -> None:
    ledger.add_rows([row("old"), row("kept 1", number=1), row("held out", number=1, split="dev")])
    ledger.add_rows([row("dropped", number=1, split=None, reason="duplicate")])
    ledger.add_rows([row("kept 2", number=1)])
    assert ledger.tested(1) == []
    said = [Prediction("a", 0.9, 0.8), Prediction("b", 0.6, 0.2)]
    ledger.add_predictions(1, said)
    assert [(r.example.text, p) for r, p in ledger.tested(1)] == [
        ("kept 1", said[0]), ("kept 2", said[1]),
    ]  # fmt: skip
    assert ledger.tested(0) == []


def test_a_prediction_for_every_text_or_none(ledger: Ledger) -> None:
    ledger.add_rows([row("one"), row("two")])
    with pytest.raises(ValueError, match="zip"), ledger.transaction():
        ledger.add_predictions(0, [Prediction("a", 0.9, 0.8)])
    assert ledger.tested(0) == []


def test_a_round_rolled_back_is_out_of_training_but_still_feedback(ledger: Ledger) -> None:
    ledger.add_rows([row("zero"), row("one", number=1), row("held", number=1, split="dev")])
    ledger.add_predictions(1, [Prediction("b", 0.9, 0.8)])
    ledger.roll_back(1)
    assert [r.example.text for r in ledger.rows(split="train")] == ["zero"]
    assert [r.example.text for r in ledger.rows(split="dev")] == ["held"]
    ((tested, _),) = ledger.tested(1)
    assert (tested.example.text, tested.reason) == ("one", "round rolled back")


def test_a_plan_is_made_once_and_a_result_ends_a_round(ledger: Ledger) -> None:
    ledger.set_plan(1, {"seed": 1})
    ledger.set_plan(1, {"seed": 2})
    assert ledger.plan(1) == {"seed": 1}
    assert (ledger.result(1), ledger.results()) == (None, [])
    ledger.finish_round(1, {"round": 1})
    assert (ledger.result(1), ledger.results()) == ({"round": 1}, [{"round": 1}])


def test_only_finished_calls_are_copied(ledger: Ledger, tmp_path: Path) -> None:
    ledger.reserve("s", [("done", "generate", {}), ("in flight", "generate", {})])
    ledger.record("done", "said", (1, 2, 3))
    other = Ledger(tmp_path / "other.db")
    other.copy_calls(ledger)
    assert (other.reply("done"), other.reply("in flight")) == (("said", 1, 2, 3), None)
    assert other.call_totals()["calls"] == 1
    other.close()


def test_a_second_one_is_refused_until_the_first_is_closed(tmp_path: Path) -> None:
    first = Ledger(tmp_path / "run.db")
    with pytest.raises(InputError, match="another evokd is at work"):
        Ledger(tmp_path / "run.db")
    first.close()
    Ledger(tmp_path / "run.db").close()


def test_another_process_is_refused(ledger: Ledger) -> None:
    script = (
        "import sys; from pathlib import Path; from evokd.ledger import Ledger\n"
        "Ledger(Path(sys.argv[1])).close()"
    )
    command = [sys.executable, "-c", script, str(ledger.path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert "another evokd is at work" in done.stderr


def test_a_file_that_is_not_a_database(tmp_path: Path) -> None:
    path = tmp_path / "run.db"
    path.write_text("my diary, not to be overwritten " * 100)
    before = path.read_bytes()
    for _ in range(2):  # the lock is given back, so that the second time says the same
        with pytest.raises(InputError, match="not a ledger"):
            Ledger(path)
    assert path.read_bytes() == before


def test_seconds_count_all_attempts_and_not_the_time_between(tmp_path: Path) -> None:
    clock = Clock()
    first = Ledger(tmp_path / "run.db", clock=clock)
    clock.now += 7
    first.close()
    clock.now += 1000
    second = Ledger(tmp_path / "run.db", clock=clock)
    clock.now += 5
    assert second.seconds() == 12
    second.close()


def test_an_attempt_that_was_killed_counts_up_to_its_last_record(tmp_path: Path) -> None:
    clock = Clock()
    killed = Ledger(tmp_path / "run.db", clock=clock)
    clock.now += 3
    killed.finish_stage("last", {})
    clock.now += 50
    killed._db.close()  # as a kill does: nothing is noted any more
    killed._lock.close()
    again = Ledger(tmp_path / "run.db", clock=clock)
    assert again.seconds() == 3
    again.close()


def test_a_clock_that_is_set_back_takes_nothing_away(tmp_path: Path) -> None:
    clock = Clock()
    ledger = Ledger(tmp_path / "run.db", clock=clock)
    clock.now += 10
    assert ledger.seconds() == 10
    clock.now -= 5000
    assert ledger.seconds() == 10
    ledger.close()


def test_a_ledger_that_is_only_read_tells_how_long_it_took(tmp_path: Path) -> None:
    ticks = iter(range(0, 1000, 10))
    ledger = Ledger(tmp_path / "run.db", clock=lambda: float(next(ticks)))
    seconds = ledger.seconds()
    ledger.set_meta("x", 1)
    with reading(tmp_path / "run.db") as beside:
        assert beside.seconds() == seconds > 0
    ledger.close()
