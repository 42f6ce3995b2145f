from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks import overhead


def test_what_is_called_back_is_off_the_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    now = iter([0.0, 10.0, 14.0, 30.0])  # begins, calls back, comes back, ends
    monkeypatch.setattr(overhead.time, "perf_counter", lambda: next(now))
    watch = overhead.Stopwatch()
    back = watch.off(lambda: None)
    assert back is not None
    watch.around(back)()
    assert watch.seconds == 26.0


@pytest.mark.slow
def test_a_smoke_run(tmp_path: Path) -> None:
    file = tmp_path / "made.json"
    overhead.main(["--quick", "--json", str(file)])
    made = json.loads(file.read_text(encoding="utf-8"))
    assert made["quick"] is True
    assert made["rows"] == 500
    assert 0 < made["own_share"] < 0.5
    assert 0 < made["start_s"] < made["open_s"]
