"""Every arm, on every kind of task: it ends, keeps to the labels, and shows no test text."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import pytest
from fake_kinds import KIND_NAMES, AnyLearner, AnyTeacher, make_kind_task
from fake_run import grow, prompts_of, tables, write_jsonl
from ledger_checks import entities_told, gold_learned

from evokd.answers import names_in, read_spans
from evokd.arms import ARMS, INITS, PARTS
from evokd.errors import InputError
from evokd.ledger import Ledger
from evokd.planning import PLANNERS
from evokd.records import Row
from evokd.replay import replay
from evokd.settings import FEEDBACK, ArmName, MethodSettings
from evokd.spending import STEPS, by_step
from evokd.task import Task, load_data

TWO = {"rounds": 2, "cover": 8, "pool": 4}


class Grown:
    """A finished run of some arm or switch."""

    def __init__(self, folder: Path, task: Task, **teacher: Any) -> None:
        self.task, self.data = task, load_data(task)
        leaks = [e.text for e in self.data.test]
        self.teacher = AnyTeacher(leaks=leaks, **teacher)
        self.learner = AnyLearner(task)
        self.folder = folder / "run"
        grow(task, self.folder, self.teacher, self.learner)  # type: ignore[arg-type]
        self.file = self.folder / "run.db"
        ledger = Ledger(self.file, attempt=False)
        self.rows, self.results = ledger.rows(), ledger.results()
        self.plans = [ledger.plan(r["round"]) for r in self.results]
        self.stage: Callable[[str], Any] = {n: ledger.stage(n) for n in ("noise", "attributes")}.get
        ledger.close()

    def of(self, *origins: str) -> list[Row]:
        """The kept training texts of some origins."""
        return [r for r in self.rows if r.split == "train" and r.example.origin in origins]

    def shown(self, *, but: str = "\0") -> str:
        """All that the teacher was shown, but for questions that have some words."""
        return "\n".join(p for p in prompts_of(self.file) if but not in p)


def grown(folder: Path, kind: str = "classification", **groups: dict[str, Any]) -> Grown:
    """Run a small task to its end."""
    loop = TWO | groups.pop("loop", {})
    selection = {"tolerance": 1.0} | groups.pop("selection", {})
    task = make_kind_task(folder / "task", kind, loop=loop, selection=selection, **groups)
    return Grown(folder, task)


def test_texts_of_the_user_that_are_of_no_use_blame_no_teacher(tmp_path: Path) -> None:
    loop = TWO | {"arm": "pool", "pool": 4}
    task = make_kind_task(tmp_path / "task", "classification", loop=loop)
    leaks = [{"text": f"{example.text}s"} for example in load_data(task).test]
    write_jsonl(tmp_path / "task" / "unlabeled.jsonl", leaks)
    made = Grown(tmp_path, task)
    asked = [row for row in made.rows if row.example.origin == "pool"]
    assert len(asked) >= loop["pool"], "a round was asked, and the run went on"
    assert {row.reason for row in asked} == {"leak: test"}


def test_the_settings_name_exactly_the_arms() -> None:
    assert set(get_args(ArmName)) == set(ARMS)
    assert set(get_args(MethodSettings.model_fields["init"].annotation)) == set(INITS)
    assert set(PARTS) == set(PLANNERS)
    mistakes = {"mistakes", "confident mistakes"}
    assert {*FEEDBACK} == {name for name, arm in ARMS.items() if mistakes & {*arm.parts}}
    assert {part for arm in (*ARMS.values(), *INITS.values()) for part in arm.parts} == set(PARTS)


FITTING = [(arm, kind) for arm in sorted(ARMS) for kind in KIND_NAMES]
FITTING.remove(("sungen", "ner"))


def test_weights_of_labels_do_not_fit_entities(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="does not fit kind: ner"):
        grown(tmp_path, "ner", loop={"arm": "sungen"})


@pytest.mark.parametrize("arm", [arm for arm, kind in FITTING if kind == "ner" and arm != "eda"])
def test_offsets_give_back_what_the_teacher_said(arm: str, tmp_path: Path) -> None:
    made = grown(tmp_path, "ner", loop={"arm": arm})
    told, found = entities_told(made.file), 0
    for row in made.rows:
        for span in read_spans(row.example.label) if row.split else ():
            words = row.example.text[span.start : span.end]
            assert (words, span.label) in told[row.example.text]
            found += 1
    assert found > 0 or arm == "seed-only"


@pytest.mark.parametrize(("arm", "kind"), FITTING)
def test_every_arm_ends_with_texts_of_the_task(arm: str, kind: str, tmp_path: Path) -> None:
    made = grown(tmp_path, kind, loop={"arm": arm})
    assert [r["round"] for r in made.results] == list(range(1 if arm == "seed-only" else 3))
    kept = [row for row in made.rows if row.split == "train"]
    assert bool(kept) == (arm != "seed-only")
    for row in kept:
        assert set(names_in(row.example.label, made.task.kind)) <= set(made.task.names)
    assert gold_learned(made.data, made.rows) == []
    test = [e.text for e in made.data.test]
    assert not [text for text in test if text in made.shown()]
    assert not {*test} & {text for _, texts in made.learner.log if _ == "fit" for text in texts}
    asked = [call for call in tables(made.file)["calls"] if not call[1].startswith("gate ")]
    assert bool(asked) == ARMS[arm].teacher
    with_ledger = Ledger(made.file, attempt=False)
    assert replay(with_ledger) == made.rows
    steps = by_step(with_ledger)
    assert {*steps} <= {*STEPS}  # no call is of an unknown step
    for name, count in with_ledger.call_totals().items():
        assert sum(totals[name] for totals in steps.values()) == count > 0
    with_ledger.close()


@pytest.mark.parametrize("arm", ["auggpt", "zerogen", "sungen", "eda"])
def test_labels_that_an_arm_sets_are_not_asked_for(arm: str, tmp_path: Path) -> None:
    made = grown(tmp_path, loop={"arm": arm})
    texts = made.of("cover", "paraphrase", "edited")
    assert len(texts) > 10
    asked = "\n".join(p for p in prompts_of(made.file) if "To which class" in p)
    assert not [row for row in texts if json.dumps(row.example.text) in asked]
    assert all(row.example.soft == () for row in texts)
    assert all(row.source == row.example.label for row in texts)


def test_zerogen_shows_no_examples(tmp_path: Path) -> None:
    made = grown(tmp_path, loop={"arm": "zerogen"})
    mine = [call[3] for call in tables(made.file)["calls"] if "/dev/" not in call[1]]
    loops = [json.loads(call) for call in mine if "new texts of the class" in call]
    seeds = [e.text for e in made.data.seed]
    first = [c["messages"][0]["content"] for c in loops][: sum(made.plans[0]["cover"].values())]
    assert first
    assert not [text for text in seeds if any(text in content for content in first)]


def test_sungen_weighs_what_was_written_and_nothing_else(tmp_path: Path) -> None:
    made = grown(tmp_path, loop={"arm": "sungen"})
    (_, weights) = made.learner.hows[-1]
    (texts,) = [made.learner.log[i][1] for i in _fits(made)[-1:]]
    assert weights is not None
    assert len(weights) == len(texts)
    own = {e.text for e in made.data.seed}
    assert {w for t, w in zip(texts, weights, strict=True) if t in own} == {1.0}
    assert len({w for t, w in zip(texts, weights, strict=True) if t not in own}) > 3
    assert min(weights) > 0
    assert {w for _, w in grown_weights(tmp_path / "other")} == {None}


def grown_weights(folder: Path) -> list[tuple[Any, Any]]:
    return grown(folder, loop={"arm": "zerogen"}).learner.hows


def _fits(made: Grown) -> list[int]:
    return [i for i, (name, _) in enumerate(made.learner.log) if name == "fit"]


def test_the_dev_of_an_arm_with_texts_of_its_own_is_written_apart_and_checked(
    tmp_path: Path,
) -> None:
    made = grown(tmp_path, loop={"arm": "zerogen"})
    held = [row for row in made.rows if row.split == "dev"]
    assert held
    assert all(row.example.soft for row in held)
    assert all(row.source == row.example.label for row in held)


def test_paraphrases_take_every_seed_in_turn(tmp_path: Path) -> None:
    made = grown(tmp_path, loop={"arm": "auggpt"})
    asked = [text for plan in made.plans for text, _ in plan["paraphrases"]]
    counts = {e.text: asked.count(e.text) for e in made.data.seed}
    assert max(counts.values()) - min(counts.values()) <= 1
    assert sum(counts.values()) == len(asked)
    loop = made.task.loop
    assert len(made.plans[1]["paraphrases"]) == loop.conversations + loop.quota


def test_pgkd_shows_a_report_and_asks_for_hard_texts_alone(tmp_path: Path) -> None:
    made = grown(tmp_path, loop={"arm": "pgkd"})
    asked = [p for p in prompts_of(made.file) if "How well it does:" in p]
    assert asked
    loop = made.task.loop
    assert all(f"Write {loop.hard + loop.easy} new texts that it would" in p for p in asked)
    assert "Which kinds of text does it get wrong?" not in made.shown()
    assert not made.of("easy")
    assert made.of("hard")


def test_the_pool_arms_label_the_users_texts_alone(tmp_path: Path) -> None:
    for arm in ("pool", "pool-random"):
        made = grown(tmp_path / arm, loop={"arm": arm, "pool": 4})
        own = set(made.data.unlabeled)
        trained = [row for row in made.rows if row.split == "train"]
        assert {row.example.text for row in trained} <= own
        shown = [text for plan in made.plans for text in plan["pool"]]
        assert len(set(shown)) == len(shown) == 4 * len(made.results)


def test_a_pool_that_is_empty_ends_the_run(tmp_path: Path) -> None:
    made = grown(tmp_path, loop={"arm": "pool-random", "pool": 100, "rounds": 5})
    assert [len(plan["pool"]) for plan in made.plans] == [len(made.data.unlabeled), 0]


def test_a_pool_arm_without_a_pool_is_refused(tmp_path: Path) -> None:
    task = make_kind_task(tmp_path, "classification", pool=0, loop={"arm": "pool"})
    with pytest.raises(InputError, match=r"data\.unlabeled is missing"):
        load_data(task)
