"""Run the command line in a small made-up home; fixtures for the tests of the command line."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from tiny_gguf import write_gguf

from evokd.cli import main

TASK = """\
name: tiny
domain: requests
labels: {music: wants to hear something, alarm: wants to be woken}
data: {seed: seed.jsonl}
teacher: {model: teacher.gguf}
"""
SEED = '{"text": "play jazz", "label": "music"}\n{"text": "wake me", "label": "alarm"}\n'
Ended = tuple[int, list[str], list[str]]
"""How a command ended: exit code, lines on stdout, lines on stderr."""
Evokd = Callable[..., Ended]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A whole GGUF."""
    return write_gguf(tmp_path_factory.mktemp("model") / "teacher.gguf").read_bytes()


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, model: bytes) -> Path:
    """A folder with a good task, which is also the working folder."""
    (tmp_path / "task.yaml").write_text(TASK)
    (tmp_path / "seed.jsonl").write_text(SEED)
    (tmp_path / "teacher.gguf").write_bytes(model)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def evokd_(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Evokd:
    """Run a command in this process, through `evokd.cli.main`."""

    def command(*arguments: str) -> Ended:
        monkeypatch.setattr(sys, "argv", ["evokd", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        out, err = capsys.readouterr()
        return int(ended.value.code or 0), out.splitlines(), err.splitlines()

    return command


def files(folder: Path) -> dict[str, bytes | None]:
    """Return everything in a folder, with its bytes."""
    return {
        str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None
        for path in sorted(folder.rglob("*"))
    }


def is_refused(ended: Ended, says: str) -> None:
    """See that a command ended with an error line and a hint line, and nothing else."""
    code, _, err = ended
    assert code == 1, err
    assert len(err) == 2, err
    assert err[0].startswith("error: ")
    assert err[1].startswith("hint: ")
    assert len(err[1]) > len("hint: ")
    assert says in err[0]


def changed(name: str, old: str, new: str) -> Callable[[Path], None]:
    """Return what replaces a part of a file."""

    def change(home: Path) -> None:
        text = (home / name).read_text()
        assert old in text
        (home / name).write_text(text.replace(old, new))

    return change
