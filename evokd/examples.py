"""A text with its label, and how text is compared. Knows no files and no models."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass

_SIGNS = frozenset(("Sc", "Sm", "So"))  # of money, of sums, and pictures
_MORE_SIGNS = frozenset("#%&*/@\\^")  # which Unicode calls punctuation, or modifiers
_TYPED = str.maketrans("\u2212\u2044", "-/")  # a minus and the line of a fraction
_UNSEEN = re.compile("[\u200d\ufe00-\ufe0f\U000e0100-\U000e01ef]")


@dataclass(frozen=True, slots=True)
class Example:
    """One labelled text and where it came from.

    Attributes:
        text: the text as the student reads it.
        label: the answer as `evokd.answers` writes it: a label, several, or spans.
        origin: "seed", "gold", "definition", "pool", "pilot", or what the teacher was asked for
            ("cover", "hard", "easy", "paraphrase", "edited"); "relabelled" is a cover of another
            label that was kept.
        soft: the teacher's probability of every label, in the task's order; () when unknown.
    """

    text: str
    label: str
    origin: str = "gold"
    soft: tuple[float, ...] = ()

    @property
    def id(self) -> str:
        """The text's identity: 16 hex digits of its blake2b hash."""
        return text_id(self.text)


def text_id(text: str) -> str:
    """Return 16 hex digits that name exactly this text."""
    return hashlib.blake2b(text.encode("utf-8"), digest_size=8).hexdigest()


def is_unicode(text: str) -> bool:
    """Return whether the text can be stored; escapes in JSON may name half a character."""
    return not any("\ud800" <= c <= "\udfff" for c in text)


def folded(text: str) -> str:
    """Return the form of texts that are one to every reader: one case, no mark at the end.

    For the user's own labelled texts, of which none should be refused or left out in error. So all
    other marks stay, also where nothing else stands ("!!" is not "?").
    """
    line = " ".join(_caseless(text).split())
    return line.rstrip(".!?… ") or line


def normalise(text: str) -> str:
    """Return the form in which texts are curated: words, digits and signs, with blanks between.

    For telling which texts are worth keeping: case, spacing, punctuation and forms of the same
    letter make no difference. Combining marks are a part of their word, for in many scripts they
    are its vowels; signs that are no punctuation stay, for "C++" is not "C#".
    """
    return " ".join(_words(_caseless(text)))


def _caseless(text: str) -> str:
    """Return Unicode's NFKC_Casefold, nearly: joiners and variants of one sign are left out."""
    made = unicodedata.normalize("NFD", _UNSEEN.sub("", text))
    for _ in range(2):  # folding the case may leave what can be composed, and folded again
        made = unicodedata.normalize("NFKC", made.casefold())
    return made.translate(_TYPED)


def _words(text: str) -> Iterator[str]:
    word = ""
    for character in f"{text} ":
        kind = "" if character.isalnum() else unicodedata.category(character)
        if not kind or (word and kind[0] == "M"):
            word += character
            continue
        if word:
            yield word
        word = ""
        if kind in _SIGNS or character in _MORE_SIGNS:
            yield character


def trigrams(text: str) -> frozenset[str]:
    """Return the character 3-grams of the normalised text, with one space at each end."""
    padded = f" {normalise(text)} "
    return frozenset(padded[i : i + 3] for i in range(max(1, len(padded) - 2)))


def jaccard(one: frozenset[str], other: frozenset[str]) -> float:
    """Return the Jaccard similarity of two sets, in [0, 1]; two empty sets are equal (1)."""
    union = len(one | other)
    return len(one & other) / union if union else 1.0
