from __future__ import annotations

import json
from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from evokd.examples import Example
from evokd.feedback import SHOW_RIGHT, SHOW_WRONG, Group, borderline, groups, report
from evokd.kinds.classification import Classification
from evokd.records import Prediction, Row
from evokd.task import Task
from evokd.wording import Seen

KIND = Classification(
    Task.model_validate(
        {"name": "t", "domain": "d", "labels": dict.fromkeys("abcd", ""), "data": {"seed": "s"}}
    )
)
Tested = tuple[Row, Prediction]


def was_tested(
    text: str, label: str, predicted: str, *, confidence: float = 0.9, margin: float = 0.5
) -> Tested:
    """Return one tested text as the loop hands it over."""
    row = Row(1, Example(text, label, "hard"), "train")
    return row, Prediction(predicted, confidence, margin)


def many(count: int, label: str, predicted: str) -> list[Tested]:
    """Return texts of one confusion (or right answers), the later the more confident."""
    return [
        was_tested(f"{label} {predicted} {i}", label, predicted, confidence=(i + 1) / 100, margin=i)
        for i in range(count)
    ]


def test_nothing_wrong_needs_no_conversation() -> None:
    assert groups([], 8, KIND) == []
    assert groups(many(5, "a", "a"), 8, KIND) == []
    assert groups(many(5, "a", "b"), 0, KIND) == []


def test_a_group_shows_one_confusion_confident_mistakes_first() -> None:
    (made,) = groups([*many(4, "a", "b"), *many(9, "a", "a")], 8, KIND)
    assert [s.text for s in made.wrong] == ["a b 3", "a b 2", "a b 1", "a b 0"]
    assert all((s.label, s.predicted) == ("a", "b") for s in made.wrong)


def test_right_answers_are_of_the_same_labels_the_least_sure_first() -> None:
    batch = [
        *many(1, "a", "b"),
        was_tested("sure a", "a", "a", margin=0.9),
        was_tested("close b", "b", "b", margin=0.1),
        was_tested("close a", "a", "a", margin=0.2),
        was_tested("close c", "c", "c", margin=0.0),
        was_tested("middling b", "b", "b", margin=0.4),
    ]
    (made,) = groups(batch, 8, KIND)
    assert [s.text for s in made.right] == ["close b", "close a", "middling b"]
    assert len(made.right) == SHOW_RIGHT


def test_a_group_without_right_answers_is_shown_too() -> None:
    (made,) = groups(many(2, "a", "b"), 8, KIND)
    assert made.right == ()
    assert len(made.wrong) == 2


def test_large_confusions_get_groups_in_proportion() -> None:
    batch = many(2 * SHOW_WRONG + 1, "a", "b") + many(SHOW_WRONG + 1, "b", "a") + many(1, "c", "a")
    made = groups(batch, 8, KIND)
    turns = [(g.wrong[0].label, g.wrong[0].predicted) for g in made]
    # 11, 6 and 1 mistakes: a>b has 11, then 6 against 6, then 1 each.
    assert turns[0] == ("a", "b")
    assert Counter(turns) == {("a", "b"): 3, ("b", "a"): 2, ("c", "a"): 1}
    assert sum(len(g.wrong) for g in made) == len(batch)
    assert Counter(t for t in turns[:3]) == {("a", "b"): 2, ("b", "a"): 1}


def test_the_rarest_confusions_are_left_out_first() -> None:
    batch = many(3, "a", "b") + many(2, "b", "c") + many(1, "c", "a")
    assert [g.wrong[0].label for g in groups(batch, 2, KIND)] == ["a", "b"]


def test_the_border_is_where_right_answers_were_least_sure() -> None:
    batch = [was_tested(str(i), "ab"[i % 2], "ab"[i % 2], margin=i) for i in range(30)]
    made = borderline(batch, 2, KIND)
    assert [len(g.right) for g in made] == [SHOW_WRONG, SHOW_WRONG]
    assert {s.text for g in made for s in g.right} == {str(i) for i in range(2 * SHOW_WRONG)}
    assert [(g.right[0].text, g.wrong) for g in made] == [("0", ()), ("1", ())]
    assert borderline(batch[:3], 8, KIND) == [
        Group(tuple(Seen(str(i), "ab"[i % 2], "ab"[i % 2]) for i in range(3)), ())
    ]
    assert borderline([], 8, KIND) == borderline(many(3, "a", "b"), 8, KIND) == []


labels = st.sampled_from("abcd")
chances = st.floats(0, 1)
batches = st.lists(
    st.builds(
        lambda label, predicted, confidence, margin: (label, predicted, confidence, margin),
        labels, labels, chances, chances,
    ),
    max_size=60,
).map(
    lambda rows: [
        was_tested(f"text {i}", label, predicted, confidence=confidence, margin=margin)
        for i, (label, predicted, confidence, margin) in enumerate(rows)
    ]
)  # fmt: skip


@given(batches, st.integers(0, 12))
def test_what_holds_of_any_batch(batch: list[Tested], most: int) -> None:
    made = groups(batch, most, KIND)
    assert len(made) <= most
    shown = [s for g in made for s in g.wrong]
    assert len({s.text for s in shown}) == len(shown)
    facts = {r.example.text: Seen(r.example.text, r.example.label, p.predicted) for r, p in batch}
    for group in made:
        assert 1 <= len(group.wrong) <= SHOW_WRONG
        assert len(group.right) <= SHOW_RIGHT
        assert len({(s.label, s.predicted) for s in group.wrong}) == 1
        pair = {group.wrong[0].label, group.wrong[0].predicted}
        assert all(s.right and s.label in pair for s in group.right)
        assert all(facts[s.text] == s for s in (*group.wrong, *group.right))
        assert not any(s.right for s in group.wrong)
    wrong = sum(not s.right for s in facts.values())
    if most * SHOW_WRONG >= wrong + 12 * (SHOW_WRONG - 1):  # at most 12 confusions of 4 labels
        assert len(shown) == wrong


@given(batches)
def test_groups_survive_the_ledger(batch: list[Tested]) -> None:
    for group in groups(batch, 8, KIND):
        assert Group.from_json(json.loads(json.dumps(group.to_json()))) == group


@given(batches, st.integers(1, 12))
def test_the_same_batch_gives_the_same_groups(batch: list[Tested], most: int) -> None:
    assert groups(batch, most, KIND) == groups(list(batch), most, KIND)


def test_nothing_is_told_of_a_label_that_dev_has_no_text_of() -> None:
    scores = {"a": (0.7, 3), "b": (0.8, 5), "c": (0.0, 0), "d": (0.6, 2)}
    per_label = {name: {"f1": f1, "support": support} for name, (f1, support) in scores.items()}
    lines = report(per_label, many(2, "a", "c"), KIND)
    assert [line.split(":")[0].lstrip("- ") for line in lines] == ["d", "a", "b"]
