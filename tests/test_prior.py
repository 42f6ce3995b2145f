from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fake_run import make_task
from fakes import KEYWORDS, LABELS, ScriptedTeacher
from hypothesis import given
from hypothesis import strategies as st

from evokd.calls import Calls
from evokd.labelling import Labelled, label_texts, question_of
from evokd.ledger import Ledger
from evokd.prior import prior_of, recorded, told, without
from evokd.settings import MethodSettings
from evokd.task import Task
from evokd.teacher import Score, Scored
from evokd.watch import Silent

FAVOURITE = {"weather": 0.0, "alarm": -1.0, "music": 3.0}
TEXTS = [(f"{word} {n}", name) for name in LABELS for n in range(20) for word in KEYWORDS[name][:2]]

shares = st.lists(st.floats(0.01, 1), min_size=3, max_size=3).map(lambda v: np.array(v) / sum(v))


class Favours(ScriptedTeacher):
    """Knows every text, and likes the name of one label far more than it knows."""

    def _score(self, request: Score) -> Scored:
        text = request.messages[-1].content.rpartition("Text: ")[2].strip('"')
        known = [2.0 if text.split()[0] in KEYWORDS[name] else 0.0 for name in request.choices]
        raw = np.array(known) + [FAVOURITE[name] for name in request.choices]
        return Scored(tuple(float(v) for v in raw - np.logaddexp.reduce(raw)), 1, 1, 1)


def label(
    task: Task, ledger: Ledger, pairs: Sequence[tuple[str, str | None]], scope: str = "round 0"
) -> list[Labelled]:
    calls = Calls(ledger, Favours)
    texts, asked_for = [text for text, _ in pairs], [name for _, name in pairs]
    return label_texts(task, calls, scope, texts, Silent().progress, asked_for=asked_for)


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return Ledger(tmp_path / "run.db")


def test_a_favourite_no_longer_gets_every_text(tmp_path: Path, ledger: Ledger) -> None:
    task = make_task(tmp_path / "task")
    said = label(task, ledger, TEXTS)
    assert [item.label for item in said] == [name for _, name in TEXTS]
    assert not any(item.reason for item in said)
    assert all(item.soft[LABELS.index(item.label)] == max(item.soft) for item in said)


def test_without_calibration_it_gets_them(tmp_path: Path, ledger: Ledger) -> None:
    task = make_task(tmp_path / "task")
    method = task.method.model_copy(update={"calibrate": False})
    said = label(task.model_copy(update={"method": method}), ledger, TEXTS)
    assert {item.label for item in said} == {"music"}
    assert recorded(ledger) is None


def test_later_texts_of_no_known_label_are_freed_of_it_too(tmp_path: Path, ledger: Ledger) -> None:
    task = make_task(tmp_path / "task")
    label(task, ledger, TEXTS)
    known = recorded(ledger)
    word = KEYWORDS["weather"][0]
    # A round about one label alone must not make that label a favourite.
    later = label(task, ledger, [(f"{word} again {n}", None) for n in range(5)], "round 1")
    assert {item.label for item in later} == {"weather"}
    assert recorded(ledger) == known


REWORDED = dict.fromkeys(LABELS, "other words")


@pytest.mark.parametrize(
    "change",
    [
        {"labels": REWORDED},
        {"labels": {name: "" for name in LABELS if name != "alarm"}},
        {"labels": dict.fromkeys(reversed(LABELS), "")},
        {"domain": "letters"},
        {"method": MethodSettings(second_opinion=False)},
    ],
)
def test_another_question_has_another_prior(
    change: dict[str, Any], tmp_path: Path, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = make_task(tmp_path / "task")
    label(task, ledger, TEXTS)
    other = task.model_copy(update=change)
    pairs = [pair for pair in TEXTS if pair[1] in other.labels]
    for name, liking in {"weather": 3.0, "music": 0.0}.items():
        monkeypatch.setitem(FAVOURITE, name, liking)
    said = label(other, ledger, pairs)
    assert [item.label for item in said] == [name for _, name in pairs]
    assert recorded(ledger, question_of(task)) is None
    assert recorded(ledger) == recorded(ledger, question_of(other))


def test_what_is_not_asked_changes_no_prior(tmp_path: Path) -> None:
    task = make_task(tmp_path / "a")
    more = make_task(tmp_path / "b", dev=2, loop={"rounds": 7}, teacher={"temperature": 0.1})
    assert question_of(task) == question_of(more)


def test_a_prior_of_an_older_run_holds_and_one_of_an_older_pilot_does_not(
    tmp_path: Path, ledger: Ledger
) -> None:
    question, old = question_of(make_task(tmp_path / "task")), [[0.2, 0.3, 0.5]] * 2
    ledger.finish_stage("label prior", old)
    assert recorded(ledger, question) is None
    ledger.set_meta("run", {"settings": {}})
    assert recorded(ledger, question) == recorded(ledger) == old


@pytest.mark.parametrize("missing", LABELS)
def test_a_label_without_texts_leaves_the_favourite_no_more_than_its_own(
    missing: str, tmp_path: Path, ledger: Ledger
) -> None:
    """Nor is it given what it is not: little was said of it because nothing was of it."""
    task = make_task(tmp_path / "task")
    said = label(task, ledger, [pair for pair in TEXTS if pair[1] != missing])
    assert [item.label for item in said] == [name for _, name in TEXTS if name != missing]
    later = label(task, ledger, [(f"{text} again", None) for text, _ in TEXTS], "round 1")
    right = [item.label == name for item, (_, name) in zip(later, TEXTS, strict=True)]
    assert np.mean(right) > 0.6
    note = told(ledger, question_of(task))
    assert f"written of {missing}:" in note
    assert "by the other labels' texts alone" in note


def test_texts_of_one_label_tell_no_prior_until_others_come(tmp_path: Path, ledger: Ledger) -> None:
    task = make_task(tmp_path / "task")
    said = label(task, ledger, [pair for pair in TEXTS if pair[1] == "weather"])
    assert {item.label for item in said} == {"music"}
    assert recorded(ledger) is None
    assert told(ledger, question_of(task)).endswith("(method.calibrate) stays in its labels")
    assert "written of alarm, music:" in told(ledger, question_of(task))
    label(task, ledger, TEXTS)
    assert recorded(ledger) is not None
    assert told(ledger, question_of(task)) == ""


@pytest.mark.parametrize(("count", "least"), [(2, 2), (3, 2), (5, 3), (6, 3)])
def test_half_of_the_labels_are_enough_and_two(count: int, least: int) -> None:
    names = [f"label {n}" for n in range(count)]
    for some in range(count + 1):
        found = prior_of(list(np.eye(count)[:some]), names[:some], names)
        # One who knows has no favourites, also where nothing was of a label.
        assert found == (pytest.approx([1 / count] * count) if some >= least else None)


def test_every_order_has_a_prior_of_its_own(tmp_path: Path, ledger: Ledger) -> None:
    class First(Favours):
        """Likes whatever stands first as well."""

        def _score(self, request: Score) -> Scored:
            said = super()._score(request)
            return replace(said, logprobs=(said.logprobs[0] + 1.0, *said.logprobs[1:]))

    task = make_task(tmp_path / "task")
    texts, asked_for = [text for text, _ in TEXTS], [name for _, name in TEXTS]
    said = label_texts(
        task, Calls(ledger, First), "round 0", texts, Silent().progress, asked_for=asked_for
    )
    assert [item.label for item in said] == asked_for
    one, other = recorded(ledger) or ([], [])
    assert one[0] > other[0]
    assert other[-1] > one[-1]


@given(st.lists(st.tuples(shares, st.sampled_from(LABELS)), max_size=12))
def test_a_prior_is_a_distribution_or_nothing(pairs: list[tuple[np.ndarray, str]]) -> None:
    found = prior_of([p for p, _ in pairs], [name for _, name in pairs], LABELS)
    if found is None:
        assert {name for _, name in pairs} < {*LABELS}
    else:
        assert sum(found) == pytest.approx(1)
        assert min(found) > 0


def test_labels_count_alike_however_many_texts_they_have() -> None:
    liked, other = np.array([0.8, 0.1, 0.1]), np.array([0.2, 0.4, 0.4])
    few = prior_of([liked, other, other], LABELS, LABELS)
    # A hundred texts of the first label: only the text that says nothing weighs less in its mean.
    many = prior_of([liked] * 100 + [other, other], [LABELS[0]] * 100 + [*LABELS[1:]], LABELS)
    assert few is not None
    assert many is not None
    assert many[0] - few[0] < 0.1
    assert np.mean([liked] * 100 + [other, other], axis=0)[0] > 0.78
    assert many[0] < 0.5


@given(shares, shares, st.sets(st.integers(0, 2), max_size=2))
def test_a_bound_never_becomes_the_best(
    said: np.ndarray, prior: np.ndarray, bounded: set[int]
) -> None:
    found = without(list(prior), said, bounded=sorted(bounded))
    assert found.sum() == pytest.approx(1)
    assert int(found.argmax()) not in bounded
    assert without(None, said) is said


def test_the_paper_divides_by_the_mean() -> None:
    said, prior = np.array([0.5, 0.3, 0.2]), [0.6, 0.3, 0.1]
    ratio = said / prior
    assert without(prior, said) == pytest.approx(ratio / ratio.sum())
