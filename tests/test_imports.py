"""What must work where the heavy packages are not installed. serving: see test_service.py."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

import benchmarks.startup as startup

ROOT = Path(__file__).parent.parent
HEAVY = ("torch", "transformers", "llama_cpp", "onnxruntime", "bentoml", "optimum", "sklearn")
BLOCKED = f"""
import sys
class Block:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {HEAVY!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, Block())
"""


def blocked(code: str) -> subprocess.CompletedProcess[str]:
    """Run code in a fresh interpreter that lacks every heavy package."""
    return subprocess.run(
        [sys.executable, "-c", BLOCKED + code], capture_output=True, text=True, cwd=ROOT
    )


def test_the_block_blocks() -> None:
    done = blocked("import torch")
    assert done.returncode != 0
    assert "No module named 'torch'" in done.stderr


def test_help_needs_nothing_heavy() -> None:
    code = """
from evokd.cli import app, main
commands = [command.callback.__name__ for command in app.registered_commands]
for arguments in [["--help"], *([name, "--help"] for name in commands)]:
    sys.argv = ["evokd", *arguments]
    try:
        main()
    except SystemExit as ended:
        assert ended.code == 0, arguments
print(len(commands), "commands told")
"""
    done = blocked(code)
    assert done.returncode == 0, done.stderr
    assert "Usage: evokd" in done.stdout
    assert done.stdout.splitlines()[-1] == "14 commands told"


def test_light_modules_need_nothing_heavy() -> None:
    done = blocked("import evokd.loop, evokd.replay, evokd.report, evokd.formats, evokd.demo")
    assert done.returncode == 0, done.stderr


def test_a_missing_part_is_named_with_what_to_install(tmp_path: Path) -> None:
    (tmp_path / "task.yaml").write_text(
        "name: t\ndomain: d\nlabels: {a: x, b: y}\ndata: {seed: s.jsonl}\n"
    )
    (tmp_path / "s.jsonl").write_text('{"text": "1", "label": "a"}\n{"text": "2", "label": "b"}\n')
    task, out = str(tmp_path / "task.yaml"), str(tmp_path / "out")
    done = blocked(
        f"sys.argv = ['evokd', 'run', {task!r}, '--out', {out!r}]\n"
        "from evokd.cli import main\nmain()"
    )
    assert done.returncode == 1
    assert done.stderr.splitlines() == [
        "error: llama_cpp is not installed",
        "hint: pip install 'evokd[teacher]'",
    ]
    assert not Path(out).exists()


def test_help_loads_only_what_it_shows() -> None:
    code = """
sys.argv = ["evokd", "--help"]
from evokd.cli import main
try:
    main()
except SystemExit:
    print(sorted({name.partition(".")[0] for name in sys.modules} & {"numpy", "pydantic", "yaml"}))
"""
    assert blocked(code).stdout.splitlines()[-1] == "[]"


def test_startup_is_measured(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "startup.json"
    startup.main(["--quick", "--json", str(path)])
    made = json.loads(path.read_text())
    assert made["quick"] is True
    assert made["runs"] == 1
    assert made["help_s"] > 0
    assert made["typer_s"] > 0
    assert made["extra_s"] == pytest.approx(made["help_s"] - made["typer_s"])
    assert "evokd --help" in capsys.readouterr().out
