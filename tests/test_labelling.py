from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from fake_run import make_task
from fakes import KEYWORDS, LABELS, ScriptedTeacher, texts_of
from hypothesis import given
from hypothesis import strategies as st

from evokd.calls import Calls
from evokd.labelling import NO_ANSWER, Labelled, distribution, label_requests, label_texts, orders
from evokd.ledger import Ledger
from evokd.task import Task
from evokd.teacher import Score, Scored
from evokd.watch import Silent


@pytest.fixture
def task(tmp_path: Path) -> Task:
    return make_task(tmp_path / "task")


def label(
    task: Task, folder: Path, teacher: ScriptedTeacher, texts: Sequence[str]
) -> list[Labelled]:
    folder.mkdir(exist_ok=True)
    ledger = Ledger(folder / "run.db")
    calls = Calls(ledger, lambda: teacher)
    try:
        return label_texts(task, calls, "round 0", texts, Silent().progress)
    finally:
        ledger.close()


def test_every_text_is_asked_in_both_orders(task: Task, tmp_path: Path) -> None:
    teacher = ScriptedTeacher()
    label(task, tmp_path, teacher, ["some rain", "a song"])
    choices = [request.choices for request in teacher.asked if isinstance(request, Score)]
    assert choices == [LABELS, LABELS[::-1]] * 2  # a budget that ends here costs one text


@pytest.mark.parametrize("calibrate", [True, False])
def test_a_reply_that_is_no_label_leaves_its_text_alone_without_one(
    task: Task, tmp_path: Path, calibrate: bool
) -> None:
    """Such as the refusal of a server, whose other replies are labels."""

    class Refuses(ScriptedTeacher):
        def _score(self, request: Score) -> Scored:
            scored = super()._score(request)
            if "a song" not in request.messages[-1].content:
                return scored
            every = tuple(range(len(request.choices)))
            return replace(scored, logprobs=(-20.0,) * len(every), bounded=every)

    method = task.method.model_copy(update={"calibrate": calibrate})
    task = task.model_copy(update={"method": method})
    texts = [*(f"some {KEYWORDS[name][0]}" for name in LABELS), "a song"]
    (tmp_path / "run").mkdir()
    ledger = Ledger(tmp_path / "run" / "run.db")
    asked_for = [*LABELS, LABELS[0]]
    made = label_texts(
        task, Calls(ledger, Refuses), "round 0", texts, Silent().progress, asked_for=asked_for
    )
    ledger.close()
    assert [one.label for one in made[:-1]] == [*LABELS]
    assert (made[-1].label, made[-1].reason) == ("", NO_ANSWER)


def test_the_labels_stand_in_the_prompt_in_the_order_of_the_choices(task: Task) -> None:
    for order in orders(LABELS):
        (request,) = label_requests(task, ["some rain"], order)
        content = request.messages[0].content
        places = [content.index(f"- {name}: is about {KEYWORDS[name][0]}") for name in order]
        assert places == sorted(places)
        assert request.choices == tuple(order)


def test_soft_labels_are_the_mean_of_both_orders(task: Task, tmp_path: Path) -> None:
    texts = [e.text for e in texts_of(5, 20)]
    teacher = ScriptedTeacher()
    labelled = label(task, tmp_path, teacher, texts)
    one, other = (
        np.array([np.exp(s.logprobs) for s in teacher.score(label_requests(task, texts, order))])
        for order in orders(LABELS)
    )
    mean = (one + other[:, ::-1]) / 2
    assert np.array([item.soft for item in labelled]) == pytest.approx(mean, abs=1e-6)
    assert [item.label for item in labelled] == [LABELS[i] for i in mean.argmax(1)]
    agreed = one.argmax(1) == other[:, ::-1].argmax(1)
    assert [not item.reason for item in labelled] == agreed.tolist()
    assert 0 < sum(agreed) < len(texts)


def test_position_alone_decides_is_disagreement(task: Task, tmp_path: Path) -> None:
    class First(ScriptedTeacher):
        def _score(self, request: Score) -> Scored:
            return Scored((-0.1, -3.0, -3.0), 1, 1, 1)

    (item,) = label(task, tmp_path, First(), ["some rain"])
    assert item.reason == "labels disagree"
    assert sum(item.soft) == pytest.approx(1, abs=1e-5)


def test_no_texts_are_no_calls(task: Task, tmp_path: Path) -> None:
    teacher = ScriptedTeacher()
    assert label(task, tmp_path, teacher, []) == []
    assert teacher.asked == []


@given(st.permutations(LABELS), st.lists(st.floats(-800, 0), min_size=3, max_size=3))
def test_a_distribution_follows_the_names_whatever_the_order(
    order: list[str], logprobs: list[float]
) -> None:
    made = distribution(Scored(tuple(logprobs), 0, 0, 0), order, LABELS)
    assert made.sum() == pytest.approx(1)
    by_name = dict(zip(order, logprobs, strict=True))
    expected = [by_name[name] for name in LABELS]
    assert made[int(np.argmax(expected))] == made.max()
    for i in range(3):
        for j in range(3):
            assert expected[i] > expected[j] or made[i] <= made[j]


def test_labels_with_one_bound_share_it() -> None:
    logprobs = tuple(np.log([0.5, 0.1, 0.2, 0.2]))
    assert distribution(Scored(logprobs, 0, 0, 0), "abcd", "abcd") == pytest.approx(
        [0.5, 0.1, 0.2, 0.2]
    )
    bounded = Scored(logprobs, 0, 0, 0, bounded=(2, 3))
    assert distribution(bounded, "abcd", "abcd") == pytest.approx(
        np.array([0.5, 0.1, 0.1, 0.1]) / 0.8
    )


def test_orders_disagree_with_bounds_as_without(task: Task, tmp_path: Path) -> None:
    class Bounding(ScriptedTeacher):
        """Works out the best label alone."""

        def _score(self, request: Score) -> Scored:
            exact = super()._score(request)
            best = int(np.argmax(exact.logprobs))
            others = [i for i in range(len(LABELS)) if i != best]
            second = max(exact.logprobs[i] for i in others)
            values = (v if i == best else second for i, v in enumerate(exact.logprobs))
            return replace(exact, logprobs=tuple(values), bounded=tuple(others))

    texts = [e.text for e in texts_of(5, 20)]
    expected = label(task, tmp_path / "all", ScriptedTeacher(), texts)
    found = label(task, tmp_path / "best", Bounding(), texts)
    assert [item.reason for item in found] == [item.reason for item in expected]
    assert any(item.reason for item in found)
    for one, other in zip(found, expected, strict=True):
        assert one.reason or one.label == other.label
