from __future__ import annotations

import importlib.util
import json
import shutil
from pathlib import Path

import pytest
from encoders import save_encoder

from evokd.errors import InputError, IntegrityError
from evokd.pooling import MARK
from evokd.weights import PRESETS, check_shrinks, find_weights

PACKAGE = PRESETS["minilm"].package
packaged = pytest.mark.skipif(
    importlib.util.find_spec(PACKAGE) is None, reason="needs evokd[offline]"
)


@pytest.fixture
def offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty hub cache, with the hub out of reach."""
    from huggingface_hub import constants

    cache = tmp_path / "hub"
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(cache))
    return cache


@packaged
def test_minilm_comes_from_the_offline_package(offline: Path) -> None:
    assert find_weights("minilm").parent.name == PACKAGE


@packaged
def test_changed_weights_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = importlib.util.find_spec(PACKAGE)
    assert spec is not None
    assert spec.origin is not None
    copied = shutil.copytree(Path(spec.origin).parent, tmp_path / PACKAGE)
    path = copied / "model" / "model.safetensors"
    with path.open("r+b") as file:
        file.seek(-1, 2)
        last = file.read(1)
        file.seek(-1, 2)
        file.write(bytes([last[0] ^ 1]))
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(IntegrityError) as caught:
        find_weights("minilm")
    assert str(path) in caught.value.message
    assert caught.value.hint


def test_without_package_and_cache_the_error_says_what_to_do(
    offline: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("evokd.weights._packaged", lambda _: None)
    with pytest.raises(InputError) as caught:
        find_weights("minilm")
    assert "evokd[offline]" in caught.value.hint


def test_a_hub_id_is_found_in_the_cache(offline: Path) -> None:
    with pytest.raises(InputError, match="owner/name"):
        find_weights("owner/name")
    repo = offline / "models--owner--name"
    snapshot = repo / "snapshots" / ("a" * 40)
    snapshot.mkdir(parents=True)
    (repo / "refs").mkdir()
    (repo / "refs" / "main").write_text("a" * 40)
    for name in ("config.json", "model.safetensors"):
        (snapshot / name).write_text("{}")
    assert find_weights("owner/name").resolve() == snapshot.resolve()


def test_a_folder_is_used_as_it_is(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"has no config\.json"):
        find_weights(str(tmp_path))
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "pytorch_model.bin").write_bytes(b"a pickle")
    with pytest.raises(InputError, match="pickled weights are never loaded"):
        find_weights(str(tmp_path))
    (tmp_path / "model.safetensors").write_bytes(b"")
    assert find_weights(str(tmp_path)) == tmp_path


@pytest.mark.parametrize("name", ["./absent", "/absent/folder", "a/b/c", "~/absent"])
def test_an_absent_folder_is_an_error(name: str) -> None:
    with pytest.raises(InputError, match="no such model folder"):
        find_weights(name)


def test_an_unknown_preset_answers_with_the_known_ones() -> None:
    with pytest.raises(InputError, match="unknown student model 'minilmm'; known presets: minilm"):
        find_weights("minilmm")


def test_what_a_small_student_asks_of_its_encoder_is_checked_at_once(tmp_path: Path) -> None:
    folder = save_encoder(tmp_path / "bert", "bert")
    check_shrinks(folder, layers=2, words=100)
    with pytest.raises(InputError, match="3 of 2 layers"):
        check_shrinks(folder, layers=3, words=0)
    distil = save_encoder(tmp_path / "distil", "distilbert")
    with pytest.raises(InputError, match="3 of 2 layers"):
        check_shrinks(distil, layers=3, words=0)
    config = json.loads((folder / "config.json").read_text("utf-8"))
    (folder / "config.json").write_text(json.dumps(config | {MARK: True}), "utf-8")
    with pytest.raises(InputError, match="2 of 1 layers"):  # the pooling layer is none of its own
        check_shrinks(folder, layers=2, words=0)
    path = folder / "tokenizer.json"
    spec = json.loads(path.read_text("utf-8"))
    spec["model"]["type"] = "BPE"
    path.write_text(json.dumps(spec), "utf-8")
    check_shrinks(folder, layers=0, words=0)
    with pytest.raises(InputError, match="only WordPiece"):
        check_shrinks(folder, layers=0, words=100)
