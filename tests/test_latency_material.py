"""benchmarks.latency: rows in processes of their own, and the texts that are measured on."""

from __future__ import annotations

import itertools
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_run import make_data, write_run
from made_run import make_task as run_task
from tiny_student import LABELS, make_texts

from benchmarks.latency import child
from benchmarks.latency.material import material_of_run, of_length, spread
from evokd.errors import EvokdError, InputError

TEXTS = [f"please wake me at {number}" for number in range(12)]


# -- a row in a process of its own -----------------------------------------------------------------


def start(student: Path, row: str) -> child.Start:
    return child.Start(row, str(student), "demo", 1, None, TEXTS[0])


def test_a_fresh_process_tells_its_start_and_memory(tiny_sealed: Path) -> None:
    made = child.starts(start(tiny_sealed, "int8"), count=1)
    assert 0.05 < made["cold_start_s"] < 120
    assert 10 < made["rss_mb"] < 2000


def test_a_process_that_fails_is_named(tmp_path: Path) -> None:
    with pytest.raises(EvokdError, match=r"^int8: a process of its own ended: .*evokd\.json"):
        child.starts(start(tmp_path / "none", "int8"), count=1)


def test_a_served_row_starts_without_what_it_does_not_need(tiny_sealed: Path) -> None:
    code = (
        "import sys; from benchmarks.latency import child;"
        f"child._answer(child.Start('int8', {str(tiny_sealed)!r}, 'demo', 1, None, 'wake me'));"
        "print([m for m in ('torch', 'transformers', 'llama_cpp', 'rich') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


# -- texts -----------------------------------------------------------------------------------------


@given(tokens=st.integers(3, 60), count=st.integers(1, 9))
def test_texts_of_a_length_have_it(tiny_sealed: Path, tokens: int, count: int) -> None:
    from tokenizers import Tokenizer

    path = tiny_sealed / "tokenizer.json"
    made = of_length(make_texts(count, 5)[0], tokens, tokenizer=path)
    reader = Tokenizer.from_file(str(path))
    reader.no_truncation()
    assert [len(reader.encode(text).ids) for text in made] == [tokens] * count


def test_texts_of_a_length_need_room_and_words(tiny_sealed: Path) -> None:
    path = tiny_sealed / "tokenizer.json"
    with pytest.raises(InputError, match="no room"):
        of_length(TEXTS, 2, tokenizer=path)
    with pytest.raises(InputError, match="no words"):
        of_length(["", " "], 8, tokenizer=path)


@given(texts=st.lists(st.text(), max_size=40), most=st.integers(1, 50))
def test_a_spread_is_even_and_in_order(texts: list[str], most: int) -> None:
    some = spread([f"{i} {text}" for i, text in enumerate(texts)], most)
    places = [int(text.split(" ")[0]) for text in some]
    assert len(some) == min(len(texts), most)
    assert places == sorted(set(places))
    gaps = {b - a for a, b in itertools.pairwise(places)}
    assert not gaps or max(gaps) - min(gaps) <= 1


@pytest.mark.parametrize("test", [0, 30])
def test_a_run_gives_texts_labels_and_what_it_took(tmp_path: Path, test: int) -> None:
    task = run_task({name: f"asks for {name}" for name in LABELS}, rounds=1)
    data = make_data(task, test=test)
    ledger = write_run(tmp_path / "run.db", task, data)
    ledger.set_meta("run", {"settings": task.settings()})
    ledger.set_meta("data", data.to_json())
    gate, seconds = [row.example for row in ledger.rows(split="gate")], ledger.seconds()
    ledger.close()
    before = (tmp_path / "run.db").read_bytes()
    made = material_of_run(tmp_path)
    assert made.texts == [example.text for example in gate]
    assert list(made.labelled) == (list(data.test) or gate)
    assert made.labels_by == ("the test file" if test else "the teacher")
    assert made.run_seconds == pytest.approx(seconds, abs=3)
    assert (tmp_path / "run.db").read_bytes() == before


def test_without_texts_there_must_be_a_run(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no run"):
        material_of_run(tmp_path)
