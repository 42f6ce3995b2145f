from __future__ import annotations

import json
from pathlib import Path

import pytest
from pydantic import ValidationError

from evokd.settings import (
    BudgetSettings,
    ExportSettings,
    Group,
    LoopSettings,
    MethodSettings,
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
    assert 1 <= len(group.model_fields) <= 12
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
        (TeacherSettings, {"sequences": 1}),
        (TeacherSettings, {"sequences": "many"}),
        (TeacherSettings, {"gpu_layers": -2}),
        (TeacherSettings, {"temperature": -0.1}),
        (TeacherSettings, {"top_p": 0}),
        (TeacherSettings, {"threads": -1}),
        (StudentSettings, {"soft": 1.1}),
        (StudentSettings, {"learning_rate": 0}),
        (StudentSettings, {"max_length": 513}),
        (StudentSettings, {"device": "tpu"}),
        (LoopSettings, {"rounds": -1}),
        (LoopSettings, {"cover": 0}),
        (LoopSettings, {"arm": "magic"}),
        (LoopSettings, {"training": "both"}),
        (MethodSettings, {"init": "seeds"}),
        (MethodSettings, {"demonstrations": 17}),
        (MethodSettings, {"review": -1}),
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


def test_the_base_counts_are_those_of_the_paper() -> None:
    assert (LoopSettings().hard, LoopSettings().easy) == (4, 2)
