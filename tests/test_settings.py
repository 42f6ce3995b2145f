from __future__ import annotations

import json
import re
from inspect import get_annotations
from pathlib import Path

import pytest
from pydantic import ValidationError

from evokd.feedback import SHOW_RIGHT, SHOW_WRONG
from evokd.settings import (
    BudgetSettings,
    ExportSettings,
    Group,
    LoopSettings,
    MethodSettings,
    PaperSettings,
    SelectionSettings,
    StudentSettings,
    TeacherSettings,
)

GROUPS = [
    TeacherSettings,
    StudentSettings,
    LoopSettings,
    MethodSettings,
    BudgetSettings,
    SelectionSettings,
    ExportSettings,
]


@pytest.mark.parametrize("group", GROUPS)
def test_a_group_is_small_documented_and_has_defaults(group: type[Group]) -> None:
    classes = [c for c in group.__mro__ if issubclass(c, Group) and c is not Group]
    assert all(1 <= len(get_annotations(c)) <= 12 for c in classes)
    assert all(field.description for field in group.model_fields.values())
    assert group() == group.model_validate(group().model_dump())


def test_every_setting_stands_in_the_readme_with_its_default() -> None:
    readme = (Path(__file__).parent.parent / "README.md").read_text(encoding="utf-8")
    rows = [line.split(" | ") for line in readme.splitlines() if line.count(" | ") == 2]
    shown: dict[str, str] = {}
    for keys, defaults, _ in rows:
        shown |= zip(keys.removeprefix("| ").split(", "), defaults.split(", "), strict=False)
    for group in GROUPS:
        name = group.__name__.removesuffix("Settings").lower()
        for key, field in group.model_fields.items():
            usual = "no cap" if field.default is None else json.dumps(field.default).strip('"')
            assert shown.get(f"`{name}.{key}`") == usual, (name, key)


def test_what_the_paper_leaves_open_is_told_with_what_stands_here() -> None:
    readme = (Path(__file__).parent.parent / "README.md").read_text(encoding="utf-8")
    table = readme.partition("| open in the paper |")[2].partition("\n\n")[0]
    usual: dict[str, object] = {"SHOW_WRONG": SHOW_WRONG, "SHOW_RIGHT": SHOW_RIGHT}
    for group in GROUPS:
        name = group.__name__.removesuffix("Settings").lower()
        usual |= {f"{name}.{key}": field.default for key, field in group.model_fields.items()}
    rows = [line.split(" | ") for line in table.splitlines()[2:]]
    for _, values, where in rows:
        names = re.findall(r"`([\w.]+)`", where)
        assert values.split(", ") == [str(usual[name]) for name in names]
    told = {name for row in rows for name in re.findall(r"`([\w.]+)`", row[2])}
    assert told >= {"loop.rounds", "loop.repeat", "method.empty_wrong", "student.learning_rate"}


@pytest.mark.parametrize(
    "key",
    ["loop.hard", "loop.easy", "loop.repeat", "loop.training", "loop.rounds", "loop.seed",
     *(f"method.{key}" for key in PaperSettings.model_fields)],
)  # fmt: skip
def test_an_element_of_the_paper_names_it(key: str) -> None:
    group, _, name = key.partition(".")
    settings = {"loop": LoopSettings, "method": MethodSettings}[group]
    assert "EvoKD" in str(settings.model_fields[name].description)
    assert "arXiv 2403.06414" in str((PaperSettings if group == "method" else settings).__doc__)


@pytest.mark.parametrize("group", GROUPS)
def test_a_group_is_frozen_and_refuses_unknown_keys(group: type[Group]) -> None:
    made = group()
    name = next(iter(group.model_fields))
    with pytest.raises(ValidationError, match="frozen"):
        setattr(made, name, getattr(made, name))
    with pytest.raises(ValidationError, match="Extra inputs"):
        group.model_validate({"no_such_key": 1})


@pytest.mark.parametrize(
    ("group", "given"),
    [
        (TeacherSettings, {"context": 255}),
        (TeacherSettings, {"sequences": 0}),
        (TeacherSettings, {"sequences": "many"}),
        (TeacherSettings, {"gpu_layers": -2}),
        (TeacherSettings, {"temperature": -0.1}),
        (TeacherSettings, {"top_p": 0}),
        (TeacherSettings, {"threads": -1}),
        (StudentSettings, {"soft": 1.1}),
        (StudentSettings, {"learning_rate": 0}),
        (StudentSettings, {"learning_rate": float("inf")}),
        (StudentSettings, {"max_length": 513}),
        (StudentSettings, {"device": "tpu"}),
        (LoopSettings, {"rounds": -1}),
        (LoopSettings, {"cover": 0}),
        (LoopSettings, {"arm": "magic"}),
        (LoopSettings, {"training": "both"}),
        (MethodSettings, {"init": "seeds"}),
        (MethodSettings, {"demonstrations": 17}),
        (MethodSettings, {"review": -1}),
        (MethodSettings, {"review_texts": -1}),
        (MethodSettings, {"empty_wrong": "nothing"}),
        (MethodSettings, {"noise": "all"}),
        (SelectionSettings, {"by": "test"}),
        (SelectionSettings, {"tolerance": -0.01}),
        (ExportSettings, {"gate_texts": 19}),
        (ExportSettings, {"opset": "new"}),
    ],
)
def test_values_out_of_range_are_refused(group: type[Group], given: dict[str, object]) -> None:
    with pytest.raises(ValidationError) as caught:
        group.model_validate(given)
    assert [error["loc"] for error in caught.value.errors()] == [(next(iter(given)),)]


@pytest.mark.parametrize(("given", "width"), [(2, 2), (256, 256), ("auto", 32)])
def test_how_many_sequences_may_be_left_to_a_measurement(given: int | str, width: int) -> None:
    made = TeacherSettings.model_validate({"sequences": given})
    assert (made.sequences, made.side_by_side) == (given, width)
    assert TeacherSettings.model_validate(made.model_dump()) == made


@pytest.mark.parametrize("given", ["auto", -1, 0, 12])
def test_layers_on_a_gpu(given: int | str) -> None:
    assert TeacherSettings.model_validate({"gpu_layers": given}).gpu_layers == given


@pytest.mark.parametrize(
    ("model", "named"),
    [
        ("demo", "demo"),
        ("/home/me/models/big.gguf", "big.gguf"),
        ("models/big.gguf", "big.gguf"),
        ("hf:owner/repo:*Q4.gguf", "hf:owner/repo:*Q4.gguf"),
        ("http://127.0.0.1:8080/v1", "http://127.0.0.1:8080/v1"),
    ],
)
def test_a_model_is_named_without_its_folder(model: str, named: str) -> None:
    assert TeacherSettings(model=model).named == named


@pytest.mark.parametrize(
    ("model", "named"),
    [("minilm", "minilm"), ("/home/me/mine", "mine"), ("~/mine", "mine"), ("owner/name",) * 2],
)
def test_an_encoder_is_named_without_its_folder(model: str, named: str) -> None:
    assert StudentSettings(model=model).encoder == named
