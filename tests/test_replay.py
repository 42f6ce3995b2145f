from __future__ import annotations

import json
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from commands import Evokd, evokd_, is_refused
from fake_run import grow, make_task, replies, tables, worse
from fakes import LABELS, FakeLearner, ScriptedTeacher

from evokd.errors import InputError, ReplayMiss
from evokd.ledger import Ledger
from evokd.replay import data_set, recorded_task, replay
from evokd.task import load_data

__all__ = ["evokd_"]  # a fixture


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
    assert data_set(again).encode() == data_set(recorded).encode()
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
        recorded = data_set(ledger.rows())
    out = copy.parent / "texts.jsonl"
    code, said, _ = evokd_("replay", str(copy.parent), "--out", str(out))
    assert (code, out.read_text(encoding="utf-8")) == (0, recorded)
    assert said == [f"{len(recorded.splitlines())} texts, bit for bit the same"]


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
    lines = [json.loads(line) for line in data_set(rows).splitlines()]
    kept = [row for row in rows if row.split]
    assert [line["text"] for line in lines] == [row.example.text for row in kept]
    assert {line["split"] for line in lines} == {"train", "dev", "gate"}
    assert all(len(line["soft"]) == len(LABELS) for line in lines)
