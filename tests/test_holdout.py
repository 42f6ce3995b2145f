from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from fake_run import make_task, prompts_of
from fakes import ScriptedTeacher, Stopped, texts_of

from evokd.calls import Calls
from evokd.gathering import known_texts
from evokd.holdout import BATCHES, GATE_ROUND, write_gate_texts
from evokd.ledger import Ledger
from evokd.records import Row
from evokd.task import load_data
from evokd.teacher import Generate
from evokd.watch import Silent

Write = Callable[[ScriptedTeacher], int]


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    opened = Ledger(tmp_path / "run.db")
    opened.add_rows([Row(0, e, "train") for e in texts_of(6, 10)])
    opened.add_rows([Row(0, e, "dev") for e in texts_of(7, 2)])
    yield opened
    opened.close()


@pytest.fixture
def write(ledger: Ledger, tmp_path: Path) -> Write:
    task = make_task(tmp_path / "task")
    data = load_data(task)

    def write(teacher: ScriptedTeacher) -> int:
        calls, known = Calls(ledger, lambda: teacher), known_texts(data, ledger)
        return write_gate_texts(task, data, ledger, calls, known, Silent())

    return write


def test_there_are_enough_and_none_is_trained_on(ledger: Ledger, write: Write) -> None:
    train = ledger.rows(split="train")
    count = write(ScriptedTeacher())
    gate = ledger.rows(split="gate")
    assert len(gate) == count >= 20
    assert {row.round for row in gate} == {GATE_ROUND}
    assert ledger.rows(split="train") == train
    assert not {r.example.text for r in gate} & {r.example.text for r in ledger.rows(round=0)}


def test_dropped_texts_are_recorded_with_a_reason(ledger: Ledger, write: Write) -> None:
    write(ScriptedTeacher())
    dropped = [row for row in ledger.rows(round=GATE_ROUND) if row.split is None]
    assert dropped
    assert all(row.reason for row in dropped)


def test_no_test_or_held_out_text_is_shown(ledger: Ledger, write: Write, tmp_path: Path) -> None:
    data = load_data(make_task(tmp_path / "task"))
    write(ScriptedTeacher(leaks=[e.text for e in data.test]))
    assert any(row.reason == "leak: test" for row in ledger.rows())
    shown = "\n".join(prompts_of(ledger.path))
    hidden = [*data.test, *(row.example for row in ledger.rows(split="dev"))]
    assert not [e.text for e in hidden if e.text in shown]


def test_enough_is_enough(ledger: Ledger, write: Write) -> None:
    write(ScriptedTeacher())
    teacher = ScriptedTeacher()
    write(teacher)
    assert teacher.asked == []


def test_a_teacher_with_nothing_new_is_asked_only_so_often(ledger: Ledger, write: Write) -> None:
    class Dull(ScriptedTeacher):
        def _text(self, *asked: object) -> str:
            return '["rain and storm again"]'

    teacher = Dull(faulty=0)
    assert write(teacher) == 1
    assert ledger.stage(f"gate texts {BATCHES - 1}") is not None
    asked = len(teacher.asked)
    assert write(teacher) == 1
    assert len(teacher.asked) == asked


def test_it_takes_no_more_than_the_run_and_a_batch(
    ledger: Ledger, write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Dull(ScriptedTeacher):
        def _text(self, *asked: object) -> str:
            return '["rain and storm again"]'

    monkeypatch.setattr("evokd.holdout.FEW", 1)
    assert write(Dull(faulty=0)) == 1, "this run took no token"
    assert ledger.stage("gate texts 0") is not None
    assert ledger.stage("gate texts 1") is None
    asked = ledger.call_totals("gate 0/")
    ledger.reserve("round 0/cover", [("a key", "generate", {})])
    ledger.record("a key", "a reply", (asked["tokens_in"] + asked["tokens_out"] + 1, 0, 0))
    write(Dull(faulty=0))
    assert ledger.stage("gate texts 1") is not None
    assert ledger.stage("gate texts 2") is None


def test_a_budget_of_tokens_holds_for_it_too(tmp_path: Path) -> None:
    class Dull(ScriptedTeacher):
        def _text(self, *asked: object) -> str:
            return '["rain and storm again"]'

    for budget, batches in (({"tokens": 1000}, 1), ({"minutes": 1000}, BATCHES)):
        name = next(iter(budget))
        task = make_task(tmp_path / name, export={"gate_texts": 60}, budget=budget)
        data, ledger = load_data(task), Ledger(tmp_path / f"{name}.db")
        ledger.reserve("round 0/cover", [("a key", "generate", {})])
        ledger.record("a key", "a reply", (1, 0, 0))
        known, calls = known_texts(data, ledger), Calls(ledger, lambda: Dull(faulty=0))
        write_gate_texts(task, data, ledger, calls, known, Silent())
        asked = [n for n in range(BATCHES) if ledger.stage(f"gate texts {n}") is not None]
        assert len(asked) == batches, name
        ledger.close()


def test_every_prompt_shows_examples_even_of_a_label_with_one(tmp_path: Path) -> None:
    task = make_task(tmp_path / "task", export={"gate_texts": 60})
    data, ledger = load_data(task), Ledger(tmp_path / "run.db")
    teacher = ScriptedTeacher(faulty=2)  # half of its replies are of no use: more batches
    known = known_texts(data, ledger)
    write_gate_texts(task, data, ledger, Calls(ledger, lambda: teacher), known, Silent())
    asked = [r.messages[0].content for r in teacher.asked if isinstance(r, Generate)]
    assert ledger.stage("gate texts 1") is not None
    assert not [prompt for prompt in asked if "Examples of this class: \n" in prompt]
    ledger.close()


def test_stopped_in_the_middle_it_goes_on_where_it_was(tmp_path: Path) -> None:
    task = make_task(tmp_path / "task")
    data, rows = load_data(task), []
    for stops in ([], [1, 20, 33]):
        ledger = Ledger(tmp_path / f"{len(stops)}.db")
        for stop in [*stops, None]:
            teacher = ScriptedTeacher(fail_after=stop)
            calls, known = Calls(ledger, lambda t=teacher: t), known_texts(data, ledger)
            if stop is None:
                write_gate_texts(task, data, ledger, calls, known, Silent())
            else:
                with pytest.raises(Stopped):
                    write_gate_texts(task, data, ledger, calls, known, Silent())
        rows.append(ledger.rows())
        ledger.close()
    assert rows[0] == rows[1]
