"""The grammars of labelled texts and of attributes."""

from __future__ import annotations

import json
from random import Random

import pytest
from test_grammar import Speller, speller, teacher

from evokd.replies import parse_attributes, parse_labelled
from evokd.teacher import Written, grammar

__all__ = ["speller", "teacher"]  # fixtures


def said(text: str) -> Written:
    return Written(text, "stop", 0, 0, 0)


def test_a_labelled_reply_has_known_labels_alone(speller: Speller) -> None:
    gbnf = grammar.labelled(2, 1, ["play", 'a "b"'])
    hard = [{"text": "one", "class": "play"}, {"text": "two", "class": 'a "b"'}]
    assert speller.follows(gbnf, json.dumps({"hard": hard, "easy": hard[:1]}))
    assert not speller.follows(gbnf, json.dumps({"hard": hard, "easy": hard}))
    assert not speller.follows(gbnf, json.dumps({"hard": hard, "easy": []}))
    other = [{"text": "one", "class": "player"}]
    assert not speller.follows(gbnf, json.dumps({"hard": other, "easy": hard[:1]}))
    none = grammar.labelled(1, 0, ["play"])
    assert speller.follows(none, json.dumps({"hard": hard[:1], "easy": []}))


@pytest.mark.parametrize("seed", range(5))
def test_what_the_grammars_allow_is_read(speller: Speller, seed: int) -> None:
    labelled = speller.walk(grammar.labelled(2, 2, ["x", "xy"]), Random(seed))
    read = parse_labelled(said(labelled), ["x", "xy"])
    assert read.reject in (None, "no text")
    attributes = parse_attributes(said(speller.walk(grammar.attributes(3), Random(seed))))
    assert attributes.reject in (None, "no text")
