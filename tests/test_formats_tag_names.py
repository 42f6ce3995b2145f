"""Tags that are numbers, with their names in a file beside the data."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_entities import TYPES

from evokd.answers import Span, write_spans
from evokd.errors import InputError
from evokd.examples import Example
from evokd.formats import read_examples, read_texts

NAMES = ["O", "B-city", "I-city", "B-day"]
NUMBERED = {"tokens": ["in", "New", "York", "now"], "ner_tags": [0, 1, 2, 3]}
READ = Example("in New York now", write_spans([Span(3, 11, "city"), Span(12, 15, "day")]))
OTHER = {"names": ["DET", "NOUN"], "_type": "ClassLabel"}


def features(kind: str, names: list[str], field: str = "ner_tags") -> dict[str, Any]:
    """Return features as versions of `datasets` write them."""
    label = {"names": names, "_type": "ClassLabel"}
    inner = [label] if kind == "[]" else {"feature": label, "_type": kind}
    return {
        "tokens": {"feature": {"dtype": "string"}},
        "pos_tags": {"feature": OTHER},
        field: inner,
    }


def written(folder: Path, *records: dict[str, Any], **files: object) -> Path:
    """Write a data file, and what lies beside it."""
    for name, content in files.items():
        (folder / f"{name}.json").write_text(json.dumps(content), encoding="utf-8")
    path = folder / "seed.jsonl"
    path.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")
    return path


def refused(path: Path) -> InputError:
    with pytest.raises(InputError) as caught:
        read_examples(path, TYPES, "ner")
    assert caught.value.hint
    return caught.value


@pytest.mark.parametrize("kind", ["Sequence", "List", "[]"])
@pytest.mark.parametrize("field", ["tags", "ner_tags"])
def test_names_come_from_the_features_beside(tmp_path: Path, kind: str, field: str) -> None:
    record = {"tokens": NUMBERED["tokens"], field: NUMBERED["ner_tags"]}
    told = {"features": features(kind, NAMES, field)}
    path = written(tmp_path, record, record, dataset_info=told)
    assert read_examples(path, TYPES, "ner") == [READ, READ]


def test_names_come_from_the_features_of_several_that_agree(tmp_path: Path) -> None:
    one = {"features": features("Sequence", NAMES)}
    path = written(tmp_path, NUMBERED, dataset_infos={"en": one, "de": one})
    assert read_examples(path, TYPES, "ner") == [READ]
    written(tmp_path, dataset_infos={"en": one, "de": {"features": features("List", NAMES[:1])}})
    path = written(tmp_path, NUMBERED)
    assert 'has several lists of names for "ner_tags"' in refused(path).message


def test_a_list_of_names_comes_first(tmp_path: Path) -> None:
    other = {"features": features("List", ["O", "B-day", "I-day", "B-city"])}
    path = written(tmp_path, NUMBERED, labels=NAMES, dataset_info=other)
    assert read_examples(path, TYPES, "ner") == [READ]
    named = NUMBERED | {"ner_tags": NAMES}
    assert read_examples(written(tmp_path, named, NUMBERED), TYPES, "ner") == [READ, READ]


def test_what_has_no_numbers_needs_no_names(tmp_path: Path) -> None:
    (tmp_path / "labels.json").write_text("{")
    offsets = {"text": "Rome", "entities": [], "ner_tags": [7]}
    path = written(tmp_path, NUMBERED | {"ner_tags": NAMES}, offsets)
    assert read_examples(path, TYPES, "ner") == [READ, Example("Rome", write_spans([]))]
    assert read_texts(written(tmp_path, NUMBERED)) == [READ.text]


@pytest.mark.parametrize(
    ("tags", "files", "says"),
    [
        ([0, 1, 2, 3], {}, 'line 2: "ner_tags" holds numbers'),
        ([0, 1, 2, 3], {"labels": {"O": 0}}, 'line 2: "ner_tags" holds numbers'),
        ([0, 1, 2, 3], {"dataset_info": {"features": {"pos_tags": OTHER}}}, "holds numbers"),
        ([0, 1, 2, 4], {"labels": NAMES}, 'line 2: "ner_tags" holds 4, but the 4 names are'),
        ([0, 1, 2, -1], {"labels": NAMES}, '"ner_tags" holds -1'),
        ([True, 1, 2, 3], {"labels": NAMES}, "line 2, token 1 'in': True is no tag"),
        ([0, 1, 2], {"labels": NAMES}, "4 tokens but 3 tags"),
        ([0, 1, 2, 3], {"labels": ["O", "city", "B-day", "I-day"]}, "'city' is no tag"),
    ],
)
def test_numbers_without_names_are_refused(
    tmp_path: Path, tags: list[Any], files: dict[str, Any], says: str
) -> None:
    blank = {"tokens": ["a"], "ner_tags": ["O"]}
    path = written(tmp_path, blank, NUMBERED | {"ner_tags": tags}, **files)
    error = refused(path)
    assert error.message.startswith(f"{path}, line 2")
    assert says in error.message


@given(st.binary(max_size=40) | st.just(b"[" * 9000))
def test_any_file_of_names_is_read_or_refused(
    tmp_path_factory: pytest.TempPathFactory, content: bytes
) -> None:
    folder = tmp_path_factory.getbasetemp() / "names"
    folder.mkdir(exist_ok=True)
    path = written(folder, NUMBERED)
    for name in ("labels", "dataset_info"):
        (folder / f"{name}.json").write_bytes(content)
        assert refused(path).message.startswith(str(folder)), "the file at fault is named"
        (folder / f"{name}.json").unlink()
