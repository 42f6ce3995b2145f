from __future__ import annotations

import itertools
import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

from evokd.answers import Span
from evokd.errors import InputError
from serving import spans
from serving.spans import Found, Unit

TYPES = ("artist", "place")
TAGS = spans.tags_of(TYPES)
CORPUS = ["play Björk in Zürich", "東京 is far", "rock'n'roll in St. Louis, Mo.", "ab bab aab c"]


def wordpiece() -> Tokenizer:
    """Return a BERT's tokenizer: lower case, no accents, unknown words and emoji are [UNK]."""
    pieces = ["[UNK]", *"abcdefghijklmnopqrstuvwxyz.,'東", "play", *(f"##{c}" for c in "abcdeork")]
    made = Tokenizer(models.WordPiece({p: i for i, p in enumerate(pieces)}, unk_token="[UNK]"))
    made.normalizer = normalizers.BertNormalizer(lowercase=True)
    made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    return made


def bytes_of_words() -> Tokenizer:
    """Return a byte-level BPE like RoBERTa's: an emoji is several tokens in one place."""
    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    made.train_from_iterator(CORPUS, trainers.BpeTrainer(vocab_size=280, initial_alphabet=alphabet))
    return made


def sentencepiece() -> Tokenizer:
    """Return a unigram model like DeBERTa's: tokens hold the space before them, or it alone."""
    made = Tokenizer(models.Unigram([("<unk>", 0.0), ("▁", -2.0), ("▁p", -3.0), ("la", -3.0)], 0))
    made.pre_tokenizer = pre_tokenizers.Metaspace()
    return made


TOKENIZERS = {
    "wordpiece": wordpiece(),
    "bytes": bytes_of_words(),
    "sentencepiece": sentencepiece(),
}
texts = st.text(
    st.one_of(
        st.sampled_from("abkro play.,'\n東京é\u0301😀\ufe0f\u200d🏽ß\u00ad"),
        st.characters(codec="utf-8"),
    )
)


def units_of(name: str, text: str, *, by_word: bool) -> tuple[list[Unit], int]:
    encoding = TOKENIZERS[name].encode(text, add_special_tokens=False)
    words = encoding.word_ids if by_word else None
    return spans.units(text, encoding.offsets, words), len(encoding.ids)


def certain(tags: list[int]) -> np.ndarray:
    """Return log-probabilities that say exactly these tags."""
    rows = np.full((len(tags), len(TAGS)), -20.0)
    for row, tag in zip(rows, tags, strict=True):
        row[max(tag, 0)] = 0.0
    return rows


def test_tags_are_named_from_types_and_back() -> None:
    assert TAGS == ("O", "B-artist", "I-artist", "B-place", "I-place")
    assert spans.types_of(TAGS) == TYPES
    for other in (["O", "I-artist", "B-artist"], ["B-artist", "I-artist"], ["O", "B-artist"], []):
        with pytest.raises(InputError, match="labels are not O, B-type, I-type"):
            spans.types_of(other)


def test_longer_spans_stay_then_earlier_ones_then_the_first_named() -> None:
    long, inside, before = Span(2, 8, "place"), Span(3, 5, "artist"), Span(0, 3, "artist")
    assert spans.without_overlaps([inside, before, long]) == [long]
    early, late = Span(0, 3, "place"), Span(2, 5, "artist")
    assert spans.without_overlaps([late, early]) == [early]
    twins = [Span(0, 3, "place"), Span(0, 3, "artist")]
    assert spans.without_overlaps(twins) == twins[:1]
    assert spans.without_overlaps([Span(4, 4, "place"), early, Span(3, 5, "artist")]) == [
        early,
        Span(3, 5, "artist"),
    ]


@given(st.lists(st.builds(Span, st.integers(0, 20), st.integers(0, 20), st.sampled_from(TYPES))))
def test_what_is_left_never_overlaps_and_what_is_gone_overlapped(given: list[Span]) -> None:
    kept = spans.without_overlaps(given)
    assert all(one.end <= two.start for one, two in itertools.pairwise(kept))
    for span in given:
        longer = [k for k in kept if k.start < span.end and span.start < k.end]
        assert span.start >= span.end or any(
            k.end - k.start >= span.end - span.start for k in longer
        )
    assert spans.without_overlaps(kept) == kept


@pytest.mark.parametrize(
    ("name", "text", "shown"),
    [
        ("wordpiece", "Play  ABBA 😀😀, 東京!", ["Play", "ABBA", "😀😀", ",", "東", "京", "!"]),
        ("wordpiece", "rock'n'roll", ["rock", "'", "n", "'", "roll"]),
        ("wordpiece", "cafe\u0301 ❤\ufe0f", ["cafe\u0301", "❤\ufe0f"]),
        ("bytes", "in 東😀é", ["in", "東", "😀", "é"]),
        ("sentencepiece", " play la", ["play", "la"]),
        ("wordpiece", " \n", []),
    ],
)
def test_units_are_words_as_the_tokenizer_sees_them(name: str, text: str, shown: list[str]) -> None:
    parts, _ = units_of(name, text, by_word=True)
    assert [text[part.start : part.end] for part in parts] == shown


def test_without_words_a_unit_is_whatever_shares_no_character() -> None:
    parts, tokens = units_of("wordpiece", "abba", by_word=False)
    assert [(part.start, part.end) for part in parts] == [(0, 1), (1, 2), (2, 3), (3, 4)]
    parts, tokens = units_of("bytes", "a😀", by_word=False)
    assert [(part.start, part.end) for part in parts] == [(0, 1), (1, 2)]
    assert tokens == 5


@settings(deadline=None)
@given(st.sampled_from(sorted(TOKENIZERS)), texts, st.booleans())
def test_units_never_overlap_and_never_begin_or_end_in_white_space(
    name: str, text: str, by_word: bool
) -> None:
    parts, tokens = units_of(name, text, by_word=by_word)
    assert all(one.end <= two.start for one, two in itertools.pairwise(parts))
    for part in parts:
        shown = text[part.start : part.end]
        assert shown
        assert shown == shown.strip()
    numbers = [token for part in parts for token in part.tokens]
    assert numbers == sorted(set(numbers))
    assert set(numbers) <= set(range(tokens))


@settings(deadline=None)
@given(st.sampled_from(sorted(TOKENIZERS)), texts, st.booleans(), st.randoms(use_true_random=False))
def test_spans_on_units_survive_the_way_through_tags(
    name: str, text: str, by_word: bool, rng: random.Random
) -> None:
    parts, tokens = units_of(name, text, by_word=by_word)
    cuts = sorted(rng.sample(range(len(parts) + 1), k=min(len(parts) + 1, 6)))
    gold = [
        Span(parts[a].start, parts[b - 1].end, rng.choice(TYPES))
        for a, b in itertools.pairwise(cuts)
        if rng.random() < 0.7
    ]
    tags = spans.write_tags(parts, gold, TYPES, tokens=tokens)
    found = spans.find_spans(certain(tags), parts, TYPES)
    assert [entity.span for entity in found] == gold
    surfaces = [text[entity.start : entity.end] for entity in found]
    assert surfaces == [text[span.start : span.end] for span in gold]


def test_a_span_inside_a_word_takes_the_whole_unit_and_the_longer_one_wins() -> None:
    text = "abba, ab"
    parts, tokens = units_of("wordpiece", text, by_word=True)
    tags = spans.write_tags(parts, [Span(2, 4, "place")], TYPES, tokens=tokens)
    assert [TAGS[tag] for tag in tags] == ["B-place", *["I-place"] * 3, "O", "O", "O"]
    both = [Span(3, 8, "artist"), Span(0, 2, "place")]
    tags = spans.write_tags(parts, both, TYPES, tokens=tokens)
    assert [TAGS[tag] for tag in tags] == ["B-artist", *["I-artist"] * 6]


def test_tokens_of_white_space_alone_are_left_out_of_training() -> None:
    text = " la"
    encoding = TOKENIZERS["sentencepiece"].encode(text, add_special_tokens=False)
    assert encoding.tokens[0] == "▁"
    parts = spans.units(text, encoding.offsets, encoding.word_ids)
    tags = spans.write_tags(parts, [Span(1, 3, "place")], TYPES, tokens=len(encoding.ids))
    assert tags[0] == spans.IGNORED
    assert tags[-1] == TAGS.index("B-place")


def test_an_unknown_type_is_named() -> None:
    with pytest.raises(InputError, match="unknown type 'river'; known types: artist, place"):
        spans.write_tags([], [Span(0, 1, "river")], TYPES, tokens=0)


rows = st.integers(0, 2**32 - 1).flatmap(
    lambda seed: st.integers(1, 7).map(
        lambda n: spans.log_softmax(3 * np.random.default_rng(seed).normal(size=(n, len(TAGS))))
    )
)


def legal(tags: tuple[int, ...]) -> bool:
    inside = [(one, two) for one, two in zip((0, *tags), tags, strict=False) if two and not two % 2]
    return all(one in (two - 1, two) for one, two in inside)


@settings(deadline=None, max_examples=60)
@given(rows)
def test_the_tags_are_the_best_of_all_legal_ones(scores: np.ndarray) -> None:
    scores = scores[:5]
    path = tuple(spans.best_tags(scores).tolist())
    assert legal(path)
    every = filter(legal, itertools.product(range(len(TAGS)), repeat=len(scores)))
    best = max(scores[range(len(scores)), list(tags)].sum() for tags in every)
    assert scores[range(len(scores)), list(path)].sum() == pytest.approx(best)


@settings(deadline=None)
@given(st.sampled_from(sorted(TOKENIZERS)), texts, st.booleans(), st.integers(0, 2**32 - 1))
def test_whatever_a_model_says_spans_are_whole_units_and_never_overlap(
    name: str, text: str, by_word: bool, seed: int
) -> None:
    parts, tokens = units_of(name, text, by_word=by_word)
    said = spans.log_softmax(4 * np.random.default_rng(seed).normal(size=(tokens, len(TAGS))))
    found = spans.find_spans(said, parts, TYPES)
    assert found == spans.without_overlaps(found)
    for entity in found:
        assert entity.start in {part.start for part in parts}
        assert entity.end in {part.end for part in parts}
        assert text[entity.start : entity.end].strip()
        assert 0 < entity.score <= 1
        assert entity.label in TYPES


def test_certain_nonsense_still_gives_no_illegal_sequence() -> None:
    rows = np.full((3, len(TAGS)), -np.inf)
    rows[:, TAGS.index("I-place")] = 0.0
    parts = [Unit((i,), i, i + 1) for i in range(3)]
    with np.errstate(invalid="raise"):
        tags = tuple(spans.best_tags(rows).tolist())
    assert legal(tags)
    assert all(np.isfinite(f.score) for f in spans.find_spans(rows, parts, TYPES))


def test_the_score_is_that_of_the_least_sure_token() -> None:
    rows = np.log(np.array([[0.1, 0.8, 0.1], [0.05, 0.05, 0.9], [0.3, 0.1, 0.6], [0.8, 0.1, 0.1]]))
    parts = [Unit((0, 1), 0, 2), Unit((2,), 3, 4), Unit((3,), 5, 6)]
    (found,) = spans.find_spans(rows, parts, ("place",))
    assert found == Found(0, 4, "place", found.score)
    assert found.score == pytest.approx(0.6)
    assert found.span == Span(0, 4, "place")


def test_an_empty_text_has_no_entities() -> None:
    assert spans.find_spans(np.empty((0, 0)), [], TYPES) == []


@given(rows, st.floats(0.5, 5))
def test_log_softmax_is_of_probabilities(logits: np.ndarray, temperature: float) -> None:
    said = np.exp(spans.log_softmax(logits.astype(np.float32), temperature))
    assert said.sum(-1) == pytest.approx(np.ones(len(said)))
    assert np.array_equal(said.argmax(-1), logits.astype(np.float32).argmax(-1))
