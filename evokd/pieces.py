"""Where a text may be cut: words, single signs, and each letter where words have no blanks."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from itertools import pairwise

_LETTERS = (
    "\u0e00-\u0eff\u1000-\u109f\ua9e0-\ua9ff\uaa60-\uaa7f\u1780-\u17ff"
    "\u3005-\u3007\u3040-\u30ff\u31f0-\u31ff\uff66-\uff9f"
    "\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
)
UNSPACED = f"[{_LETTERS}]"
"""Letters of Thai, Lao, Burmese, Khmer, kana and Han: scripts without blanks between words."""
HANGUL = "[\uac00-\ud7a3]"
"""Syllables of Korean. It has blanks between words, but none between a name and its particle."""
LETTER = f"[{_LETTERS}{HANGUL[1:]}"
"""What is a piece of its own."""
JOINERS = frozenset("\u200c\u200d")
"""Signs that stand within a word (Persian, Indic scripts), or make one picture of two emoji."""
SOUNDED = frozenset("\uff9e\uff9f")
"""Marks behind a halfwidth kana, which Unicode calls letters."""
WORD = rf"(?:(?!{LETTER})\w)+"
INNER = ".:'’"
"""Punctuation that stands within a word or a number, too."""


def pieces(text: str) -> list[str]:
    """Return the pieces of a text in order, with the white space between them.

    A combining mark and what a joiner joins stay with the letter before them.
    """
    made: list[str] = []
    for part in re.findall(rf"\s+|{LETTER}|{WORD}|[^\w\s]", text):
        if made and _goes_on(made[-1], part):
            made[-1] += part
        else:
            made.append(part)
    return made


def words(run: str) -> list[str]:
    """Return the words of a text without blanks: itself, or more where the script has no blanks.

    There each letter is one, with the punctuation beside it, for nothing tells where words end.
    """
    if not re.search(UNSPACED, run):
        return [run]
    made: list[str] = []
    for piece in pieces(run):
        if made and not (piece[0].isalnum() and any(map(str.isalnum, made[-1]))):
            made[-1] += piece
        else:
            made.append(piece)
    return made


def merge(before: str, after: str) -> bool:
    """Say whether two texts, side by side, make one word where they meet."""
    if re.search(rf"{HANGUL}\Z", before) and re.match(HANGUL, after):
        return True
    return len(pieces(before + after)) < len(pieces(before)) + len(pieces(after))


def attached(before: str, after: str) -> bool:
    """Say whether a character belongs to the one before it, whatever that is: a mark or joined."""
    marks = unicodedata.category(after)[0] == "M" or after in SOUNDED
    return marks or not JOINERS.isdisjoint((before, after))


def says_twice(text: str) -> bool:
    """Say whether a word stands twice, so that an entity may need its number among equal ones.

    Punctuation and the 's of a possessive are no part of it. Where nothing tells where words end,
    two letters that stand twice side by side may be one.
    """
    said = list(_said(text.casefold()))
    return len({*said}) < len(said)


def is_whole(text: str, start: int, end: int) -> bool:
    """Say whether no letter or digit hangs on words, behind a sign that stands within a word.

    The 's of a possessive may.
    """
    glued = rf"\w[{INNER}]\Z", rf"[{INNER}](?!(?<=['’])s\b)\w"
    return not (
        re.search(glued[0], text[max(0, start - 2) : start]) or re.match(glued[1], text[end:])
    )


def _said(text: str) -> Iterator[str]:
    for token in text.split():
        cut = "".join(map(_opened, re.sub(rf"({LETTER}+)", r" \1 ", token)))
        found = (re.sub("['’]s$", "", word.strip(INNER)) for word in cut.split())
        for word in [word for word in found if word] or [token]:
            letters = pieces(word) if re.match(LETTER, word) else []
            yield from map("".join, pairwise(letters)) if len(letters) > 1 else (word,)


def _opened(character: str) -> str:
    """Return a blank in place of punctuation and pictures."""
    kind = unicodedata.category(character)
    return " " if (kind[0] == "P" and character not in INNER) or kind == "So" else character


def _goes_on(piece: str, part: str) -> bool:
    if piece.isspace() or part.isspace():
        return False
    # A word whose mark was just taken in goes on behind it.
    both_words = bool(re.match(WORD, piece) and re.match(WORD, part))
    return attached(piece[-1], part[0]) or both_words
