"""The student that finds entities, from its sealed folder to spans of a text."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_kinds import ROOM, TYPES, tagged, tagged_examples

from evokd.answers import Span, read_spans
from evokd.errors import InputError
from evokd.finished import scores_served
from evokd.tagging import load_tagger
from serving import layout
from serving.predictor import Entities, Predictor, open_predictor
from serving.spans import tags_of

MIXED = "🎵🎶 play jazz, 天気は rain 👨‍👩‍👧 storm! café\u0301 song\n\n"


@pytest.fixture(scope="module", params=[layout.ONNX, layout.INT8])
def predictor(request: pytest.FixtureRequest, tagger_sealed: Path) -> Predictor[Entities]:
    return open_predictor(tagger_sealed, file=request.param)


def test_it_finds_what_it_was_taught(predictor: Predictor[Entities], tagger_sealed: Path) -> None:
    rows = tagged_examples(60, seed=11)
    scores = scores_served(layout.read_manifest(tagger_sealed), predictor, rows)
    assert scores.micro_f1 > 0.8
    said = predictor.predict([row.text for row in rows])
    found = predictor.outputs([row.text for row in rows])
    for answer, spans in zip(said, found, strict=True):
        assert answer.given == tuple((s.start, s.end, s.label) for s in spans)
        assert [one.score for one in answer.entities] == [s.score for s in spans]


def test_it_says_what_torch_says(tagger_sealed: Path) -> None:
    texts = [row.text for row in tagged_examples(30, seed=12)]
    texts += [MIXED, "rain😀storm, song❤️", "", "\n \t", " ".join(["please", "rain"] * 3 * ROOM)]
    student = load_tagger(tagger_sealed, device="cpu", threads=1)
    served = open_predictor(tagger_sealed, file=layout.ONNX)
    theirs, ours = student.predict(texts), served.outputs(texts)
    assert [[s.span for s in row] for row in theirs] == [[s.span for s in row] for row in ours]
    assert np.allclose(
        [s.score for row in theirs for s in row], [s.score for row in ours for s in row], atol=1e-4
    )


def test_words_that_touch_emoji_are_units(predictor: Predictor[Entities]) -> None:
    text = "play the song❤️, rain😀storm"
    shown = [text[unit.start : unit.end] for unit in predictor.split(text).units]
    assert shown == ["play", "the", "song", "❤️", ",", "rain", "😀", "storm"]


def test_offsets_give_back_the_words(predictor: Predictor[Entities]) -> None:
    (said,) = predictor.predict([MIXED])
    assert [one.text for one in said.entities]
    for one in said.entities:
        assert one.text == MIXED[one.start : one.end]
    assert {"rain", "song"} <= {word for one in said.entities for word in one.text.split()}


@settings(max_examples=60, deadline=None)
@given(st.text(max_size=80) | st.lists(st.sampled_from(MIXED.split()), max_size=90).map(" ".join))
def test_any_text_is_answered(tagger_sealed: Path, text: str) -> None:
    (said,) = open_cached(tagger_sealed).predict([text])
    ends = [0]
    for one in said.entities:
        assert one.text == text[one.start : one.end] == one.text.strip()
        assert one.text
        assert one.start >= ends[-1]
        assert 0 <= one.score <= 1
        assert one.label in TYPES
        ends.append(one.end)
    assert 0 <= said.score <= 1


OPENED: dict[Path, Predictor[Entities]] = {}


def open_cached(folder: Path) -> Predictor[Entities]:
    return OPENED.setdefault(folder, open_predictor(folder))


def test_a_long_text_is_never_cut(predictor: Predictor[Entities]) -> None:
    words = ["please"] * 4 * ROOM
    places = [3, ROOM - 1, 2 * ROOM, 3 * ROOM + 1, 4 * ROOM - 1]
    for place in places:
        words[place] = "rain"
    row = tagged(words)
    (said,) = predictor.predict([row.text])
    assert said.windows > 4
    assert [Span(*one) for one in said.given] == list(read_spans(row.label))
    assert len(said.given) == len(places)


def test_an_answer_never_depends_on_its_neighbours(predictor: Predictor[Entities]) -> None:
    texts = [row.text for row in tagged_examples(20, seed=13)] + [MIXED, ""]
    alone = [predictor.predict([text])[0] for text in texts]
    assert predictor.predict(texts) == alone
    assert predictor.predict(texts[::-1])[::-1] == alone
    rows, said = predictor.judged(texts)
    assert said == alone
    assert rows.tobytes() == predictor.probabilities(texts).tobytes()
    assert rows.shape[1] == len(tags_of(TYPES))
    assert rows.sum(axis=1) == pytest.approx(1, abs=1e-5)


def test_a_text_without_words(predictor: Predictor[Entities]) -> None:
    for text in ("", "  \n"):
        assert predictor.predict([text]) == [Entities((), 1.0, 1)]
    assert predictor.probabilities([""]).shape == (0, len(tags_of(TYPES)))
    assert predictor.outputs([]) == predictor.predict([]) == []


def test_it_is_less_sure_of_a_text_in_which_it_is_less_sure_of_a_word(
    predictor: Predictor[Entities],
) -> None:
    sure, unsure = predictor.predict(["please rain", "please wake table"])  # never seen in training
    assert unsure.score < sure.score


def test_its_manifest_and_card_say_what_it_is(tagger_sealed: Path) -> None:
    manifest = layout.read_manifest(tagger_sealed)
    assert (manifest.kind, manifest.labels, manifest.serve) == ("ner", TYPES, layout.INT8)
    attempt = manifest.gate["tried"][-1]["gate"]
    assert attempt["agreement"] >= 0.99
    assert manifest.gate["parity_max_diff"] <= 1e-4
    card = layout.StudentFiles(tagger_sealed).card.read_text(encoding="utf-8")
    assert "pipeline_tag: token-classification" in card
    assert 'pipeline("token-classification"' in card


def test_other_types_are_refused(tagger_sealed: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(tagger_sealed, tmp_path / "student"))
    manifest = layout.read_manifest(copy)
    layout.write_manifest(copy, replace(manifest, labels={"music": ""}))
    with pytest.raises(InputError, match="5 labels where 3"):
        open_predictor(copy)


def test_whole_words_are_what_the_manifest_says(tagger_sealed: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(tagger_sealed, tmp_path / "student"))
    manifest = layout.read_manifest(copy)
    text = "please rains"  # two tokens of one word, of which the second was never seen
    pieces = {}
    for whole in (True, False):
        layout.write_manifest(copy, replace(manifest, whole_words=whole))
        pieces[whole] = open_predictor(copy).split(text).units
    assert [len(unit.tokens) for unit in pieces[True]] == [1, 2]
    assert [len(unit.tokens) for unit in pieces[False]] == [1, 1, 1]


def test_the_folder_loads_in_transformers(tagger_sealed: Path) -> None:
    from transformers import pipeline

    find = pipeline(
        "token-classification", str(tagger_sealed), device="cpu", aggregation_strategy="simple"
    )
    text = "please rain storm"
    (ours,) = open_predictor(tagger_sealed, file=layout.ONNX).predict([text])
    assert [(one["start"], one["end"], one["entity_group"]) for one in find(text)] == list(
        ours.given
    )
