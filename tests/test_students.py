"""Which students stay, and which one a round goes on from."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from fakes import FakeLearner, FakeStudent, texts_of

from evokd.ledger import Ledger
from evokd.students import SEED, Students


@pytest.fixture
def students(tmp_path: Path) -> Iterator[Students]:
    """The seed student and four rounds, of which 2 and 3 were taken back."""
    ledger, learner = Ledger(tmp_path / "run.db"), FakeLearner()
    made = Students(ledger, tmp_path / "rounds", learner.load)
    for number in range(SEED, 4):
        student = learner.fit(texts_of(number + 5, 2), epochs=1, seed=0, on_step=lambda d, t: None)
        student.save(made.folder(number))
        if number != SEED:
            ledger.set_plan(number, {})
            ledger.finish_round(number, {"round": number, "rolled_back": number > 1})
    yield made
    ledger.close()


def test_a_round_that_was_taken_back_does_not_count(students: Students) -> None:
    def counts(number: int) -> object:
        student = students.of(number)
        assert isinstance(student, FakeStudent)
        return student.counts

    for number, same in ((SEED, SEED), (0, 0), (1, 1), (2, 1), (3, 1)):
        behind = students.behind(number)
        assert isinstance(behind, FakeStudent)
        assert behind.counts == counts(same)
    latest = students.latest()
    assert isinstance(latest, FakeStudent)
    assert latest.counts == counts(1) != counts(0)


def test_what_no_step_can_ask_for_is_removed(students: Students) -> None:
    students.forget(but=0)
    left = sorted(folder.name for folder in students.root.iterdir())
    assert left == ["00", "01", "seed"]
    students.forget(but=1)
    assert not students.folder(0).exists()
