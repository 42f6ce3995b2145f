"""What the teacher's texts count: by label, as far as writer and labeller agree."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fake_kinds import make_kind_task
from fake_run import make_task
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import cohen_kappa_score
from test_arms_run import grown

from evokd.answers import Span, names_in, write_spans
from evokd.examples import Example
from evokd.kinds import kind_of
from evokd.ledger import reading
from evokd.measured import Share
from evokd.records import Row
from evokd.selection import Selection
from evokd.trust import (
    MOST,
    agreed_on,
    agreement,
    beyond_chance,
    counted,
    doubtful,
    hardly_known,
    kappa,
)

LABELS = ("alarm", "music", "weather")


def single(answer: str) -> tuple[str, ...]:
    return (answer,)


def row(asked: str, said: str, reason: str | None = None, origin: str = "cover") -> Row:
    """Return a text asked for as one label and labelled as another, dropped where they differ."""
    why = reason or ("not the asked label" if asked != said else None)
    return Row(0, Example("a text", said, origin), None if why else "train", why, None, asked)


def test_agreement_falls_with_texts_denied_and_with_those_of_others_claimed() -> None:
    rows = [
        *[row("alarm", "alarm")] * 8,
        *[row("alarm", "music")] * 2,
        *[row("music", "music")] * 4,
        *[row("weather", "music")] * 4,
    ]
    found = agreement(rows)
    assert found["alarm"] == pytest.approx(2 * 8 / (10 + 8))
    assert found["music"] == pytest.approx(2 * 4 / (4 + 10))
    assert found["weather"] == 0


def test_agreement_is_about_texts_asked_for_by_label_and_labelled() -> None:
    others = [
        row("", "music", origin="hard"),
        row("alarm", "", "near-duplicate"),
        row("alarm", "", "leak: test"),
    ]
    assert agreement(others) == {}
    assert agreement([*others, row("alarm", "alarm")]) == {"alarm": 1.0}


@pytest.mark.parametrize("reason", ["budget", "round rolled back", "likely mislabelled"])
def test_what_was_left_out_later_was_agreed_on(reason: str) -> None:
    assert agreement([row("alarm", "alarm", reason)]) == {"alarm": 1.0}


def test_both_label_orders_must_agree() -> None:
    assert agreement([row("alarm", "alarm", "labels disagree")]) == {"alarm": 0.0}


def test_texts_count_by_the_probability_that_their_label_is_right() -> None:
    def of(origin: str, knows: float) -> float:
        examples = [Example("mine", "alarm", "seed"), Example("its", "alarm", origin)]
        mine, its = counted(examples, LABELS, {"alarm": knows})
        return its / mine

    assert of("hard", 0.3) == pytest.approx(0.3)
    assert of("easy", 0.0) == 0
    assert of("pool", 0.4) == pytest.approx(0.4)
    assert of("relabelled", 0.6) == pytest.approx(0.6)
    assert of("cover", 0.5) == pytest.approx(0.25 / (0.25 + 0.25 / 2))
    assert of("cover", 1 / 3) == pytest.approx(1 / 3), "at chance, agreeing says nothing"
    assert of("cover", 1.0) == of("definition", 0.0) == 1
    assert of("cover", 0.0) == 0


origins = st.sampled_from(["seed", "definition", "cover", "hard", "easy"])
made = st.lists(st.tuples(st.sampled_from(LABELS), origins), min_size=1, max_size=60)
shares = st.fixed_dictionaries(dict.fromkeys(LABELS, st.floats(0, 1)))


@given(made, shares)
def test_weights_are_one_on_average_and_alike_for_every_label(
    rows: list[tuple[str, str]], agreed: dict[str, float]
) -> None:
    examples = [Example("own", name, "seed") for name in LABELS]
    examples += [Example("a text", *pair) for pair in rows]
    weights = counted(examples, LABELS, agreed)
    assert sum(weights) == pytest.approx(len(examples))
    assert min(weights) >= 0
    by_label: defaultdict[str, float] = defaultdict(float)
    for example, weight in zip(examples, weights, strict=True):
        by_label[example.label] += weight
    most, least = max(by_label.values()), min(by_label.values())
    if len(examples) <= len(LABELS) * MOST:  # no label needs more than that
        assert most == pytest.approx(least)


def test_a_teacher_is_trusted_by_label_where_it_was_asked_for_labels(tmp_path: Path) -> None:
    def of(name: str, **changes: Any) -> dict[str, float]:
        made = grown(tmp_path / name, **changes)
        with reading(made.file) as ledger:
            return Selection(made.task, made.data, ledger).agreement()

    assert set(of("on")) == set(LABELS)
    assert of("off", method={"trust": False}) == {}
    assert of("unchecked", loop={"arm": "zerogen"}) == {}
    assert of("weighed", loop={"arm": "sungen"}) == {}
    assert of("several", kind="multilabel") == {}


def test_the_rounds_count_all_texts_alike(tmp_path: Path) -> None:
    hows = grown(tmp_path).learner.hows
    assert {weights for _, weights in hows} == {None}


def test_labels_that_the_teacher_hardly_knows_are_named() -> None:
    assert hardly_known({"alarm": 0.9, "music": 0.2}) == ""
    assert "hardly knows music:" in hardly_known({"alarm": 0.9, "music": 0.1})
    assert "l4 and 2 more:" in hardly_known({f"l{i}": 0.0 for i in range(7)})


@given(st.lists(st.tuples(st.sampled_from(LABELS), st.sampled_from(LABELS)), min_size=1))
def test_agreement_beyond_chance_is_the_libraries_kappa(pairs: list[tuple[str, str]]) -> None:
    asked, said = zip(*pairs, strict=True)
    if len({*asked, *said}) > 1:  # of one category the library says nothing
        rows = [row(*pair) for pair in pairs]
        assert kappa(rows, single) == pytest.approx(cohen_kappa_score(asked, said))


def test_what_has_no_label_says_nothing_of_labels() -> None:
    rows = [row("alarm", "alarm"), row("music", "music"), row("alarm", "music")]
    unsure = [row("music", "alarm", "labels disagree")] * 9
    assert kappa(rows, single) == kappa([*rows, *unsure], single) < 1


@pytest.mark.parametrize("why", ["uncertain entity", "entities: cut"])
def test_what_could_not_be_read_denies_nothing(why: str, tmp_path: Path) -> None:
    rows = [row("alarm", "alarm")] * 15 + [row("alarm", "", why)] * 85
    assert doubtful(make_task(tmp_path), rows) == ""
    assert agreed_on(rows) == Share(15, 15)


def test_the_users_own_texts_in_other_words_count_as_the_users() -> None:
    examples = [Example("mine", "alarm", "seed"), Example("its", "alarm", "paraphrase")]
    assert counted(examples, LABELS, {"alarm": 0.1}) == [1, 1]


def of(asked: str, said: str, count: int) -> list[Row]:
    """Return texts written for one type, with entities of these."""
    spans = write_spans([Span(i, i + 1, name) for i, name in enumerate(said.split())])
    if asked in said.split():
        return [replace(row(asked, spans), reason=None, split="train")] * count
    return [row(asked, spans)] * count


def test_an_answer_of_several_types_agrees_by_chance_as_often_as_texts_have_the_type(
    tmp_path: Path,
) -> None:
    task = make_kind_task(tmp_path, "ner")
    labels_in = kind_of(task).labels_in
    # Of every type alike, whatever it was asked for: a text in three has a music entity.
    third = [r for asked in LABELS for said in LABELS for r in of(asked, said, 4)]
    assert kappa(third, labels_in) == pytest.approx(0)
    assert "does not know" in doubtful(task, third)
    some = of("music", "music alarm", 12) + of("alarm", "alarm", 12)
    assert kappa(some, labels_in) == 1
    slight = [*third, *of("alarm", "alarm", 4)]
    assert 0.05 < kappa(slight, labels_in) < 0.2
    assert not doubtful(task, slight)


def test_where_every_text_has_every_type_chance_says_nothing(tmp_path: Path) -> None:
    task = make_kind_task(tmp_path, "ner")
    both = of("music", "music alarm", 12) + of("alarm", "alarm music", 12)
    assert kappa(both, kind_of(task).labels_in) == 0
    assert not doubtful(task, both)
    yes = task.model_copy(update={"kind": "multilabel"})
    assert not beyond_chance(yes, Share(24, 24), 0.0), "who says yes to everything knows no label"


def test_nothing_written_is_no_disagreement() -> None:
    assert kappa([], single) == kappa([row("alarm", "alarm")], single) == 1


def test_of_a_lone_label_chance_cannot_be_told() -> None:
    found = Example("a text", '[[0, 1, "city"]]', "cover")
    rows = [*[Row(0, found, "train", None, None, "city")] * 99, row("city", "[]")]
    assert kappa(rows, lambda answer: names_in(answer, "ner")) == 0.99


def test_a_teacher_that_denies_what_it_wrote_is_doubted(tmp_path: Path) -> None:
    task = make_task(tmp_path)

    def written(agreed: int, denied: int, cut: int = 0) -> list[Row]:
        pairs = [("refund", "order"), ("order", "refund")]
        return [
            *[row(asked, asked) for asked, _ in pairs] * agreed,
            *[row(*pair) for pair in pairs] * denied,
            *[row(asked, asked, "budget") for asked, _ in pairs] * cut,
            row("refund", "", "near-duplicate"),
        ]

    assert "12 of the 24 texts" in doubtful(task, written(6, 6)), "one in two is chance"
    assert not doubtful(task, written(9, 3))
    assert not doubtful(task, written(6, 3, cut=3)), "what a budget cut was not denied"
    assert not doubtful(task, written(1, 6)), "14 texts say nothing of a teacher"
    assert not doubtful(task, [])
