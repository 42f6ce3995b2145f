"""Texts as people type them: styles of real texts, and small disturbances."""

from __future__ import annotations

import json
import random
import re
from importlib import resources

QUESTION = re.compile(
    r"^(what|when|where|who|why|how|which|is|are|do|does|did|can|could|will|would|should|may)\b",
    re.IGNORECASE,
)
POLITE = re.compile(r"\b(please|could you|would you|can you|thanks|thank you)\b", re.IGNORECASE)
OPENINGS = ("hey ", "um ", "ok so ", "so ", "hi, ", "well ", "listen, ", "ok ", "yo ")
CLOSINGS = (" please", " thanks", " will you", " now", " if you can", " ok", " right")
NEAR_KEYS = {
    "a": "sq", "b": "vn", "c": "xv", "d": "sf", "e": "wr", "f": "dg", "g": "fh", "h": "gj",
    "i": "uo", "j": "hk", "k": "jl", "l": "k", "m": "n", "n": "bm", "o": "ip", "p": "o",
    "q": "w", "r": "et", "s": "ad", "t": "ry", "u": "yi", "v": "cb", "w": "qe", "x": "zc",
    "y": "tu", "z": "x",
}  # fmt: skip


def _groups() -> list[str]:
    text = resources.files("evokd.demo.training").joinpath("swaps.json").read_text("utf-8")
    groups: list[str] = json.loads(text)["groups"]
    return groups


def style_of(text: str) -> str:
    """Return the style of `evokd.prompts.STYLES` that fits a real text best."""
    words = len(text.split())
    if words <= 4:
        return "short"
    if words >= 13:
        return "long and detailed"
    if POLITE.search(text):
        return "polite"
    if QUESTION.search(text) or text.endswith("?"):
        return "phrased as a question"
    return "in plain words"


def styled(text: str, style: str, rng: random.Random) -> str:
    """Return the text when it has the style, or can be given it; "" otherwise."""
    if style == "casual, with typing mistakes":
        return disturb(text, rng, strong=True)
    if style == style_of(text):
        return text
    if style == "short" and len(text.split()) <= 6:
        return text
    if style == "long and detailed" and len(text.split()) >= 10:
        return text
    if style == "polite" and style_of(text) == "in plain words":
        lower = text[0].lower() + text[1:]
        return rng.choice([f"please {lower}", f"could you {lower}", f"{lower} please"])
    return ""


def typo(word: str, rng: random.Random) -> str:
    """Return the word with one slip of the finger; short words and numbers stay."""
    if len(word) < 4 or not word.isalpha():
        return word
    i = rng.randrange(1, len(word) - 1)
    kind = rng.random()
    if kind < 0.3:
        return word[:i] + word[i + 1 :]
    if kind < 0.6:
        return word[:i] + word[i + 1] + word[i] + word[i + 2 :]
    if kind < 0.8:
        return word[:i] + word[i] + word[i:]
    return word[:i] + rng.choice(NEAR_KEYS.get(word[i].lower(), word[i])) + word[i + 1 :]


def disturb(text: str, rng: random.Random, *, strong: bool = False) -> str:
    """Return the text as typed in a hurry: case, marks, fillers, slips."""
    if strong or rng.random() < 0.5:
        text = text.lower()
    if strong or rng.random() < 0.4:
        text = re.sub(r"[.,?!']", "", text)
    if rng.random() < 0.25:
        text = rng.choice(OPENINGS) + text
    if rng.random() < 0.15:
        text = text.rstrip(".?! ") + rng.choice(CLOSINGS)
    words = text.split(" ")
    for _ in range(rng.randint(1, 2) if strong else rng.randint(0, 2)):
        i = rng.randrange(len(words))
        words[i] = typo(words[i], rng)
    return " ".join(words)


_SWAP = {word: group.split() for group in _groups() for word in group.split()}


def vary(text: str, rng: random.Random) -> str:
    """Return the text with numbers, days, foods, places and the like drawn anew, half the time."""
    if rng.random() < 0.5:
        return text

    def word(found: re.Match[str]) -> str:
        old = found.group()
        group = _SWAP.get(old.lower())
        if group is None:
            return old
        new = rng.choice(group)
        return new.capitalize() if old[0].isupper() else new

    text = re.sub(r"[A-Za-z]+", word, text)
    return re.sub(r"\b[1-9]\d?\b", lambda _: str(rng.randint(1, 59)), text)
