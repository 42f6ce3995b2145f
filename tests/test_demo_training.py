"""What the embedded teacher may read, and how its texts are made to look typed."""

from __future__ import annotations

import json
import random
from importlib import resources
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_corpus import WORDS, labels_of, made_up_corpus, made_up_rows

from evokd import prompts
from evokd.answers import Span
from evokd.demo.training import corpus, noise, tagged, train
from evokd.demo.training.corpus import held_out, near_any
from evokd.examples import jaccard, trigrams


def test_halves_are_stable_and_of_like_size() -> None:
    halves = [corpus.half(f"text number {n}") for n in range(4000)]
    assert set(halves) == {"A", "B"}
    assert 1850 < halves.count("A") < 2150
    assert [corpus.half(t) for t in ("play jazz", "wake me", "pizza", "rain?")] == list("BBAB")


@given(st.text(max_size=30))
def test_a_half_looks_at_what_is_compared(text: str) -> None:
    assert corpus.half(text) == corpus.half(corpus.plain(text)) == corpus.half(f" {text}!")


def test_one_label_in_five_is_held_out() -> None:
    for source in ("clinc150", "massive_en"):
        labels = labels_of(source)
        hidden = held_out(source, labels)
        assert len(hidden) == len(labels) // 5
        assert hidden < set(labels)
        assert held_out(source, labels[::-1]) == hidden


def test_all_of_banking77_and_none_of_snips_is_held_out() -> None:
    assert held_out("banking77", ["b", "a"]) == {"a", "b"}
    assert held_out("snips_raw", ["b", "a"]) == frozenset()


def test_held_out_labels_are_never_drawn() -> None:
    of_set = {source: held_out(source, labels_of(source)) for source in corpus.SETS}
    hidden = {row.text for row in made_up_rows() if row.label in of_set[row.source]}
    drawn = {
        t for _, _, labels in made_up_corpus().inventories for label in labels for t in label.texts
    }
    assert drawn
    assert not drawn & hidden
    assert drawn <= {
        row.text for row in made_up_rows() if row.half == "A" and row.source in corpus.TRAINED
    }


def test_concepts_refuse_a_held_out_label(monkeypatch: pytest.MonkeyPatch) -> None:
    hidden = min(held_out("clinc150", labels_of("clinc150")))
    concept = {"names": ["x"], "definitions": ["y"], "members": {"clinc150": [hidden]}}
    real = corpus.resource

    def resource(name: str) -> dict[str, object]:
        return {"labels": {"bad": concept}} if name == "concepts.json" else real(name)

    monkeypatch.setattr(corpus, "resource", resource)
    with pytest.raises(ValueError, match=hidden):
        corpus.concept_labels(made_up_rows(), part="A")


def test_labels_of_few_texts_are_left_out() -> None:
    few = [row for row in made_up_rows() if row.label != "PlayMusic"]
    few += [row for row in made_up_rows() if row.label == "PlayMusic" and row.half == "A"][:7]
    made = corpus.fine_labels(few, part="A", unseen=False)["snips_raw"]
    assert "PlayMusic" not in made
    assert len(made) == 6


near = st.text("abc A!", max_size=8)


@given(st.lists(near, min_size=1, max_size=6), st.lists(near, min_size=1, max_size=6))
def test_near_is_exact(texts: list[str], guarded: list[str]) -> None:
    expected = [
        any(jaccard(trigrams(text), trigrams(g)) >= corpus.NEAR for g in guarded) for text in texts
    ]
    assert near_any(texts, guarded) == expected


def test_near_counts_more_texts_than_one_block() -> None:
    texts = [f"number {n} of the texts" for n in range(1201)]
    assert near_any(texts, ["NUMBER 1200, of the texts!"])[-1]
    assert not any(near_any(texts, ["something else entirely"]))


def test_what_is_guarded_or_double_is_not_read(tmp_path: Path) -> None:
    labels = {"snips_raw": "PlayMusic", "clinc150": "timer", "massive_en": "alarm_set",
              "banking77": "Refund_not_showing_up"}  # fmt: skip
    for source, label in labels.items():
        folder = tmp_path / source
        folder.mkdir()
        train = [
            "olly play jazz",
            "Play jazz!",
            "what a long unheard of sentence",
            "Crank up Thunderstruck!",
        ]
        text = "".join(json.dumps({"text": t, "label": label}) + "\n" for t in train)
        (folder / "train.jsonl").write_text(text)
    (tmp_path / "banking77" / "test.jsonl").write_text(
        json.dumps({"text": "What a long, unheard-of sentence", "label": "x"}) + "\n"
    )
    kept, removed = corpus.read_rows(tmp_path)
    assert [(row.source, row.text) for row in kept] == [(s, "play jazz") for s in corpus.SETS]
    assert removed == 3 * len(labels)


spoken = st.one_of(
    st.text(max_size=40),
    st.lists(st.sampled_from([*WORDS.split(), "7", "Monday", "?!"])).map(" ".join),
).filter(corpus.plain)


@given(spoken, st.randoms(use_true_random=False), st.booleans())
def test_noise_leaves_something_to_read(text: str, rng: random.Random, strong: bool) -> None:
    assert corpus.plain(noise.disturb(text, rng, strong=strong))
    assert corpus.plain(noise.vary(text, rng))
    assert all(corpus.plain(noise.typo(word, rng)) for word in text.split() if corpus.plain(word))


@given(spoken, st.sampled_from(prompts.STYLES), st.randoms(use_true_random=False))
def test_a_style_is_one_of_the_products(text: str, style: str, rng: random.Random) -> None:
    assert noise.style_of(text) in prompts.STYLES
    made = noise.styled(text, style, rng)
    assert made == "" or corpus.plain(made)
    assert noise.styled(text, noise.style_of(text), rng) == text


def test_a_style_can_be_seen() -> None:
    rng = random.Random(0)
    assert noise.style_of("play jazz") == "short"
    assert noise.style_of("will it rain in Oslo tomorrow") == "phrased as a question"
    assert noise.style_of("could you wake me at seven") == "polite"
    assert noise.styled("put a meeting in my calendar", "polite", rng) != ""
    assert noise.styled("play jazz", "long and detailed", rng) == ""


def test_entities_are_cut_where_their_tokens_stand() -> None:
    tokens = ["Fly", "to", "New", "York", ",", "NY", "."]
    tags = ["O", "O", "B-city", "I-city", "O", "B-state", "O"]
    pieces = tagged.cut(tokens, tags, "Fly to  New York, NY.")
    assert pieces == (
        ("Fly to ", ""), ("New York", "city"), (", ", ""), ("NY", "state"), (".", ""),
    )  # fmt: skip
    again = tagged.cut(tokens, tags, None)
    assert [p for p in again if p[1]] == [p for p in pieces if p[1]]


def test_neighbours_of_one_type_stay_two() -> None:
    text, spans = tagged.spans_of(tagged.cut(["Rome", "Oslo"], ["B-c", "B-c"], "Rome Oslo"))
    assert [(text[s.start : s.end], s.label) for s in spans] == [("Rome", "c"), ("Oslo", "c")]


def test_joined_tokens_keep_their_order_and_letters() -> None:
    both = set()
    for n in range(20):
        tokens = [f"w{n}", "does", "n't", "(", "really", ")", "go", "."]
        made = tagged.join(tokens)
        assert made.replace(" ", "") == "".join(tokens)
        both.add(made.removeprefix(f"w{n} "))
    assert both == {"does n't ( really ) go .", "doesn't (really) go."}


some_pieces = st.lists(
    st.tuples(st.sampled_from(["play ", "the Beatles", " , ", "at 7", "  in", "my Gym."]),
              st.sampled_from(["", "", "x", "y"])), min_size=1, max_size=6
).map(tuple)  # fmt: skip


@given(some_pieces, st.randoms(use_true_random=False), st.booleans())
def test_changed_pieces_keep_their_entities(
    pieces: tagged.Pieces, rng: random.Random, strong: bool
) -> None:
    for made in (
        tagged.folded(pieces),
        tagged.typed(pieces, rng, strong=strong),
        tagged.varied(pieces, rng),
    ):
        text, spans = tagged.spans_of(made)
        assert text == " ".join(text.split())
        assert tagged.pieces_of(text, spans) == tuple(
            (w, x) for w, x in tagged.shown(made, {"x": "x", "y": "y"})
        )
        for span in spans:
            words = text[span.start : span.end]
            assert words
            assert words == words.strip()
        labels = [label for _, label in pieces if label]
        assert [s.label for s in spans] == labels


def test_types_are_trimmed_and_joined_as_they_say() -> None:
    time = tagged.Type((), (), frozenset(), trim="(in|the) +")
    people = tagged.Type((), (), frozenset(), join=" people")
    text = "for 5 people in the morning"
    spans = [Span(4, 5, "people"), Span(13, 27, "time")]
    made = tagged.fitted(spans, text, {"time": time, "people": people})
    assert [text[s.start : s.end] for s in made] == ["5 people", "morning"]
    assert tagged.fitted([], text, {}) == []


def test_a_demo_task_with_entities_can_be_drawn() -> None:
    about: dict[str, Any] = corpus.resource("entities.json")
    names = {t.names[0] for t in tagged.inventories()["snips_raw"]}
    assert set(about["snips_raw"]["demo"]) <= names
    for types in (*tagged.inventories().values(), *tagged.inventories("fine").values()):
        members = [member for kind in types for member in kind.members]
        assert len(members) == len(set(members))
        assert all(kind.names and kind.definitions for kind in types)


def test_guarded_and_double_texts_with_entities_are_not_read(tmp_path: Path) -> None:
    for source in tagged.SETS:
        folder = tmp_path / source
        folder.mkdir()
        rows = [
            {"tokens": tokens.split(), "tags": ["O"] * (len(tokens.split()) - 1) + ["B-x"]}
            for tokens in ("Fly me to Rome", "fly me to rome", "Nobody has ever been to Oz")
        ]
        (folder / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    guarded = {"tokens": ["Nobody", "has", "ever", "been", "to", "Oz", "!"]}
    (tmp_path / "wnut17" / "test.jsonl").write_text(json.dumps(guarded) + "\n")
    kept, removed = tagged.read_tagged(tmp_path)
    assert [(row.source, row.types) for row in kept] == [(s, {"x"}) for s in tagged.SETS]
    assert {corpus.plain(row.text) for row in kept} == {"fly me to rome"}
    assert removed == 6


def test_texts_of_the_demo_are_guarded(tmp_path: Path) -> None:
    guarded = list(corpus.guarded_texts(tmp_path))
    demo = json.loads(
        resources.files("evokd.demo").joinpath("seed.jsonl").read_text().split("\n")[0]
    )
    assert demo["text"] in guarded


def test_learning_rates_rise_stay_and_fall_to_nothing() -> None:
    assert train.schedule(0, 0.0) == 1 / train.WARM
    assert train.schedule(1000, 0.4) == 1.0
    assert train.schedule(1000, 1 - 0.4 / 2) == pytest.approx(0.5)
    assert train.schedule(1000, 1.0) == 0.0
    assert train.schedule(1000, 1.2) == 0.0
