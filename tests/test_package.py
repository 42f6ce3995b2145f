"""The wheel, installed in another environment and used from another folder."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SMALL = ("loop.rounds=0", "loop.cover=8", "selection.texts=2", "export.gate_texts=20",
         "export.latency_texts=10", "export.nano=false", "student.epochs=1",
         "student.final_epochs=1")  # fmt: skip


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bin folder of an environment that has the wheel, and shares this one's dependencies."""
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder)]
    subprocess.run([*build, str(ROOT)], check=True, capture_output=True)
    (wheel,) = folder.glob("evokd-*.whl")
    home = folder / "env"
    venv.create(home, with_pip=True)
    python = home / "bin" / "python"
    subprocess.run(
        [python, "-m", "pip", "install", "-q", "--no-deps", "--no-index", wheel], check=True
    )
    (packages,) = (home / "lib").glob("python3*/site-packages")
    (packages / "shared.pth").write_text(sysconfig.get_paths()["purelib"] + "\n")
    return home / "bin"


def test_the_wheel_helps_and_runs_the_demos_first_round(installed: Path, tmp_path: Path) -> None:
    env = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    found = subprocess.run(
        [installed / "python", "-c", "import evokd, serving; print(evokd.__file__)"],
        cwd=tmp_path, env=env, check=True, capture_output=True, text=True,
    )  # fmt: skip
    assert str(installed.parent) in found.stdout
    told = subprocess.run(
        [installed / "evokd", "--help"], cwd=tmp_path, env=env, check=True, capture_output=True,
        text=True,
    )  # fmt: skip
    assert "demo" in told.stdout
    out = tmp_path / "run"
    changes = [part for change in SMALL for part in ("--set", change)]
    subprocess.run(
        [installed / "evokd", "demo", "--out", out, *changes], cwd=tmp_path, env=env, check=True,
        capture_output=True,
    )  # fmt: skip
    summary = json.loads((out / "summary.json").read_text())
    assert summary["rounds"] == 1
    assert summary["examples"]["kept"] > 0
