"""Texts and conversations that have no place in the teacher's context."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from fake_kinds import AnyLearner, AnyTeacher, make_kind_task
from fake_run import grow, make_task, prompts_of, tables, write_jsonl
from fakes import FILLERS, ScriptedTeacher, texts_of, user

from evokd import shorter
from evokd.answers import read_spans
from evokd.calls import Calls
from evokd.errors import TeacherError
from evokd.feedback import Group
from evokd.ledger import Ledger, reading
from evokd.replay import replay
from evokd.shorter import LETTERS, LEVELS, clipped, clipped_seen, fewer
from evokd.teacher import TOO_LONG, TOO_LONG_TO_WRITE, Generate, Written
from evokd.why import why
from evokd.wording import Seen

LONG = " ".join(FILLERS * 12)  # words
ANSWERED = Written("yes", "stop", 1, 1, 1)
NARROW = 500  # words of a context that has place for a short text, and not for LONG
KINDS = ("classification", "multilabel", "ner")


# -- what is shown --------------------------------------------------------------------------------


def test_a_level_shows_half_of_the_one_before_and_one_at_least() -> None:
    assert [len(fewer(range(5), level)) for level in LEVELS] == [5, 3, 2, 1, 1, 1]
    assert [fewer((), level) for level in LEVELS] == [()] * len(LEVELS)


def test_only_what_is_too_long_by_itself_is_clipped() -> None:
    text = "a" * LETTERS
    assert clipped(text, 0) == text
    assert [len(clipped(text, level)) for level in LEVELS[1:]] == [801, 401, 201, 101, 51]
    assert clipped(text, 1).endswith("a…")
    assert {clipped("rain", level) for level in LEVELS} == {"rain"}


def test_of_entities_the_part_with_the_mistake_stays() -> None:
    words = " ".join(["aaaaaaaaa"] * 300).split()
    words[5], words[150], words[290] = "Ann", "Bob", "Cid"
    text = " ".join(words)
    spans = {name: (text.index(name), text.index(name) + 3) for name in ("Ann", "Bob", "Cid")}
    gold = str([[*spans["Ann"], "x"], [*spans["Bob"], "x"], [*spans["Cid"], "x"]]).replace("'", '"')
    said = str([[*spans["Ann"], "x"], [*spans["Bob"], "y"], [*spans["Cid"], "x"]]).replace("'", '"')
    part = clipped_seen(Seen(text, gold, said), 1, "ner")
    assert part.text[0] == part.text[-1] == "…"
    assert len(part.text) == LETTERS // 2 + 2
    [right], [wrong] = read_spans(part.label), read_spans(part.predicted)
    assert (part.text[right.start : right.end], right.label, wrong.label) == ("Bob", "x", "y")
    assert clipped_seen(Seen(text, gold, gold), 1, "ner").text.startswith("aaa")
    assert clipped_seen(Seen(text, gold, said), 0, "ner").text == text


def test_what_has_no_place_is_asked_again_with_less() -> None:
    """What has place is asked once, and what cannot become shorter too."""
    needs = {"easy": 0, "hard": 2, "none": 99}
    put: list[list[str]] = []

    def ask(numbers: Sequence[int], requests: Sequence[Generate]) -> list[Written]:
        asked = [request.messages[0].content.split() for request in requests]
        put.append([f"{name}{level}" for name, level in asked])
        assert [list(needs)[n] for n in numbers] == [name for name, _ in asked]
        return [ANSWERED if int(level) >= needs[n] else TOO_LONG_TO_WRITE for n, level in asked]

    def requests(level: int) -> list[Generate]:
        return [Generate(user(f"{n} {min(level, 3) if n == 'none' else level}")) for n in needs]

    asked, replies = shorter.ask(ask, requests)
    assert put == [["easy0", "hard0", "none0"], ["hard1", "none1"], ["hard2", "none2"], ["none3"]]
    assert [r.messages[0].content for r in asked] == ["easy 0", "hard 2", "none 3"]
    assert replies == [ANSWERED, ANSWERED, TOO_LONG_TO_WRITE]


def test_a_reply_that_the_context_cut_has_no_place_and_one_cut_at_its_length_has() -> None:
    assert shorter.has_place(Written("", "length", 1, 1, 1))
    assert not shorter.has_place(Written("", "context", 1, 1, 1))


# -- runs -----------------------------------------------------------------------------------------


def with_long_pool(folder: Path, kind: str, **changes: dict[str, Any]) -> Any:
    task = make_kind_task(folder, kind, pool=2, **changes)
    texts = [LONG, *(e.text for e in texts_of(4, 2))]
    write_jsonl(folder / "unlabeled.jsonl", [{"text": text} for text in texts])
    return task


@pytest.mark.parametrize("kind", KINDS)
def test_a_text_that_is_too_long_is_one_dropped_row(tmp_path: Path, kind: str) -> None:
    task = with_long_pool(tmp_path / "task", kind, loop={"pool": 9})
    run = tmp_path / "run"
    grow(task, run, AnyTeacher(context=NARROW), AnyLearner(task))
    with reading(run / "run.db") as ledger:
        rows = [row for row in ledger.rows() if row.example.text == LONG]
        assert [(row.round, row.split, row.reason) for row in rows] == [(1, None, TOO_LONG)]
        assert ledger.result(1)["dropped"][TOO_LONG] == 1
        others = [r for r in ledger.rows(round=1) if r.source == "pool" and r is not rows[0]]
        assert any(row.split for row in others)
        told = why(ledger, LONG)
        failed = [check.name for check in told.checks if check.passed is False]
        assert (told.told.fate, failed) == (TOO_LONG, ["short enough for the teacher"])
    before = tables(run / "run.db")
    grow(task, run, AnyTeacher(context=NARROW), AnyLearner(task))
    assert tables(run / "run.db") == before
    ledger = Ledger(run / "run.db")
    assert replay(ledger) == ledger.rows()
    ledger.close()


@pytest.mark.parametrize("kind", ["classification", "ner"])
def test_like_texts_give_way_to_the_text_that_is_labelled(tmp_path: Path, kind: str) -> None:
    task = with_long_pool(tmp_path / "task", kind, loop={"pool": 9})
    room = max(len(prompt.split()) for prompt in _labelling(task, tmp_path / "plain", 0))
    task = with_long_pool(tmp_path / "task", kind, loop={"pool": 9}, method={"demonstrations": 2})
    assert all("Like texts" in prompt for prompt in _labelling(task, tmp_path / "wide", 0))
    assert {"Like texts" in prompt for prompt in _labelling(task, tmp_path / "run", room)} == {
        True,
        False,
    }
    with reading(tmp_path / "run" / "run.db") as ledger:
        [row] = [row for row in ledger.rows() if row.example.text == LONG]
        assert row.reason != TOO_LONG


def _labelling(task: Any, run: Path, context: int) -> list[str]:
    grow(task, run, AnyTeacher(context=context), AnyLearner(task))
    return [p for p in prompts_of(run / "run.db") if f'Text: "{LONG}' in p]


@pytest.mark.parametrize("method", [{}, {"analysis": False}])
def test_conversations_show_what_has_place(tmp_path: Path, method: dict[str, Any]) -> None:
    """Nothing changes where all has place; where it has not, fewer texts stand in the prompts."""
    task = make_task(tmp_path / "task", method=method, selection={"tolerance": 1.0})
    grow(task, tmp_path / "wide", ScriptedTeacher(faulty=0))
    grow(task, tmp_path / "same", ScriptedTeacher(faulty=0, context=10_000))
    names = {name: tables(tmp_path / name / "run.db") for name in ("wide", "same")}
    assert names["wide"] == names["same"]
    talks = [p for p in prompts_of(tmp_path / "wide" / "run.db") if "It got these texts" in p]
    context = max(len(talk.split()) for talk in talks) - 8
    grow(task, tmp_path / "run", ScriptedTeacher(faulty=0, context=context))
    with reading(tmp_path / "run" / "run.db") as ledger:
        rows = [row for row in ledger.rows() if row.example.origin == "hard"]
        assert rows
        less = 0
        for row in rows:
            call, plan = ledger.call(row.call or ""), ledger.plan(row.round)
            assert call is not None
            group = Group.from_json(plan["groups"][int(str(row.source).split()[1]) - 1])
            asked = call.request["messages"][0]["content"]
            lineage = why(ledger, row.example.text)
            shown = lineage.shown
            if not method:
                assert lineage.analysis is not None
                assert lineage.analysis.reply is not None
                assert lineage.analysis.reply["text"] == call.request["messages"][-2]["content"]
            assert {s.told.text for s in shown} == {
                s.text for s in (*group.right, *group.wrong) if f'- "{s.text}" is' in asked
            }
            less += len(shown) < len(group.right) + len(group.wrong)
        assert less
        assert replay_of(tmp_path / "run" / "run.db") == ledger.rows()


def replay_of(path: Path) -> Any:
    with reading(path) as ledger:
        return replay(ledger)


def test_a_conversation_that_never_has_place_is_one_reject(tmp_path: Path) -> None:
    task = make_task(tmp_path / "task", loop={"quota": 4}, selection={"tolerance": 1.0})

    class Strict(ScriptedTeacher):
        def _too_long(self, request: Any) -> bool:
            return "It got these texts" in request.messages[0].content

    grow(task, tmp_path / "run", Strict(faulty=0))
    with reading(tmp_path / "run" / "run.db") as ledger:
        groups = len(ledger.plan(1)["groups"])
        assert groups
        assert ledger.result(1)["rejects"] == {TOO_LONG: groups}
        assert not [c for c in ledger.calls("round 1/write") if c.reply]
        assert ledger.result(2)["written"]
        assert replay_of(tmp_path / "run" / "run.db") == ledger.rows()


def test_examples_give_way_where_they_are_too_long(tmp_path: Path) -> None:
    task = make_task(tmp_path / "task")
    rows = [{"text": f"{LONG} {e.text}", "label": e.label} for e in texts_of(1, 1)]
    write_jsonl(tmp_path / "task" / "seed.jsonl", rows)
    grow(task, tmp_path / "run", ScriptedTeacher(faulty=0, context=NARROW))
    with reading(tmp_path / "run" / "run.db") as ledger:
        assert not ledger.result(0)["rejects"]
        kept = [r for r in ledger.rows(round=0) if r.split and r.example.origin == "cover"]
        assert kept
        shown = why(ledger, kept[0].example.text).shown
        assert all(s.told.text.startswith(LONG) for s in shown)
        assert shown


def test_labels_that_fill_the_context_are_refused_before_anything_is_asked(tmp_path: Path) -> None:
    """And the same run goes on with a larger one."""
    task = make_task(tmp_path / "task")
    teacher = ScriptedTeacher(context=20)
    with pytest.raises(TeacherError, match="20 words") as caught:
        grow(task, tmp_path / "run", teacher)
    assert caught.value.hint == "raise teacher.context"
    assert not teacher.asked
    grow(task, tmp_path / "run", ScriptedTeacher(context=10_000))
    grow(task, tmp_path / "other", ScriptedTeacher())
    assert tables(tmp_path / "run" / "run.db") == tables(tmp_path / "other" / "run.db")


def test_a_server_that_has_no_place_for_any_prompt_ends_the_run_with_a_hint(tmp_path: Path) -> None:
    class Server(ScriptedTeacher):
        def check(self, requests: Any) -> None: ...

    with pytest.raises(TeacherError, match="none of the teacher's first texts") as caught:
        grow(make_task(tmp_path / "task"), tmp_path / "run", Server(context=20))
    assert "larger context" in caught.value.hint


def test_a_refusal_is_recorded_and_costs_nothing(tmp_path: Path) -> None:
    teacher = ScriptedTeacher(context=3)
    ledger = Ledger(tmp_path / "run.db")
    calls = Calls(ledger, lambda: teacher)
    long = Generate(user("Write " + LONG))
    for _ in range(2):
        assert calls.generate("round 0/cover", [long]) == [TOO_LONG_TO_WRITE]
    assert teacher.answered == 1
    assert ledger.call_totals()["calls"] == 0
    ledger.close()
