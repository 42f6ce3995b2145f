from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
from tiny_gguf import write_gguf
from tiny_teacher import opened
from typer.testing import CliRunner

from evokd.cli import app


@pytest.fixture
def log() -> Iterator[logging.Logger]:
    log = logging.getLogger("evokd")
    before = log.level, [*log.handlers]
    yield log
    log.level, log.handlers = before


@pytest.mark.parametrize("command", ["demo", "run", "plan", "compare", "bench"])
def test_commands_with_a_teacher_can_be_asked_for_more(
    command: str, log: logging.Logger, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    task = str(tmp_path / "missing")
    arguments = [command, "-v"] + ([f"--set=loop.rounds={task}"] if command == "demo" else [task])
    assert CliRunner().invoke(app, arguments).exit_code == 1
    opened(write_gguf(tmp_path / "tiny.gguf")).close()
    assert "llama_context" in capsys.readouterr().err


def test_without_it_nothing_is_said(
    log: logging.Logger, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert CliRunner().invoke(app, ["run", str(tmp_path / "missing")]).exit_code == 1
    opened(write_gguf(tmp_path / "tiny.gguf")).close()
    assert capsys.readouterr() == ("", "")
