"""A teacher that says again what another run heard: nothing is asked twice, nothing is left out."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from fakes import LABELS, ScriptedTeacher, user

from evokd.calls import Calls
from evokd.heard import Heard
from evokd.ledger import Ledger
from evokd.settings import BudgetSettings
from evokd.teacher import Generate, Score

SCORES = [Score(user(f'Text: "rain at {number}"'), LABELS) for number in range(4)]
TEXTS = [
    Generate(user(f"Write 2 new texts of the class {label}, please"), seed=1) for label in LABELS
]


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    opened = Ledger(tmp_path / "run.db")
    yield opened
    opened.close()


def test_what_was_heard_is_not_asked_again(ledger: Ledger) -> None:
    calls = Calls(ledger, ScriptedTeacher)
    texts, scores = calls.generate("round 0/cover", TEXTS), calls.score("round 0/label 1", SCORES)
    calls.generate("round 1/cover", [Generate(TEXTS[0].messages, seed=2)])
    teacher, told = ScriptedTeacher(), list[int]()
    heard = Heard(teacher, ledger, "round 0/")
    assert heard.generate(TEXTS, lambda i, _: told.append(i)) == texts
    assert heard.score(SCORES) == scores
    assert teacher.answered == 0
    assert told == [0, 1, 2]
    heard.generate([TEXTS[1], Generate(TEXTS[0].messages, seed=2)])
    assert teacher.answered == 1


def test_what_the_others_budget_refused_is_asked(ledger: Ledger) -> None:
    budget = BudgetSettings(tokens=1)
    calls = Calls(ledger, ScriptedTeacher, budget=budget, width=2)
    assert [len(said.logprobs) for said in calls.score("round 0/label 1", SCORES)] == [3, 3, 0, 0]
    assert [said.finish for said in calls.generate("round 0/cover", TEXTS)] == ["budget"] * 3
    teacher = ScriptedTeacher(faulty=0)
    heard = Heard(teacher, ledger, "round 0/")
    assert [len(said.logprobs) for said in heard.score(SCORES)] == [3] * 4
    assert [said.finish for said in heard.generate(TEXTS)] == ["stop"] * 3
    assert teacher.asked == [*SCORES[2:], *TEXTS]
