"""Plans: conversations for weak labels, and what they show."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from fake_run import make_task
from fakes import FakeLearner, ScriptedTeacher

from evokd.arms import ARMS, View
from evokd.arms.cover import cover_requests
from evokd.arms.mistakes import feedback_texts
from evokd.calls import Calls
from evokd.examples import Example
from evokd.ledger import Ledger
from evokd.planning import Planner
from evokd.prompts import STYLES
from evokd.records import Prediction, Row
from evokd.task import Task, load_data
from evokd.watch import Silent


def even(texts: Sequence[str]) -> list[Prediction]:
    """Say the same of every text."""
    return [Prediction("alarm", 0.5, 0.0)] * len(texts)


embed = FakeLearner().embed


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    opened = Ledger(tmp_path / "run.db")
    yield opened
    opened.close()


@pytest.fixture
def task(tmp_path: Path) -> Task:
    return make_task(tmp_path / "task", pool=4, loop={"pool": 3})


def test_the_cover_holds_the_texts_of_the_dev_set_too(task: Task, ledger: Ledger) -> None:
    data = load_data(task)
    bare, more = (
        Planner(task, data, ledger, 0, (), even, embed, held_out=n).plan(("cover",))["cover"]
        for n in (0, 16)
    )
    assert set(bare) == set(task.names)
    assert all(more[name] == bare[name] + 4 for name in task.names)


def without_mistake(task: Task, ledger: Ledger, *, wrong: int = 0) -> None:
    """Record a round of six texts, which the student answers right, but for the first ones."""
    per_label = {name: {"f1": 1.0, "support": 5} for name in task.names}
    ledger.set_plan(0, {})
    texts = [(f"text {n}", task.names[n % 3]) for n in range(6)]
    ledger.add_rows([Row(0, Example(text, name, "cover"), "train") for text, name in texts])
    said = [Prediction("" if n < wrong else name, 0.9, n / 10) for n, (_, name) in enumerate(texts)]
    ledger.add_predictions(0, said)
    ledger.finish_round(0, {"round": 0, "dev": {"per_label": per_label}, "rolled_back": False})


def test_conversations_that_no_mistake_fills_are_spent_on_cover(task: Task, ledger: Ledger) -> None:
    without_mistake(task, ledger)
    data = load_data(task)
    planner = Planner(task, data, ledger, 1, (), even, embed)
    plan = planner.plan(ARMS["evokd"].parts)
    assert plan["groups"] == []
    assert sum(plan["cover"].values()) == task.loop.quota + task.loop.conversations
    assert len(plan["pool"]) == 3
    assert {*plan["pool"]} <= {*data.unlabeled}


def test_static_asks_for_every_label_alike_whatever_became_of_their_texts(
    task: Task, ledger: Ledger
) -> None:
    data, counts = load_data(task), []
    wanted = task.loop.quota + task.loop.conversations
    for number in range(7):
        plan = Planner(task, data, ledger, number, (), even, embed).plan(ARMS["static"].parts)
        assert number == 0 or sum(plan["cover"].values()) == wanted
        counts.append(plan["cover"])
        ledger.set_plan(number, plan)
        # All that is ever kept is of one label.
        kept = [Example(f"text {number} {n}", task.names[0], "cover") for n in range(9)]
        ledger.add_rows([Row(number, example, "train") for example in kept])
        asked = [sum(plan.get(name, 0) for plan in counts) for name in task.names]
        assert max(asked) - min(asked) <= 1


@pytest.mark.parametrize("f1", [0.0, 0.9])
def test_a_label_of_which_nothing_is_kept_does_not_take_every_conversation(
    f1: float, tmp_path: Path, ledger: Ledger
) -> None:
    task = make_task(tmp_path / "poor", loop={"quota": 10})
    barren, *_ = task.names
    per_label = {name: {"f1": 0.9, "support": 5} for name in task.names}
    per_label[barren]["f1"] = f1
    data, shares = load_data(task), Counter[str]()
    for number in range(7):
        plan = Planner(task, data, ledger, number, (), even, embed).plan(("cover",))
        shares.update(plan["cover"])
        ledger.set_plan(number, plan)
        # A conversation yields four texts, but never one of the label that nobody can write.
        texts = [n for n, asked in plan["cover"].items() for _ in range(4 * asked) if n != barren]
        made = [Example(f"text {number} {n}", name, "cover") for n, name in enumerate(texts)]
        ledger.add_rows([Row(number, example, "train") for example in made])
        ledger.add_predictions(number, [Prediction(e.label, 0.9, 0.1) for e in made])
        result = {"round": number, "dev": {"per_label": per_label}, "rolled_back": False}
        ledger.finish_round(number, result)
    often = [shares[barren] / shares[name] for name in task.names if name != barren]
    # Half of what the others have, and of that 0.5 where theirs counts 1.4.
    assert 1.5 < min(often) <= max(often) < {0.9: 2.2, 0.0: 2 * 1.4 / 0.5 + 0.5}[f1]


@pytest.mark.parametrize("correct", [True, False])
def test_after_no_mistake_the_least_sure_right_answers_may_be_asked_about(
    correct: bool, tmp_path: Path, ledger: Ledger
) -> None:
    method = {"empty_wrong": "least-sure", "correct": correct}
    task = make_task(tmp_path / "rule", method=method)
    without_mistake(task, ledger)
    plan = Planner(task, load_data(task), ledger, 1, (), even, embed).plan(ARMS["evokd"].parts)
    assert [len(group["wrong"]) for group in plan["groups"]] == [0, 0]
    assert sorted(s[0] for g in plan["groups"] for s in g["right"]) == [
        f"text {n}" for n in range(6)
    ]
    assert sum(plan["cover"].values()) == task.loop.quota
    calls = Calls(ledger, lambda: ScriptedTeacher(faulty=0))
    written = feedback_texts(View(task, calls, "round 1", plan, Silent().progress))
    assert {text.origin for text in written.texts} == {"hard", "easy"}
    (first, _) = ledger.calls("round 1/analyse")
    asked = first.request["messages"][0]["content"]
    assert "It got these texts right:" in asked
    assert "It got these texts wrong:" not in asked


def test_one_mistake_is_enough_to_ask_about(tmp_path: Path, ledger: Ledger) -> None:
    task = make_task(tmp_path / "rule", method={"empty_wrong": "least-sure"})
    without_mistake(task, ledger, wrong=1)
    plan = Planner(task, load_data(task), ledger, 1, (), even, embed).plan(ARMS["evokd"].parts)
    (group,) = plan["groups"]
    assert [s[0] for s in group["wrong"]] == ["text 0"]


def test_styles_go_on_behind_the_texts_that_are_held_out(task: Task, ledger: Ledger) -> None:
    data = load_data(task)
    first = Planner(task, data, ledger, 0, (), even, embed).plan(("blind cover",), dev=16)
    assert first["covered"] == first["dev"] == dict.fromkeys(task.names, 4)
    ledger.set_plan(0, first)
    later = Planner(task, data, ledger, 1, (), even, embed).plan(("blind cover",))
    unasked: Any = (None, "round 0")
    assert later["covered"] == {n: first["dev"][n] + first["cover"][n] for n in task.names}
    held_out, trained = (
        {style for _, r in cover_requests(View(task, *unasked, plan, unasked[0]))
         for style in STYLES if f", {style}." in r.messages[-1].content
         and f"of the class {task.names[0]}," in r.messages[-1].content}
        for plan in ({**first, "cover": first["dev"], "covered": {}}, first)
    )  # fmt: skip
    assert len(held_out) == 4
    assert trained
    assert not held_out & trained
