from __future__ import annotations

import json
import sys
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
from test_imports import blocked
from typer.testing import CliRunner

from evokd import doctor
from evokd.cli import app
from evokd.doctor import Finding, child, good, machine, packages, worst, wrong
from evokd.doctor.child import Answer, ask

NOTHING = Answer([], "", "")
CPU_TORCH = Answer([{"version": "2"}, {"devices": [], "apple": False}], "", "")
GPU_TORCH = Answer([{"version": "2"}, {"devices": [{"name": "H200", "free": 1}]}], "", "")


def llama(*uses: str, gpu: bool = False) -> Answer:
    system = " | ".join(["CPU : SSE3 = 1", *(f"{name} = 1" for name in uses), "BMI2 = 0"])
    return Answer([{"version": "0.3", "system": system, "gpu": gpu}], "", "")


def has_a_hint_unless_good(finding: Finding) -> None:
    assert finding.says
    assert bool(finding.hint) == (finding.state != "good")
    json.dumps(dict(finding.facts), allow_nan=False)


# -- the machine ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("made", "state"),
    [
        (lambda: machine.python((3, 10, 9)), "wrong"),
        (lambda: machine.python((3, 11, 0)), "good"),
        (lambda: machine.processor(frozenset({"sse2", "avx"})), "warning"),
        (lambda: machine.processor(frozenset({"sse2", "avx2"})), "good"),
        (lambda: machine.processor(frozenset({"asimddp"})), "good"),
        (lambda: machine.processor(frozenset()), "good"),
        (lambda: machine.memory(10**8), "wrong"),
        (lambda: machine.memory(10**10), "good"),
        (lambda: machine.memory(None), "good"),
        (lambda: machine.disk(10**8), "wrong"),
        (lambda: machine.disk(10**9), "warning"),
        (lambda: machine.disk(10**11), "good"),
        (lambda: machine.graphics(CPU_TORCH, llama()), "good"),
        (lambda: machine.graphics(NOTHING, NOTHING), "good"),
        (lambda: machine.graphics(GPU_TORCH, llama(gpu=True)), "good"),
        (lambda: machine.graphics(GPU_TORCH, llama()), "warning"),
        (lambda: machine.graphics(CPU_TORCH, llama(gpu=True)), "warning"),
    ],
)
def test_a_machine_is_judged(
    made: Callable[[], Finding], state: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machine, "NVIDIA", Path("no such file"))
    finding = made()
    assert finding.state == state
    has_a_hint_unless_good(finding)


def test_a_model_must_fit_where_it_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "free_memory", lambda: 7)
    two = Answer([{"devices": [{"name": "a", "free": 20}, {"name": "b", "free": 30}]}], "", "")
    assert machine.room_for_model(two, llama(gpu=True)) == 50
    assert machine.room_for_model(two, llama()) == 7
    assert machine.room_for_model(CPU_TORCH, llama(gpu=True)) == 7


def test_a_driver_that_nothing_uses_is_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machine, "NVIDIA", tmp_path)
    assert machine.graphics(CPU_TORCH, llama()).state == "warning"


@pytest.mark.parametrize(("busy", "state"), [(0.1, "good"), (1.9, "warning")])
def test_others_that_compute_are_noticed(
    busy: float, state: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.getloadavg", lambda: (busy, 9, 9), raising=False)
    monkeypatch.setattr(machine, "usable_cpus", lambda: 2)
    (finding,) = machine.load()
    assert finding.state == state
    has_a_hint_unless_good(finding)


def test_the_memory_of_the_cgroup_counts(tmp_path: Path) -> None:
    meminfo = tmp_path / "meminfo"
    meminfo.write_text("MemTotal: 9000 kB\nMemAvailable: 5000 kB\n")
    assert machine.free_memory(tmp_path, meminfo) == 5000 * 1024
    (tmp_path / "memory.max").write_text("max\n")
    (tmp_path / "memory.current").write_text("900000\n")
    (tmp_path / "memory.stat").write_text("anon 5\ninactive_file 100000\n")
    assert machine.free_memory(tmp_path, meminfo) == 5000 * 1024
    (tmp_path / "memory.max").write_text("1000000\n")
    assert machine.free_memory(tmp_path, meminfo) == 200_000


def test_cgroups_of_version_1_count_too(tmp_path: Path) -> None:
    folder = tmp_path / "memory"
    folder.mkdir()
    (folder / "memory.limit_in_bytes").write_text("1000000\n")
    (folder / "memory.usage_in_bytes").write_text("300000\n")
    (folder / "memory.stat").write_text("total_inactive_file 50000\n")
    assert machine.free_memory(tmp_path, tmp_path / "gone") == 750_000


def test_windows_alone_is_wrong() -> None:
    states = {name: machine.system(name).state for name in ("linux", "darwin", "win32")}
    assert states == {"linux": "good", "darwin": "good", "win32": "wrong"}


# -- the packages -----------------------------------------------------------------------------


def test_the_parts_are_those_of_the_package() -> None:
    """Every dependency that pyproject names is looked at, under its extra."""
    import tomllib

    text = (Path(__file__).parent.parent / "pyproject.toml").read_text(encoding="utf-8")
    project = tomllib.loads(text)["project"]
    extras = {"": project["dependencies"], **project["optional-dependencies"]}
    named = {part.extra: {package.name for package in part.packages} for part in packages.PARTS}
    for extra in set(extras) - {"all", "dev"}:
        wanted = {gguf_name(line) for line in extras[extra]}
        assert named[extra] == wanted, extra


def gguf_name(requirement: str) -> str:
    import re

    found = re.match(r"[\w.-]+", requirement)
    assert found
    return found.group().lower()


def part(*names: str) -> packages.Part:
    made = tuple(packages.Package(name, name.replace("-", "_"), "use") for name in names)
    return packages.Part("train", "training", True, made)


def test_a_part_that_is_here_is_good() -> None:
    finding = packages.judge(part("rich", "typer"), needed=True)
    assert finding.state == "good"
    assert f"rich {metadata.version('rich')} (use)" in finding.says
    has_a_hint_unless_good(finding)


@pytest.mark.parametrize(("needed", "state"), [(True, "wrong"), (False, "warning")])
def test_what_is_missing_is_named_with_what_to_install(needed: bool, state: str) -> None:
    finding = packages.judge(part("rich", "no-such-thing"), needed=needed)
    assert finding.state == state
    assert "missing: no-such-thing (use)" in finding.says
    assert finding.hint == "pip install 'evokd[train]'"
    assert finding.facts["missing"] == ["no-such-thing"]
    assert packages.judge(part("no-such-thing"), needed=needed).state == state


def test_a_version_that_does_not_fit_is_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    real = metadata.version
    monkeypatch.setattr(metadata, "version", lambda n: "5.0" if n == "transformers" else real(n))
    finding = packages.judge(part("transformers"), needed=True)
    assert finding.state == "wrong"
    assert "transformers 5.0 does not fit" in finding.says
    assert finding.hint


# -- a process of its own ---------------------------------------------------------------------


def probe(monkeypatch: pytest.MonkeyPatch, code: str) -> None:
    monkeypatch.setattr(child, "PROBE", (sys.executable, "-c", code))


@pytest.mark.parametrize(
    ("code", "says"),
    [
        ("os.kill(os.getpid(), signal.SIGILL)", "instructions that this processor lacks"),
        ("os.kill(os.getpid(), signal.SIGSEGV)", "not its own"),
        ("os.kill(os.getpid(), signal.SIGKILL)", "memory ran out"),
        ("sys.stderr.write('x\\nGGML_ASSERT(n > 0) failed\\ny\\n'); os.abort()", "GGML_ASSERT(n >"),
        ("sys.exit(3)", "ended with code 3"),
        ("raise RuntimeError('no library')", "RuntimeError: no library"),
    ],
)
def test_a_crash_becomes_one_line(monkeypatch: pytest.MonkeyPatch, code: str, says: str) -> None:
    setup = "import faulthandler, os, signal, sys; print('{\"loaded\": true}', flush=True); "
    probe(monkeypatch, setup + code)
    answer = ask("trial")
    assert says in answer.death
    assert "\n" not in answer.death
    assert answer.hint
    assert answer.get("loaded") is True


def test_a_probe_imports_nothing_from_the_working_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "llama_cpp.py").write_text("raise RuntimeError('of the folder')")
    monkeypatch.chdir(tmp_path)
    assert "of the folder" not in ask("llama").death


def test_a_hung_process_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    probe(monkeypatch, "import time; time.sleep(60)")
    assert "within 0.3 s" in ask("torch", seconds=0.3).death


def test_an_error_for_the_user_keeps_its_hint(monkeypatch: pytest.MonkeyPatch) -> None:
    probe(monkeypatch, 'print(\'noise\\n{"error": "e", "hint": "h"}\'); raise SystemExit(1)')
    assert ask("trial") == Answer([{"error": "e", "hint": "h"}], "e", "h")


# -- the command ------------------------------------------------------------------------------


def run(monkeypatch: pytest.MonkeyPatch, findings: list[Finding], *arguments: str) -> Any:
    monkeypatch.setattr(doctor, "examine", lambda teacher: iter(findings))
    return CliRunner().invoke(app, ["doctor", *arguments])


def test_the_exit_code_says_whether_something_is_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    fine = [good("python", "3.11"), doctor.warning("disk", "small", "make room")]
    shown = run(monkeypatch, fine)
    assert shown.exit_code == 0
    assert all(word in shown.output for word in ("python", "3.11", "warning", "make room"))
    assert run(monkeypatch, [*fine, wrong("GPU", "burnt", "buy one")]).exit_code == 1
    assert worst([]) == "good"


def test_the_findings_are_written_for_programs(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    path = tmp_path / "doctor.json"
    findings = [good("python", "3.11", version="3.11"), wrong("disk", "full", "make room", free=0)]
    assert run(monkeypatch, findings, "--json", str(path)).exit_code == 1
    record = json.loads(path.read_text())
    assert record["state"] == "wrong"
    assert record["findings"][1] == {
        "topic": "disk",
        "state": "wrong",
        "says": "full",
        "hint": "make room",
        "facts": {"free": 0},
    }


def test_doctor_works_without_torch_and_llama_cpp() -> None:
    done = blocked(
        "HEAVY = ('gguf', 'httpx', 'huggingface_hub', 'psutil', 'packaging')\n"
        "class More(Block):\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name.partition('.')[0] in HEAVY:\n"
        "            raise ModuleNotFoundError(name, name=name)\n"
        "sys.meta_path.insert(0, More())\n"
        "sys.argv = ['evokd', 'doctor']\nfrom evokd.cli import main\nmain()"
    )
    assert done.returncode == 1, done.stderr
    assert done.stderr == ""
    words = " ".join(done.stdout.split())
    assert "missing: llama-cpp-python (runs GGUF models)" in words
    assert "missing: torch (trains)" in words
    assert "pip install 'evokd[train]'" in words
    assert "llama.cpp is missing" in words
