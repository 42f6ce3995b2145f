"""Which written texts are worth keeping: not empty, not seen before, not in dev or test.

Compares texts only; whether the labels of a text agree is the loop's business.
"""

from __future__ import annotations

import logging
import unicodedata
import zlib
from collections.abc import Sequence
from functools import lru_cache

from evokd.errors import InputError, MissingExtra
from evokd.examples import folded, jaccard, normalise, trigrams
from evokd.task import TaskData

try:
    from datasketch import MinHash, MinHashLSH
except ImportError as exc:
    raise MissingExtra("train", exc) from exc

log = logging.getLogger(__name__)
NEAR = 0.8  # 3-gram Jaccard similarity from which two texts count as the same
BANDS, ROWS = 21, 3  # a pair at NEAR shares a band with probability 1 - (1 - 0.8**3)**21 > 1 - 1e-6
GOLD = ("test", "dev")  # sources that a training text must never touch, the worse leak first


class Known:
    """The texts seen so far, each with its source; finds equal and nearly equal ones.

    Candidates come from MinHash bands over character 3-grams and are verified exactly, so that
    nothing is called near that is not. Equality of the normalised texts is looked up, never missed.
    """

    def __init__(self) -> None:
        self._grams: list[frozenset[str]] = []
        self._sources: list[str] = []
        self._equal: dict[str, list[int]] = {}
        self._bands = MinHashLSH(num_perm=BANDS * ROWS, params=(BANDS, ROWS))

    def __contains__(self, text: object) -> bool:
        return isinstance(text, str) and normalise(text) in self._equal

    def add(self, text: str, source: str) -> None:
        """Remember a text. The sources "dev" and "test" mark gold texts, whose match is a leak."""
        number = len(self._grams)
        grams, signature = _sketch(text)
        self._grams.append(grams)
        self._sources.append(source)
        self._equal.setdefault(normalise(text), []).append(number)
        self._bands.insert(number, signature, check_duplication=False)

    def match(self, text: str) -> str | None:
        """Return the source of an equal or nearly equal text, or None.

        Among several, "test" comes first, then "dev", then the source added first.
        """
        grams, signature = _sketch(text)
        candidates = self._bands.query(signature)
        near = {number for number in candidates if is_near(grams, self._grams[number])}
        near.update(self._equal.get(normalise(text), ()))
        sources = [self._sources[number] for number in sorted(near)]
        return min(sources, key=_rank, default=None)


def check_apart(data: TaskData) -> None:
    """Refuse texts that stand in more than one of seed, dev and test; warn where marks differ.

    Seeds are shown to the teacher and trained on, dev decides, and test may do neither.

    Raises:
        InputError: naming the two files and the first such text.
    """
    for one, other in (("seed", "test"), ("dev", "test"), ("seed", "dev")):
        texts = {folded(e.text) for e in getattr(data, other)}
        both = [e.text for e in getattr(data, one) if folded(e.text) in texts]
        if both:
            raise InputError(
                f"{len(both)} texts of data.{one} are in data.{other} too, the first: {both[0]!r}",
                f"take them out of data.{one}, or the scores tell nothing",
            )
        texts = {normalise(e.text) for e in getattr(data, other)} - {""}  # of marks alone
        if alike := [e.text for e in getattr(data, one) if normalise(e.text) in texts]:
            said = "%d texts of data.%s are in data.%s too but for marks, the first: %r"
            log.warning(said, len(alike), one, other, alike[0])


def curate(texts: Sequence[str], known: Known) -> list[str]:
    """Say of every text why it cannot be kept: "empty", "duplicate", "near-duplicate", "leak: dev"
    or "leak: test"; "" when it can.

    `known` is not changed: add the texts that are really kept. Within the batch the first of
    several equal or nearly equal texts is kept.
    """
    batch = Known()
    reasons = []
    for text in texts:
        reason = _reason(text, (known, batch))
        reasons.append(reason)
        if not reason:
            batch.add(text, "batch")
    return reasons


def _reason(text: str, indexes: Sequence[Known]) -> str:
    if not any(c.isalnum() or not c.isascii() for c in normalise(text)):
        return "empty"  # an emoji is a text, "***" is none
    sources = [index.match(text) for index in indexes]
    if leak := next((source for source in sources if source in GOLD), None):
        return f"leak: {leak}"
    if any(text in index for index in indexes):
        return "duplicate"  # also where another index has one that is only near
    return "near-duplicate" if any(sources) else ""


def _rank(source: str) -> int:
    return GOLD.index(source) if source in GOLD else len(GOLD)


def is_near(one: frozenset[str], other: frozenset[str]) -> bool:
    """Say by the 3-grams of two texts whether these nearly equal each other.

    Two with other signs do not, however long they are: one is on C++ and one on C#, or they end
    with 👍 and 👎. A sign that only one of them has is no such matter, nor is another currency.
    """
    # Sets of unlike size cannot be near; asking that first halves the time of curation.
    smaller, larger = sorted((len(one), len(other)))
    if smaller / larger < NEAR or jaccard(one, other) < NEAR:
        return False
    signs, others = _signs(one), _signs(other)
    return signs <= others or others <= signs


def _signs(grams: frozenset[str]) -> set[str]:
    """Return the signs among a text's words; each has a blank before and behind it."""
    lone = {gram[1] for gram in grams if gram[::2] == "  "}
    return {c for c in lone if not c.isalnum() and unicodedata.category(c) != "Sc"}


@lru_cache(maxsize=65_536)
def _hash(gram: str) -> int:
    return zlib.crc32(gram.encode("utf-8"))


# Copied for every text: drawing the permutations anew costs more than the signature.
_BLANK = MinHash(num_perm=BANDS * ROWS, seed=1, hashfunc=_hash)


@lru_cache(maxsize=4096)
def _sketch(text: str) -> tuple[frozenset[str], MinHash]:
    """Return a text's 3-grams and their MinHash; a text is matched and then added."""
    grams, signature = trigrams(text), _BLANK.copy()
    signature.update_batch(grams)
    return grams, signature
