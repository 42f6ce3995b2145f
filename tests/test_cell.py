"""One cell of a comparison: what it heard of another, and what it is when nothing came of it."""

from __future__ import annotations

import json
import random
import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from fake_kinds import AnyLearner
from fake_run import Notes, make_task, write_jsonl
from fakes import LABELS, FakeLearner, ScriptedTeacher, texts_of

from evokd import compare as comparing
from evokd.cell import in_order
from evokd.compare import Contest, compare
from evokd.errors import InputError, TeacherError
from evokd.ledger import reading
from evokd.replay import replay
from evokd.run import run_task
from evokd.spending import tokens
from evokd.task import Task

WORDLESS = "none of the teacher's first texts could be used"


class NoParaphrases(ScriptedTeacher):
    """Cannot say a text in other words."""

    def _text(self, asked: str, rng: random.Random, number: int) -> str:
        if "Say this text in" in asked:
            return "I cannot do that."
        return super()._text(asked, rng, number)


class Sampling(ScriptedTeacher):
    """Never writes the same twice, as an engine that samples side by side."""

    def _text(self, asked: str, rng: random.Random, number: int) -> str:
        drawn = random.Random(f"{number} {self.answered} {id(self)}")
        return super()._text(asked, drawn if re.search(r"\bWrite\b", asked) else rng, number)


def run(
    task: Task, out: Path, contest: Contest, teacher: type[ScriptedTeacher] = ScriptedTeacher
) -> tuple[dict[str, Any], Notes]:
    watch, learner = Notes(), AnyLearner(task)
    given: Any = learner
    made = compare(task, contest, out, watch=watch, open_model=lambda: teacher(), learner=given)
    return made, watch


def texts(folder: Path) -> set[str]:
    with reading(folder / "run.db") as ledger:
        return {row.example.text for row in ledger.rows(split="train")}


# -- nothing of use -------------------------------------------------------------------------------


def test_an_arm_that_produces_nothing_is_scored_as_the_student_that_it_has(tmp_path: Path) -> None:
    task = make_task(tmp_path / "task")
    contest = Contest(("evokd", "auggpt", "static"), seeds=2, tokens=9000)
    record, watch = run(task, tmp_path / "out", contest, NoParaphrases)
    noted = [note for note in watch.said if WORDLESS in note and "seed" in note]
    assert noted == [
        f"auggpt, seed {seed}: {WORDLESS} (take a larger model): its student is trained on seed"
        " examples and definitions alone"
        for seed in (1, 2)
    ]
    warned = [warning for warning in record["warnings"] if WORDLESS in warning]
    assert warned == [
        f"in 2 of 2 runs of auggpt {WORDLESS} (take a larger model): its student is that of seeds"
        " and definitions there"
    ]
    assert record["arms"]["auggpt"]["kept"] == 0
    assert record["arms"]["static"]["kept"] > 0
    assert WORDLESS not in record["says"]
    again, watch = run(task, tmp_path / "out", contest, NoParaphrases)
    assert (again, watch.said) == (record, [])
    with reading(tmp_path / "out" / "auggpt-1" / "run.db") as ledger:
        assert replay(ledger) == ledger.rows()


def test_a_cell_of_nothing_has_the_student_of_seeds_and_definitions(tmp_path: Path) -> None:
    contest = Contest(("seed-only", "auggpt"), seeds=1, tokens=9000)
    learner = FakeLearner(LABELS)
    given: Any = learner
    compare(make_task(tmp_path / "task"), contest, tmp_path / "out", watch=Notes(),
            open_model=NoParaphrases, learner=given)  # fmt: skip
    fits = [texts for name, texts in learner.log if name == "fit"]
    own = fits[2]  # seed-only's own: seeds alone, a round, the final one
    assert fits[-1] == own
    assert len(own) > len(LABELS), "with the definitions"


def test_a_first_arm_of_nothing_is_told_with_the_sentence(tmp_path: Path) -> None:
    record, _ = run(make_task(tmp_path / "task"), tmp_path / "out",
                    Contest(("evokd", "static"), seeds=2, tokens=200))  # fmt: skip
    assert record["says"].endswith(f"; in 2 of 2 runs of evokd {WORDLESS}")
    assert any("(raise the budget)" in warning for warning in record["warnings"])
    assert not any("came of feedback" in warning for warning in record["warnings"])


def test_a_plain_run_of_nothing_is_refused(tmp_path: Path) -> None:
    task = make_task(tmp_path / "task", loop={"arm": "auggpt"})
    given: Any = FakeLearner(LABELS)
    for _ in range(2):
        with pytest.raises(TeacherError, match=WORDLESS):
            run_task(task, tmp_path / "run", watch=Notes(), open_model=NoParaphrases, learner=given)


# -- hearing --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arms", "seeds"),
    [
        (("evokd", "zerogen", "sungen"), 2),
        (("zerogen", "sungen"), 1),
        (("sungen", "evokd", "zerogen"), 1),
    ],
)
def test_sungen_weighs_the_texts_of_zerogen(
    arms: tuple[str, ...], seeds: int, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    record, _ = run(
        make_task(tmp_path / "task"), out, Contest(arms, seeds=seeds, tokens=9000), Sampling
    )
    for seed in range(1, seeds + 1):
        mine = texts(out / f"sungen-{seed}")
        assert mine == texts(out / f"zerogen-{seed}")
        assert len(mine) > 50
        with reading(out / f"sungen-{seed}" / "run.db") as ledger:
            assert len(ledger.results()) > 1, "in all rounds"
            assert tokens(ledger.call_totals()) >= 9000, "what is heard costs as what is asked"
    assert [*record["arms"]] == [*arms]
    assert record["arms"]["sungen"]["tokens"] == record["arms"]["zerogen"]["tokens"]


def test_other_arms_are_as_without_sungen(tmp_path: Path) -> None:
    task, made = make_task(tmp_path / "task"), []
    for name, arms in (("with", ("evokd", "zerogen", "sungen")), ("none", ("evokd", "zerogen"))):
        record, _ = run(task, tmp_path / name, Contest(arms, seeds=1, tokens=9000))
        made.append([record["arms"][arm] for arm in ("evokd", "zerogen")])
    assert made[0] == made[1]


@pytest.mark.parametrize(
    ("arms", "order"),
    [
        (("evokd", "zerogen", "sungen"), ("evokd", "zerogen", "sungen")),
        (("sungen", "evokd", "zerogen"), ("evokd", "zerogen", "sungen")),
        (("evokd", "sungen", "zerogen"), ("evokd", "zerogen", "sungen")),
        (("sungen", "evokd"), ("evokd", "sungen")),
        (("seed-only", "eda", "static", "evokd"), ("static", "evokd", "seed-only", "eda")),
    ],
)
def test_what_is_heard_is_run_before(arms: tuple[str, ...], order: tuple[str, ...]) -> None:
    assert in_order(arms) == order


# -- shots ----------------------------------------------------------------------------------------


def few(folder: Path, weather: list[str]) -> Task:
    """Return a task with these texts of weather among the seeds, and six of each other label."""
    task = make_task(folder)
    lines = [{"text": e.text, "label": e.label} for e in texts_of(8, 6) if e.label != "weather"]
    write_jsonl(folder / "seed.jsonl", [{"text": t, "label": "weather"} for t in weather] + lines)
    return task


def test_a_label_that_has_no_text_to_draw_is_refused_before_anything_is_written(
    tmp_path: Path,
) -> None:
    make_task(tmp_path / "task")
    lines = (tmp_path / "task" / "test.jsonl").read_text().splitlines()
    [first, *_] = (d["text"] for d in map(json.loads, lines) if d["label"] == "weather")
    task = few(tmp_path / "task", [first])
    says = r"^data\.seed has no text of weather to draw: each stands in data\.test too"
    with pytest.raises(InputError, match=says):
        run(task, tmp_path / "out", Contest(("evokd", "static"), seeds=2, shots=3))
    assert not (tmp_path / "out").exists()


def test_a_label_with_fewer_texts_than_are_drawn_is_noted(tmp_path: Path) -> None:
    task = few(tmp_path / "task", ["rain in the storm"])
    for shots in (1, 3):
        out = tmp_path / f"out-{shots}"
        _, watch = run(task, out, Contest(("seed-only", "eda"), seeds=1, shots=shots))
        told = [note for note in watch.said if note.startswith("fewer than")]
        says = "fewer than 3 texts to draw of weather (1): every run has them all"
        assert told == ([says] if shots == 3 else [])


def test_seeds_are_drawn_once_a_seed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: Counter[int] = Counter()

    def counted(*given: Any, seed: int, **how: Any) -> Any:
        drawn[seed] += 1
        return sample(*given, seed=seed, **how)

    sample = comparing.sample_shots
    monkeypatch.setattr(comparing, "sample_shots", counted)
    task = few(tmp_path / "task", ["rain in the storm", "a sunny forecast"])
    run(task, tmp_path / "out", Contest(("seed-only", "eda"), seeds=3, shots=2))
    assert drawn == {1: 1, 2: 1, 3: 1}
