from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoModelForSequenceClassification

from evokd import shrink as shrinking
from evokd.examples import Example
from evokd.pooling import MARK, first_token_only, set_pooling_layer, start_at_centroids, wants_mean
from evokd.settings import StudentSettings
from evokd.student import Student, fit, load_student, untrained

LABELS = ["alarm", "music"]
TEXTS = ["wake me at seven", "play a song", "play jazz now please", "alarm"]


@pytest.fixture
def settings(tiny_saved: Path, tmp_path: Path) -> StudentSettings:
    """Settings of a tiny BERT that says it was made for mean pooling."""
    folder = tmp_path / "tiny"
    shutil.copytree(tiny_saved, folder)
    (folder / "1_Pooling").mkdir()
    says = {"pooling_mode_mean_tokens": True}
    (folder / "1_Pooling" / "config.json").write_text(json.dumps(says))
    return StudentSettings(model=str(folder), threads=1)


def test_only_a_bert_that_says_so_gets_the_layer(settings: StudentSettings, tmp_path: Path) -> None:
    folder = Path(settings.model)
    assert wants_mean(folder, "bert")
    assert not wants_mean(folder, "roberta")
    assert not wants_mean(tmp_path, "bert")
    (folder / "1_Pooling" / "config.json").write_text('{"pooling_mode_cls_token": true}')
    assert not wants_mean(folder, "bert")


def test_the_head_reads_the_mean_of_the_encoder(settings: StudentSettings) -> None:
    student = untrained(LABELS, settings)
    mean = student.embed(TEXTS)
    mean -= mean.mean(axis=1, keepdims=True)  # a layer norm takes the mean over features away
    pooled = student.pooled(TEXTS)
    cosine = (mean * pooled).sum(1) / np.linalg.norm(mean, axis=1) / np.linalg.norm(pooled, axis=1)
    assert cosine.min() > 0.98


def test_padding_does_not_enter_the_mean(settings: StudentSettings) -> None:
    student = untrained(LABELS, settings)
    together = student.pooled(TEXTS)
    alone = np.concatenate([student.pooled([text]) for text in TEXTS])
    np.testing.assert_allclose(together, alone, atol=1e-5)


def test_the_saved_model_is_of_the_standard_class(
    settings: StudentSettings, tmp_path: Path
) -> None:
    examples = [Example(text, LABELS[i % 2]) for i, text in enumerate(TEXTS)]
    student = fit(examples, LABELS, settings, epochs=1, seed=0)
    student.save(tmp_path / "saved")
    plain = AutoModelForSequenceClassification.from_pretrained(tmp_path / "saved")
    assert type(plain).__name__ == "BertForSequenceClassification"
    assert plain.config.num_hidden_layers == 3
    again = load_student(tmp_path / "saved", threads=1)
    np.testing.assert_array_equal(again.predict(TEXTS), student.predict(TEXTS))
    assert getattr(again.model.config, MARK)


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_training_computes_the_same_logits(settings: StudentSettings, attention: str) -> None:
    student = untrained(LABELS, settings)
    student.model = type(student.model)._from_config(
        student.model.config, attn_implementation=attention
    )
    set_pooling_layer(student.model)
    whole, layer = student.predict(TEXTS), student.model.bert.encoder.layer[-1]
    with first_token_only(student.model):
        assert student.model.bert.encoder.layer[-1] is not layer
        np.testing.assert_allclose(student.predict(TEXTS), whole, atol=1e-6)
        even = ["wake me at seven"] * 2  # nothing is padded, so BERT may pass no mask
        np.testing.assert_allclose(student.predict(even)[0], whole[0], atol=1e-6)
    assert student.model.bert.encoder.layer[-1] is layer


def test_other_models_keep_their_last_layer(tiny_saved: Path) -> None:
    model = untrained(LABELS, StudentSettings(model=str(tiny_saved), threads=1)).model
    last = model.base_model.encoder.layer[-1]
    with first_token_only(model):
        assert model.base_model.encoder.layer[-1] is last


def test_who_keeps_all_of_a_teachers_lesson_answers_by_centroid(settings: StudentSettings) -> None:
    def made(keep: float, rate: float, origin: str = "cover") -> np.ndarray:
        examples = [Example(text, LABELS[i % 2], origin) for i, text in enumerate(TEXTS)]
        chosen = settings.model_copy(update={"keep": keep, "learning_rate": rate})
        return fit(examples, LABELS, chosen, epochs=1, seed=0).predict(TEXTS)

    start, trained = made(0.0, 1e-12), made(0.0, 1e-2)
    assert np.abs(trained - start).max() > 1e-2
    np.testing.assert_allclose(made(1.0, 1e-2), start, atol=1e-5)
    np.testing.assert_array_equal(made(1.0, 1e-2, "gold"), trained)


def test_training_leaves_the_pooling_layer_as_it_is(settings: StudentSettings) -> None:
    before = untrained(LABELS, settings).model.bert.encoder.layer[-1].state_dict()
    examples = [Example(text, LABELS[i % 2]) for i, text in enumerate(TEXTS)]
    after = fit(examples, LABELS, settings, epochs=1, seed=0).model.bert.encoder.layer[-1]
    for name, value in after.state_dict().items():
        assert torch.equal(value, before[name]), name


def test_a_student_that_was_saved_keeps_its_pooling_layer_too(
    settings: StudentSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def pooling(student: Student) -> list[torch.nn.Parameter]:
        bert = student.model.bert
        return [*bert.encoder.layer[-1].parameters(), *bert.pooler.parameters()]

    def seen(model: Any, *rest: Any, **more: Any) -> None:
        layers.append(type(model.bert.encoder.layer[-1]).__name__)
        train(model, *rest, **more)

    examples = [Example(text, LABELS[i % 2]) for i, text in enumerate(TEXTS)]
    fit(examples, LABELS, settings, epochs=1, seed=0).save(tmp_path / "saved")
    loaded = load_student(tmp_path / "saved", threads=1)
    before, layers = [p.clone() for p in pooling(loaded)], list[str]()
    train = shrinking.train
    monkeypatch.setattr(shrinking, "train", seen)
    quick = settings.model_copy(update={"learning_rate": 1e-2, "layers": 1})
    small = shrinking.shrink(loaded, TEXTS, settings=quick, epochs=3, seed=0)
    assert layers == ["_FirstToken"], "trained without the work of the other tokens"
    again = fit(examples, LABELS, quick, epochs=1, seed=0, start=loaded)
    for student in (small, again):
        assert all(map(torch.equal, pooling(student), before))


def test_the_head_starts_at_the_centroids(settings: StudentSettings) -> None:
    student = untrained(["alarm", "music", "unseen"], settings)
    pooled = torch.from_numpy(student.pooled(TEXTS))
    labels = torch.tensor([0, 1, 1, 0])
    start_at_centroids(student.model, pooled, labels)
    logits = student.model.classifier(pooled)
    assert logits[:, 2].abs().max() == 0
    nearest = torch.stack([pooled[labels == i].mean(0) for i in (0, 1)])
    nearest = torch.nn.functional.normalize(nearest, dim=-1)
    assert torch.equal(logits[:, :2].argmax(1), (pooled @ nearest.T).argmax(1))
