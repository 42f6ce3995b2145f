"""Dev decides: which round is kept, which is rolled back, and when the loop ends."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from fake_run import Run, grow, make_task, worse
from fakes import ScriptedTeacher

from evokd.examples import Example
from evokd.ledger import Ledger, reading
from evokd.selection import Selection, selects_by_gold
from evokd.settings import SelectionSettings
from evokd.task import Task, TaskData, load_data


def test_a_round_that_hurts_is_rolled_back(tmp_path: Path) -> None:
    task = make_task(tmp_path / "task", loop={"rounds": 3})
    made = Run(tmp_path / "run", task, spoil=worse(at=2))  # fit 0 is seed-only, fit 1 round 0
    assert [r["rolled_back"] for r in made.results] == [False, True, True, True]
    kept = [row for row in made.rows(split="train") if row.round >= 0]
    assert kept
    assert {row.round for row in kept} == {0}
    hurt = [row for row in made.rows() if row.reason == "round rolled back"]
    # A result tells what was kept before dev decided.
    assert Counter(row.round for row in hurt) == {n: made.results[n]["kept"] for n in (1, 2, 3)}
    # Every later round goes on from the last student that counts.
    assert {name for what, name in made.learner.log if what == "load"} == {"seed", "00"}
    assert {p.name for p in (tmp_path / "run" / "rounds").iterdir()} == {"seed", "00"}


def test_a_small_fall_is_tolerated(tmp_path: Path) -> None:
    task = make_task(tmp_path / "task", selection={"tolerance": 1.0})
    made = Run(tmp_path / "run", task, spoil=worse(at=2))
    assert made.results[1]["dev"]["macro_f1"] < made.results[0]["dev"]["macro_f1"]
    assert not any(r["rolled_back"] for r in made.results)


def test_the_loop_ends_when_dev_stays_flat(tmp_path: Path) -> None:
    task = make_task(tmp_path / "task", loop={"rounds": 6}, selection={"patience": 2})
    made = Run(tmp_path / "run", task, spoil=worse(at=2))
    assert len(made.results) == 3
    assert any("has not risen" in note for note in made.notes.said)
    fits = made.learner.fits
    grow(task, tmp_path / "run", ScriptedTeacher(fail_after=0), made.learner)
    assert made.learner.fits == fits


def test_gold_dev_decides_when_given(tmp_path: Path) -> None:
    task = make_task(tmp_path / "task", dev=3)
    made = Run(tmp_path / "run", task)
    assert made.rows(split="dev") == []
    assert all(r["dev"] == r["gold_dev"] for r in made.results)
    assert made.results[0]["dev"]["n"] == 9
    gold = {e.text for e in load_data(task).dev}
    assert not gold & {text for fitted in made.fits() for text in fitted}


def test_a_gold_dev_can_be_for_the_report_alone(tmp_path: Path) -> None:
    task = make_task(tmp_path / "task", dev=3, selection={"by": "teacher"})
    made = Run(tmp_path / "run", task)
    held_out = made.rows(split="dev")
    assert held_out
    assert all(r["dev"]["n"] == len(held_out) for r in made.results)
    assert all(r["gold_dev"]["n"] == 9 for r in made.results)


def test_who_selects() -> None:
    example = Example("wake me", "alarm")
    for by, with_dev, without in (("auto", True, False), ("teacher", False, False)):
        task = Task.model_construct(selection=SelectionSettings(by=by))  # type: ignore[arg-type]
        assert selects_by_gold(task, TaskData(seed=(example,), dev=(example,))) is with_dev
        assert selects_by_gold(task, TaskData(seed=(example,))) is without


def test_the_later_of_equal_rounds_is_the_best(tmp_path: Path) -> None:
    task = make_task(tmp_path / "task")
    ledger = Ledger(tmp_path / "run.db")
    selection = Selection(task, load_data(task), ledger)
    for number, f1 in enumerate((0.5, 0.8, 0.8, 0.6)):
        ledger.set_plan(number, {})
        ledger.finish_round(number, {"round": number, "dev": {"macro_f1": f1}})
    assert selection.best_round() == 2
    assert not selection.is_flat()  # the first of the best is two rounds old
    ledger.close()


def test_what_decides_is_named_and_the_seeds_end_no_loop(tmp_path: Path) -> None:
    """Every student was trained on the seeds; what it makes of them says nothing of its rounds."""
    for number, (arm, dev, by) in enumerate(
        (
            ("eda", 0, "the seed examples"),
            ("eda", 3, "gold dev"),
            ("static", 0, "teacher-made dev"),
        )
    ):
        folder = tmp_path / str(number)
        few = {"patience": 1, "tolerance": 1.0}
        task = make_task(folder, dev=dev, loop={"arm": arm, "rounds": 3}, selection=few)
        made = Run(folder / "run", task, spoil=worse(at=2))
        with reading(made.file) as ledger:
            assert Selection(task, load_data(task), ledger).by == by
            ended = ledger.stage("loop")["ended"]
        assert (ended == "all rounds are run") == (by == "the seed examples")
        assert len(made.results) == (4 if by == "the seed examples" else 2)
