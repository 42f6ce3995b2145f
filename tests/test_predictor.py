from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tiny_student import LABELS, MAX_LENGTH, make_texts

from evokd.errors import InputError, IntegrityError
from serving import layout
from serving.predictor import Predictor, open_predictor
from serving.said import Prediction
from serving.sorter import Classifier


@pytest.fixture(scope="module", params=[layout.ONNX, layout.INT8])
def predictor(request: pytest.FixtureRequest, tiny_sealed: Path) -> Predictor[Prediction]:
    return open_predictor(tiny_sealed, file=request.param)


@pytest.fixture
def copy(tiny_sealed: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_sealed, tmp_path / "student"))


def test_it_answers_what_it_was_taught(predictor: Predictor[Prediction]) -> None:
    texts, labels = make_texts(40, seed=11)
    answers = predictor.predict(texts)
    assert np.mean([a.label == label for a, label in zip(answers, labels, strict=True)]) >= 0.95
    for answer in answers:
        assert list(answer.probabilities) == list(LABELS)
        assert answer.score == max(answer.probabilities.values())
        assert sum(answer.probabilities.values()) == pytest.approx(1, abs=1e-6)


def test_an_answer_never_depends_on_its_neighbours(predictor: Predictor[Prediction]) -> None:
    texts, _ = make_texts(30, seed=12)
    texts += ["", "play " * 100, "¿ñ 🎵\x00"]
    alone = np.concatenate([predictor.probabilities([text]) for text in texts])
    together = predictor.probabilities(texts)
    backwards = predictor.probabilities(texts[::-1])[::-1]
    assert alone.dtype == np.float32
    assert alone.tobytes() == together.tobytes() == backwards.tobytes()
    listed = [list(answer.probabilities.values()) for answer in predictor.predict(texts)]
    assert np.array(listed, np.float32).tobytes() == alone.tobytes()


def test_no_texts_give_an_empty_table(predictor: Predictor[Prediction]) -> None:
    assert predictor.probabilities([]).shape == (0, len(LABELS))
    assert predictor.predict([]) == []


ROOM = MAX_LENGTH - 2  # of [CLS] and [SEP]


def test_a_long_text_is_read_to_its_end(predictor: Predictor[Prediction]) -> None:
    fits, long = predictor.predict(["play " * ROOM, "please " * ROOM + "rain storm " * ROOM])
    assert fits.windows == 1
    assert long.windows > 2
    assert long.label == "get_weather"
    assert sum(long.probabilities.values()) == pytest.approx(1, abs=1e-6)


def test_a_long_text_is_the_weighted_mean_of_its_windows(predictor: Predictor[Prediction]) -> None:
    step = ROOM - ROOM // 4
    words = ["play", "rain", "wake", "table", "song", "sun", "alarm", "dinner"] * (3 * ROOM // 8)
    starts = [0]
    while starts[-1] + ROOM < len(words):
        starts.append(starts[-1] + step)
    alone = predictor.probabilities([" ".join(words[i : i + ROOM]) for i in starts])
    new = [min(ROOM, len(words) - i) - (ROOM - step if i else 0) for i in starts]
    assert sum(new) == len(words)
    said = predictor.probabilities([" ".join(words)])[0]
    assert said == pytest.approx(np.average(alone, axis=0, weights=new), abs=1e-6)


def test_without_windows_only_the_beginning_is_read(tiny_sealed: Path) -> None:
    files = layout.StudentFiles(tiny_sealed)
    cut = Classifier(files.onnx, files.tokenizer, labels=list(LABELS), max_length=MAX_LENGTH)
    fits, long = cut.predict(["play " * ROOM, "play " * ROOM + "rain storm"])
    assert fits == long


def test_a_temperature_makes_answers_less_sure_and_changes_no_label(copy: Path) -> None:
    texts, _ = make_texts(12, seed=13)
    sure = open_predictor(copy).probabilities(texts)
    manifest = layout.read_manifest(copy)
    layout.write_manifest(copy, replace(manifest, temperature=2.0))
    cooler = open_predictor(copy).probabilities(texts)
    assert (cooler.argmax(axis=1) == sure.argmax(axis=1)).all()
    expected = np.sqrt(sure.astype(np.float64))
    assert cooler == pytest.approx(expected / expected.sum(axis=1, keepdims=True), abs=1e-5)


@pytest.mark.parametrize("name", [layout.TOKENIZER, layout.INT8])
def test_a_changed_file_is_refused(copy: Path, name: str) -> None:
    with (copy / name).open("ab") as file:
        file.write(b" ")
    with pytest.raises(IntegrityError, match=name):
        open_predictor(copy, file=layout.INT8)


def test_only_files_of_the_student_are_opened(copy: Path) -> None:
    shutil.copy(copy / layout.ONNX, copy / "other.onnx")
    for file in ("other.onnx", "../student/" + layout.ONNX):
        with pytest.raises(InputError, match="not part of this student"):
            open_predictor(copy, file=file, verify=False)


def test_broken_files_are_named(copy: Path) -> None:
    (copy / layout.ONNX).write_bytes(b"not a model")
    with pytest.raises(InputError, match="onnxruntime cannot load"):
        open_predictor(copy, file=layout.ONNX, verify=False)
    (copy / layout.TOKENIZER).write_bytes(b"{}")
    with pytest.raises(InputError, match="not a tokenizer"):
        open_predictor(copy, verify=False)


def test_another_number_of_labels_is_refused(tiny_sealed: Path) -> None:
    files = layout.StudentFiles(tiny_sealed)
    with pytest.raises(InputError, match="4 labels where 2"):
        Classifier(files.onnx, files.tokenizer, labels=["a", "b"], max_length=8)
