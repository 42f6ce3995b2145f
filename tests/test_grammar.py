from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from random import Random

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from tiny_gguf import write_gguf
from tiny_teacher import opened

from evokd.pieces import pieces
from evokd.prompts import ask_entities
from evokd.replies import Texts, occurrences, parse_entities, parse_hard_easy, parse_list
from evokd.teacher import Generate, Message, Written, grammar
from evokd.teacher.llamacpp import LlamaCppTeacher
from evokd.teacher.sampling import Structure
from evokd.teacher.vocabulary import Vocabulary

HOSTILE = ('say "hi"', "back\\slash", "a\nb", "tab\there", "🎵 music", "שלום", "‮rtl", "a]b[^-", "")
NAMES = ["play", "play music", "playlist", "<s>", "<|im_end|>", *HOSTILE]
letters = st.characters(exclude_characters="\0", exclude_categories=("Cs",))
names = st.lists(st.text(letters, max_size=12) | st.sampled_from(NAMES), min_size=1, max_size=12)
slow_data = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)


@dataclass(frozen=True)
class Speller:
    """Follows grammars by the tokens of a model whose tokens are bytes."""

    vocabulary: Vocabulary

    def follows(self, gbnf: str, text: str) -> bool:
        """Return whether the text is a whole reply."""
        structure = Structure(gbnf, self.vocabulary)
        try:
            for token in self.vocabulary.reply_tokens(text):
                if not structure.allows(token):
                    return False
                structure.accept(token)
            assert self.vocabulary.end is not None
            return structure.allows(self.vocabulary.end)
        finally:
            structure.close()

    def walk(self, gbnf: str, chance: Random) -> str:
        """Return a reply made of tokens that the grammar allows, with a bent for JSON's own."""
        own = set(map(self.vocabulary.reply_tokens('",:]}\\').__getitem__, range(6)))
        logits = np.zeros(self.vocabulary.size, np.float32)
        structure, reply = Structure(gbnf, self.vocabulary), []
        try:
            while True:
                found = structure.fitting(np.arange(len(logits)), logits)["id"].tolist()
                assert found, "a dead end"
                token = chance.choice(found)
                if chance.random() < 0.3:
                    token = next((t for t in found if t in own), token)
                structure.accept(token)
                if self.vocabulary.ends(token):
                    return self.vocabulary.text(reply)
                reply.append(token)
        finally:
            structure.close()


@pytest.fixture(scope="module")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LlamaCppTeacher]:
    with opened(write_gguf(tmp_path_factory.mktemp("teacher") / "tiny.gguf")) as teacher:
        yield teacher


@pytest.fixture(scope="module")
def speller(teacher: LlamaCppTeacher) -> Speller:
    return Speller(teacher._open().vocabulary)


# -- one of some texts ------------------------------------------------------------------------


@slow_data
@given(names, st.text(letters, max_size=12))
@example([*HOSTILE], "say")
@example(["a" * n for n in range(1, 100)], "a" * 100)
def test_a_choice_takes_its_options_and_no_other_text(
    speller: Speller, options: list[str], other: str
) -> None:
    gbnf = grammar.choice(options)
    assert all(speller.follows(gbnf, option) for option in options)
    assert speller.follows(gbnf, other) == (other in options)
    assert speller.follows(gbnf, options[0] + other) == (options[0] + other in options)


@settings(slow_data, max_examples=25)
@given(names, st.integers(0, 100), st.sampled_from([0.0, 1.0, 2.0]))
@example(["<s>", "<|im_start|>"], 0, 1.0)
def test_a_model_writes_one_of_the_options(
    teacher: LlamaCppTeacher, options: list[str], seed: int, temperature: float
) -> None:
    most = max(len(option.encode()) for option in options) + 1
    asked = (Message("user", "Which?"),)
    request = Generate(
        asked,
        seed=seed,
        temperature=temperature,
        max_tokens=most,
        grammar=grammar.choice(options),
    )
    [reply] = teacher.generate([request])
    assert reply.finish == "stop"
    assert reply.text in options


texts = st.text(letters, max_size=40).filter(lambda text: any(not c.isspace() for c in text))


@slow_data
@given(texts, st.data())
@example("add 周杰伦的歌 to my Rock & Roll list, the rock 🎸 list at 9:30", None)
@example("from Rome to rome now", None)
@example("दिल्ली cafe\u0301s, 👩\u200d🚀, cafe\u0301s", None)
def test_entities_are_copied_from_the_text(
    speller: Speller, text: str, data: st.DataObject | None
) -> None:
    gbnf = grammar.spans_of(text, ["a", 'b"c'], 3)
    parts = pieces(text.strip())
    solid = [i for i, p in enumerate(parts) if not p.isspace()]
    first = data.draw(st.sampled_from(solid)) if data else solid[1]
    last = data.draw(st.sampled_from([i for i in solid if i >= first])) if data else solid[4]
    words = "".join(" " if p.isspace() else p for p in parts[first : last + 1])
    item = {"text": words, "type": 'b"c'}
    assert speller.follows(gbnf, json.dumps([item], ensure_ascii=False))
    counted = json.dumps([item | {"nth": 2}, item], ensure_ascii=False)
    # Where the prompt speaks of "nth", and nowhere else.
    [asked] = ask_entities("d", {"a": ""}, text)
    assert speller.follows(gbnf, counted) == ('"nth"' in asked.content)
    assert speller.follows(gbnf, "[]")
    assert not speller.follows(gbnf, json.dumps([{"text": words + "§no", "type": "a"}]))
    assert not speller.follows(gbnf, json.dumps([item] * 4, ensure_ascii=False))
    assert parse_entities(Written(json.dumps([item]), "stop", 0, 0, 0), text, ["a", 'b"c']).spans


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("내일 서울에서 부산까지 가는 기차", "부산"),
        ("ｶﾞｽを止めて", "ｶﾞｽ"),
        ("𠮷野家まで", "𠮷野家"),
    ],
)
def test_a_name_with_a_particle_behind_it_can_be_copied(
    speller: Speller, text: str, words: str
) -> None:
    said = json.dumps([{"text": words, "type": "a"}], ensure_ascii=False)
    assert speller.follows(grammar.spans_of(text, ["a"], 3), said)
    [span] = parse_entities(Written(said, "stop", 0, 0, 0), text, ["a"]).spans
    assert text[span.start : span.end] == words


@pytest.mark.parametrize(
    ("text", "words", "nth", "at"),
    [
        ("May I come in May?", "May", 2, 14),
        ("Paris, or Paris", "Paris", 2, 10),
        ("去东京还是东京", "东京", 2, 5),
        ("no " * 12 + "Rome", "no", 12, 33),
    ],
)
def test_each_of_equal_words_can_be_meant(
    speller: Speller, text: str, words: str, nth: int, at: int
) -> None:
    said = json.dumps([{"text": words, "type": "a", "nth": nth}], ensure_ascii=False)
    assert speller.follows(grammar.spans_of(text, ["a"], 3), said)
    [span] = parse_entities(Written(said, "stop", 0, 0, 0), text, ["a"]).spans
    assert (span.start, text[span.start : span.end]) == (at, words)


def test_a_model_copies_entities_from_the_text(teacher: LlamaCppTeacher) -> None:
    text = "play Blue by Joni at six 🎵"
    asked = [
        Generate(
            (Message("user", "?"),),
            seed=i,
            temperature=1.5,
            max_tokens=300,
            grammar=grammar.spans_of(text, ["artist", "title"], 3),
        )
        for i in range(12)
    ]
    parsed = [parse_entities(w, text, ["artist", "title"]) for w in teacher.generate(asked)]
    assert {p.reject for p in parsed} <= {None, "cut", "not in the text"}  # "six" thrice, say
    assert any(p.spans for p in parsed)


def test_five_hundred_options(teacher: LlamaCppTeacher, speller: Speller) -> None:
    options = [f"{NAMES[i % 3]} {i * 7919 % 1000:03d} 🎵" for i in range(500)]
    gbnf = grammar.choice(options)
    asked = [Generate((Message("user", "?"),), seed=i, grammar=gbnf) for i in range(8)]
    assert {w.text for w in teacher.generate(asked)} <= {*options}
    assert all(speller.follows(gbnf, option) for option in options[::50])


@pytest.mark.parametrize("options", [[], ["a\0b"], ["\ud83d"]])
def test_what_no_choice_can_hold(options: list[str]) -> None:
    with pytest.raises(ValueError, match=r"option|hold"):
        grammar.choice(options)


# -- JSON -------------------------------------------------------------------------------------

printed = st.text(st.characters(exclude_categories=("Cs", "Cc")), min_size=1, max_size=20)
whole = printed.filter(lambda text: text[0] not in " ,")


def as_reply(text: str) -> Written:
    return Written(text, "stop", 0, 0, 0)


@slow_data
@given(st.lists(whole, min_size=1, max_size=6), st.booleans(), st.sampled_from([None, 0, 2]))
@example(['say "hi"', "back\\slash", "🎵", "שלום"], True, None)
def test_a_list_that_a_model_may_write_is_taken(
    speller: Speller, texts: list[str], ascii_only: bool, indent: int | None
) -> None:
    text = json.dumps(texts, ensure_ascii=ascii_only, indent=indent)
    assert speller.follows(grammar.texts(6), text)
    assert speller.follows(grammar.texts(len(texts)), text)
    assert not speller.follows(grammar.texts(len(texts) + 1), text[:-1])
    if len(texts) > 1:
        assert not speller.follows(grammar.texts(len(texts) - 1), text)


@slow_data
@given(st.lists(whole, min_size=1, max_size=4), st.lists(whole, min_size=1, max_size=2))
def test_hard_and_easy_texts_are_taken(speller: Speller, hard: list[str], easy: list[str]) -> None:
    text = json.dumps({"hard": hard, "easy": easy}, ensure_ascii=False)
    assert speller.follows(grammar.hard_easy(4, 2), text)
    assert parse_hard_easy(as_reply(text)).reject in (None, "no text")


@pytest.mark.parametrize(
    "text",
    [
        "", "[]", '[""]', '[" a"]', '["a", ", "]',
        '["a",]', '["a"', '["a"] ', '["a"]]', 'Sure: ["a"]', '```["a"]```',
        '["a\nb"]', '["a\tb"]', '["a\x7f"]', '["a\x85"]', "['a']", "[1]", "[null]", '[["a"]]',
        '["\\x"]', '["\\u12"]', '["\\ud83d"]', '["\\ud83d\\u0041"]', '["\\udd00"]',
        '["a"  ,"b"]', '[\n\n"a"]',
    ],
)  # fmt: skip
def test_what_is_no_list_is_refused(speller: Speller, text: str) -> None:
    assert not speller.follows(grammar.texts(3), text)


@pytest.mark.parametrize(
    "text",
    ['{"hard": ["a"]}', '{"easy": ["a"], "hard": ["b"]}', '{"hard": [], "easy": ["b"]}', "{}"],
)
def test_what_is_not_hard_and_easy_is_refused(speller: Speller, text: str) -> None:
    assert not speller.follows(grammar.hard_easy(2, 2), text)


def test_none_asked_for_is_an_empty_list(speller: Speller) -> None:
    assert speller.follows(grammar.hard_easy(1, 0), '{"hard": ["a"], "easy": []}')
    assert not speller.follows(grammar.hard_easy(1, 0), '{"hard": ["a"], "easy": ["b"]}')


def parsed_list(text: str) -> Texts:
    return parse_list(as_reply(text))


def parsed_pair(text: str) -> Texts:
    return parse_hard_easy(as_reply(text))


@settings(slow_data, max_examples=60)
@given(st.integers(0, 10**9))
@pytest.mark.parametrize(
    ("gbnf", "parse"),
    [(grammar.texts(3), parsed_list), (grammar.hard_easy(2, 1), parsed_pair)],
)
def test_whatever_the_grammar_lets_pass_is_parsed(
    speller: Speller, gbnf: str, parse: Callable[[str], Texts], seed: int
) -> None:
    text = speller.walk(gbnf, Random(seed))
    json.loads(text)
    assert parse(text).reject in (None, "no text")  # blanks only


@settings(slow_data, max_examples=60)
@given(st.integers(0, 10**9))
def test_whatever_spans_pass_have_a_text_and_a_known_type(speller: Speller, seed: int) -> None:
    text = "play Blue, or Joni's Blue 🎵"
    spans = json.loads(speller.walk(grammar.spans_of(text, NAMES, 3), Random(seed)))
    assert len(spans) <= 3
    for span in spans:
        assert [*span][:2] == ["text", "type"]
        assert span["type"] in NAMES
        assert occurrences(text, span["text"])
    assert not speller.follows(
        grammar.spans_of(text, NAMES, 3), json.dumps([{"text": "Blue", "type": "other"}])
    )


@pytest.mark.parametrize("most", [grammar.MOST, grammar.MOST + 1])
def test_many_texts_may_be_asked_for(speller: Speller, most: int) -> None:
    assert speller.follows(grammar.texts(most), '["a", "b"]')
    assert speller.follows(grammar.hard_easy(most, most), '{"hard": ["a"], "easy": ["b"]}')
    assert speller.follows(grammar.spans_of("a", ["x"], most), '[{"text": "a", "type": "x"}]')
