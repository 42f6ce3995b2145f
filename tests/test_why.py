from __future__ import annotations

import io
import json
import re
import shutil
import sqlite3
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fake_kinds import AnyLearner, AnyTeacher, make_kind_task
from fake_run import Run, grow, make_task
from fakes import ScriptedTeacher, digest, texts_of
from rich.console import Console
from typer.testing import CliRunner

from evokd import replies
from evokd.cli import app
from evokd.cli.why import _parts
from evokd.errors import EvokdError, InputError
from evokd.examples import Example, text_id
from evokd.kinds.entities import UNREAD
from evokd.ledger import Ledger, reading
from evokd.lineage import Lineage, checks
from evokd.records import Row
from evokd.task import load_data
from evokd.teacher import Written
from evokd.why import LEFT_OUT, matches, why

REPEATED = ("duplicate", "near-duplicate")
LEAK = texts_of(3, 4)[0].text  # a test text of the task


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A finished run with a pool, whose teacher now and then writes a test text."""
    folder = tmp_path_factory.mktemp("why")
    # No round is taken back, and not only the first one has mistakes to show.
    task = make_task(folder, pool=3, selection={"tolerance": 1.0}, loop={"rounds": 4})
    return Run(folder / "run", task, teacher=ScriptedTeacher(leaks=[LEAK.upper()]))


@pytest.fixture
def ledger(run: Run) -> Iterator[Ledger]:
    with reading(run.file) as opened:
        yield opened


def one(run: Run, **which: object) -> Row:
    """Return a row with these values, of the row or of its example."""
    for row in run.rows():
        values = {n: getattr(row, n, None) or getattr(row.example, n, None) for n in which}
        if values == which:
            return row
    raise AssertionError(f"no row {which}")


def last_hard(run: Run) -> Row:
    """Return a kept text of the last round that wrote hard ones."""
    row = [r for r in run.rows() if (r.example.origin, r.split) == ("hard", "train")][-1]
    assert row.round > 1
    return row


def written(lineage: Lineage) -> list[str]:
    """Return the texts of the reply of the call that wrote a text."""
    assert lineage.call is not None
    assert lineage.call.reply is not None
    reply = Written(lineage.call.reply["text"], lineage.call.reply["finish"], 0, 0, 0)
    parsed = [replies.parse_list(reply), replies.parse_hard_easy(reply)]
    return [text for p in parsed for _, text in p.texts]


def test_every_text_is_found_and_stands_in_the_reply_of_its_call(run: Run, ledger: Ledger) -> None:
    seen: Counter[str] = Counter()
    for row in run.rows():
        text = row.example.text
        assert [told.text for told in matches(ledger, row.example.id)] == [text]
        lineage = why(ledger, text)
        assert lineage.told.id == row.example.id
        if row.example.origin == "pool":
            assert lineage.call is None
        else:
            assert text in written(lineage)
        kept = all(check.passed for check in lineage.checks)
        assert kept == (lineage.told.fate in ("train", "held out: dev", "held out: gate"))
        seen[row.example.origin] += 1
    assert set(seen) == {"cover", "hard", "easy", "pool"}


def test_the_check_that_failed_is_the_reason(run: Run, ledger: Ledger) -> None:
    named = {
        "leak: test": "no leak of a dev or test text",
        "duplicate": "not said before",
        "near-duplicate": "not said before",
        "labels disagree": "its label can be trusted",
        "not the asked label": "is what was asked for",
    }
    for reason, name in named.items():
        lineage = why(ledger, one(run, reason=reason).example.text)
        if lineage.told.fate != reason:
            continue  # the same text was kept another time
        failed = [check.name for check in lineage.checks if check.passed is False]
        assert failed == [name]
        after = lineage.checks[[c.name for c in lineage.checks].index(name) + 1 :]
        assert all(check.passed is None for check in after)


def test_a_text_of_another_label_that_was_kept_says_what_it_was_asked_for(tmp_path: Path) -> None:
    task = make_task(tmp_path / "task", method={"relabel": True})
    made = Run(tmp_path / "run", task)
    row = one(made, origin="relabelled", split="train")
    with reading(made.file) as ledger:
        made_of = why(ledger, row.example.text).checks
    assert {check.passed for check in made_of} == {True}
    [trusted] = [check for check in made_of if check.name == "its label can be trusted"]
    assert trusted.says == f"asked for {row.source}, labelled {row.example.label}"


def test_the_answers_of_checks_are_told_in_words(tmp_path: Path) -> None:
    example = Example("wake me in Paris", '[[11, 16, "city"]]', "cover")
    row = Row(0, example, None, "not the asked label", "a call", "time")
    made = checks(row, labelled=True, twin=str, tell=lambda answer, text: f"<{answer} of {text}>")
    [asked] = [check for check in made if check.name == "is what was asked for"]
    assert asked.says == f"asked for time, labelled <{example.label} of {example.text}>"


@pytest.mark.parametrize("reason", ["round rolled back", "likely mislabelled"])
def test_what_was_taken_back_had_passed_all_else(run: Run, tmp_path: Path, reason: str) -> None:
    path = tmp_path / "run.db"
    path.write_bytes(run.file.read_bytes())
    row = one(run, origin="cover", split="train", round=1)
    with closing(Ledger(path, attempt=False)) as ledger:
        ledger.drop([row.example.text], reason)
    with reading(path) as ledger:
        *before, last = why(ledger, row.example.text).checks
    assert all(check.passed for check in before)
    assert (last.passed, last.says) == (False, reason)


BUDGET = "within the budget"


def test_a_text_over_the_cap_on_examples_had_passed_all_else(tmp_path: Path) -> None:
    task = make_task(tmp_path / "task", budget={"examples": 5})
    made = Run(tmp_path / "run", task)
    rows = [row for row in made.rows() if row.reason == "budget"]
    assert len(rows) > 5
    with reading(made.file) as ledger:
        for row in rows:
            lineage = why(ledger, row.example.text)
            *before, over, later = lineage.checks
            assert all(check.passed for check in before)
            assert {"its label can be trusted", "is what was asked for"} <= {c.name for c in before}
            assert (over.name, over.passed) == (BUDGET, False)
            assert "budget.examples" in over.says
            assert later.passed is None
            assert len(lineage.labelling) == 2


def test_a_text_that_the_budget_left_without_a_label_is_told_so(tmp_path: Path) -> None:
    task = make_task(tmp_path / "task", budget={"tokens": 3_000}, teacher={"sequences": 4})
    made = Run(tmp_path / "run", task)
    rows = [row for row in made.rows() if row.reason == "budget"]
    assert rows
    assert not any(row.example.label for row in rows)
    with reading(made.file) as ledger:
        for row in rows:
            made_of = why(ledger, row.example.text).checks
            place = [c.name for c in made_of].index("its label can be trusted")
            *before, over = made_of[:place]
            assert all(check.passed for check in before)
            assert (over.name, over.passed) == (BUDGET, False)
            assert "before its label was known" in over.says
            assert all(check.passed is None for check in made_of[place:])


def test_what_is_kept_is_within_the_budget(run: Run, ledger: Ledger) -> None:
    kept = why(ledger, one(run, split="train", origin="cover").example.text).checks
    assert [check.passed for check in kept if check.name == BUDGET] == [True]


def test_a_leak_names_the_gold_text(ledger: Ledger) -> None:
    lineage = why(ledger, LEAK.upper())
    assert lineage.told.fate == "leak: test"
    says = next(check.says for check in lineage.checks if check.passed is False)
    assert text_id(LEAK) in says


def test_a_hard_text_has_the_mistakes_and_the_weakness_behind_it(run: Run, ledger: Ledger) -> None:
    row = last_hard(run)
    lineage = why(ledger, row.example.text)
    assert lineage.call is not None
    assert lineage.call.scope == f"round {row.round}/write"
    assert lineage.analysis is not None
    assert lineage.analysis.scope == f"round {row.round}/analyse"
    begun = lineage.call.request["messages"][:-2]
    assert lineage.analysis.request["messages"] == begun, "another conversation's"
    assert lineage.analysis.reply is not None
    assert all(pattern in lineage.analysis.reply["text"] for pattern in lineage.weakness)
    assert "short texts" in lineage.weakness
    asked = lineage.call.request["messages"][0]["content"]
    said = {r.example.text: p for r, p in ledger.tested(row.round - 1)}
    assert {shown.role for shown in lineage.shown} >= {"wrong"}
    for shown in lineage.shown:
        assert shown.told.text in asked
        assert shown.told.round == row.round - 1
        prediction = said[shown.told.text]
        assert (shown.said, shown.confidence) == (prediction.predicted, prediction.confidence)
        assert (shown.role == "wrong") == (shown.said != shown.told.label)


@pytest.mark.parametrize("kind", ["classification", "ner"])
def test_an_edited_seed_names_the_seed(tmp_path: Path, kind: str) -> None:
    loop = {"arm": "eda", "rounds": 2, "conversations": 4}
    task: Any = make_kind_task(tmp_path / "task", kind, loop=loop, selection={"tolerance": 1.0})
    learner: Any = AnyLearner(task)
    grow(task, tmp_path / "run", AnyTeacher(), learner)
    seeds = {e.text: Counter(e.text.split()) for e in texts_of(1, 1)}
    with reading(tmp_path / "run" / "run.db") as ledger:
        rows = [row for row in ledger.rows() if row.example.origin == "edited"]
        named: dict[str, str] = {}
        for row in rows:
            lineage = why(ledger, row.example.text)
            (shown,) = lineage.shown
            assert (shown.role, shown.told.fate) == ("edited", "seed example")
            assert [a.told.text for a in lineage.ancestors] == [shown.told.text]
            named[row.example.text] = shown.told.text
    assert {*named.values()} == {*seeds}
    for text, seed in named.items():
        words = Counter(text.split())
        unlike = {of: len([*(words - own).elements(), *(own - words).elements()])
                  for of, own in seeds.items()}  # fmt: skip
        assert unlike[seed] <= 2  # one edit: a word moved, left out or put in
        assert unlike[seed] == min(unlike.values())
    told = CliRunner().invoke(app, ["why", str(tmp_path / "run"), text])
    assert re.search(rf"edited +{text_id(seed)[:8]}  {re.escape(seed)}", told.output)


def test_lineage_goes_back_to_the_seeds(run: Run, ledger: Ledger) -> None:
    row = last_hard(run)
    ancestors = why(ledger, row.example.text).ancestors
    ids = [a.told.id for a in ancestors]
    assert len(ids) == len({*ids})
    assert {parent for a in ancestors for parent in a.shown} <= {*ids}
    roots = {a.told.fate for a in ancestors if not a.shown}
    assert "seed example" in roots
    assert roots <= {"seed example", "train"}  # of the pool's texts there is nothing before
    assert all(a.told.origin == "pool" for a in ancestors if not a.shown and a.told.origin)
    numbers = [a.told.round for a in ancestors if a.told.round is not None]
    assert max(numbers) == row.round - 1


def test_a_labelled_text_has_both_opinions(run: Run, ledger: Ledger) -> None:
    row = one(run, origin="pool", split="train")
    lineage = why(ledger, row.example.text)
    assert [o.call.scope.partition("/")[2] for o in lineage.labelling] == ["label 1", "label 2"]
    for opinion in lineage.labelling:
        assert sum(opinion.probabilities.values()) == pytest.approx(1)
    one_, other = (o.probabilities for o in lineage.labelling)
    for name, soft in lineage.soft.items():
        assert soft == pytest.approx((one_[name] + other[name]) / 2, abs=1e-5)


def test_a_text_whose_entities_could_not_be_read_was_labelled_all_the_same(tmp_path: Path) -> None:
    class Unread(AnyTeacher):
        def _text(self, asked: str, *rest: Any) -> str:
            if "Which entities are in this text?" in asked and digest(asked[-40:]) % 2:
                return "There are some."
            return super()._text(asked, *rest)

    task: Any = make_kind_task(tmp_path / "task", "ner")
    learner: Any = AnyLearner(task)
    grow(task, tmp_path / "run", Unread(), learner)
    with reading(tmp_path / "run" / "run.db") as ledger:
        rows = ledger.rows()
        unread = [row for row in rows if (row.reason or "").startswith(UNREAD)]
        assert len(unread) > 5
        for row in unread:
            scopes = [opinion.call.scope for opinion in why(ledger, row.example.text).labelling]
            assert [scope.partition("/")[2] for scope in scopes] == ["label 1", "label 2"]
        again = [row for row in rows if row.reason in REPEATED]
        told = [why(ledger, row.example.text) for row in again]
        ids = {row.example.id for row in unread}
        says = [c.says for t in told for c in t.checks if t.told.fate in REPEATED and c.says]
        assert says
        assert all(": " in one for one in says)  # every one names the earlier text
        assert any(part in ids for one in says for part in one.split())


def test_what_was_asked_about_one_of_two_equal_words_is_told(tmp_path: Path) -> None:
    class Twice(AnyTeacher):
        def _text(self, asked: str, *rest: Any) -> str:
            written = super()._text(asked, *rest)
            if "Which entities are in this text?" in asked or not written.startswith('["'):
                return written
            return json.dumps([f"{text} {text}" for text in json.loads(written)])

    task: Any = make_kind_task(tmp_path / "task", "ner")
    learner: Any = AnyLearner(task)
    grow(task, tmp_path / "run", Twice(), learner)
    with reading(tmp_path / "run" / "run.db") as ledger:
        asked = {c.key: c for c in ledger.calls("round 0/verdicts")}
        texts = {row.example.text for row in ledger.rows(round=0)}
        told = {o.call.key for text in texts for o in why(ledger, text).labelling}
    assert any("](" in c.request["messages"][-1]["content"] for c in asked.values())
    assert {*asked} <= told


def test_what_the_chosen_student_has_not_learnt_is_told_so(run: Run, tmp_path: Path) -> None:
    shutil.copytree(run.folder, tmp_path / "run")
    ledger = Ledger(tmp_path / "run" / "run.db")
    ledger.finish_stage("final", {"chosen": "round 0"})
    ledger.close()
    with reading(tmp_path / "run" / "run.db") as again:
        for row in again.rows(split="train"):
            told = why(again, row.example.text).told
            assert told.fate == ("train" if row.round == 0 else LEFT_OUT)


def test_texts_of_the_gate_are_told_too(run: Run, ledger: Ledger) -> None:
    lineage = why(ledger, one(run, split="gate").example.text)
    assert lineage.told.round == -1
    assert lineage.call is not None
    assert lineage.call.scope.startswith("gate ")
    assert lineage.shown
    assert len(lineage.labelling) == 2


def test_seeds_gold_texts_and_definitions_are_told(run: Run, ledger: Ledger) -> None:
    for text, fate in (
        (texts_of(1, 1)[0].text, "seed example"),
        (texts_of(3, 4)[5].text, "gold test"),
        ("is about rain", "definition of a label"),
    ):
        assert why(ledger, text).told.fate == fate
    with pytest.raises(KeyError):
        why(ledger, "never written")


def test_the_users_own_text_stays_that_though_the_teacher_writes_it_again(tmp_path: Path) -> None:
    task = make_task(tmp_path)
    seed = load_data(task).seed[0]
    run = Run(tmp_path / "run", task, teacher=ScriptedTeacher(leaks=[LEAK, seed.text]))
    with reading(run.file) as ledger:
        for text, fate, reason in (
            (LEAK, "gold test", "leak: test"),
            (seed.text, "seed example", "duplicate"),
        ):
            lineage = why(ledger, text)
            assert (lineage.told.fate, lineage.call, lineage.checks) == (fate, None, ())
            assert {told.fate for told in lineage.also} == {reason}


def test_of_a_text_that_came_again_the_kept_one_is_told(tmp_path: Path) -> None:
    run = Run(tmp_path / "run", make_task(tmp_path))
    kept = one(run, split="train", round=1)
    with closing(Ledger(run.file)) as ledger:
        ledger.add_rows([replace(kept, round=2, split=None, reason="duplicate")])
    with reading(run.file) as ledger:
        lineage = why(ledger, kept.example.text)
    assert (lineage.told.fate, lineage.told.round) == ("train", 1)
    assert [(told.fate, told.round) for told in lineage.also] == [("duplicate", 2)]


def test_a_text_is_found_by_less_than_all_of_it(run: Run, ledger: Ledger) -> None:
    every = [row.example for row in run.rows()]
    text, name = next(
        (e.text, e.id) for e in every if sum(e.text[1:-1] in other.text for other in every) == 1
    )
    assert [t.text for t in matches(ledger, text)] == [text]
    assert [t.text for t in matches(ledger, name.upper())] == [text]
    assert text in [t.text for t in matches(ledger, name[:4])]
    assert [t.text for t in matches(ledger, text[1:-1].upper())] == [text]
    assert len(matches(ledger, "a")) > 10
    assert matches(ledger, "") == matches(ledger, "  ") == matches(ledger, "xyzzy") == []


def test_reading_goes_on_beside_a_run_and_changes_nothing(run: Run) -> None:
    before = {p.name: p.read_bytes() for p in run.folder.iterdir() if p.is_file()}
    with reading(run.file) as ledger:
        ledger.rows()
        with pytest.raises(sqlite3.OperationalError, match="readonly"):
            ledger.set_meta("x", 1)
    assert {p.name: p.read_bytes() for p in run.folder.iterdir() if p.is_file()} == before
    with closing(Ledger(run.file, attempt=False)), reading(run.file) as ledger:
        assert ledger.rows() == run_rows(ledger)


def run_rows(ledger: Ledger) -> list[Row]:
    return [row for n in (0, 1, 2, 3, 4, -1) for row in ledger.rows(round=n)]


def test_a_reader_sees_one_moment(tmp_path: Path, run: Run) -> None:
    path = tmp_path / "run.db"
    path.write_bytes(run.file.read_bytes())
    with closing(Ledger(path, attempt=False)) as writer:
        writer.set_meta("x", 1)
        with reading(path) as ledger:
            writer.set_meta("x", 2)
            assert ledger.meta("x") == 1
        with reading(path) as ledger:
            assert ledger.meta("x") == 2


def test_what_is_no_ledger_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "run.db"
    path.write_bytes(b"no database, but long enough to be looked at as one" * 30)
    with pytest.raises(InputError, match="not a ledger"), reading(path):
        pass


def test_the_command_tells_it(run: Run) -> None:
    row = last_hard(run)
    told = CliRunner().invoke(app, ["why", str(run.folder), row.example.id])
    assert told.exit_code == 0, told.exception
    for part in (
        f"round {row.round}, hard",
        "in the teacher's words",
        "wrong",
        "label 2",
        "checks",
    ):
        assert part in told.output
    as_json = CliRunner().invoke(app, ["why", str(run.folder), row.example.text, "--json"])
    record = json.loads(as_json.output)
    assert record["told"]["text"] == row.example.text
    assert record["call"]["request"]["seed"] >= 0


def test_the_command_lists_what_fits_or_says_that_nothing_does(run: Run) -> None:
    several = CliRunner().invoke(app, ["why", str(run.folder), "the"])
    assert isinstance(several.exception, EvokdError)
    assert "texts fit" in several.exception.message
    assert several.output.splitlines()[0][:16] in {row.example.id for row in run.rows()} | {
        e.id for e in texts_of(1, 1)
    }
    nothing = CliRunner().invoke(app, ["why", str(run.folder), "xyzzy"])
    assert "no text fits" in str(nothing.exception)
    missing = CliRunner().invoke(app, ["why", str(run.folder / "no"), "x"])
    assert "no such file" in str(missing.exception)


def test_prompts_are_whole_when_asked_for(run: Run, ledger: Ledger) -> None:
    lineage = why(ledger, last_hard(run).example.text)
    assert lineage.call is not None
    head = lineage.call.request["messages"][0]["content"].splitlines()[0]
    out = io.StringIO()
    for full in (False, True):
        out.seek(0)
        out.truncate()
        console = Console(file=out, width=400)
        for part in _parts(lineage, full, lambda answer, text: answer):
            console.print(part)
        assert (head in out.getvalue()) == full
