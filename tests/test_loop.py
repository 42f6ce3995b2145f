from __future__ import annotations

import json
import shutil
import sqlite3
from collections import Counter
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from fake_run import Run, grow, make_task, prompts_of, tables, worse, write_jsonl
from fakes import LABELS, ScriptedTeacher, Stopped, texts_of

from evokd.calls import Calls
from evokd.errors import TeacherError
from evokd.examples import Example
from evokd.feedback import SHOW_WRONG
from evokd.ledger import Ledger
from evokd.loop import Loop
from evokd.records import Row
from evokd.task import load_data, load_task
from evokd.teacher import Generate
from evokd.watch import Silent


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("loop")
    # No round of this run is rolled back; test_selection.py is about those that are.
    task = make_task(folder / "task", pool=5, loop={"rounds": 3}, selection={"tolerance": 1.0})
    leaks = [e.text for e in load_data(task).test]
    return Run(folder / "run", task, teacher=ScriptedTeacher(leaks=leaks))


# -- the order of a round -------------------------------------------------------------------------


def test_the_student_is_tested_on_new_texts_before_it_is_trained_on_them(run: Run) -> None:
    new = [r.example.text for r in run.rows(split="train") if r.example.origin != "seed"]
    assert len(new) > 40
    for text in new:
        first = {name: None for name in ("predict", "fit")}
        for place, (name, texts) in enumerate(run.learner.log):
            if name in first and first[name] is None and text in texts:
                first[name] = place  # type: ignore[assignment]
        assert first["predict"] is not None
        assert first["fit"] is not None
        assert first["predict"] < first["fit"]


def test_the_batch_is_tested_with_the_student_of_the_round_before(run: Run) -> None:
    for number in range(len(run.results)):
        batch = tuple(r.example.text for r in run.rows(round=number, split="train"))
        place = run.learner.log.index(("predict", batch))
        before = "seed" if number == 0 else f"{number - 1:02d}"
        assert run.learner.log[place - 1] == ("load", before)


def test_the_plan_is_committed_with_its_calls_before_the_first_is_made(tmp_path: Path) -> None:
    task = make_task(tmp_path / "task")
    seen: list[tuple[int, int, int]] = []

    class Watching(ScriptedTeacher):
        def generate(self, requests: Sequence[Generate], on_done: Any = None) -> Any:
            with closing(sqlite3.connect(tmp_path / "run" / "run.db")) as db:
                plans = db.execute("SELECT count(*) FROM rounds").fetchone()[0]
                calls = "SELECT count(*) FROM calls WHERE kind = 'generate' AND reply IS NULL"
                seen.append((plans, db.execute(calls).fetchone()[0], len(requests)))
            return super().generate(requests, on_done)

    with pytest.raises(Stopped):
        grow(task, tmp_path / "run", Watching(fail_after=0))
    ((plans, in_flight, asked),) = seen
    assert (plans, in_flight) == (1, asked)
    assert asked >= len(LABELS)


def test_every_training_holds_seeds_and_new_texts_as_often_as_set(tmp_path: Path) -> None:
    loop = {"rounds": 1, "anchor": 3, "repeat": 2}
    made = Run(tmp_path / "run", make_task(tmp_path / "task", loop=loop))
    seeds = [e.text for e in load_data(made.task).seed]
    for number, fitted in enumerate(made.fits()[1:]):
        counts = Counter(fitted)
        assert [counts[text] for text in seeds] == [3] * len(seeds)
        for row in made.rows(split="train"):
            if row.round <= number:
                # The first texts once: none of them is newer than the others.
                assert counts[row.example.text] == (2 if row.round == number > 0 else 1)
        held_out = [row.example.text for row in made.rows(split="dev")]
        assert held_out
        assert not set(held_out) & set(fitted)


def test_students_that_nobody_needs_any_more_are_removed(tmp_path: Path) -> None:
    task = make_task(tmp_path / "task", loop={"rounds": 3}, selection={"tolerance": 1.0})
    run = Run(tmp_path / "run", task, spoil=worse(4))  # fit 0 is the seeds', so the last round's
    left = {path.name for path in (run.folder / "rounds").iterdir()}
    last, scores = len(run.results) - 1, [r["dev"]["macro_f1"] for r in run.results]
    best = max(range(len(scores)), key=lambda n: (scores[n], n))
    assert 0 < best < last
    assert left == {"seed", f"{best:02d}", f"{last:02d}"}


# -- what a round shows and asks ------------------------------------------------------------------


def test_no_test_text_stands_in_any_request(run: Run) -> None:
    shown = "\n".join(prompts_of(run.file))
    test = [e.text for e in load_data(run.task).test]
    assert any(row.reason == "leak: test" for row in run.rows())  # the teacher did write some
    assert not [text for text in test if text in shown]


def test_no_held_out_text_is_shown_as_feedback_or_example(run: Run) -> None:
    held_out = [row.example.text for row in run.rows(split="dev")]
    shown = [p for p in prompts_of(run.file) if "To which class" not in p]
    assert held_out
    assert not [text for text in held_out if text in "\n".join(shown)]


def test_round_0_covers_every_label_and_shows_only_seeds(run: Run) -> None:
    plan = run.plans[0]
    assert set(plan["cover"]) == set(LABELS)
    assert len(set(plan["cover"].values())) == 1
    assert (plan["groups"], plan["pool"]) == ([], [])
    seeds = {e.text for e in load_data(run.task).seed}
    assert {text for texts in plan["examples"].values() for text in texts} == seeds


def test_feedback_is_what_the_student_said_of_the_round_before(run: Run) -> None:
    shown = 0
    for number in range(1, len(run.plans)):
        rows = {r.example.text: r for r in run.rows(round=number - 1, split="train")}
        for group in run.plans[number]["groups"]:
            assert 0 < len(group["wrong"]) <= SHOW_WRONG
            for text, label, predicted in group["wrong"]:
                assert rows[text].example.label == label != predicted
                shown += 1
            for text, label, predicted in group["right"]:
                assert rows[text].example.label == label == predicted
    assert shown > 3


def test_conversations_that_no_mistake_fills_go_to_the_weakest_labels(run: Run) -> None:
    loop = run.task.loop
    counts = [(len(p["groups"]), sum(p["cover"].values())) for p in run.plans[1:]]
    assert all(groups + cover == loop.conversations + loop.quota for groups, cover in counts)
    assert all(groups <= loop.conversations for groups, _ in counts)
    for number in range(1, len(run.plans)):
        usable = [r for r in run.results[:number] if not r["rolled_back"]][-1]
        strength = {
            n: 0.5 + (s["f1"] if s["support"] else 1.0)
            for n, s in usable["dev"]["per_label"].items()
        }
        rows = [r for r in run.rows() if r.split == "train" and 0 <= r.round < number]
        texts = Counter(row.example.label for row in rows)
        asked = Counter(run.plans[number]["covered"])
        poorest = min(run.task.names, key=lambda n: (texts[n] + 4 * asked[n]) * strength[n])
        assert poorest in run.plans[number]["cover"]


def test_nothing_wrong_is_no_analysis(tmp_path: Path) -> None:
    task = make_task(tmp_path / "task", loop={"rounds": 1})
    ledger = Ledger(tmp_path / "run.db")
    data = load_data(task)
    calls = Calls(ledger, ScriptedTeacher)
    loop = Loop(task, data, ledger=ledger, calls=calls, learner=None, folder=tmp_path,
                watch=Silent())  # fmt: skip
    per_label = {n: {"f1": f, "support": 5} for n, f in zip(LABELS, (0.9, 0.2, 0.5), strict=True)}
    ledger.set_plan(0, {})
    ledger.finish_round(0, {"round": 0, "dev": {"macro_f1": 1, "per_label": per_label},
                            "rolled_back": False})  # fmt: skip
    plan = loop.plan(1)
    assert plan["groups"] == []
    assert plan["cover"] == {"alarm": 1, "music": 1, "weather": 1}
    ledger.close()


def test_weak_labels_get_the_quota_first(tmp_path: Path) -> None:
    task = make_task(tmp_path / "task", loop={"conversations": 1, "quota": 1})
    ledger = Ledger(tmp_path / "run.db")
    loop = Loop(task, load_data(task), ledger=ledger, calls=Calls(ledger, None), learner=None,
                folder=tmp_path, watch=Silent())  # fmt: skip
    per_label = {n: {"f1": f, "support": 5} for n, f in zip(LABELS, (0.9, 0.2, 0.2), strict=True)}
    ledger.set_plan(0, {})
    ledger.add_rows([Row(0, Example("a song", "music"), "train")])
    ledger.add_rows([Row(0, Example("wake me", "alarm"), "train")] * 2)
    ledger.add_rows([Row(0, Example("rain", "weather"), "train")] * 9)
    ledger.finish_round(0, {"round": 0, "dev": {"per_label": per_label}, "rolled_back": False})
    # As weak as alarm, but with fewer texts: music comes first.
    assert loop.plan(1)["cover"] == {"alarm": 1, "music": 1}
    ledger.close()


def test_the_pool_is_labelled_least_sure_first_and_never_twice(run: Run) -> None:
    pool = list(load_data(run.task).unlabeled)
    shown = [text for plan in run.plans for text in plan["pool"]]
    assert len(set(shown)) == len(shown) == 3 * run.task.loop.pool
    rest = [text for text in pool if text not in run.plans[1]["pool"]]
    place = run.learner.log.index(("predict", tuple(pool)))
    assert run.learner.log[place - 1] == ("load", "00")
    assert rest
    rows = [row for row in run.rows() if row.example.origin == "pool"]
    assert {row.example.text for row in rows} == set(shown)
    assert all(row.call is None for row in rows)


def test_a_pool_of_near_duplicates_does_not_block_the_pool(tmp_path: Path) -> None:
    """What was dropped unlabelled in one round must not come up in every later one."""
    task = make_task(tmp_path / "task", pool=2, loop={"pool": 3, "rounds": 2, "conversations": 1})
    near = [f"{e.text}s" for e in load_data(task).test[:3]]
    write_jsonl(tmp_path / "task" / "unlabeled.jsonl",
                [{"text": t} for t in [*near, *(e.text for e in texts_of(4, 1))]])  # fmt: skip
    made = Run(tmp_path / "run", load_task(tmp_path / "task" / "task.yaml"))
    shown = [text for plan in made.plans for text in plan["pool"]]
    assert len(set(shown)) == len(shown) == 6


def test_the_static_arm_shows_no_feedback_and_asks_as_often(tmp_path: Path) -> None:
    made = Run(tmp_path / "run", make_task(tmp_path / "task", loop={"arm": "static"}))
    shown = "\n".join(prompts_of(made.file))
    assert "Which kinds of text does it get wrong?" not in shown
    for plan in made.plans[1:]:
        loop = made.task.loop
        assert plan["groups"] == []
        assert sum(plan["cover"].values()) == loop.conversations + loop.quota
    assert all(result["weaknesses"] == [] for result in made.results)


def test_no_score_decides_what_the_static_arm_covers(tmp_path: Path) -> None:
    made = Run(tmp_path / "run", make_task(tmp_path / "task", loop={"arm": "static"}))
    asked: Counter[str] = Counter()
    for plan in made.plans:
        asked.update(plan["cover"])
        assert max(asked.values()) - min(asked[name] for name in made.task.names) <= 1


# -- a round's result -----------------------------------------------------------------------------


def test_results_count_what_the_rows_say(run: Run) -> None:
    assert json.loads(json.dumps(run.notes.results)) == run.results
    for number, result in enumerate(run.results):
        rows = run.rows(round=number)
        assert result["written"] == len(rows)
        assert result["kept"] == sum(row.split is not None for row in rows)
        assert result["dropped"] == Counter(row.reason for row in rows if row.reason)
        assert result["kept"] + sum(result["dropped"].values()) == result["written"]
        tested = sum(all_ for _, all_ in result["missed"].values())
        assert tested == len([r for r in rows if r.split == "train"])
        assert result["trained_on"] == len(run.fits()[number + 1])
    tokens = [result["tokens"]["tokens_in"] for result in run.results]
    assert tokens == sorted(set(tokens))


def test_a_teacher_whose_first_texts_are_of_no_use(tmp_path: Path) -> None:
    class Mute(ScriptedTeacher):
        def _text(self, *asked: Any) -> str:
            return "I would rather not."

    with pytest.raises(TeacherError, match="none of the teacher's first texts"):
        grow(make_task(tmp_path / "task"), tmp_path / "run", Mute())
    assert tables(tmp_path / "run" / "run.db")["examples"] == []


def test_a_text_that_comes_again_in_a_later_round_is_kept_once(tmp_path: Path) -> None:
    again = "find the new forecast of rain"  # of the label that is asked for first

    class Repeating(ScriptedTeacher):
        def _flawed(self, texts: list[str], number: int) -> list[str]:
            return [*texts, again]

    task = make_task(tmp_path / "task", loop={"rounds": 3})
    made = Run(tmp_path / "run", task, teacher=Repeating(faulty=0))
    rows = [row for row in made.rows() if row.example.text == again]
    assert {row.round for row in rows} >= {0, 1, 2, -1}
    assert Counter(row.reason for row in rows) == {None: 1, "duplicate": len(rows) - 1}


def test_two_runs_are_the_same(run: Run, tmp_path: Path) -> None:
    shutil.copytree(run.folder.parent / "task", tmp_path / "task")
    task = load_task(tmp_path / "task" / "task.yaml")
    again = Run(tmp_path / "run", task, teacher=ScriptedTeacher(leaks=run.teacher.leaks))
    assert tables(again.file) == tables(run.file)
