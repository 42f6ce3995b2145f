from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from evokd.errors import InputError
from evokd.examples import Example
from evokd.settings import LoopSettings, TeacherSettings
from evokd.task import Task, TaskData, demo_task, load_data, load_task
from evokd.taskfile import parsed

SEED = '{"text": "play jazz", "label": "music"}\n{"text": "wake me", "label": "alarm"}\n'


def plain(**changes: Any) -> dict[str, Any]:
    """Return a small valid task, with some of its keys changed; None takes a key out."""
    task = {
        "name": "tiny",
        "domain": "requests",
        "labels": {"music": "wants to hear something", "alarm": "wants to be woken"},
        "data": {"seed": "seed.jsonl"},
    }
    return {key: value for key, value in (task | changes).items() if value is not None}


def written(folder: Path, task: object = None, *, seed: str = SEED) -> Path:
    """Write a task and its seeds; a text goes into task.yaml as it is."""
    folder.mkdir(exist_ok=True)
    (folder / "seed.jsonl").write_text(seed, encoding="utf-8")
    path = folder / "task.yaml"
    shown = task if isinstance(task, str) else yaml.safe_dump(task or plain(), sort_keys=False)
    path.write_text(shown, encoding="utf-8")
    return path


def refused(path: Path) -> InputError:
    """Return the error that the task gives, which names its file."""
    with pytest.raises(InputError) as caught:
        load_task(path)
    assert caught.value.message.startswith(str(path))
    assert caught.value.hint
    return caught.value


def test_a_small_task_has_every_default(tmp_path: Path) -> None:
    task = load_task(written(tmp_path))
    assert task.names == ["music", "alarm"]
    assert task.kind == "classification"
    assert task.loop == LoopSettings()
    assert task.teacher == TeacherSettings()


def test_the_order_of_the_labels_is_the_files(tmp_path: Path) -> None:
    labels = {name: "" for name in ("zebra", "ant", "music", "alarm")}
    assert load_task(written(tmp_path, plain(labels=labels))).names == list(labels)


def test_paths_are_relative_to_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "encoder").mkdir()
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    absolute = str(tmp_path / "pool.jsonl")
    given_task = plain(
        data={"seed": "seed.jsonl", "dev": "more/dev.csv", "unlabeled": absolute},
        teacher={"model": "models/big.gguf"},
        student={"model": "encoder"},
    )
    path = written(tmp_path, given_task)
    monkeypatch.chdir(elsewhere)
    task = load_task(Path("..") / path.name)
    assert task.data.seed.resolve() == tmp_path / "seed.jsonl"
    assert task.data.dev == Path("../more/dev.csv")
    assert task.data.unlabeled == tmp_path / "pool.jsonl"
    assert task.data.test is None
    assert Path(task.teacher.model).resolve() == tmp_path / "models" / "big.gguf"
    assert Path(task.student.model).resolve() == tmp_path / "encoder"


def test_names_that_are_no_paths_stay(tmp_path: Path) -> None:
    task = load_task(written(tmp_path, plain(student={"model": "owner/name"})))
    assert (task.teacher.model, task.student.model) == ("demo", "owner/name")
    absolute = load_task(written(tmp_path, plain(teacher={"model": "/models/a.gguf"})))
    assert absolute.teacher.model == "/models/a.gguf"


@pytest.mark.parametrize(
    ("change", "where", "known"),
    [
        ({"lables": {}}, "lables", "name, kind, domain, labels, data, teacher"),
        ({"domain": None, "domian": "x"}, "domian", "name, kind, domain, labels"),
        ({"loop": {"rouds": 3}}, "loop.rouds", "rounds, hard, easy, conversations"),
        ({"data": {"seed": "a", "train": "b"}}, "data.train", "seed, unlabeled, dev, test"),
        ({"export": {"gate": 3}}, "export.gate", "gate_texts, latency_texts, opset"),
    ],
)
def test_an_unknown_key_names_the_known_ones(
    tmp_path: Path, change: dict[str, Any], where: str, known: str
) -> None:
    error = refused(written(tmp_path, plain(**change)))
    assert error.message.endswith(f": unknown key {where}")
    assert error.hint.startswith(f"known keys here: {known}")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"name": None}, "name is missing"),
        ({"data": {}}, "data.seed is missing"),
        ({"name": "a/b"}, "name: "),
        ({"name": "../up"}, "name: "),
        ({"domain": ""}, "domain: "),
        ({"kind": "regression"}, "kind: "),
        ({"labels": {"one": "is too few"}}, "labels: "),
        ({"labels": ["music", "alarm"]}, "labels: "),
        ({"labels": {"music": "", " alarm": ""}}, "one line without spaces at its ends"),
        ({"labels": {"music": "", "a\nb": ""}}, "one line without spaces at its ends"),
        ({"labels": {"music": 7, "alarm": ""}}, "labels.music: "),
        ({"loop": {"rounds": "many"}}, "loop.rounds: "),
        ({"loop": [1]}, "loop: "),
        (
            {"method": {"noise": "mixture"}, "loop": {"training": "sequential"}},
            "method.noise does not fit loop.training: sequential",
        ),
        ({"method": {"review": 0}}, "method.review does not fit loop.training: cumulative"),
        (
            {"method": {"review_texts": 3}, "loop": {"training": "cumulative"}},
            "method.review_texts does not fit loop.training: cumulative",
        ),
        (
            {"kind": "multilabel", "method": {"demonstrations": 2}},
            "method.demonstrations does not fit kind: multilabel",
        ),
        ({"kind": "multilabel", "labels": {"spam": ""}}, "multilabel task needs at least two"),
        ({"export": {"opset": 24}}, "export.opset: "),
        (
            {"loop": {"hard": 0, "easy": 0}},
            "loop.hard and loop.easy: 0 does not fit loop.arm: evokd",
        ),
    ],
)
def test_a_bad_value_is_named(tmp_path: Path, change: dict[str, Any], says: str) -> None:
    message = refused(written(tmp_path, plain(**change))).message
    assert says in message
    assert ": :" not in message


def test_reviews_are_of_sequential_training(tmp_path: Path) -> None:
    method = {"review": 0, "review_texts": 3}
    task = load_task(written(tmp_path, plain(method=method, loop={"training": "sequential"})))
    assert (task.method.review, task.method.review_texts) == (0, 3)
    # The default says nothing that is not so: it waits for the training that it is for.
    assert load_task(written(tmp_path, plain(method={"review": 2}))).method.review == 2


def test_an_arm_without_feedback_may_ask_for_none(tmp_path: Path) -> None:
    loop = {"hard": 0, "easy": 0, "arm": "static"}
    assert load_task(written(tmp_path, plain(loop=loop))).loop.hard == 0


@pytest.mark.parametrize("label", ["yes", "no", "on", "1", "2024-01-05", "null"])
def test_labels_that_yaml_reads_as_something_else(tmp_path: Path, label: str) -> None:
    text = f"name: t\ndomain: d\nlabels:\n  {label}: agrees\n  other: no\ndata: {{seed: s.jsonl}}\n"
    error = refused(written(tmp_path, text))
    assert "is not text; put it in quotes" in error.message
    quoted = text.replace(f"  {label}:", f'  "{label}":').replace(": no", ': "no"')
    assert load_task(written(tmp_path, quoted)).names == [label, "other"]


def test_a_label_without_a_definition_is_empty(tmp_path: Path) -> None:
    text = "name: t\ndomain: d\nlabels:\n  music:\n  alarm: ''\ndata: {seed: s.jsonl}\n"
    task = load_task(written(tmp_path, text))
    assert task.labels == {"music": "", "alarm": ""}
    assert task.undefined == ["music", "alarm"]


def test_mappings_may_be_merged() -> None:
    text = "d: &d {x: 1}\nouter:\n  b: &b {<<: *d, x: 2}\nc: {<<: *b, y: 3}\n"
    assert parsed(text, "")["c"] == {"x": 2, "y": 3}


def test_characters_that_json_writes_in_halves_are_whole(tmp_path: Path) -> None:
    given = json.dumps(plain(labels={"a \U0001f600": "one \U0001f600", "b": "two"}))
    assert load_task(written(tmp_path, given)).labels == {
        "a \U0001f600": "one \U0001f600",
        "b": "two",
    }


def test_a_definition_is_one_line(tmp_path: Path) -> None:
    text = "name: t\ndomain: d\nlabels:\n  a: |\n    one\n    two\n  b: x\ndata: {seed: s}\n"
    assert load_task(written(tmp_path, text)).labels == {"a": "one two", "b": "x"}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("name: [open", "line 1: not YAML"),
        ("name: t\n\tdomain: d", "line 2: not YAML"),
        ("when: 2024-13-32", ": not YAML"),
        ("when: !!bool soon", ": not YAML"),
        ("when: !!timestamp x", ": not YAML"),
        ("[" * 500, ": not YAML"),
        ("!!python/object:os.system {}", "not YAML"),
        ("name: t\nloop: {}\nloop: {}", "line 3: loop is given twice"),
        ("labels:\n  a: x\n  a: y", "line 3: a is given twice"),
        ('name: "\\ud83d"', "line 1: half a character"),
        ("", "holds no settings"),
        ("- name: t", "holds no settings"),
    ],
)
def test_a_file_that_is_no_task(tmp_path: Path, text: str, says: str) -> None:
    assert says in refused(written(tmp_path, text)).message


@pytest.mark.parametrize(
    ("change", "hint"),
    [
        ({"labels": ["a", "b"]}, "each label: its definition"),
        ({"teacher": "demo"}, "its settings"),
        ({"budget": 60000}, "its settings"),
        ({"data": "seed.jsonl"}, "its settings"),
    ],
)
def test_what_is_a_group_is_said(tmp_path: Path, change: dict[str, Any], hint: str) -> None:
    error = refused(written(tmp_path, plain(**change)))
    assert "not a group" in error.message
    assert hint in str(error.hint)


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    assert "cannot be read" in refused(tmp_path / "task.yaml").message
    assert "cannot be read" in refused(tmp_path).message
    (tmp_path / "task.yaml").write_bytes(b"name: caf\xe9")
    assert "cannot be read" in refused(tmp_path / "task.yaml").message


@given(st.text(max_size=60))
def test_any_text_is_a_task_or_refused(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    path = tmp_path_factory.getbasetemp() / "any.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(InputError):
        load_task(path)


def test_settings_of_the_command_line_replace_the_files(tmp_path: Path) -> None:
    path = written(tmp_path, plain(loop={"rounds": 2, "hard": 3}))
    task = load_task(path, ["loop.rounds=7", "selection.by=teacher", 'domain="mails: all"'])
    assert (task.loop.rounds, task.loop.hard) == (7, 3)
    assert task.selection.by == "teacher"
    assert task.domain == "mails: all"


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ("loop.rounds", "not KEY=VALUE"),
        ("=3", "not KEY=VALUE"),
        ("loop.=3", "not KEY=VALUE"),
        ("name.first=x", "name is no group of settings"),
        ("loop.rounds=[", "not YAML"),
        ("loop.rouds=3", "unknown key loop.rouds"),
        ("loops.rounds=3", "unknown key loops"),
        ("loop.rounds=many", "loop.rounds: "),
    ],
)
def test_a_bad_change_is_named(tmp_path: Path, change: str, says: str) -> None:
    with pytest.raises(InputError) as caught:
        load_task(written(tmp_path), [change])
    assert says in caught.value.message


def test_settings_record_every_default_and_no_path(tmp_path: Path) -> None:
    task = load_task(written(tmp_path, plain(loop={"rounds": 2})))
    recorded = json.loads(json.dumps(task.settings()))
    assert recorded["loop"] == LoopSettings(rounds=2).model_dump()
    assert recorded["labels"] == plain()["labels"]
    assert {"teacher", "student", "selection", "export"} <= recorded.keys()
    assert "data" not in recorded
    assert str(tmp_path) not in json.dumps(recorded)


def test_data_are_read(tmp_path: Path) -> None:
    files = {"seed": "seed.jsonl", "unlabeled": "pool.jsonl", "dev": "d.csv", "test": "t.csv"}
    path = written(tmp_path, plain(data=files))
    (tmp_path / "pool.jsonl").write_text('{"text": "hm"}\n')
    (tmp_path / "d.csv").write_text("text,label\nwake up,alarm\n")
    (tmp_path / "t.csv").write_text("text,label\na song,music\n")
    data = load_data(load_task(path))
    assert data.seed == (Example("play jazz", "music", "seed"), Example("wake me", "alarm", "seed"))
    assert data.unlabeled == ("hm",)
    assert data.dev == (Example("wake up", "alarm"),)
    assert data.test == (Example("a song", "music"),)


def test_every_label_needs_a_seed(tmp_path: Path) -> None:
    labels = plain()["labels"] | {"timer": "", "list": ""}
    task = load_task(written(tmp_path, plain(labels=labels)))
    with pytest.raises(InputError, match=r"seed\.jsonl: no example of timer, list") as caught:
        load_data(task)
    assert caught.value.hint


def test_a_seed_text_with_two_answers_is_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    task = load_task(written(tmp_path, plain()))
    with (tmp_path / "seed.jsonl").open("a") as file:
        file.write('{"text": "wake me", "label": "alarm"}\n')
    load_data(task)  # twice the same is no harm
    assert not caplog.messages
    with (tmp_path / "seed.jsonl").open("a") as file:
        file.write('{"text": "wake me", "label": "music"}\n')
    load_data(task)  # as it is in many data sets
    (told,) = caplog.messages
    assert told.endswith("seed.jsonl: two answers for 1 texts, such as 'wake me'")


def test_choosing_by_gold_needs_a_dev_file(tmp_path: Path) -> None:
    task = load_task(written(tmp_path, plain(selection={"by": "gold"})))
    with pytest.raises(InputError, match=r"data\.dev is missing"):
        load_data(task)


examples = st.builds(
    Example, st.text(max_size=12), st.sampled_from(["a", "b"]), st.sampled_from(["seed", "gold"])
)
task_data = st.builds(
    TaskData,
    seed=st.lists(examples, min_size=1, max_size=4).map(tuple),
    unlabeled=st.lists(st.text(max_size=12), max_size=3).map(tuple),
    dev=st.lists(examples, max_size=3).map(tuple),
    test=st.lists(examples, max_size=3).map(tuple),
)


@given(task_data)
def test_data_survive_the_ledger(data: TaskData) -> None:
    again = TaskData.from_json(json.loads(json.dumps(data.to_json())))
    assert again == data
    assert again.fingerprint() == data.fingerprint()


@given(task_data, st.data())
def test_the_fingerprint_changes_with_any_text(data: TaskData, draw: st.DataObject) -> None:
    filled = [name for name, rows in data if rows]
    name = draw.draw(st.sampled_from(filled))
    rows = list(getattr(data, name))
    at = draw.draw(st.integers(0, len(rows) - 1))
    old = rows[at]
    rows[at] = old + "x" if isinstance(old, str) else Example(old.text + "x", old.label, old.origin)
    changed = data.model_copy(update={name: tuple(rows)})
    assert changed.fingerprint() != data.fingerprint()
    shorter = data.model_copy(update={name: tuple(rows[:at] + rows[at + 1 :])})
    assert shorter.fingerprint() != data.fingerprint()


def test_the_demo_task_loads() -> None:
    task = demo_task()
    data = load_data(task)
    assert {e.label for e in data.seed} == set(task.names)
    assert data.dev
    assert data.test
    assert task.selection.by == "teacher"


def test_the_schema_documents_every_field() -> None:
    schema = Task.model_json_schema()
    assert schema["required"] == ["name", "domain", "labels", "data"]
    assert all(
        "description" in field for field in schema["$defs"]["LoopSettings"]["properties"].values()
    )
