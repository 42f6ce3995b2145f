"""The wheel, installed in another environment and used from another folder.

The demo's run with it is in test_demo_run.py.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest


@pytest.mark.parametrize("package", ["evokd", "export", "serving", "benchmarks"])
def test_the_packages_are_the_wheels_own(installed: Path, tmp_path: Path, package: str) -> None:
    found = _answer(
        [installed / "python", "-c", f"import {package}; print({package}.__file__)"], tmp_path
    )
    assert str(installed.parent) in found


def test_the_command_helps(installed: Path, tmp_path: Path) -> None:
    assert "demo" in _answer([installed / "evokd", "--help"], tmp_path)


def _answer(command: list[Path | str], folder: Path) -> str:
    env = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    return subprocess.run(
        command, cwd=folder, env=env, check=True, capture_output=True, text=True
    ).stdout
