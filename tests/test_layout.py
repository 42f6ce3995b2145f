from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evokd.errors import InputError, IntegrityError
from serving import layout
from serving.layout import Manifest, StudentFiles, read_manifest, verify, write_manifest

FACTS = Manifest(
    name="tiny",
    domain="words",
    labels={"b": "second letter", "a": "first letter"},
    max_length=16,
    serve=layout.ONNX,
    base_model="test/bert",
    teacher="nobody",
)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name in (layout.CONFIG, layout.WEIGHTS, layout.TOKENIZER, layout.ONNX):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(name.encode())
    return tmp_path


def test_what_is_written_is_read_back_in_order(root: Path) -> None:
    written = write_manifest(root, FACTS)
    assert read_manifest(root) == written
    assert list(read_manifest(root).labels) == ["b", "a"]
    assert set(written.sha256) == {layout.CONFIG, layout.WEIGHTS, layout.TOKENIZER, layout.ONNX}
    verify(root, written)
    assert not list(root.glob(".*")), "nothing is left aside"


@pytest.mark.parametrize("name", [layout.CONFIG, layout.WEIGHTS, layout.TOKENIZER, layout.ONNX])
def test_a_changed_or_missing_file_is_refused(root: Path, name: str) -> None:
    manifest = write_manifest(root, FACTS)
    (root / name).write_bytes(b"other")
    with pytest.raises(IntegrityError, match=name):
        verify(root, manifest)
    (root / name).unlink()
    with pytest.raises(IntegrityError, match=name):
        verify(root, manifest)


def test_the_card_may_be_edited(root: Path) -> None:
    StudentFiles(root).card.write_text("one")
    manifest = write_manifest(root, FACTS)
    StudentFiles(root).card.write_text("two")
    verify(root, manifest)
    assert layout.CARD not in manifest.sha256


def test_a_file_that_was_never_recorded_is_refused(root: Path) -> None:
    manifest = write_manifest(root, FACTS)
    (root / layout.INT8).write_bytes(b"new")
    with pytest.raises(IntegrityError):
        verify(root, manifest, only=[layout.INT8])


def test_without_the_file_to_serve_there_is_no_seal(root: Path) -> None:
    with pytest.raises(InputError, match="serve"):
        write_manifest(root, replace(FACTS, serve=layout.INT8))
    assert not StudentFiles(root).manifest.exists()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "No such file"),
        (b"", "JSON"),
        (b'{"name": "tiny"', "JSON"),
        (b"\xff\xfe", "JSON"),
        (b"[]", "evokd.json"),
        (b"{}", "name"),
    ],
)
def test_an_unreadable_manifest_is_named(root: Path, text: bytes | None, message: str) -> None:
    if text is not None:
        StudentFiles(root).manifest.write_bytes(text)
    with pytest.raises(InputError, match=message) as caught:
        read_manifest(root)
    assert str(StudentFiles(root).manifest) in caught.value.message
    assert caught.value.hint


@pytest.mark.parametrize(
    "change",
    [
        {"version": 2},
        {"kind": "regression"},
        {"kind": "ner", "reject": 0.5},
        {"thresholds": {"a": 0.5, "b": 0.5}},
        {"kind": "multilabel", "thresholds": {"only one": 0.5}},
        {"reject": 1.0},
        {"labels": {"only": "one"}},
        {"labels": ["a", "b"]},
        {"max_length": 0},
        {"temperature": 0.0},
        {"serve": "onnx/other.onnx"},
        {"sha256": {layout.ONNX: 5}},
    ],
)
def test_an_invalid_field_is_refused(root: Path, change: dict[str, object]) -> None:
    write_manifest(root, FACTS)
    path = StudentFiles(root).manifest
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(InputError, match=next(iter(change))):
        read_manifest(root)


@given(
    name=st.one_of(
        st.sampled_from(
            ["../x", "/etc/passwd", "onnx/../../x", "..", "", "C:\\x", "a\\..\\b", "C:x"]
        ),
        st.lists(st.sampled_from(["a", "..", "onnx"]), min_size=1)
        .filter(lambda parts: ".." in parts)
        .map("/".join),
    )
)
def test_no_name_leads_out_of_the_folder(
    name: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    root = tmp_path_factory.mktemp("student")
    fields = {
        **{"name": "n", "domain": "d", "labels": {"a": "", "b": ""}, "max_length": 8},
        **{"serve": name, "base_model": "", "teacher": "", "sha256": {name: "0" * 64}},
    }
    StudentFiles(root).manifest.write_text(json.dumps(fields))
    with pytest.raises(InputError, match="leads out"):
        read_manifest(root)
