from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks import teacher_throughput
from benchmarks.throughput import peers

EMBEDDED = {
    "generate_vs_llama_embedded",
    "score_vs_constrained_7_embedded",
    "score_77_vs_prefill",
    "score_agreement",
    "rss_growth",
}


@pytest.mark.slow
def test_a_smoke_run_writes_every_key(tmp_path: Path) -> None:
    file = tmp_path / "made.json"
    teacher_throughput.main(["--quick", "--models", str(tmp_path), "--json", str(file)])
    made = json.loads(file.read_text(encoding="utf-8"))
    assert made["quick"] is True
    assert {key for key in teacher_throughput.KEYS if made[key] is not None} == EMBEDDED
    assert all(made[key] > 0 for key in EMBEDDED - {"rss_growth"})


@pytest.mark.slow
def test_a_peer_that_is_not_installed_is_null(tmp_path: Path) -> None:
    [row] = peers.measure(tmp_path, threads=1, quick=True)["peers"].values()
    assert row["evokd"] > 0
    assert row["llama_cpp.server, 8 clients"] > 0
    assert row["node-llama-cpp"] is row["distilabel LlamaCppLLM"] is None
