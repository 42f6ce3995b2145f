"""What a reply may look like, as a GBNF for llama.cpp: one of some texts, or JSON of one shape.

Pure functions. All grammars but that of `spans_of` are deterministic (at most one way to go on from
any letter), so that following them costs the same at any length; a word that a text has more than
once, `spans_of` follows at all its places, until what comes next tells them apart. JSON strings
hold any text but raw control characters, with JSON's escapes; none is empty or begins with a blank
or a comma, or else a quote too many would make texts of what stands between texts. Blanks between
the parts are bounded; how long a string grows is the business of `Generate.max_tokens`.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from itertools import groupby
from os.path import commonprefix

from evokd.pieces import pieces, says_twice

MOST = 1000  # repetitions that llama.cpp counts, with others around them
BLANK = r'blank ::= " "? | "\n" [ \t]{0,8}'
STRING = r"""
string ::= "\"" first letter* "\""
first ::= [!#-+\--\[\]-~\u00A0-\uD7FF\uE000-\U0010FFFF] | escape
letter ::= [ !#-\[\]-~\u00A0-\uD7FF\uE000-\U0010FFFF] | escape
escape ::= "\\" (["\\/bfnrt] | "u" code)
code ::= [0-9A-CE-Fa-ce-f] hex hex hex | [Dd] ([0-7] hex hex | pair)
pair ::= [89ABab] hex hex "\\u" [Dd] [C-Fc-f] hex hex
hex ::= [0-9A-Fa-f]
""".strip()


def choice(options: Sequence[str]) -> str:
    """Return the grammar of a reply that is exactly one of the options.

    Raises:
        ValueError: without options, or with one that holds U+0000 or half a character.
    """
    return _choice("root", options)


def texts(most: int) -> str:
    """Return the grammar of a JSON list of 1 to `most` strings."""
    return "\n".join([f"root ::= {_list('string', 1, most)}", BLANK, STRING])


def hard_easy(hard: int, easy: int) -> str:
    """Return the grammar of {"hard": [...], "easy": [...]}, with 1 to so many strings each.

    A list of which none are asked for is empty.
    """
    parts = [("hard", hard), ("easy", easy)]
    members = [f'"\\"{key}\\":" blank {_list("string", min(n, 1), n)}' for key, n in parts]
    root = f"root ::= {_object(members)}"
    return "\n".join([root, BLANK, STRING])


def labelled(hard: int, easy: int, labels: Sequence[str]) -> str:
    """Return the grammar of `hard_easy` whose items are {"text": ..., "class": one of the labels}.

    Raises:
        ValueError: without labels, or with one that holds half a character.
    """
    named = [json.dumps(label, ensure_ascii=False) for label in labels]
    item = _object(['"\\"text\\":" blank string', '"\\"class\\":" blank class'])
    parts = [("hard", hard), ("easy", easy)]
    members = [f'"\\"{key}\\":" blank {_list("item", min(n, 1), n)}' for key, n in parts]
    rules = [f"root ::= {_object(members)}", f"item ::= {item}", _choice("class", named)]
    return "\n".join([*rules, BLANK, STRING])


def attributes(most: int) -> str:
    """Return the grammar of topics, styles and speakers: an object of lists of 1 to `most`."""
    keys = ("topics", "styles", "speakers")
    members = [f'"\\"{key}\\":" blank {_list("string", 1, most)}' for key in keys]
    return "\n".join([f"root ::= {_object(members)}", BLANK, STRING])


def spans_of(text: str, types: Sequence[str], most: int) -> str:
    """Return the grammar of 0 to `most` entities whose words are copied from the text.

    Each is {"text": ..., "type": ...}, with "nth" as a third member where the text says a word
    twice. An entity begins and ends with a piece of the text (see `evokd.pieces`); white space is
    one blank.

    Raises:
        ValueError: without types, or with one that holds half a character.
    """
    named = [json.dumps(kind, ensure_ascii=False) for kind in types]
    nth = ' (blank "," blank "\\"nth\\":" blank [1-9] [0-9]?)?' if says_twice(text) else ""
    members = ['"\\"text\\":" blank "\\"" words "\\""', f'"\\"type\\":" blank type{nth}']
    span = _object(members)
    rules = [f"root ::= {_list('span', 0, most)}", f"span ::= {span}", _choice("type", named)]
    return "\n".join([*rules, *_words(text), BLANK])


def _words(text: str) -> list[str]:
    """Return the rules of all runs of pieces: rule i takes piece i, and then perhaps more."""
    parts = [" " if part.isspace() else part for part in pieces(text.strip())]
    starts = [i for i, part in enumerate(parts) if part != " "]
    if not starts:
        raise ValueError("a text without words has no entities")
    rules = [f"words ::= {' | '.join(f'word-{i}' for i in starts)}"]
    for here, after in zip(starts, [*starts[1:], None], strict=True):
        rule = f"word-{here} ::= {_literal(json.dumps(parts[here], ensure_ascii=False)[1:-1])}"
        if after is not None:
            gap = '" " ' if after - here > 1 else ""
            rule += f" ({gap}word-{after})?"
        rules.append(rule)
    return rules


def _list(item: str, least: int, most: int) -> str:
    """Return a JSON list of `least` (0 or 1) to `most` items."""
    if not most:
        return '"[" blank "]"'
    times = f"{{0,{most - 1}}}" if most <= MOST else "*"
    items = f'{item} blank ("," blank {item} blank){times}'
    return f'"[" blank {items} "]"' if least else f'"[" blank ({items})? "]"'


def _object(members: Sequence[str]) -> str:
    inside = ' blank "," blank '.join(members)
    return f'"{{" blank {inside} blank "}}"'


def _choice(name: str, options: Sequence[str]) -> str:
    """Return rules that take one of the options, letters that several begin with only once.

    With all options side by side, every token would be held against each of them.
    """
    if not options:
        raise ValueError("a choice needs at least one option")
    rules = []
    waiting = [(name, sorted(set(options)))]
    count = 0
    while waiting:
        rule, group = waiting.pop()
        ways = []
        for _, alike in groupby(group, key=lambda option: option[:1]):
            members = list(alike)
            stem = commonprefix(members)  # noqa: RUF071
            ways.append(_literal(stem))
            if len(members) > 1:
                count += 1
                ways[-1] += f" {name}-{count}"
                waiting.append((f"{name}-{count}", [m[len(stem) :] for m in members]))
        rules.append(f"{rule} ::= {' | '.join(ways)}")
    return "\n".join(rules)


def _literal(text: str) -> str:
    return f'"{"".join(map(_letter, text))}"'


def _letter(letter: str) -> str:
    if letter in '"\\':
        return f"\\{letter}"
    if letter == "\0" or "\ud800" <= letter <= "\udfff":
        raise ValueError(f"a grammar cannot hold {letter!r}")
    return letter if letter.isprintable() else f"\\U{ord(letter):08X}"
