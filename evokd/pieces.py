"""Where a text may be cut: words, single signs, and each letter where words have no blanks."""

from __future__ import annotations

import re
import unicodedata

UNSPACED = "[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff]"
"""Letters of Thai, Lao, Burmese, Khmer, kana and Han: scripts without blanks between words."""
JOINERS = frozenset("\u200c\u200d")
"""Signs that stand within a word (Persian, Indic scripts), or make one picture of two emoji."""
WORD = rf"(?:(?!{UNSPACED})\w)+"


def pieces(text: str) -> list[str]:
    """Return the pieces of a text in order, with the white space between them.

    A combining mark and what a joiner joins stay with the letter before them.
    """
    made: list[str] = []
    for part in re.findall(rf"\s+|{UNSPACED}|{WORD}|[^\w\s]", text):
        if made and _goes_on(made[-1], part):
            made[-1] += part
        else:
            made.append(part)
    return made


def merge(before: str, after: str) -> bool:
    """Say whether two texts, side by side, make one piece where they meet."""
    return len(pieces(before + after)) < len(pieces(before)) + len(pieces(after))


def attached(before: str, after: str) -> bool:
    """Say whether a character belongs to the one before it, whatever that is: a mark or joined."""
    return unicodedata.category(after)[0] == "M" or not JOINERS.isdisjoint((before, after))


def says_twice(text: str) -> bool:
    """Say whether a word stands twice, so that an entity may need its number among equal ones."""
    words = text.casefold().split()
    return len({*words}) < len(words)


def _goes_on(piece: str, part: str) -> bool:
    if piece.isspace() or part.isspace():
        return False
    # A word whose mark was just taken in goes on behind it.
    both_words = bool(re.match(WORD, piece) and re.match(WORD, part))
    return attached(piece[-1], part[0]) or both_words
