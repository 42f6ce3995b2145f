"""The demo's hand-written texts keep their own rules. They are never edited: see their commit."""

from __future__ import annotations

import hashlib
from collections import Counter
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from sklearn.feature_extraction.text import TfidfVectorizer

from evokd.demo import TEACHERS
from evokd.demo.training.corpus import plain
from evokd.examples import Example, jaccard, normalise, trigrams
from evokd.task import TaskData, demo_task, load_data

NEAR = 0.8
TEACHER_TEXTS = [folder / "teacher_texts.bin" for folder in TEACHERS.values()]


@pytest.fixture(scope="module")
def data() -> TaskData:
    return load_data(demo_task())


def everything(data: TaskData) -> tuple[Example, ...]:
    return data.seed + data.dev + data.test


def test_there_are_as_many_as_promised(data: TaskData) -> None:
    names = demo_task().names
    assert 7 <= len(names) <= 10
    assert all(demo_task().labels.values())
    assert Counter(e.label for e in data.seed) == dict.fromkeys(names, 1)
    assert len(data.dev) >= 150
    assert len(data.test) >= 400
    for part in (data.dev, data.test):
        counts = Counter(e.label for e in part)
        assert set(counts) == set(names)
        assert max(counts.values()) <= 2 * min(counts.values())


def test_no_text_nearly_equals_another(data: TaskData) -> None:
    texts = [e.text for e in everything(data)]
    grams = [trigrams(text) for text in texts]
    near = [
        (texts[i], texts[j])
        for i, j in combinations(range(len(texts)), 2)
        # Sets of unlike sizes cannot be near; that spares most of the pairs.
        if NEAR * max(len(grams[i]), len(grams[j])) <= min(len(grams[i]), len(grams[j]))
        and jaccard(grams[i], grams[j]) >= NEAR
    ]
    assert near == []


def test_no_word_gives_a_label_away(data: TaskData) -> None:
    for part in (data.dev, data.test):
        for name in demo_task().names:
            texts = [set(normalise(e.text).split()) for e in part if e.label == name]
            counts = Counter(word for words in texts for word in words)
            assert {w: n for w, n in counts.items() if n > len(texts) / 2} == {}, name


def test_texts_are_as_unlike_as_what_people_say(data: TaskData) -> None:
    lengths = [len(e.text.split()) for e in data.test]
    assert sum(n <= 5 for n in lengths) >= 20
    assert sum(n >= 15 for n in lengths) >= 20
    openings = Counter(normalise(e.text).split()[0] for e in data.test)
    assert max(openings.values()) < len(data.test) / 10


def test_counting_words_does_not_solve_it(data: TaskData) -> None:
    words = TfidfVectorizer().fit([e.text for e in data.seed])
    centroids = words.transform([e.text for e in data.seed])
    closest = np.asarray((words.transform([e.text for e in data.test]) @ centroids.T).todense())
    labels = [e.label for e in data.seed]
    right = [labels[i] == e.label for i, e in zip(closest.argmax(axis=1), data.test, strict=True)]
    assert 1 / len(labels) < np.mean(right) < 0.60


def short_hash(text: str) -> int:
    """Return the first 4 bytes of the plain text's hash, as the file stores them."""
    digest = hashlib.blake2b(plain(text).encode("utf-8"), digest_size=4).digest()
    return int.from_bytes(digest, "little")


@pytest.mark.parametrize("file", TEACHER_TEXTS, ids=[*TEACHERS])
def test_no_embedded_teacher_read_one_of_them(data: TaskData, file: Path) -> None:
    read = np.fromfile(file, dtype="<u4")
    assert len(read) > 10_000
    assert (np.diff(read.astype(np.int64)) >= 0).all()
    own = np.array([short_hash(e.text) for e in everything(data)], dtype="<u4")
    # 20,000 hashes of 32 bits meet 600 others by accident once in 350 drawings.
    assert not np.isin(own, read).any()
