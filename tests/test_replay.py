from __future__ import annotations

import json
import shutil
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from commands import Evokd, evokd_, is_refused
from fake_kinds import AnyLearner, AnyTeacher, make_kind_task
from fake_run import grow, make_task, replies, tables, worse
from fakes import LABELS, FakeLearner, ScriptedTeacher
from hypothesis import given, settings
from hypothesis import strategies as st
from made_entities import TYPES, tagged_texts

from evokd.answers import read_spans, write_labels
from evokd.errors import InputError, ReplayMiss
from evokd.examples import Example
from evokd.formats import read_examples
from evokd.ledger import Ledger
from evokd.records import Row
from evokd.replay import Form, data_set, recorded_task, replay
from evokd.task import load_data

__all__ = ["evokd_"]  # a fixture
WHOLE: tuple[Form, ...] = ("jsonl", "hf")
"""The forms that keep every text as it is."""

KIND = "classification"


@contextmanager
def opened(path: Path) -> Iterator[Ledger]:
    ledger = Ledger(path)
    try:
        yield ledger
    finally:
        ledger.close()


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The ledger of a finished run."""
    folder = tmp_path_factory.mktemp("replay")
    leaks = [e.text for e in load_data(make_task(folder / "task", pool=4)).test]
    task = make_task(folder / "task", pool=4)
    grow(task, folder / "run", ScriptedTeacher(leaks=leaks))
    return folder / "run" / "run.db"


@pytest.fixture
def copy(finished: Path, tmp_path: Path) -> Path:
    return Path(shutil.copy(finished, tmp_path / "run.db"))


def edit(path: Path, statement: str, *values: object) -> None:
    with closing(sqlite3.connect(path)) as db, db:
        assert db.execute(statement, values).rowcount == 1


def test_a_finished_run_comes_back_bit_for_bit(finished: Path) -> None:
    before = tables(finished)
    with opened(finished) as ledger:
        again, recorded = replay(ledger), ledger.rows()
    assert again == recorded
    assert data_set(again, KIND).encode() == data_set(recorded, KIND).encode()
    assert tables(finished) == before


def test_a_round_that_was_rolled_back_comes_back_rolled_back(tmp_path: Path) -> None:
    task = make_task(tmp_path / "task")
    grow(task, tmp_path / "run", ScriptedTeacher(), FakeLearner(spoil=worse(at=2)))
    with opened(tmp_path / "run" / "run.db") as ledger:
        assert any(row.reason == "round rolled back" for row in ledger.rows())
        assert replay(ledger) == ledger.rows()


def test_a_gold_dev_comes_back_too(tmp_path: Path) -> None:
    grow(make_task(tmp_path / "task", dev=2), tmp_path / "run", ScriptedTeacher())
    with opened(tmp_path / "run" / "run.db") as ledger:
        assert replay(ledger) == ledger.rows()


def test_a_tampered_reply_is_noticed(copy: Path) -> None:
    with opened(copy) as ledger:
        row = next(r for r in ledger.rows(split="train") if r.example.origin == "cover")
    assert row.call is not None
    reply = replies(copy)[row.call] or ""
    changed = reply.replace(row.example.text.split()[0], "zebra")
    assert changed != reply
    edit(copy, "UPDATE calls SET reply = ? WHERE key = ?", changed, row.call)
    # Nobody ever labelled the text that the call now gives.
    with opened(copy) as ledger, pytest.raises(ReplayMiss):
        replay(ledger)


@pytest.mark.parametrize("kept", [True, False])
def test_tampered_scores_are_noticed(copy: Path, kept: bool) -> None:
    with opened(copy) as ledger:
        labelled = [row for row in ledger.rows() if row.example.label]
    text = next(row.example.text for row in labelled if (row.split is not None) == kept)
    of_text = "kind = 'score' AND instr(request, ?) ORDER BY rowid LIMIT 1"  # in the first order
    with closing(sqlite3.connect(copy)) as db:
        query = f"SELECT key, reply FROM calls WHERE {of_text}"
        ((key, reply),) = db.execute(query, (text,)).fetchall()
    # The best label stays the best, so that nothing but the text's own row can show it.
    changed = {"logprobs": [2 * value for value in json.loads(reply)["logprobs"]]}
    edit(copy, "UPDATE calls SET reply = ? WHERE key = ?", json.dumps(changed), key)
    with opened(copy) as ledger:
        assert replay(ledger) != ledger.rows()


def test_a_missing_call_is_a_replay_miss(copy: Path) -> None:
    key = next(iter(replies(copy)))
    edit(copy, "DELETE FROM calls WHERE key = ?", key)
    with opened(copy) as ledger, pytest.raises(ReplayMiss):
        replay(ledger)


@pytest.mark.parametrize("which", ["split = 'train'", "split IS NULL"])
@pytest.mark.parametrize("change", ["text = 'mine'", "label = 'mine'", "reason = 'mine'"])
def test_a_tampered_text_is_noticed(copy: Path, evokd_: Evokd, which: str, change: str) -> None:
    first = f"(SELECT min(number) FROM examples WHERE {which})"
    edit(copy, f"UPDATE examples SET {change} WHERE number = {first}")
    with opened(copy) as ledger:
        assert replay(ledger) != ledger.rows()
    is_refused(evokd_("replay", str(copy.parent)), "not what its calls give")


def test_the_command_writes_and_counts_what_was_kept(copy: Path, evokd_: Evokd) -> None:
    with opened(copy) as ledger:
        recorded = data_set(ledger.rows(), KIND)
    out = copy.parent / "texts.jsonl"
    code, said, _ = evokd_("replay", str(copy.parent), "--out", str(out))
    assert (code, out.read_text(encoding="utf-8")) == (0, recorded)
    assert said == [f"{len(recorded.splitlines())} texts, bit for bit the same"]


@pytest.fixture(scope="module")
def tagged(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a finished run about entities."""
    folder = tmp_path_factory.mktemp("tagged")
    task = make_kind_task(folder / "task", "ner")
    grow(task, folder / "run", AnyTeacher(), AnyLearner(task))  # type: ignore[arg-type]
    return folder / "run"


def squeezed(examples: Iterable[Example]) -> list[tuple[str, list[tuple[str, str]]]]:
    """Return texts and entities without their white space, of which CoNLL says nothing."""
    return [
        ("".join(e.text.split()), [("".join(e.text[s.start : s.end].split()), s.label)
                                   for s in read_spans(e.label)])
        for e in examples
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "more"),
    [
        ("texts.jsonl", []),
        ("texts.txt", ["--format", "jsonl"]),
        ("tokens.jsonl", ["--format", "hf"]),
        ("texts.CONLL", []),
        ("texts.bio", []),
        ("texts.iob", ["--format", "conll"]),
    ],
)
def test_entities_are_written_as_they_are_read(
    tagged: Path, evokd_: Evokd, tmp_path: Path, name: str, more: list[str]
) -> None:
    with opened(tagged / "run.db") as ledger:
        kept = [row.example for row in ledger.rows() if row.split]
    assert any(read_spans(e.label) for e in kept)
    out = tmp_path / name
    assert evokd_("replay", str(tagged), "--out", str(out), *more)[0] == 0
    if "hf" in more:
        first = json.loads(out.read_text(encoding="utf-8").splitlines()[0])
        assert {"tokens", "ner_tags", "split"} <= first.keys()
    read_as = out.rename(out.with_suffix(".jsonl")) if out.suffix == ".txt" else out
    read = read_examples(read_as, LABELS, "ner")
    if out.suffix in (".CONLL", ".bio", ".iob"):
        assert squeezed(read) == squeezed(kept)
    else:
        assert [(e.text, e.label) for e in read] == [(e.text, e.label) for e in kept]


@pytest.mark.parametrize("more", [["texts.conll"], ["texts.jsonl", "--format", "hf"]])
def test_only_entities_are_written_as_tags(copy: Path, evokd_: Evokd, more: list[str]) -> None:
    out = copy.parent / more[0]
    ended = evokd_("replay", str(copy.parent), "--out", str(out), *more[1:])
    is_refused(ended, "this run has no entities")
    assert not out.exists()
    is_refused(evokd_("replay", str(copy.parent), "--format", "jsonl"), "nothing is written")


@pytest.mark.parametrize("name", ["texts.csv", "texts.TSV"])
def test_texts_are_not_written_as_tables(copy: Path, evokd_: Evokd, name: str) -> None:
    out = copy.parent / name
    is_refused(evokd_("replay", str(copy.parent), "--out", str(out)), "not written as tables")
    assert not out.exists()


@given(st.lists(tagged_texts(), min_size=1))
@settings(deadline=None)
def test_any_entities_come_back_from_tokens_and_tags(
    tmp_path_factory: pytest.TempPathFactory, examples: list[Example]
) -> None:
    rows = [Row(0, example, "train") for example in examples]
    path = tmp_path_factory.getbasetemp() / "tokens.jsonl"
    for form in WHOLE:
        path.write_text(data_set(rows, "ner", form), encoding="utf-8")
        assert read_examples(path, TYPES, "ner") == examples


def test_sets_of_labels_are_written_as_they_are_read(tmp_path: Path) -> None:
    examples = [Example("a", write_labels(["music", "alarm"])), Example("b", write_labels([]))]
    path = tmp_path / "texts.jsonl"
    path.write_text(data_set([Row(0, e, "train") for e in examples], "multilabel"))
    assert read_examples(path, LABELS, "multilabel") == examples


def test_the_recorded_task_keeps_the_order_of_its_labels(finished: Path) -> None:
    with opened(finished) as ledger:
        task, data = recorded_task(ledger)
    assert task.names == list(LABELS)
    given = load_data(make_task(finished.parent.parent / "task", pool=4))
    assert data == given


def test_an_empty_ledger_holds_no_run(tmp_path: Path) -> None:
    with opened(tmp_path / "run.db") as ledger, pytest.raises(InputError, match="holds no run"):
        replay(ledger)


def test_the_data_set_is_json_lines_of_what_was_kept(finished: Path) -> None:
    with opened(finished) as ledger:
        rows = ledger.rows()
    lines = [json.loads(line) for line in data_set(rows, KIND).splitlines()]
    kept = [row for row in rows if row.split]
    assert [line["text"] for line in lines] == [row.example.text for row in kept]
    assert {line["split"] for line in lines} == {"train", "dev", "gate"}
    assert all(len(line["soft"]) == len(LABELS) for line in lines)
