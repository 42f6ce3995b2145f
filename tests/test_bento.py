"""A built Bento runs by itself, where torch, transformers and this repository are not."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import pytest
from running import HOME, free_port, run
from tiny_student import make_texts

from evokd.errors import EvokdError, InputError, IntegrityError
from serving import layout
from serving.bento import _digest, build
from serving.predictor import open_predictor

BLOCK = f"""
import sys
class Block:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {{"torch", "transformers", "llama_cpp", "optimum", "export"}}:
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Block())
sys.meta_path[:] = [f for f in sys.meta_path if "editable" not in getattr(f, "__module__", "")]
sys.path[:] = [p for p in sys.path if p != {str(HOME)!r}]
"""


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """BentoML's own folder, of the processes that are started."""
    home = tmp_path / "bentoml"
    home.mkdir()
    monkeypatch.setenv("BENTOML_HOME", str(home))
    return home


def test_a_bento_is_of_all_that_the_manifest_says(tiny_sealed: Path, tmp_path: Path) -> None:
    other = Path(shutil.copytree(tiny_sealed, tmp_path / "student"))
    assert _digest(other) == _digest(tiny_sealed)
    manifest = other / layout.MANIFEST
    told = json.loads(manifest.read_text()) | {"temperature": 0.5}
    manifest.write_text(json.dumps(told))
    assert _digest(other) != _digest(tiny_sealed)


def test_a_bento_answers_without_torch(tiny_sealed: Path, tmp_path: Path, home: Path) -> None:
    built = build(tiny_sealed, version="1")
    assert built.tag == "tiny:1"
    with pytest.raises(EvokdError, match="already exists"):
        build(tiny_sealed, version="1")

    held = {str(path.relative_to(built.path / "src")) for path in built.path.rglob("src/**/*.*")}
    assert "student/onnx/model_quantized.onnx" in held
    assert not [name for name in held if "safetensors" in name or "torch" in name]
    needs = (built.path / "env" / "python" / "requirements.txt").read_text()
    assert "onnxruntime==" in needs
    assert "torch" not in needs.replace("pytorch", "torch")

    (tmp_path / "blocked").mkdir()
    (tmp_path / "blocked" / "sitecustomize.py").write_text(BLOCK)
    port = free_port()
    command = [sys.executable, "-m", "bentoml", "serve", str(built.path), "--port", str(port)]
    blocked = {"PYTHONPATH": str(tmp_path / "blocked"), "EVOKD_WORKERS": "1"}
    with run(command, port, tmp_path, blocked) as server:
        texts, _ = make_texts(5, seed=3)
        status, told = server.ask("/predict", {"texts": texts})
        assert status == 200, told
        said = [answer["probabilities"] for answer in json.loads(told)["predictions"]]
        assert said == [
            answer.probabilities for answer in open_predictor(tiny_sealed).predict(texts)
        ]
        assert server.ask("/")[0] == 200


def test_a_bento_is_called_as_it_is_told(
    tiny_sealed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[str, ...]] = []

    def answers(*arguments: str) -> str:
        asked.append(arguments)
        return str(tmp_path)

    monkeypatch.setattr("serving.bento._bentoml", answers)
    built = build(tiny_sealed, version="a:b", out=tmp_path / "mine")
    assert asked[0][2:6] == ("--name", "tiny", "--version", "a:b")
    assert asked[1] == ("export", "tiny:a:b", str(tmp_path / "mine.bento"))
    assert built.file == tmp_path / "mine.bento"


def test_only_a_whole_student_is_packed(tiny_sealed: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"evokd\.json"):
        build(tmp_path)
    (tmp_path / "there.bento").touch()
    with pytest.raises(InputError, match=r"there\.bento"):
        build(tiny_sealed, out=tmp_path / "there.bento")
    with pytest.raises(InputError, match=r"there\.bento"):
        build(tiny_sealed, out=tmp_path / "there")  # BentoML would call it there.bento
    with pytest.raises(InputError, match="exists"):
        build(tiny_sealed, out=tmp_path)
    student = Path(shutil.copytree(tiny_sealed, tmp_path / "student"))
    (student / layout.WEIGHTS).write_bytes(b"other")
    with pytest.raises(IntegrityError):
        build(student)
