"""Tags of tokens, such as B-PER: what entities they say, in which scheme, with which mistakes.

All schemes are read by one rule, so none has to be given. An entity begins at a B, at an S, and at
any tag that does not go on with the entity before it; it ends after an E or S, and before any tag
that does not go on with it. I and E of the same type go on with an entity. Files that follow their
scheme lose nothing by it. What a scheme would have written otherwise is a repair.
"""

from __future__ import annotations

from collections.abc import Sequence

# BILOU and BMEWO are other letters for BIOES.
PREFIXES = {"B": "B", "I": "I", "E": "E", "S": "S", "L": "E", "U": "S", "M": "I", "W": "S"}
SCHEMES = ("IOB2", "IOB1", "BIOES")

# First token, the token after the last, and the type.
Chunk = tuple[int, int, str]


def parts(tag: str) -> tuple[str, str] | None:
    """Return prefix and type of a tag, ("O", "") for O, and None for what is no tag."""
    if tag == "O":
        return "O", ""
    letter, _, label = tag.partition("-")
    return (PREFIXES[letter], label) if letter in PREFIXES and label else None


def decode(tags: Sequence[str]) -> list[Chunk]:
    """Return the entities of a sentence in its order; see the module for the rule.

    Raises:
        ValueError: for what is no tag; see `parts`.
    """
    chunks: list[Chunk] = []
    first, opened = 0, ""  # the entity that is not closed yet, and its type
    for at, tag in enumerate([*tags, "O"]):
        known = parts(tag)
        if known is None:
            raise ValueError(tag)
        prefix, label = known
        if opened and not (prefix in "IE" and label == opened):
            chunks.append((first, at, opened))
            opened = ""
        if label and not opened:
            first, opened = at, label
        if prefix in "ES":
            chunks.append((first, at + 1, opened))
            opened = ""
    return chunks


def encode(chunks: Sequence[Chunk], length: int, *, scheme: str = "IOB2") -> list[str]:
    """Return the tags of a sentence of `length` tokens, as the scheme writes them."""
    tags = ["O"] * length
    before: tuple[int, str] | None = None
    for first, end, label in chunks:
        letters = ["I"] * (end - first)
        if scheme != "IOB1" or before == (first, label):
            letters[0] = "B"
        if scheme == "BIOES":
            letters[-1] = "E" if end - first > 1 else "S"
        tags[first:end] = [f"{letter}-{label}" for letter in letters]
        before = (end, label)
    return tags


def repairs(sentences: Sequence[Sequence[str]]) -> tuple[str, list[tuple[int, int]]]:
    """Return the scheme of a whole file, and the (sentence, token) of every tag that breaks it.

    The scheme is the one that the fewest tags break, IOB2 when none differs.
    """
    read = [(tags, decode(tags)) for tags in sentences]
    broken = {
        scheme: [
            (sentence, token)
            for sentence, (tags, chunks) in enumerate(read)
            for token, due in enumerate(encode(chunks, len(tags), scheme=scheme))
            if parts(tags[token]) != parts(due)
        ]
        for scheme in SCHEMES
    }
    scheme = min(SCHEMES, key=lambda name: len(broken[name]))
    return scheme, broken[scheme]
