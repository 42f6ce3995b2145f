from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fake_kinds import AnyTeacher
from fake_run import make_task
from fakes import LABELS, ScriptedTeacher, sentence, texts_of
from hypothesis import given
from hypothesis import strategies as st

from evokd import prompts
from evokd.arms import ARMS, COVER_TEXTS, SURPLUS, View, planned_requests
from evokd.arms.cover import cover_requests, some
from evokd.arms.mistakes import analysis_requests
from evokd.calls import Calls
from evokd.feedback import Group
from evokd.ledger import Ledger
from evokd.prompts import STYLES
from evokd.replies import MAX_TEXT, parse_hard_easy, parse_list
from evokd.teacher import Written, grammar
from evokd.watch import Silent
from evokd.wording import Seen

GROUPS = (
    Group((Seen("sunny", "weather", "weather"),), (Seen("loud rain", "weather", "music"),)),
    Group((), (Seen("wake song", "alarm", "music"), Seen("timer", "alarm", "weather"))),
)
evokd, static = ARMS["evokd"], ARMS["static"]
SEEDS = {label: [e.text for e in texts_of(1, 1, [label])] for label in LABELS}


class Asked:
    """A view over a fresh ledger, and the teacher behind it."""

    def __init__(self, folder: Path, teacher: ScriptedTeacher, **plan: Any) -> None:
        self.teacher = teacher
        self.ledger = Ledger(folder / "run.db")
        planned = {"groups": [], "cover": {}, "examples": SEEDS} | plan
        calls = Calls(self.ledger, lambda: teacher)
        task = make_task(folder / "task")
        self.view = View(task, calls, "round 1", planned, Silent().progress)


@pytest.fixture
def asked(tmp_path: Path) -> Iterator[Asked]:
    made = Asked(
        tmp_path,
        ScriptedTeacher(faulty=0),
        groups=[g.to_json() for g in GROUPS],
        cover={"alarm": 2, "music": 1},
    )
    yield made
    made.ledger.close()


def test_static_asks_for_every_planned_label_and_shows_no_feedback(asked: Asked) -> None:
    proposed = static(asked.view)
    assert Counter(p.source for p in proposed.texts).keys() == {"alarm", "music"}
    assert {p.origin for p in proposed.texts} == {"cover"}
    assert proposed.weaknesses == ()
    assert len(asked.teacher.asked) == 3
    shown = "\n".join(r.messages[-1].content for r in asked.teacher.asked)
    assert shown.count("new texts of the class alarm, ") == 2
    assert "It got these texts wrong" not in shown


def test_every_text_names_the_call_that_wrote_it(asked: Asked) -> None:
    proposed = evokd(asked.view)
    assert {p.origin for p in proposed.texts} == {"hard", "easy", "cover"}
    for proposal in proposed.texts:
        assert proposal.call is not None
        reply = asked.ledger.reply(proposal.call)
        assert reply is not None
        said = Written(reply[0]["text"], "stop", 0, 0, 0)
        parse = parse_list if proposal.origin == "cover" else parse_hard_easy
        assert (proposal.origin, proposal.text) in parse(said).texts


def test_evokd_writes_in_the_conversation_of_the_analysis(asked: Asked) -> None:
    proposed = evokd(asked.view)
    analyses = asked.teacher.asked[:2]
    assert [r.messages for r in analyses] == [
        prompts.ask_analysis(asked.view.task.domain, asked.view.task.labels, g.right, g.wrong)
        for g in GROUPS
    ]
    for analysis, written in zip(analyses, asked.teacher.asked[2:4], strict=True):
        assert written.messages[:-2] == analysis.messages
        assert written.messages[-2].role == "assistant"
        assert "Write 2 new texts that it would get wrong" in written.messages[-1].content
    assert [len(patterns) for patterns in proposed.weaknesses] == [2, 2]
    assert {p.source for p in proposed.texts} == {"group 1", "group 2", "alarm", "music"}


def test_the_plan_says_all_that_is_asked_first(asked: Asked) -> None:
    """What a plan's requests promise is what the arm asks, so that a resumed round finds it."""
    promised = [request for _, asked_ in planned_requests(asked.view) for request in asked_]
    evokd(asked.view)
    assert [r for r in asked.teacher.asked if r in promised] == promised
    assert len(asked.teacher.asked) == len(promised) + len(GROUPS)


def test_seeds_are_all_different_and_follow_the_scope(asked: Asked) -> None:
    evokd(asked.view)
    seeds = [r.seed for r in asked.teacher.asked]  # type: ignore[union-attr]
    assert len(set(seeds)) == len(seeds)
    later = replace(asked.view, scope="round 2")
    assert not {r.seed for r in analysis_requests(later)} & set(seeds)


@pytest.mark.parametrize("structure", [True, False])
def test_what_is_written_is_held_to_its_shape(asked: Asked, structure: bool) -> None:
    task = asked.view.task
    teacher = task.teacher.model_copy(update={"structure": structure})
    evokd(replace(asked.view, task=task.model_copy(update={"teacher": teacher})))
    shapes = [r.grammar for r in asked.teacher.asked]  # type: ignore[union-attr]
    pair = grammar.hard_easy(SURPLUS * task.loop.hard, SURPLUS * task.loop.easy)
    texts = grammar.texts(SURPLUS * COVER_TEXTS)
    assert shapes[:2] == ["", ""]
    assert shapes[2:] == ([pair, pair, texts, texts, texts] if structure else [""] * 5)


def test_no_groups_is_no_analysis(tmp_path: Path) -> None:
    asked = Asked(tmp_path, ScriptedTeacher(faulty=0), cover={"weather": 1})
    proposed = evokd(asked.view)
    assert len(asked.teacher.asked) == 1
    assert {p.source for p in proposed.texts} == {"weather"}
    asked.ledger.close()


def test_bad_replies_are_counted_by_reason(tmp_path: Path) -> None:
    groups = [g.to_json() for g in GROUPS] * 6
    asked = Asked(tmp_path, ScriptedTeacher(faulty=1), groups=groups, cover={"weather": 6})
    proposed = evokd(asked.view)
    assert proposed.texts == ()
    assert sum(proposed.rejects.values()) == 12 + 6
    assert proposed.rejects.keys() == {"cut", "no json", "wrong shape"}
    asked.ledger.close()


class Careless(AnyTeacher):
    """Adds texts that cannot be used to every list."""

    def _flawed(self, texts: list[str], number: int) -> list[str]:
        return ["", *super()._flawed(texts, number), " \n", "x" * (MAX_TEXT + 1)]


@pytest.mark.parametrize("separation", [True, False])
def test_single_texts_that_are_left_out_are_counted_and_change_no_other(
    tmp_path: Path, separation: bool
) -> None:
    said = []
    for teacher in (AnyTeacher, Careless):
        folder = tmp_path / teacher.__name__
        folder.mkdir()
        groups = [g.to_json() for g in GROUPS]
        seeds = [[texts[0], label] for label, texts in SEEDS.items()]
        plan = {"groups": groups, "cover": {"music": 3}, "paraphrases": seeds}
        asked = Asked(folder, teacher(faulty=0), **plan)
        method = asked.view.task.method.model_copy(update={"separation": separation})
        view = replace(asked.view, task=asked.view.task.model_copy(update={"method": method}))
        said.append([arm(view) for arm in (evokd, ARMS["auggpt"])])
        asked.ledger.close()
    (feedback, paraphrases), (worse, worse_paraphrases) = said
    for good, bad, lists in ((feedback, worse, 5), (paraphrases, worse_paraphrases, 3)):
        assert [p.text for p in bad.texts] == [p.text for p in good.texts]
        assert good.rejects == {}
        assert bad.rejects == {"empty text": 2 * lists, "text too long": lists}


class Generous(AnyTeacher):
    """Writes nine texts of both kinds, whatever it is asked for."""

    def _text(self, asked: str, rng: random.Random, number: int) -> str:
        if '"hard"' not in asked:
            return super()._text(asked, rng, number)
        made = {kind: [sentence(rng, LABELS[0]) for _ in range(9)] for kind in ("easy", "hard")}
        return self._labelled(json.dumps(made), rng) if '"class"' in asked else json.dumps(made)


@pytest.mark.parametrize("separation", [True, False])
@pytest.mark.parametrize(("hard", "easy"), [(2, 0), (0, 3), (1, 2), (9, 9)])
def test_no_more_texts_are_taken_than_a_grammar_would_let_through(
    tmp_path: Path, separation: bool, hard: int, easy: int
) -> None:
    asked = Asked(tmp_path, Generous(faulty=0), groups=[g.to_json() for g in GROUPS])
    task = asked.view.task
    change = {
        "loop": {"hard": hard, "easy": easy},
        "method": {"separation": separation},
        "teacher": {"structure": False},
    }
    task = task.model_copy(
        update={g: getattr(task, g).model_copy(update=c) for g, c in change.items()}
    )
    proposed = evokd(replace(asked.view, task=task))
    taken = {"hard": min(9, SURPLUS * hard), "easy": min(9, SURPLUS * easy)}
    each = len(GROUPS)
    found = Counter(p.origin for p in proposed.texts)
    assert {kind: found[kind] for kind in taken} == {k: each * n for k, n in taken.items()}
    over = each * (18 - sum(taken.values()))
    assert proposed.rejects == ({"not asked for": over} if over else {})
    asked.ledger.close()


def test_every_style_comes_round_before_one_comes_again(asked: Asked) -> None:
    view = replace(asked.view, plan={**asked.view.plan, "cover": {"music": 2 * len(STYLES)}})
    contents = [request.messages[0].content for _, request in cover_requests(view)]
    used = [next(s for s in STYLES if f"the class music, {s}. " in c) for c in contents]
    assert Counter(used) == dict.fromkeys(STYLES, 2)
    assert all(f"Write {COVER_TEXTS} new texts" in content for content in contents)


@given(st.lists(st.text(), max_size=6, unique=True), st.integers(0, 2**31))
def test_some_examples_are_one_to_three_different_ones(examples: list[str], pick: int) -> None:
    shown = some(examples, pick)
    assert len(set(shown)) == len(shown)
    assert set(shown) <= set(examples)
    assert min(1, len(examples)) <= len(shown) <= 3
