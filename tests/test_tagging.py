from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from encoders import save_encoder
from tiny_student import FILLER, LABELS, MAX_LENGTH, WORDS
from tokenizers import Tokenizer
from transformers import AutoModelForTokenClassification

from evokd.answers import Span, read_spans, write_spans
from evokd.errors import InputError
from evokd.examples import Example
from evokd.recipe import MIN_TAGGER_STEPS
from evokd.settings import StudentSettings
from evokd.tagging import Tagger, fit, load_tagger, token_losses
from export.onnx import export_onnx
from serving import spans
from serving.windows import frame, joined, windows

TYPES = ["music", "sky"]
OF_TYPE = {"music": WORDS["play_music"], "sky": WORDS["get_weather"]}
ROOM = MAX_LENGTH - 2  # of [CLS] and [SEP]


@pytest.fixture(scope="module")
def settings(tiny_saved: Path) -> StudentSettings:
    return StudentSettings(model=str(tiny_saved), learning_rate=5e-4, device="cpu", threads=1)


@pytest.fixture(scope="module")
def tagger(settings: StudentSettings) -> Tagger:
    return fit(examples(300), TYPES, settings, epochs=12, seed=0)


def example(words: list[str]) -> Example:
    """Return the words as a text in which runs of one type's words are entities."""
    found: list[Span] = []
    at = 0
    for word in words:
        for name in (name for name, own in OF_TYPE.items() if word in own):
            if found and found[-1].label == name and found[-1].end == at - 1:
                found[-1] = Span(found[-1].start, at + len(word), name)
            else:
                found.append(Span(at, at + len(word), name))
        at += len(word) + 1
    return Example(" ".join(words), write_spans(found))


def examples(count: int, *, seed: int = 5, words: int = 8) -> list[Example]:
    rng = random.Random(seed)
    known = [*FILLER, *OF_TYPE["music"], *OF_TYPE["sky"], "😀", ","]
    return [example(rng.choices(known, k=rng.randint(1, words))) for _ in range(count)]


def share_right(tagger: Tagger, rows: list[Example]) -> float:
    found = tagger.predict([row.text for row in rows])
    said = [write_spans(entity.span for entity in entities) for entities in found]
    return float(np.mean([one == row.label for one, row in zip(said, rows, strict=True)]))


def test_fit_learns(tagger: Tagger) -> None:
    assert share_right(tagger, examples(60, seed=9)) > 0.85


def test_found_entities_are_sure_and_give_their_words_back(tagger: Tagger) -> None:
    text = "please, 😀 PLAY\tthe umbrella!"
    first, second = tagger.predict([text])[0]
    assert text[first.start : first.end] == "PLAY"
    assert text[second.start : second.end] == "umbrella"
    assert (first.label, second.label) == ("music", "sky")
    assert 0.5 < first.score <= 1


GLUED = "please play❤️ to me, rain😀umbrella"


def test_entities_that_touch_emoji_are_learnt_and_found_without_them(tagger: Tagger) -> None:
    found = [GLUED[entity.start : entity.end] for entity in tagger.predict([GLUED])[0]]
    assert found == ["play", "rain", "umbrella"]
    text, paris = "I love Paris❤️", Span(7, 12, "sky")
    encoding = tagger.encode([text])[0]
    units = tagger.units(text, encoding)
    tags = spans.write_tags(units, [paris], TYPES, tokens=len(encoding.ids))
    certain = np.where(np.eye(5)[tags] > 0, 0.0, -20.0)
    assert [entity.span for entity in spans.find_spans(certain, units, TYPES)] == [paris]


def test_one_example_a_type_is_enough_to_train_on(settings: StudentSettings) -> None:
    rows = [example(["play", "some", "song"]), example(["can", "you", "rain"])]
    steps: list[tuple[int, int]] = []
    trained = fit(rows, TYPES, settings, epochs=1, seed=0, on_step=lambda *s: steps.append(s))
    assert [done for done, _ in steps] == list(range(1, steps[-1][1] + 1))
    assert steps[-1][1] >= MIN_TAGGER_STEPS
    assert share_right(trained, rows) == 1


def test_the_same_inputs_give_the_same_weights(settings: StudentSettings) -> None:
    def weights(seed: int) -> torch.Tensor:
        trained = fit(examples(16), TYPES, settings, epochs=1, seed=seed)
        return torch.cat([p.detach().flatten() for p in trained.model.parameters()])

    torch.manual_seed(1)
    first, drawn = weights(0), torch.rand(3)
    torch.manual_seed(1)
    assert torch.equal(drawn, torch.rand(3))  # the caller's generator is left alone
    assert torch.equal(first, weights(0))
    assert not torch.equal(first, weights(1))


def test_a_fit_can_go_on_from_a_student(settings: StudentSettings) -> None:
    first = fit(examples(16), TYPES, settings, epochs=1, seed=0)
    before = first.log_probabilities(["play song"])[0]
    again = fit(examples(16), TYPES, settings, epochs=1, seed=1, start=first)
    assert again is first
    assert np.abs(again.log_probabilities(["play song"])[0] - before).max() > 1e-3


def test_a_saved_student_is_a_plain_model_and_answers_the_same(
    tagger: Tagger, tmp_path: Path
) -> None:
    tagger.save(tmp_path / "student")
    plain = AutoModelForTokenClassification.from_pretrained(tmp_path / "student")
    assert plain.config.architectures == ["BertForTokenClassification"]
    assert tuple(plain.config.id2label.values()) == spans.tags_of(TYPES)
    texts = [row.text for row in examples(20, seed=3)] + ["", "play " * 3 * ROOM]
    loaded = load_tagger(tmp_path / "student", device="cpu", threads=1)
    assert loaded.types == tuple(TYPES)
    assert loaded.predict(texts) == tagger.predict(texts)


def test_an_exported_student_finds_the_same_by_the_recipe_of_spans(
    tagger: Tagger, tmp_path: Path
) -> None:
    root = tmp_path / "student"
    tagger.save(root)
    session = onnxruntime.InferenceSession(str(export_onnx(root, opset=17, exporter="torch")))
    tokenizer = Tokenizer.from_file(str(root / "tokenizer.json"))
    framed = tokenizer.encode("a")
    before, behind = frame(framed.ids, framed.special_tokens_mask)

    def read(ids: list[int]) -> np.ndarray:
        row = np.array([[*before, *ids, *behind]])
        values = {"input_ids": row, "attention_mask": row * 0 + 1, "token_type_ids": row * 0}
        (logits,) = session.run(None, {n.name: values[n.name] for n in session.get_inputs()})
        return logits[0, len(before) : len(before) + len(ids)]

    texts = [row.text for row in examples(20, seed=3)] + [GLUED, "", "please song 😀, " * ROOM]
    for text, found in zip(texts, tagger.predict(texts), strict=True):
        encoding = tokenizer.encode(text, add_special_tokens=False)
        parts = windows(len(encoding.ids), ROOM)
        logits = joined(parts, [read(encoding.ids[p.start : p.stop]) for p in parts])
        units = spans.units(text, encoding.offsets, encoding.word_ids)
        served = spans.find_spans(spans.log_softmax(logits), units, TYPES)
        assert [entity.span for entity in served] == [entity.span for entity in found]
        scores = [entity.score for entity in found]
        assert [entity.score for entity in served] == pytest.approx(scores, abs=1e-4)


def test_only_models_with_tags_of_entities_are_loaded(tmp_path: Path) -> None:
    save_encoder(tmp_path / "other", "bert", head="TokenClassification")
    with pytest.raises(InputError, match=f"not O, B-type, I-type, ...: {next(iter(LABELS))}"):
        load_tagger(tmp_path / "other")
    with pytest.raises(InputError):
        load_tagger(tmp_path / "none")


def test_answers_do_not_depend_on_the_other_texts(tagger: Tagger) -> None:
    texts = ["", " ", *(row.text for row in examples(20, seed=3)), "song " * 2 * ROOM]
    together = tagger.log_probabilities(texts)
    for text, rows in zip(texts, together, strict=True):
        alone = tagger.log_probabilities([text])[0]
        assert alone.shape == rows.shape
        assert np.allclose(alone, rows, atol=1e-4)
    assert tagger.predict([]) == []
    assert tagger.predict(["", " \n"]) == [[], []]


def test_a_long_text_is_read_to_its_end(tagger: Tagger) -> None:
    row = example((["please", "play", "the", "rain"] * ROOM)[: 3 * ROOM + 5])
    gold = read_spans(row.label)
    found = [entity.span for entity in tagger.predict([row.text])[0]]
    assert len(set(found) & set(gold)) > 0.9 * len(gold)
    assert found[-1].end > 0.95 * len(row.text)


def test_long_texts_are_learnt_to_their_end_too(settings: StudentSettings) -> None:
    long = [example(["the"] * 2 * ROOM + ["song", "my", "rain"]) for _ in range(4)]
    trained = fit(long, TYPES, settings, epochs=1, seed=0)
    assert share_right(trained, long) == 1


def test_whether_entities_are_whole_words_is_learnt_and_saved(
    settings: StudentSettings, tmp_path: Path
) -> None:
    inside = [Example("abba", write_spans([Span(0, 2, "music")])), example(["please", "rain"])]
    trained = fit(inside, TYPES, settings, epochs=1, seed=0)
    trained.save(tmp_path / "m")
    for one in (trained, load_tagger(tmp_path / "m", device="cpu", threads=1)):
        encoding = one.encode(["playabba rain"])[0]
        assert len(one.units("playabba rain", encoding)) == len(encoding.ids)
    whole = fit([example(["please", "rain"])], TYPES, settings, epochs=1, seed=0)
    assert len(whole.units("playabba rain", encoding)) == 2


def test_what_cannot_be_learnt_is_named(settings: StudentSettings) -> None:
    for rows in ([], [Example(" ", "[]")]):
        with pytest.raises(InputError, match="no examples"):
            fit(rows, TYPES, settings, epochs=1, seed=0)
    with pytest.raises(InputError, match="unknown type 'river'"):
        fit(
            [Example("play", write_spans([Span(0, 4, "river")]))], TYPES, settings, epochs=1, seed=0
        )


@pytest.mark.parametrize("family", ["distilbert", "roberta", "deberta-v3", "modernbert"])
def test_other_encoders_learn_it_too(family: str, tmp_path: Path) -> None:
    root = save_encoder(tmp_path / family, family)
    settings = StudentSettings(model=str(root), learning_rate=5e-4, device="cpu", threads=1)
    rows = examples(24)
    trained = fit(rows, TYPES, settings, epochs=20, seed=0)
    assert share_right(trained, rows) > 0.7
    trained.save(tmp_path / "student")
    assert load_tagger(tmp_path / "student", threads=1).predict(["rain"]) == trained.predict(
        ["rain"]
    )


def test_the_loss_is_the_mean_over_the_tokens_that_are_told() -> None:
    torch.manual_seed(0)
    logits, ignored = torch.randn(2, 4, 3), spans.IGNORED
    goals = torch.tensor([[ignored, 0, 2], [ignored, 1, ignored]])
    told = torch.stack([logits[0, 1], logits[0, 2], logits[1, 1]]).log_softmax(-1)
    smooth = 0.98 * told[range(3), [0, 2, 1]] + 0.02 * told.mean(-1)
    assert token_losses(logits, goals).mean().item() == pytest.approx(-smooth.mean().item())
    assert token_losses(logits, torch.full((2, 6), ignored)).tolist() == [0, 0]
