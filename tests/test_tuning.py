from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from tiny_gguf import write_gguf
from tiny_teacher import opened, writes

from evokd.settings import SIDE_BY_SIDE, TeacherSettings
from evokd.teacher import tuning
from evokd.teacher.tuning import Speeds, choose_width, measure, user_cache


class Bench:
    """An engine whose batches take as long as a rule says, on a clock of its own."""

    def __init__(self, cost: Callable[[int], float], *, sequences: int = 256, cells: int = 4096):
        self.cost, self.sequences, self.cells = cost, sequences, cells
        self.batch, self.longest = 512, 4096
        self.vocabulary = SimpleNamespace(size=1000)
        self.now, self.filled, self.live = 0.0, 0, set[int]()
        self.batches: list[int] = []

    def clock(self) -> float:
        return self.now

    def clear(self) -> None:
        self.live.clear()

    def prefill(self, tokens: Sequence[int]) -> None:
        self.filled = len(tokens)
        self.decode()

    def share(self, row: int) -> None:
        assert 0 < row < self.sequences
        self.live.add(row)

    def drop(self, row: int) -> None:
        self.live.remove(row)

    def add(self, tokens: Sequence[int], *_: Any, **__: Any) -> int:
        self.filled += len(tokens)
        return self.filled - 1

    def add_one_each(
        self, tokens: Sequence[int], positions: Sequence[int], rows: Sequence[int]
    ) -> int:
        assert set(rows) == self.live
        assert len(tokens) == len(positions) == len(rows)
        assert all(0 <= token < self.vocabulary.size for token in tokens)
        self.filled += len(tokens)
        return 0

    def decode(self) -> None:
        self.now += self.cost(self.filled)
        self.batches.append(self.filled)
        self.filled = 0

    def logits(self, place: int) -> None:
        assert place >= 0


def measured(bench: Bench, **settings: Any) -> Speeds:
    return measure(bench, clock=bench.clock, **settings)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_gguf(tmp_path_factory.mktemp("model") / "tiny.gguf")


def chosen(bench: Bench, model: Path, cache: Path, **settings: Any) -> int:
    made = TeacherSettings(**{"sequences": "auto", "threads": 1, **settings})
    return choose_width(bench, model, made, cache=cache, clock=bench.clock)  # type: ignore[arg-type]


# -- measuring --------------------------------------------------------------------------------


def test_a_machine_that_shares_all_work_takes_the_widest() -> None:
    speeds = measured(Bench(lambda tokens: 0.001))
    assert speeds.best == max(tuning.WIDTHS)
    assert speeds.generation == pytest.approx({w: w / 0.001 for w in tuning.WIDTHS})
    assert speeds.complete


def test_a_machine_that_shares_nothing_takes_one_and_stops_early() -> None:
    speeds = measured(Bench(lambda tokens: 0.001 * tokens))
    assert speeds.best == 1
    assert list(speeds.generation) == [1, 2, 4, 8]
    assert speeds.complete
    assert speeds.prefill == pytest.approx(1000)


def test_the_knee_is_found() -> None:
    """From 8 rows on each costs as much as it brings."""
    speeds = measured(Bench(lambda tokens: 0.001 * max(8, tokens)))
    assert speeds.best == 8


def test_a_plateau_does_not_end_it() -> None:
    """So it is with Q4_K on AVX-512: nothing is gained from 2 to 8 rows, and much with 16."""
    bench = Bench(lambda tokens: {1: 1, 2: 1.3, 4: 2.7, 8: 6.4, 16: 6}.get(tokens, tokens / 4))
    assert measured(bench, seconds=1e6).best == 32


def test_a_slow_model_is_left_alone_in_time() -> None:
    bench = Bench(lambda tokens: 1.0 + 0.2 * tokens)
    speeds = measured(bench, seconds=4)
    assert not speeds.complete
    assert 1 in speeds.generation
    assert bench.now < 20
    assert max(bench.batches) < tuning.HEAD / 4


def test_widths_without_room_are_left_out() -> None:
    assert max(measured(Bench(lambda _: 0.001, sequences=10)).generation) == 8
    assert max(measured(Bench(lambda _: 0.001, cells=300)).generation) == 8


def test_the_real_engine_is_measured_and_usable_afterwards(model: Path) -> None:
    with opened(model) as teacher:
        before = teacher.generate(writes(3, temperature=0))
        speeds = measure(teacher._open(), (1, 8), seconds=60)
        assert set(speeds.generation) == {1, 8}
        assert min(speeds.prefill, *speeds.generation.values()) > 0
        assert teacher.generate(writes(3, temperature=0)) == before


# -- choosing and remembering -----------------------------------------------------------------


def test_a_number_is_taken_as_it_is(model: Path, tmp_path: Path) -> None:
    bench = Bench(lambda _: 0.001)
    assert chosen(bench, model, tmp_path, sequences=5) == 5
    assert bench.batches == []
    assert list(tmp_path.iterdir()) == []


def test_auto_is_measured_once(model: Path, tmp_path: Path) -> None:
    fast = Bench(lambda tokens: 0.001 * max(16, tokens))
    assert chosen(fast, model, tmp_path / "new") == 16
    again = Bench(lambda _: 0.001)
    assert chosen(again, model, tmp_path / "new") == 16
    assert again.batches == []
    (file,) = (tmp_path / "new").iterdir()
    record = json.loads(file.read_text())
    assert record["width"] == 16
    assert record["holds_for"]["model"] == "tiny.gguf"


@pytest.mark.parametrize("change", [{"threads": 2}, {"context": 2048}])
def test_other_settings_are_measured_anew(
    model: Path, tmp_path: Path, change: dict[str, Any]
) -> None:
    chosen(Bench(lambda _: 0.001), model, tmp_path)
    other = Bench(lambda _: 0.001)
    chosen(other, model, tmp_path, **change)
    assert other.batches


def test_another_file_of_that_name_is_measured_anew(model: Path, tmp_path: Path) -> None:
    copy = tmp_path / "tiny.gguf"
    copy.write_bytes(model.read_bytes())
    chosen(Bench(lambda _: 0.001), copy, tmp_path / "cache")
    os.utime(copy, (1, 1))
    other = Bench(lambda _: 0.001)
    chosen(other, copy, tmp_path / "cache")
    assert other.batches


def test_a_machine_that_gets_busy_does_not_make_it_narrow(model: Path, tmp_path: Path) -> None:
    """Widths 2 to 8 came at a bad moment: 1 looked best, and is not against the default."""
    bench = Bench(lambda tokens: 0.01 if tokens in (2, 4, 8) else 0.001)
    assert measured(bench).best == 1
    assert chosen(bench, model, tmp_path) == SIDE_BY_SIDE


def test_too_slow_to_measure_is_the_default_and_remembered(model: Path, tmp_path: Path) -> None:
    slow = Bench(lambda tokens: 5.0 + tokens)
    assert chosen(slow, model, tmp_path) == SIDE_BY_SIDE
    again = Bench(lambda _: 0.001)
    assert chosen(again, model, tmp_path) == SIDE_BY_SIDE
    assert again.batches == []


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "null", '{"width": "8"}', '{"width": true}', '{"width": 9999}', "{}"]
)
def test_a_broken_record_is_replaced(model: Path, tmp_path: Path, text: str) -> None:
    chosen(Bench(lambda tokens: 0.001 * tokens), model, tmp_path)
    (file,) = tmp_path.iterdir()
    file.write_text(text)
    assert chosen(Bench(lambda tokens: 0.001 * max(4, tokens)), model, tmp_path) == 4
    assert json.loads(file.read_text())["width"] == 4


def test_a_cache_that_cannot_be_written_breaks_nothing(model: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert chosen(Bench(lambda _: 0.001), model, tmp_path / "file") == max(tuning.WIDTHS)
    assert (tmp_path / "file").read_text() == ""


def test_a_teacher_opened_with_auto_answers(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with opened(model, sequences="auto") as teacher:
        assert len(teacher.generate(writes(5))) == 5
    assert len(list((user_cache() / "tuning").iterdir())) == 1


def test_the_users_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert user_cache() == tmp_path / "evokd"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.delenv("LOCALAPPDATA", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert user_cache() == tmp_path / ".cache" / "evokd"
