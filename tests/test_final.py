"""Which student is the final one."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fake_kinds import AnyLearner, AnyTeacher, entities, make_kind_task
from fake_run import grow, make_task
from fakes import LABELS, FakeLearner, ScriptedTeacher, digest
from test_arms_run import TWO, Grown

from evokd.examples import Example
from evokd.final import final_student
from evokd.kinds import kind_of
from evokd.ledger import Ledger, reading
from evokd.loop import Loop
from evokd.selection import Selection
from evokd.task import Task, load_data
from evokd.teacher import Score, Scored
from evokd.watch import Silent

OWN = {"seed", "definition"}


class Notes(Silent):
    """Keeps what a watcher is told."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def note(self, text: str) -> None:
        self.told.append(text)


class Guessing(ScriptedTeacher):
    """Gives labels that have nothing to do with the text."""

    def _score(self, request: Score) -> Scored:
        text = request.messages[-1].content.rpartition("Text: ")[2]
        likely = request.choices.index(LABELS[digest(text) % len(LABELS)])
        logprobs = np.full(len(request.choices), -5.0)
        logprobs[likely] = -0.01
        return Scored(tuple(logprobs.tolist()), 9, len(request.choices), 9)


class Misnaming(AnyTeacher):
    """Gives entities another type than their own, in three texts of four."""

    def _text(self, asked: str, rng: random.Random, number: int) -> str:
        if "Which entities are in this text?" not in asked:
            return super()._text(asked, rng, number)
        text = json.loads(asked.rpartition("Text: ")[2])
        turn = 1 if digest(text) % 4 else 0
        other = dict(zip(LABELS, [*LABELS[turn:], *LABELS[:turn]], strict=True))
        found = entities(text)
        return json.dumps([{"text": text[s.start : s.end], "type": other[s.label]} for s in found])


def ended(
    task: Task, folder: Path, learner: FakeLearner, watch: Silent | None = None
) -> tuple[dict[str, Any], Any]:
    """Return the record of the final student of a run that is there, and how its loop ended."""
    ledger = Ledger(folder / "run.db", attempt=False)
    loop = Loop(task, load_data(task), ledger=ledger, calls=None, learner=learner,  # type: ignore[arg-type]
                folder=folder, watch=watch or Silent())  # fmt: skip
    try:
        return final_student(loop, folder / "student"), ledger.stage("loop")["ended"]
    finally:
        ledger.close()


def own(task: Task) -> list[str]:
    """Return the texts that are there without a teacher."""
    return [e.text for e in (*load_data(task).seed, *kind_of(task).definitions())]


def small(number: int, examples: Sequence[Example]) -> Sequence[Example]:
    """Let a training see but one example where the teacher has had a part in it."""
    return examples if {e.origin for e in examples} <= OWN else examples[:1] * 3


@pytest.mark.parametrize(
    ("method", "dev", "name"),
    [
        ({}, 6, "round"),
        ({"trust": False}, 0, "round"),
        ({}, 0, "final"),  # the teacher's favourites are in its dev set too
    ],
)
def test_a_spoilt_final_training_loses_to_the_best_round_on_a_fair_dev(
    method: dict[str, Any], dev: int, name: str, tmp_path: Path
) -> None:
    made = Grown(tmp_path, make_task(tmp_path / "task", dev=dev, loop=TWO, method=method))
    bad = FakeLearner(made.task.names, spoil=lambda number, examples: examples[:1] * 3)
    record, _ = ended(made.task, made.folder, bad)
    of_round = [v for n, v in record["dev_macro_f1"].items() if n.startswith("round")]
    assert record["dev_macro_f1"]["final"] < of_round[0] - 0.03
    assert (made.folder / "student").is_dir()
    assert bool(record.get("agreement")) == made.task.method.trust
    assert str(record["chosen"]).split()[0] == name


def test_gold_dev_may_prefer_what_the_seeds_alone_teach(tmp_path: Path) -> None:
    task = make_task(tmp_path / "task", dev=6, loop=TWO)
    grow(task, tmp_path / "run", ScriptedTeacher(), FakeLearner(task.names, spoil=small))
    learner = FakeLearner(task.names, spoil=small)
    record, _ = ended(task, tmp_path / "run", learner)
    assert record["chosen"] == "seeds and definitions"
    assert max(record["dev_macro_f1"], key=record["dev_macro_f1"].get) == "seeds and definitions"
    assert record["trained_on"] == len(own(task))


def test_without_gold_dev_the_seeds_alone_are_not_tried(tmp_path: Path) -> None:
    task = make_task(tmp_path / "task", loop=TWO)
    grow(task, tmp_path / "run", ScriptedTeacher())
    record, _ = ended(task, tmp_path / "run", FakeLearner(task.names))
    assert "seeds and definitions" not in record["dev_macro_f1"]


def test_a_student_that_went_on_has_learnt_what_came_before(tmp_path: Path) -> None:
    task = make_task(tmp_path / "task", loop=TWO | {"training": "sequential"})
    grow(task, tmp_path / "run", ScriptedTeacher())
    with closing(Ledger(tmp_path / "run" / "run.db", attempt=False)) as ledger:
        best = Selection(task, load_data(task), ledger).best_round()
        stood = [r for r in ledger.results()[: best + 1] if not r["rolled_back"]]
    assert len(stood) > 1
    record, _ = ended(task, tmp_path / "run", FakeLearner(task.names))
    assert record["trained_on"] == sum(r["trained_on"] for r in stood)


@pytest.mark.parametrize("training", ["cumulative", "sequential"])
def test_of_a_teacher_that_guesses_nothing_is_learned(training: str, tmp_path: Path) -> None:
    task = make_task(tmp_path / "task", loop=TWO | {"training": training})
    teacher, notes = Guessing(), Notes()
    grow(task, tmp_path / "run", teacher, watch=notes)
    learner = FakeLearner(task.names)
    record, why = ended(task, tmp_path / "run", learner, notes)
    assert why == "the teacher hardly knows these labels"
    assert record["chosen"] == "seeds and definitions"
    with reading(tmp_path / "run" / "run.db") as ledger:
        selection = Selection(task, load_data(task), ledger)
        assert ledger.labels("dev")
        assert selection.by == "the seed examples"
        assert selection.dev() == list(load_data(task).seed)
    [(_, texts)] = [entry for entry in learner.log if entry[0] == "fit"]
    assert set(texts) == set(own(task))
    assert record["doubt"] in notes.told
    assert sum("does not know these labels" in note for note in notes.told) == 1
    assert "the final student is trained on seed examples and definitions alone" in notes.told


@pytest.mark.parametrize("changes", [{"method": {"trust": False}}, {"dev": 6}])
def test_a_guessing_teacher_is_asked_on_where_the_user_says_so_or_can_tell(
    changes: dict[str, Any], tmp_path: Path
) -> None:
    task = make_task(tmp_path / "task", loop=TWO, **changes)
    grow(task, tmp_path / "run", Guessing())
    record, why = ended(task, tmp_path / "run", FakeLearner(task.names))
    assert why != "the teacher hardly knows these labels"
    assert ("seeds and definitions" in record["dev_macro_f1"]) == ("dev" in changes)


@pytest.mark.parametrize("trusted", [True, False])
def test_of_a_teacher_that_takes_types_for_others_nothing_is_learned(
    trusted: bool, tmp_path: Path
) -> None:
    task = make_kind_task(tmp_path / "task", "ner", loop=TWO, method={"trust": trusted})
    grow(task, tmp_path / "run", Misnaming(), AnyLearner(task))
    learner = AnyLearner(task)
    record, why = ended(task, tmp_path / "run", learner)
    assert (why == "the teacher hardly knows these labels") is trusted
    assert (record["chosen"] == "seeds and definitions") is trusted
    if trusted:
        [(_, texts)] = [entry for entry in learner.log if entry[0] == "fit"]
        assert set(texts) == {e.text for e in load_data(task).seed}, (
            "types are no texts to train on"
        )
