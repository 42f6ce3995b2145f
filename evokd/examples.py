"""A text with its label, and how text is compared. Knows no files and no models."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Example:
    """One labelled text and where it came from.

    Attributes:
        text: the text as the student reads it.
        label: the answer as `evokd.answers` writes it: a label, several, or spans.
        origin: "seed", "gold", "definition", "pool", "pilot", or what the teacher was asked for
            ("cover", "hard", "easy", "paraphrases", "edited").
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
    """Return the form of texts that are one to a reader: NFKC, case-folded, no mark at the end.

    Other marks stay, for "C++" is not "C#".
    """
    line = " ".join(unicodedata.normalize("NFKC", text).casefold().split())
    return line.rstrip(".!?… ") or line


def normalise(text: str) -> str:
    """Return the form in which texts are compared: NFKC, case-folded, words and digits only."""
    return " ".join(re.findall(r"[^\W_]+", unicodedata.normalize("NFKC", text).casefold()))


def trigrams(text: str) -> frozenset[str]:
    """Return the character 3-grams of the normalised text, with one space at each end."""
    padded = f" {normalise(text)} "
    return frozenset(padded[i : i + 3] for i in range(max(1, len(padded) - 2)))


def jaccard(one: frozenset[str], other: frozenset[str]) -> float:
    """Return the Jaccard similarity of two sets, in [0, 1]; two empty sets are equal (1)."""
    union = len(one | other)
    return len(one & other) / union if union else 1.0
