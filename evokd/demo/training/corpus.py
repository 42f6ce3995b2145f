"""The texts that the teacher may learn from, honestly split.

Every row that equals or nearly equals (normalised, 3-gram Jaccard >= 0.8) a dev or test text of
any set, or any text of the demo, is removed. What is left is split by text hash: half A trains
the teacher, half B is kept for pools and fitness figures. One label in five of clinc150 and
massive_en, and all of banking77, is held out: the teacher never sees its texts.
"""

from __future__ import annotations

import hashlib
import json
import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
from scipy import sparse

from evokd.examples import trigrams

SETS = ("snips_raw", "clinc150", "massive_en", "banking77")
TRAINED = ("snips_raw", "clinc150", "massive_en")
NEAR = 0.8


@dataclass(frozen=True, slots=True)
class Row:
    """A text of a public set. `half` is "A" or "B" by the hash of the plain text."""

    source: str
    text: str
    label: str
    half: str


@dataclass(frozen=True, slots=True)
class Label:
    """A label as a task may show it: its names, definitions and texts."""

    names: tuple[str, ...]
    definitions: tuple[str, ...]
    texts: tuple[str, ...]


def resource(name: str) -> dict[str, object]:
    """Return a JSON file of this package."""
    text = resources.files("evokd.demo.training").joinpath(name).read_text(encoding="utf-8")
    value: dict[str, object] = json.loads(text)
    return value


def held_out(source: str, labels: Sequence[str]) -> frozenset[str]:
    """Return the labels of a set whose texts the teacher never sees."""
    ordered = sorted(label for label in labels if label != "oos")
    if source == "banking77":
        return frozenset(ordered)
    start = {"clinc150": 4, "massive_en": 1}.get(source)
    return frozenset() if start is None else frozenset(ordered[start::5])


def plain(text: str) -> str:
    """Return words and digits alone, NFKC and case-folded: the form whose hash splits the sets.

    The embedded teachers read half A as it is by this form. Another one would move texts that they
    read into half B.
    """
    return " ".join(re.findall(r"[^\W_]+", unicodedata.normalize("NFKC", text).casefold()))


def half(text: str) -> str:
    """Return "A" or "B", from the hash of the plain text."""
    digest = hashlib.blake2b(plain(text).encode("utf-8"), digest_size=1).digest()
    return "A" if digest[0] < 128 else "B"


def read_rows(data: Path) -> tuple[list[Row], int]:
    """Read the train files of all sets without what resembles a dev, test or demo text.

    Returns the rows and the number of rows removed.
    """
    guarded = list(guarded_texts(data))
    rows = [
        Row(source, without_wake_word(row["text"]), row["label"], half(row["text"]))
        for source in SETS
        for row in _jsonl(data / source / "train.jsonl")
    ]
    close = near_any([row.text for row in rows], guarded)
    seen: set[tuple[str, str]] = set()
    kept = []
    for row, bad in zip(rows, close, strict=True):
        key = (row.source, plain(row.text))
        if not bad and key not in seen and key[1]:
            seen.add(key)
            kept.append(row)
    return kept, len(rows) - len(kept)


def without_wake_word(text: str) -> str:
    """Return the text on one line without the name ("olly") by which some rows call a device."""
    return " ".join(re.sub(r"\b(hey |hi )?olly\b", " ", text, flags=re.IGNORECASE).split())


def near_any(texts: Sequence[str], guarded: Sequence[str]) -> list[bool]:
    """Say for each text whether it equals or nearly equals a guarded one (exact, not hashed)."""
    vocabulary: dict[str, int] = {}
    left, right = _grams(texts, vocabulary), _grams(guarded, vocabulary)
    width = len(vocabulary)
    a = _matrix(left, width)
    b = _matrix(right, width).T.tocsr()
    sizes_b = np.asarray(b.sum(axis=0)).ravel()
    found: list[bool] = []
    for start in range(0, a.shape[0], 500):
        block = a[start : start + 500]
        shared = (block @ b).tocoo()
        sizes_a = np.asarray(block.sum(axis=1)).ravel()
        union = sizes_a[shared.row] + sizes_b[shared.col] - shared.data
        hit = np.zeros(block.shape[0], dtype=bool)
        hit[shared.row[shared.data >= NEAR * union]] = True
        found += hit.tolist()
    return found


def fine_labels(rows: Iterable[Row], *, part: str, unseen: bool) -> dict[str, dict[str, Label]]:
    """Return set -> label -> Label for one half; only held-out labels, or only the others."""
    about = resource("definitions.json")
    texts: dict[tuple[str, str], list[str]] = defaultdict(list)
    for row in rows:
        if row.half == part:
            texts[row.source, row.label].append(row.text)
    labels: dict[str, dict[str, Label]] = {}
    for source in SETS:
        known = about[source]["labels"]  # type: ignore[index, call-overload]
        hidden = held_out(source, list(known))
        labels[source] = {
            name: Label(
                tuple(entry["names"]), tuple(entry["definitions"]), tuple(texts[source, name])
            )
            for name, entry in known.items()
            if (name in hidden) == unseen and len(texts[source, name]) >= 8
        }
    return labels


def concept_labels(rows: Iterable[Row], *, part: str) -> dict[str, Label]:
    """Return the labels that join texts of several sets (concepts.json), for one half."""
    pool: dict[tuple[str, str], list[str]] = defaultdict(list)
    for row in rows:
        if row.half == part:
            pool[row.source, row.label].append(row.text)
    made = {}
    for key, entry in resource("concepts.json")["labels"].items():  # type: ignore[attr-defined]
        keep, drop = re.compile(entry.get("keep", "")), re.compile(entry.get("drop", "^$"))
        texts = []
        for source, members in entry["members"].items():
            for member in members:
                if member in held_out(source, _names(source)):
                    raise ValueError(f"concept {key} uses the held-out label {member}")
                good = [t for t in pool[source, member] if keep.search(t) and not drop.search(t)]
                # One large set must not drown the others: at most 400 texts of each.
                texts += good[:400]
        if len(texts) >= 8:
            made[key] = Label(tuple(entry["names"]), tuple(entry["definitions"]), tuple(texts))
    return made


def _names(source: str) -> list[str]:
    return list(resource("definitions.json")[source]["labels"])  # type: ignore[index, call-overload]


def guarded_texts(data: Path) -> Iterable[str]:
    """Yield every dev and test text of all sets in the folder, and every text of the demo."""
    for folder in sorted(p for p in data.iterdir() if p.is_dir()):
        for path in sorted([*folder.glob("*dev.jsonl"), *folder.glob("*test.jsonl")]):
            yield from filter(None, map(_text, _jsonl(path)))
    demo = resources.files("evokd.demo")
    for part in (demo, demo.joinpath("slots")):
        files = [f for f in part.iterdir() if f.name.endswith(".jsonl")] if part.is_dir() else []
        for file in sorted(files, key=lambda f: f.name):
            lines = file.read_text(encoding="utf-8").splitlines()
            yield from (json.loads(line)["text"] for line in lines if line.strip())


def _text(row: dict[str, Any]) -> str:
    return row.get("text") or " ".join(row.get("tokens", ()))


def _jsonl(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line]


def _grams(texts: Sequence[str], vocabulary: dict[str, int]) -> list[list[int]]:
    return [[vocabulary.setdefault(g, len(vocabulary)) for g in trigrams(plain(t))] for t in texts]


def _matrix(grams: list[list[int]], width: int) -> sparse.csr_matrix:
    lengths = np.fromiter((len(g) for g in grams), dtype=np.int64, count=len(grams))
    columns = np.fromiter((i for g in grams for i in g), dtype=np.int64, count=int(lengths.sum()))
    starts = np.concatenate([[0], np.cumsum(lengths)])
    values = np.ones(len(columns), dtype=np.float32)
    return sparse.csr_matrix((values, columns, starts), shape=(len(grams), width))
