from __future__ import annotations

import json
from collections import Counter
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from evokd.answers import Span
from evokd.examples import is_unicode
from evokd.replies import (
    FAULTS,
    MAX_TEXT,
    Entities,
    Texts,
    occurrences,
    parse_entities,
    parse_hard_easy,
    parse_labelled,
    parse_list,
    parse_patterns,
    refusals,
)
from evokd.teacher import Written


def reply(text: str, finish: str = "stop") -> Written:
    """Return a reply as the teacher would give it."""
    assert finish in ("stop", "length", "context")
    return Written(text, finish, 0, 0, 0)  # type: ignore[arg-type]


def folded(texts: list[str]) -> list[str]:
    """Return what should come back: white space folded, nothing empty."""
    return [" ".join(t.split()) for t in texts if t.split()]


texts = st.lists(st.text(max_size=30), max_size=5)
junk = st.one_of(
    st.text(max_size=60), st.text('[]{}":,hardesy \\\n-*•', max_size=60), texts.map(json.dumps)
)


@given(junk)
@example("[" * 100_000)
@example('["a"' + "[" * 100_000 + "]" * 100_000 + "]")
@example('{"hard": ' * 20_000 + "}" * 20_000)
@example("[" + "9" * 10_000 + "]")
@example('["\\ud83d"]')
@example('{"hard": [NaN]}')
def test_no_text_breaks_a_parser(text: str) -> None:
    for made in (parse_list(reply(text)), parse_hard_easy(reply(text))):
        assert bool(made.texts) == (made.reject is None)
        assert all(0 < len(t) <= MAX_TEXT and is_unicode(t) for _, t in made.texts)
        assert all(t == " ".join(t.split()) for _, t in made.texts)
    assert all(p and p == p.strip() for p in parse_patterns(reply(text)))


@given(texts, st.booleans())
@example(['say "hi"', "b]ack\\slash}", "two\nlines\tand  spaces", "🎵 שלום"], True)
def test_a_list_gives_back_its_texts(given_texts: list[str], ascii_only: bool) -> None:
    made = parse_list(reply(json.dumps(given_texts, ensure_ascii=ascii_only)))
    good = folded(given_texts)
    empty = len(given_texts) - len(good)
    assert made == (
        Texts(tuple(("cover", t) for t in good), None, ("empty text",) * empty)
        if good
        else Texts(reject="no text")
    )


@given(texts, texts)
def test_hard_and_easy_give_back_their_texts(hard: list[str], easy: list[str]) -> None:
    made = parse_hard_easy(reply(json.dumps({"easy": easy, "hard": hard})))
    pairs = [("hard", t) for t in folded(hard)] + [("easy", t) for t in folded(easy)]
    empty = len(hard) + len(easy) - len(pairs)
    assert made == (
        Texts(tuple(pairs), None, ("empty text",) * empty) if pairs else Texts(reject="no text")
    )


@pytest.mark.parametrize(
    "text",
    [
        '["a", "b"]',
        ' \n["a", "b"]\n ',
        '```json\n["a", "b"]\n```',
        '```\n["a",\n "b"]```',
        'Here are two texts:\n["a", "b"]\nI hope that they help!',
    ],
)
def test_fences_and_words_around_a_list(text: str) -> None:
    assert parse_list(reply(text)).texts == (("cover", "a"), ("cover", "b"))


@pytest.mark.parametrize(
    "text",
    [
        '{"hard": ["a"], "easy": ["b"]}',
        'Sure!\n```json\n{"hard": ["a"], "easy": ["b"]}\n```\nDone.',
    ],
)
def test_fences_and_words_around_hard_and_easy(text: str) -> None:
    assert parse_hard_easy(reply(text)).texts == (("hard", "a"), ("easy", "b"))


def test_one_kind_alone_will_do() -> None:
    assert parse_hard_easy(reply('{"easy": ["b"]}')).texts == (("easy", "b"),)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "no json"),
        ("play some jazz", "no json"),
        ('["a", "b"', "no json"),
        ("] no [", "no json"),
        ('["a", "b",]', "no json"),
        ("['a', 'b']", "no json"),
        ('["a"] and ["b"]', "no json"),
        ('["a", 3]', "wrong shape"),
        ('[["a"]]', "wrong shape"),
        ('[{"text": "a"}]', "wrong shape"),
        ("[null]", "wrong shape"),
        ("[]", "no text"),
        ('["", " \\n"]', "no text"),
        (json.dumps(["x" * (MAX_TEXT + 1)]), "no text"),
        ('["\\ud83d"]', "no text"),
    ],
)
def test_a_list_of_the_wrong_shape(text: str, reason: str) -> None:
    assert parse_list(reply(text)) == Texts(reject=reason)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ('["a"]', "no json"),
        ('{"hard": ["a"], "easy": [', "no json"),
        ("{}", "wrong shape"),
        ('{"hard": "a"}', "wrong shape"),
        ('{"hard": {"1": "a"}}', "wrong shape"),
        ('{"hard": ["a"], "easy": null}', "wrong shape"),
        ('{"hard": ["a"], "medium": ["b"]}', "wrong shape"),
        ('{"Hard": ["a"]}', "wrong shape"),
        ('{"hard": [1]}', "wrong shape"),
        ('{"hard": [], "easy": []}', "no text"),
    ],
)
def test_hard_and_easy_of_the_wrong_shape(text: str, reason: str) -> None:
    assert parse_hard_easy(reply(text)) == Texts(reject=reason)  # type: ignore[arg-type]


def test_a_cut_reply_is_refused_even_when_it_parses() -> None:
    assert parse_list(reply('["a"]', "length")).reject == "cut"
    assert parse_list(reply('["a"]', "context")).reject == "cut"
    assert parse_hard_easy(reply('{"hard": ["a"]}', "length")).reject == "cut"


LONG, FITS = "x" * (MAX_TEXT + 1), "y" * MAX_TEXT


def test_texts_that_cannot_be_used_are_left_out_and_counted() -> None:
    given_texts = [LONG, FITS, "", "\ud83d", " z ", " \n"]
    made = parse_list(reply(json.dumps(given_texts)))
    assert made.texts == (("cover", FITS), ("cover", "z"))
    faults = ("text too long", "empty text", "text not Unicode", "empty text")
    assert made.left_out == refusals(made) == faults
    assert {*faults, "not asked for"} == {*FAULTS}
    both = parse_hard_easy(reply(json.dumps({"hard": given_texts, "easy": ["", "w"]})))
    assert len(both.texts) == 3
    assert both.left_out == (*faults, "empty text")
    items = [{"text": text, "class": "x"} for text in given_texts]
    labelled = parse_labelled(reply(json.dumps({"hard": items})), ["x"])
    assert labelled.texts == (("hard", FITS, "x"), ("hard", "z", "x"))
    assert refusals(labelled) == faults


def test_texts_that_were_not_asked_for_are_left_out_and_counted() -> None:
    said = reply(json.dumps({"hard": ["", "a", "b", "c"], "easy": ["d", "", "e"]}))
    made = parse_hard_easy(said, {"hard": 2, "easy": 0})
    assert made.texts == (("hard", "a"), ("hard", "b"))  # an empty one takes no place
    assert Counter(made.left_out) == {"empty text": 2, "not asked for": 3}
    assert parse_hard_easy(said, {"hard": 3, "easy": 2}) == parse_hard_easy(said)
    assert parse_hard_easy(reply('{"easy": ["a"]}'), {"hard": 2, "easy": 0}).reject == "no text"
    items = [{"text": text, "class": "x"} for text in "ab"]
    labelled = parse_labelled(
        reply(json.dumps({"hard": items, "easy": items})), ["x"], {"hard": 1, "easy": 0}
    )
    assert labelled.texts == (("hard", "a", "x"),)
    assert refusals(labelled) == ("not asked for",) * 3


def test_a_reply_that_is_refused_counts_once() -> None:
    for text in ('["", "", ""]', json.dumps([LONG, ""])):
        assert refusals(parse_list(reply(text))) == ("no text",)
    assert refusals(parse_list(reply('["", "a"]', "length"))) == ("cut",)
    assert refusals(parse_list(reply('["a"]'))) == ()


TEXT = "play the Blue album by Blue, the band"


@pytest.mark.parametrize(
    ("items", "spans"),
    [
        ([], []),
        ([("Blue", "title"), ("Blue", "artist")], [(9, 13, "title"), (23, 27, "artist")]),
        ([("Blue", "artist", 2)], [(23, 27, "artist")]),
        ([("Blue", "artist", 2), ("Blue", "title")], [(9, 13, "title"), (23, 27, "artist")]),
        ([("the  band", "artist")], [(29, 37, "artist")]),
        ([("Blue album", "title"), ("album by", "title")], [(9, 19, "title")]),
    ],
)
def test_entities_are_found_in_the_text(items: list[Any], spans: list[Any]) -> None:
    said = [dict(zip(("text", "type", "nth"), item, strict=False)) for item in items]
    made = parse_entities(reply(json.dumps(said)), TEXT, ["title", "artist"])
    assert (made.spans, made.reject) == (tuple(Span(*span) for span in spans), None)


@pytest.mark.parametrize(
    ("items", "reason"),
    [
        ([{"text": "Blu", "type": "title"}], "not in the text"),
        ([{"text": "", "type": "title"}], "not in the text"),
        ([{"text": "Blue", "type": "title", "nth": 3}], "not in the text"),
        ([{"text": "Blue", "type": "label"}], "unknown type"),
        ([{"text": "Blue", "type": "title", "nth": 0}], "wrong shape"),
        ([{"text": "Blue", "type": "title", "sure": True}], "wrong shape"),
        (["Blue"], "wrong shape"),
        ([{"text": 3, "type": "title"}], "wrong shape"),
    ],
)
def test_refused_entities(items: list[Any], reason: str) -> None:
    made = parse_entities(reply(json.dumps(items)), TEXT, ["title", "artist"])
    assert made == Entities(reject=reason)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "words", "places"),
    [
        ("दिल्ली में", "दिल्ली", [(0, 6)]),
        ("दिल्ली में", "दिल", []),
        ("cafe\u0301s and cafe\u0301", "cafe\u0301", [(11, 16)]),
        ("cafe\u0301", "cafe", []),
        ("می\u200cخواهم", "می", []),
        ("กี่ที่", "กี่", [(0, 3)]),
        ("서울에서 서울까지", "서울", [(0, 2), (5, 7)]),
    ],
)
def test_no_entity_is_a_part_of_a_word(text: str, words: str, places: Any) -> None:
    assert occurrences(text, words) == places


@pytest.mark.parametrize(
    ("text", "words", "place"),
    [
        ("Meet at 5:30 in room 30", "30", 21),
        ("Add 3.5 liters to 5 pots", "5", 18),
        ("d'Orsay museum, call Orsay", "Orsay", 21),
        ("Anna's bag for Anna", "Anna", 0),
        ("Meet at 5:30", "30", 10),
    ],
)
def test_a_part_of_a_number_or_name_is_meant_only_where_there_is_no_other(
    text: str, words: str, place: int
) -> None:
    made = parse_entities(reply(json.dumps([{"text": words, "type": "x"}])), text, ["x"])
    assert made.spans == (Span(place, place + len(words), "x"),)


def test_entities_that_give_way_to_others_are_told() -> None:
    items = [("Blue album", "title"), ("album by", "title"), ("Blue", "title"), ("Blue", "title")]
    said = [{"text": words, "type": kind} for words, kind in items]
    made = parse_entities(reply(json.dumps(said)), TEXT, ["title"])
    # The second Blue is found behind what stands before it, and the first one within the album.
    assert made.spans == (Span(9, 19, "title"), Span(23, 27, "title"))
    assert made.overlaps == (Span(14, 22, "title"), Span(9, 13, "title"))
    twice = [{"text": "band", "type": "artist"}] * 2  # the same one again is no other
    assert parse_entities(reply(json.dumps(twice)), TEXT, ["artist"]).overlaps == ()


@given(
    st.text(st.sampled_from("ab 'é周杰🎵.-\n")).map(str.strip).filter(bool),
    st.lists(
        st.tuples(st.text(st.sampled_from("ab 'é周杰🎵.-"), max_size=4), st.sampled_from("xy"))
    ),
)
def test_entities_of_any_reply_lie_in_the_text_and_give_back_their_words(
    text: str, items: list[tuple[str, str]]
) -> None:
    said = json.dumps([{"text": words, "type": kind} for words, kind in items])
    made = parse_entities(reply(said), text, ["x", "y"])
    words = {" ".join(w.split()) for w, _ in items}
    assert all(" ".join(text[s.start : s.end].split()) in words for s in made.spans)
    assert all(a.end <= b.start for a, b in zip(made.spans, made.spans[1:], strict=False))
    assert not (made.reject and made.spans)


def test_duplicates_are_kept_for_curation_to_count() -> None:
    assert len(parse_list(reply('["a", "a", "A"]')).texts) == 3
    assert len(parse_hard_easy(reply('{"hard": ["a"], "easy": ["a"]}')).texts) == 2


def test_raw_control_characters_stand_inside_strings() -> None:
    assert parse_list(reply('["two\nlines", "a\tb"]')).texts == (
        ("cover", "two lines"),
        ("cover", "a b"),
    )


@pytest.mark.parametrize(
    ("text", "patterns"),
    [
        ("- songs about waking\n- lists", ("songs about waking", "lists")),
        ("It mixes up:\n* songs\n  • lists\n\nThat is all.", ("songs", "lists")),
        ("It takes songs for alarms.\n\nAnd lists.", ("It takes songs for alarms.", "And lists.")),
        ("-\n- -\n", ()),
        ("", ()),
    ],
)
def test_patterns_are_the_lines_after_a_dash(text: str, patterns: tuple[str, ...]) -> None:
    assert parse_patterns(reply(text)) == patterns


@given(st.lists(st.text("abc xyz,.'", min_size=1).filter(str.strip), min_size=1, max_size=4))
def test_well_formed_patterns_come_back(given_patterns: list[str]) -> None:
    made = parse_patterns(reply("\n".join(f"- {p}" for p in given_patterns)))
    assert made == tuple(p.strip() for p in given_patterns)


def test_no_more_texts_are_read_than_may_be() -> None:
    made = parse_list(reply(json.dumps([f"text {n}" for n in range(30)])), 10)
    assert [text for _, text in made.texts] == [f"text {n}" for n in range(10)]
    assert made.left_out == ("not asked for",) * 20
