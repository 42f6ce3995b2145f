"""Harvest: unsure texts only, once, for their owner, within bounds, and a run can take them."""

from __future__ import annotations

import json
import math
import os
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from evokd.errors import InputError
from evokd.formats import read_texts
from serving.harvest import BELOW, HARVEST, Harvest, HarvestSettings, settings
from serving.predictor import Prediction


def said(score: float) -> Prediction:
    return Prediction("play_music", score, {"play_music": score, "other": 1 - score}, 1)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "unsure.jsonl"


def test_unsure_texts_are_kept_once_and_a_run_can_read_them(file: Path) -> None:
    harvest = Harvest(HarvestSettings(file, below=0.6))
    pairs = [("jazz\n🎵 ¿?", 0.5), ("sure", 0.6), ("  ", 0.1), ("rain", 0.59), ("jazz\n🎵 ¿?", 0.5)]
    assert harvest.add((text, said(score)) for text, score in pairs) == 2
    assert read_texts(file) == ["jazz\n🎵 ¿?", "rain"]
    assert all("label" not in json.loads(line) for line in file.read_text().splitlines())


def test_only_the_owner_can_read(file: Path) -> None:
    file.touch(mode=0o644)
    Harvest(HarvestSettings(file)).add([("rain", said(0.1))])
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_a_link_is_not_followed(file: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").touch()
    file.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(InputError, match="harvest"):
        Harvest(HarvestSettings(file))


def test_the_oldest_go_when_the_room_is_used_up(file: Path) -> None:
    harvest = Harvest(HarvestSettings(file, megabytes=0.004))
    for number in range(200):
        harvest.add([(f"text number {number}", said(0.1))])
    assert file.stat().st_size + harvest.old.stat().st_size <= 4000
    assert stat.S_IMODE(harvest.old.stat().st_mode) == 0o600
    kept = read_texts(harvest.old) + read_texts(file)
    assert kept == [f"text number {number}" for number in range(200 - len(kept), 200)]
    assert len(kept) > 20


def test_workers_share_a_file(file: Path) -> None:
    def work(worker: int) -> None:
        mine = Harvest(HarvestSettings(file, megabytes=0.02))
        for number in range(300):
            mine.add([(f"worker {worker} says {number}", said(0.1))])

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, range(4)))
    kept = read_texts(file) + read_texts(file.with_suffix(".old.jsonl"))  # every line is whole
    assert len(kept) == len(set(kept))
    assert file.stat().st_size <= 10_000


def test_a_full_disk_leaves_no_half_line(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    harvest = Harvest(HarvestSettings(file))
    harvest.add([("rain", said(0.1))])
    write = os.write
    monkeypatch.setattr(os, "write", lambda handle, lines: write(handle, lines[:9]))
    harvest.add([("storm", said(0.1))])
    assert read_texts(file) == ["rain"]


def test_a_file_that_cannot_be_begun_anew_is_closed_once(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A second close would close what another thread has opened meanwhile."""
    harvest = Harvest(HarvestSettings(file, megabytes=0.0001))
    harvest.add([("rain " * 9, said(0.1))])
    opened, closed, close = [harvest._locked()], list[int](), os.close

    def locked() -> int:
        if not opened:
            raise OSError("no space for another file")
        return opened.pop()

    def seen(handle: int) -> None:
        closed.append(handle)
        close(handle)

    (handle,) = opened
    monkeypatch.setattr(harvest, "_locked", locked)
    monkeypatch.setattr(os, "close", seen)
    with pytest.raises(OSError, match="no space"):
        harvest.add([("storm", said(0.1))])
    assert closed == [handle]


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        ({"file": "unsure.txt"}, "jsonl"),
        ({"file": "gone/unsure.jsonl"}, "no folder"),
        ({"below": 0.0}, "keeps no text"),
        ({"below": 1.5}, "keeps no text"),
        ({"megabytes": 0.0}, "no room"),
        ({"megabytes": math.nan}, "no room"),
        ({"megabytes": math.inf}, "no room"),
    ],
)
def test_useless_settings_are_refused(
    wanted: dict[str, object], message: str, tmp_path: Path
) -> None:
    asked = {"file": "unsure.jsonl", **wanted}
    with pytest.raises(InputError, match=message):
        HarvestSettings(**{**asked, "file": tmp_path / str(asked["file"])})  # type: ignore[arg-type]


def test_settings_travel_through_the_environment(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(HARVEST, raising=False)
    assert settings() is None
    wanted = HarvestSettings(file, 0.7, 3.0)
    for name, value in wanted.environment().items():
        monkeypatch.setenv(name, value)
    assert settings() == wanted
    monkeypatch.setenv(BELOW, "half")
    with pytest.raises(InputError, match=BELOW):
        settings()
