"""The switches of the method: what each takes away or adds, seen in the ledger of a run."""

from __future__ import annotations

import json
from collections import Counter
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fake_kinds import KIND_NAMES, AnyLearner, AnyTeacher, make_kind_task
from fake_run import Notes, grow, make_task, tables
from fakes import LABELS, ScriptedTeacher, Stopped
from test_arms_run import TWO, Grown, grown

from evokd.errors import InputError
from evokd.examples import Example
from evokd.kinds import kind_of
from evokd.ledger import Ledger, reading
from evokd.lessons import new_alone
from evokd.noise import NOISY
from evokd.prior import STAGE
from evokd.prompts import VERDICTS
from evokd.records import ASKED, RELABELLED, Row
from evokd.replay import replay
from evokd.spending import by_step
from evokd.teacher import Score, Scored

ANALYSIS, RIGHT = "Which kinds of text does it get wrong?", "It got these texts right:"


# -- the paper's switches -------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KIND_NAMES)
def test_without_analysis_the_mistakes_alone_are_shown(kind: str, tmp_path: Path) -> None:
    made = grown(tmp_path, kind, method={"analysis": False})
    assert ANALYSIS not in made.shown()
    assert "for like reasons" in made.shown()
    assert all(r["weaknesses"] == [] for r in made.results)
    assert made.of("hard")
    assert made.of("easy")


def test_without_right_answers_no_group_has_any(tmp_path: Path) -> None:
    usual, bare = grown(tmp_path / "a"), grown(tmp_path / "b", method={"correct": False})
    assert RIGHT in usual.shown()
    assert RIGHT not in bare.shown()
    assert any(plan["groups"] for plan in bare.plans)


@pytest.mark.parametrize("init", ["cover", "none", "paraphrase"])
def test_the_prior_is_told_by_whatever_round_first_writes_texts_of_labels(
    init: str, tmp_path: Path
) -> None:
    task = make_task(tmp_path / "task", dev=3, method={"init": init}, loop={"rounds": 3})
    grow(task, tmp_path / "run", ScriptedTeacher())
    with reading(tmp_path / "run" / "run.db") as ledger:
        assert ledger.stage(STAGE)["priors"]


def test_a_pool_that_is_labelled_without_a_prior_is_told_so(tmp_path: Path) -> None:
    task = make_task(tmp_path / "task", dev=3, pool=20, loop={"arm": "pool", "rounds": 2})
    notes = Notes()
    grow(task, tmp_path / "run", ScriptedTeacher(), watch=notes)
    assert len([note for note in notes.said if "method.calibrate" in note]) == 1


def test_no_easy_texts_are_asked_for(tmp_path: Path) -> None:
    made = grown(tmp_path, loop={"easy": 0})
    assert "and 0 that it would get right" in made.shown()
    assert "and 1 that it would get right" not in made.shown()


def test_without_separation_the_writing_reply_labels(tmp_path: Path) -> None:
    made = grown(tmp_path, method={"separation": False})
    texts = made.of("hard", "easy")
    assert texts
    assert all(row.example.soft == () for row in texts)
    asked = made.shown(but="Answer with JSON only")
    assert not [row for row in texts if f"Text: {json.dumps(row.example.text)}" in asked]
    assert all(row.example.soft for row in made.of("cover"))


@pytest.mark.parametrize("kind", ["multilabel", "ner"])
def test_separation_cannot_be_left_out_where_an_answer_is_no_label(
    kind: str, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=rf"method\.separation: false does not fit kind: {kind}$"):
        grown(tmp_path, kind, method={"separation": False})


def test_one_opinion_is_one_order(tmp_path: Path) -> None:
    for kind in KIND_NAMES:
        made = grown(tmp_path / kind, kind, method={"second_opinion": False})
        scopes = {call[1] for call in tables(made.file)["calls"]}
        assert any(scope.endswith("/label 1") for scope in scopes)
        assert not any(scope.endswith(("/label 2", "/verdicts")) for scope in scopes)
        assert not any(row.reason == "labels disagree" for row in made.rows)


def test_texts_of_another_label_may_be_kept(tmp_path: Path) -> None:
    usual, made = grown(tmp_path / "a"), grown(tmp_path / "b", method={"relabel": True})
    off = [row for row in usual.rows if row.reason == ASKED and row.round == 0]
    kept = [row for row in made.rows if row.example.origin == RELABELLED and row.round == 0]
    assert [row.example.text for row in kept] == [row.example.text for row in off] != []
    assert {row.split for row in kept} == {"train"}
    assert not any(row.reason == ASKED for row in made.rows if row.round >= 0)
    assert all(row.source != row.example.label for row in kept)
    fitted = [set(texts) for name, texts in made.learner.log if name == "fit"]
    assert {row.example.text for row in kept} <= fitted[1]


@pytest.mark.parametrize("kind", KIND_NAMES)
def test_the_start_may_be_paraphrases(kind: str, tmp_path: Path) -> None:
    made = grown(tmp_path, kind, method={"init": "paraphrase"})
    first = [row for row in made.rows if row.round == 0 and row.split == "train"]
    assert first
    assert {row.example.origin for row in first} == {"paraphrase"}
    assert made.results[1]["kept"]


def test_plain_evokd_starts_from_the_seeds_alone(tmp_path: Path) -> None:
    made = grown(tmp_path, method={"init": "none"})
    assert not [row for row in made.rows if row.round == 0 and row.split == "train"]
    assert [row for row in made.rows if row.round == 0 and row.split == "dev"]
    seeds = {e.text for e in made.data.seed}
    fitted = [set(texts) for name, texts in made.learner.log if name == "fit"]
    assert seeds <= fitted[1]
    assert not fitted[1] & {row.example.text for row in made.rows}
    assert made.results[1]["kept"] > 0
    # The first feedback is about the seeds, whichever of them it gets wrong.
    shown = made.plans[1]["groups"]
    assert {s[0] for g in shown for part in g.values() for s in part} <= seeds
    assert ("predict", tuple(e.text for e in made.data.seed)) in made.learner.log


def test_sequential_training_goes_on_with_the_new_texts_alone(tmp_path: Path) -> None:
    loop = {"training": "sequential", "rounds": 4, "repeat": 3}
    made = grown(tmp_path, loop=loop, method={"review": 2})
    fits = [texts for name, texts in made.learner.log if name == "fit"][1:]
    assert [start is None for start, _ in made.learner.hows[1:]] == [True, *[False] * 4]
    for number in range(1, 5):
        counts = Counter(fits[number])
        batch = {r.example.text for r in made.rows if r.round == number and r.split == "train"}
        assert {t: n for t, n in counts.items() if t in batch} == dict.fromkeys(batch, 3)
        earlier = set(counts) - batch
        assert len(earlier) == (len(batch) if number % 2 == 0 else 0)
        own = {e.text for e in (*made.data.seed, *kind_of(made.task).definitions())}
        assert earlier <= own | {r.example.text for r in made.rows if 0 <= r.round < number}


@pytest.mark.parametrize("kind", KIND_NAMES)
def test_a_review_draws_from_the_seeds_too(kind: str, tmp_path: Path) -> None:
    loop, method = {"training": "sequential", "rounds": 1}, {"review": 1, "review_texts": 9999}
    made = grown(tmp_path, kind, loop=loop, method=method)
    own = [e.text for e in (*made.data.seed, *kind_of(made.task).definitions())]
    reviewed = Counter([texts for name, texts in made.learner.log if name == "fit"][-1])
    assert {text: reviewed[text] for text in own} == Counter(own)


def test_no_review_replays_nothing(tmp_path: Path) -> None:
    made = grown(tmp_path, loop={"training": "sequential"}, method={"review": 0})
    rows = [row for row in made.rows if row.split == "train"]
    for number in (1, 2):
        batch = [row.example for row in rows if row.round == number]
        assert new_alone(made.task, made.data.seed, rows, number) == batch * made.task.loop.repeat


@pytest.mark.parametrize("most", [0, 1, 3, 999])
def test_a_review_has_as_many_texts_as_are_asked_for(most: int, tmp_path: Path) -> None:
    loop, method = {"training": "sequential", "repeat": 1}, {"review": 1, "review_texts": most}
    task = make_task(tmp_path, loop=loop, method=method)
    rows = [Row(n // 8, Example(f"text {n}", "music", "hard"), "train") for n in range(20)]
    own = [Example(f"seed {n}", "music", "seed") for n in range(3)]
    batch, earlier = [row.example for row in rows[16:]], {*own, *(r.example for r in rows[:16])}
    made = new_alone(task, own, rows, 2)
    assert made[:4] == batch
    assert len({*made[4:]}) == len(made) - 4 == min(most or 4, 19)
    assert {*made[4:]} <= earlier


# -- what was added -------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KIND_NAMES)
def test_the_report_stands_before_the_mistakes(kind: str, tmp_path: Path) -> None:
    made = grown(tmp_path, kind, method={"report": True})
    asked = [p for p in made.shown().split("A small ") if ANALYSIS in p]
    assert asked
    assert all("How well it does:\n- " in p for p in asked)
    assert any(plan.get("report") for plan in made.plans)
    assert "How well it does:" not in grown(tmp_path / "usual", kind).shown()


@pytest.mark.parametrize("kind", ["classification", "ner"])
def test_like_texts_are_shown_where_others_are_labelled(kind: str, tmp_path: Path) -> None:
    made = grown(tmp_path, kind, method={"demonstrations": 2})
    barred = {row.example.text for row in made.rows if row.split == "dev"}
    barred |= {example.text for example in made.data.test}
    calls = tables(made.file)["calls"]
    asked = [c[3] for c in calls if "/label" in c[1] and not c[1].startswith("gate")]
    assert asked
    for request in asked:
        content = json.loads(request)["messages"][-1]["content"]
        told = content.partition("Like texts with their labels:\n")[2].splitlines()
        shown = [line for line in told if line.startswith("- ")]
        assert len(shown) == 2
        assert not [text for text in barred if any(json.dumps(text) in line for line in shown)]
    ledger = Ledger(made.file, attempt=False)
    assert replay(ledger) == made.rows
    ledger.close()


def test_attributes_are_asked_once_and_written_by(tmp_path: Path) -> None:
    made = grown(tmp_path, method={"attributes": True})
    calls = [c for c in tables(made.file)["calls"] if c[1] == "round 0/attributes"]
    assert len(calls) == 1
    with closing(Ledger(made.file, attempt=False)) as ledger:
        assert by_step(ledger)["attributes"]["calls"] == 1
    assert made.stage("attributes")["reject"] is None
    usual = [p for p in made.shown().split("\n") if "new texts of the class" in p]
    assert any("about work, loud, in a few words, from a child." in p for p in usual)
    assert {tuple(plan["styles"]) for plan in made.plans} == {
        tuple(made.stage("attributes")["styles"])
    }


def test_attributes_that_cannot_be_read_leave_the_usual_styles(tmp_path: Path) -> None:
    class Silent(AnyTeacher):
        def _text(self, asked: str, *rest: Any) -> str:
            unread = "Name ways in which such texts differ" in asked
            return "Many ways." if unread else super()._text(asked, *rest)

    task = make_task(tmp_path / "task", loop={"rounds": 0}, method={"attributes": True})
    grow(task, tmp_path / "run", Silent(), AnyLearner(task))
    ledger = Ledger(tmp_path / "run" / "run.db", attempt=False)
    assert ledger.results()[0]["rejects"]["attributes: no json"] == 1
    assert "styles" not in ledger.plan(0)
    ledger.close()


@pytest.mark.parametrize("noise", ["mixture", "out-of-fold"])
def test_what_is_likely_mislabelled_is_left_out_of_the_last_training(
    noise: str, tmp_path: Path
) -> None:
    made = grown(tmp_path, loop={"arm": "zerogen", "cover": 20}, method={"noise": noise})
    dropped = made.stage("noise")["dropped"]
    marked = [row for row in made.rows if row.reason == NOISY]
    assert [row.example.text for row in marked] == dropped
    assert all(row.split is None for row in marked)
    assert 0 < len(dropped) < made.stage("noise")["of"] / 2
    ledger = Ledger(made.file, attempt=False)
    assert replay(ledger) == made.rows
    ledger.close()


class Lavish(AnyTeacher):
    """Names the first entity with another type, too; of one reply alone it says: not an entity."""

    def _text(self, asked: str, *rest: Any) -> str:
        said = super()._text(asked, *rest)
        if "Which entities are in this text?" not in asked or said == "[]":
            return said
        first, *others = json.loads(said)
        other = next(label for label in LABELS if label != first["type"])
        return json.dumps([first, *others, first | {"type": other}])

    def _score(self, request: Score) -> Scored:
        scored = super()._score(request)
        if request.choices != VERDICTS:
            return scored
        return replace(scored, logprobs=(*scored.logprobs[1:], scored.logprobs[0]))


def test_entities_that_are_left_out_are_counted_in_their_round(tmp_path: Path) -> None:
    task = make_kind_task(tmp_path / "task", "ner", loop=TWO, selection={"tolerance": 1.0})
    grow(task, tmp_path / "run", Lavish(faulty=0), AnyLearner(task))
    asked = Counter(call[1] for call in tables(tmp_path / "run" / "run.db")["calls"])
    with closing(Ledger(tmp_path / "run" / "run.db", attempt=False)) as ledger:
        for result in ledger.results():
            again = asked[f"round {result['round']}/verdicts"]
            assert result["rejects"]["not an entity"] == again > 0
            assert result["rejects"]["overlapping entity"] > 0
        assert replay(ledger) == ledger.rows()


def test_what_is_refused_of_texts_that_are_held_out_counts_too(tmp_path: Path) -> None:
    class Careless(AnyTeacher):
        def _flawed(self, texts: list[str], number: int) -> list[str]:
            return ["", *super()._flawed(texts, number)]

    loop = TWO | {"arm": "zerogen"}  # its first dev texts are written apart
    task = make_kind_task(tmp_path / "task", "classification", loop=loop)
    grow(task, tmp_path / "run", Careless(faulty=0), AnyLearner(task))
    asked = Counter(call[1] for call in tables(tmp_path / "run" / "run.db")["calls"])
    with closing(Ledger(tmp_path / "run" / "run.db", attempt=False)) as ledger:
        rejects = ledger.results()[0]["rejects"]
    assert asked["round 0/dev/cover"] > 0
    assert rejects == {"empty text": asked["round 0/dev/cover"] + asked["round 0/cover"]}


def test_a_run_that_stops_anywhere_goes_on_the_same(tmp_path: Path) -> None:
    """With every switch that asks or shows more, and a start of its own."""
    method = {"init": "paraphrase", "attributes": True, "report": True, "demonstrations": 1}
    whole = grown(tmp_path / "whole", method=method)
    task = whole.task
    for fail_after in (0, 1, 7, 30, 61):
        folder = tmp_path / str(fail_after)
        with pytest.raises(Stopped):
            grow_again(task, folder, fail_after=fail_after)
        again = grow_again(task, folder)
        assert tables(again.file)["examples"] == tables(whole.file)["examples"]
        assert again.results == whole.results


def grow_again(task: Any, folder: Path, **teacher: Any) -> Grown:
    return Grown(folder, task, **teacher)


def test_rounds_tell_how_varied_their_texts_are(tmp_path: Path) -> None:
    made = grown(tmp_path)
    assert all(0 < r["diversity"]["nearest"] <= 1 for r in made.results)
