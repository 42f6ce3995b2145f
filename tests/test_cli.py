from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from tiny_gguf import write_gguf
from typer.testing import CliRunner

import evokd
from evokd.cli import app, main
from evokd.ledger import Ledger
from evokd.run import identity
from evokd.task import Task, load_data, load_task
from evokd.weights import PRESETS

ROOT = Path(__file__).parent.parent
COMMANDS = ("demo", "run", "init", "replay", "predict", "evaluate", "export", "bench", "serve")
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


# -- help ---------------------------------------------------------------------------------------


def test_these_are_the_commands() -> None:
    names = [command.callback.__name__ for command in app.registered_commands if command.callback]
    assert sorted(names) == sorted(COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
@pytest.mark.parametrize("flag", ["--help", "-h"])
def test_help_of_every_command_shows_an_example(name: str, flag: str) -> None:
    shown = CliRunner().invoke(app, [name, flag], prog_name="evokd")
    assert shown.exit_code == 0
    examples = [line for line in shown.output.splitlines() if "Usage:" not in line]
    assert any(f"evokd {name} " in line for line in examples), shown.output


def test_help_of_the_whole_lists_every_command() -> None:
    shown = CliRunner().invoke(app, ["--help"], prog_name="evokd")
    assert shown.exit_code == 0
    assert all(f" {name} " in shown.output for name in COMMANDS)


def test_every_command_stands_in_the_readme() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert [name for name in COMMANDS if f"evokd {name}" not in readme] == []


def test_version(evokd_: Evokd) -> None:
    assert evokd_("--version") == (0, [evokd.__version__], [])


# -- a wrong command line is exit 2 -----------------------------------------------------------


@pytest.mark.parametrize(
    "arguments",
    [
        ["fly"],
        ["run"],
        ["run", "task.yaml", "--rounds", "3"],
        ["bench", "student", "--threads", "0"],
        ["bench", "student", "--threads", "two"],
        ["predict", "student"],
        ["serve"],
    ],
)
def test_a_wrong_command_line_is_exit_2(home: Path, evokd_: Evokd, arguments: list[str]) -> None:
    before = files(home)
    code, _, err = evokd_(*arguments)
    assert code == 2
    assert any("Usage" in line for line in err)
    assert files(home) == before


# -- bad input is exit 1, and nothing is made ---------------------------------------------------


def cut(home: Path) -> None:
    path = home / "teacher.gguf"
    path.write_bytes(path.read_bytes()[:-100])


def cut_in_the_header(home: Path) -> None:
    path = home / "teacher.gguf"
    path.write_bytes(path.read_bytes()[:200])


def changed(name: str, old: str, new: str) -> Callable[[Path], None]:
    """Return what replaces a part of a file."""

    def change(home: Path) -> None:
        text = (home / name).read_text()
        assert old in text
        (home / name).write_text(text.replace(old, new))

    return change


BAD: dict[str, tuple[Callable[[Path], object], str]] = {
    "no task": (lambda home: (home / "task.yaml").unlink(), "task.yaml: cannot be read"),
    "unknown key": (changed("task.yaml", "domain:", "domian:"), "unknown key domian"),
    "unknown nested key": (
        changed("task.yaml", "{seed:", "{train: a, seed:"), "unknown key data.train"
    ),
    "no seeds": (lambda home: (home / "seed.jsonl").unlink(), "seed.jsonl: no such file"),
    "empty seeds": (lambda home: (home / "seed.jsonl").write_text(""), "holds no examples"),
    "unknown label": (
        changed("seed.jsonl", '"alarm"', '"alram"'), "seed.jsonl, line 2: label 'alram'"
    ),
    "no seed of a label": (changed("seed.jsonl", '"alarm"', '"music"'), "no example of alarm"),
    "no model": (lambda home: (home / "teacher.gguf").unlink(), "teacher.gguf: no such"),
    "cut model": (cut, "is cut off"),
    "cut header": (cut_in_the_header, "is cut off"),
    "no GGUF": (lambda home: (home / "teacher.gguf").write_text("hello"), "not a GGUF file"),
    "empty model": (lambda home: (home / "teacher.gguf").write_bytes(b""), "not a GGUF file"),
    "no encoder": (
        changed("task.yaml", "data:", "student: {model: ./nowhere}\ndata:"), "nowhere"
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_refused_before_anything_is_made(home: Path, evokd_: Evokd, name: str) -> None:
    spoil, says = BAD[name]
    spoil(home)
    before = files(home)
    is_refused(evokd_("run", "task.yaml", "--out", "out"), says)
    is_refused(evokd_("run", "task.yaml"), says)
    assert files(home) == before


def test_changed_student_weights_are_refused(
    home: Path,
    evokd_: Evokd,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    package = tmp_path_factory.mktemp("installed") / PRESETS["minilm"].package
    (package / "model").mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "model" / "config.json").write_text("{}")
    (package / "model" / "model.safetensors").write_bytes(b"other weights")
    monkeypatch.syspath_prepend(str(package.parent))
    monkeypatch.delitem(sys.modules, package.name, raising=False)
    importlib.invalidate_caches()
    before = files(home)
    is_refused(evokd_("run", "task.yaml", "--out", "out"), "model.safetensors: sha256 is ")
    assert files(home) == before


@pytest.fixture
def weights(home: Path) -> None:
    """Take a folder as the encoder, so that nothing has to be installed to get past it."""
    encoder = home / "encoder"
    encoder.mkdir()
    (encoder / "config.json").write_text("{}")
    (encoder / "model.safetensors").write_bytes(b"weights")
    changed("task.yaml", "data:", "student: {model: encoder}\ndata:")(home)


@pytest.mark.usefixtures("weights")
@pytest.mark.parametrize("kind", ["file", "folder"])
def test_an_output_folder_of_something_else_is_left_alone(
    home: Path, evokd_: Evokd, kind: str
) -> None:
    if kind == "folder":
        (home / "out").mkdir()
    (home / "out" / "thesis.txt" if kind == "folder" else home / "out").write_text("precious")
    before = files(home)
    is_refused(evokd_("run", "task.yaml", "--out", "out"), "is not empty and holds no run")
    assert files(home) == before


@pytest.mark.usefixtures("weights")
def test_a_run_database_that_is_none_is_left_alone(home: Path, evokd_: Evokd) -> None:
    (home / "out").mkdir()
    (home / "out" / "run.db").write_text("this is no database, but it is long enough to look so")
    before = files(home)
    is_refused(evokd_("run", "task.yaml", "--out", "out"), "not a ledger")
    assert files(home) == before


def begun(out: Path, task: Task) -> None:
    """Make a run's folder as far as its record of what it is."""
    out.mkdir()
    data = load_data(task)
    ledger = Ledger(out / "run.db")
    ledger.set_meta("data", data.to_json())
    ledger.set_meta("run", identity(task, data))
    ledger.close()


@pytest.mark.usefixtures("weights")
@pytest.mark.parametrize(
    ("file", "old", "new", "says"),
    [
        ("task.yaml", "data:", "loop: {rounds: 9}\ndata:", "other loop.rounds"),
        ("task.yaml", "wants to be woken", "wants to wake up", "other labels.alarm"),
        ("seed.jsonl", "wake me", "wake me up", "other data"),
    ],
)
def test_a_run_with_other_settings_is_left_alone(
    home: Path, evokd_: Evokd, file: str, old: str, new: str, says: str
) -> None:
    begun(home / "out", load_task(home / "task.yaml"))
    changed(file, old, new)(home)
    before = files(home)
    is_refused(evokd_("run", "task.yaml", "--out", "out"), says)
    assert files(home) == before


@pytest.mark.parametrize(
    "arguments",
    [
        ["predict", "nowhere", "hello"],
        ["evaluate", "nowhere", "seed.jsonl"],
        ["export", "nowhere"],
        ["replay", "nowhere"],
        ["serve", "nowhere"],
        ["bench", "nowhere", "--teacher", "teacher.gguf"],
    ],
)
def test_a_missing_student_or_run_is_refused(
    home: Path, evokd_: Evokd, arguments: list[str]
) -> None:
    before = files(home)
    is_refused(evokd_(*arguments), "nowhere")
    assert files(home) == before


def test_a_user_error_has_no_traceback_in_a_process_of_its_own(home: Path) -> None:
    code = "from evokd.cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", code, "run", "gone.yaml"], capture_output=True, text=True, cwd=home
    )
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.splitlines() == [
        "error: gone.yaml: cannot be read",
        "hint: give the path of a task.yaml",
    ]


def test_a_bug_keeps_its_traceback(monkeypatch: pytest.MonkeyPatch, home: Path) -> None:
    def broken(_: Path) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("evokd.task.load_task", broken)
    monkeypatch.setattr(sys, "argv", ["evokd", "run", "task.yaml"])
    with pytest.raises(ZeroDivisionError):
        main()


# -- init ----------------------------------------------------------------------------------------


def test_init_writes_a_task_that_loads(home: Path, evokd_: Evokd) -> None:
    code, out, err = evokd_("init", "my/new")
    assert (code, err) == (0, [])
    assert any(str(Path("my/new/task.yaml")) in line for line in out)
    task = load_task(home / "my" / "new" / "task.yaml")
    data = load_data(task)
    assert {e.label for e in data.seed} == set(task.names)
    assert task.teacher.model == "demo"


@pytest.mark.parametrize("name", ["task.yaml", "seed.jsonl"])
def test_init_overwrites_nothing(home: Path, evokd_: Evokd, name: str) -> None:
    (home / "my").mkdir()
    (home / "my" / name).write_text("mine")
    before = files(home)
    is_refused(evokd_("init", "my"), f"{name}: is there already")
    assert files(home) == before


def test_init_into_a_file_is_refused(home: Path, evokd_: Evokd) -> None:
    is_refused(evokd_("init", "seed.jsonl"), "seed.jsonl: cannot be written")


def test_the_schema_is_json(home: Path, evokd_: Evokd) -> None:
    before = files(home)
    code, out, err = evokd_("init", "--schema")
    assert (code, err) == (0, [])
    assert json.loads("\n".join(out)) == Task.model_json_schema()
    assert files(home) == before
