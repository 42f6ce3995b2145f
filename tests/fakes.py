"""A scripted teacher and a small learner for tests of the loop: no model, no torch.

All of it is a function of what is asked, so that two runs can be compared row by row.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import re
import shutil
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from evokd.errors import TeacherError
from evokd.examples import Example
from evokd.teacher import (
    TOO_LONG_TO_SCORE,
    TOO_LONG_TO_WRITE,
    Generate,
    Message,
    Score,
    Scored,
    Written,
)

# Not in the order of the alphabet: whoever sorts the labels is found out.
KEYWORDS = {
    "weather": ("rain", "sunny", "storm", "forecast", "umbrella", "degrees"),
    "alarm": ("wake", "alarm", "snooze", "seven", "timer", "morning"),
    "music": ("song", "jazz", "album", "volume", "singer", "radio"),
}
LABELS = tuple(KEYWORDS)
FILLERS = """please could you the a for me now tomorrow tonight today kitchen bedroom house again
maybe some next loud soft check set give find tell want need about with near city week friend
really quick slow new old first last more less every other""".split()  # noqa: SIM905


class Stopped(Exception):
    """The fake was told to stop here."""


def digest(*parts: object) -> int:
    """Return a number that is a function of the parts alone."""
    named = "\x1f".join(map(str, parts)).encode("utf-8")
    return int.from_bytes(hashlib.blake2b(named, digest_size=6).digest(), "big")


def sentence(rng: random.Random, label: str, *, other: str | None = None) -> str:
    """Return a text of a label: two of its keywords (one of another's) among random words."""
    words = rng.sample(FILLERS, rng.randint(3, 7)) + rng.sample(KEYWORDS[label], 2)
    words += [rng.choice(KEYWORDS[other])] if other else []
    rng.shuffle(words)
    return " ".join(words)


def texts_of(seed: int, each: int, labels: Sequence[str] = LABELS) -> list[Example]:
    """Return gold examples, `each` a label."""
    rng = random.Random(seed)
    return [Example(sentence(rng, label), label) for label in labels for _ in range(each)]


class ScriptedTeacher:
    """A teacher whose answers are a function of the request.

    Args:
        fail_after: raise `Stopped` instead of answering call number `fail_after` (from 0).
        leaks: texts that it writes now and then, to see whether they are found.
        faulty: one reply in so many is cut, no JSON, or of a wrong shape; 0 means none.
        pause: seconds of sleep before every answer.
        context: words that a conversation may have; 0 means any number.

    Attributes:
        asked: every request that reached it.
        answered: how many it answered.
    """

    def __init__(
        self,
        *,
        fail_after: int | None = None,
        leaks: Sequence[str] = (),
        faulty: int = 8,
        pause: float = 0.0,
        context: int = 0,
        fingerprint: str = "scripted-1",
    ) -> None:
        self.context = context
        self.fail_after, self.leaks, self.faulty, self.pause = fail_after, leaks, faulty, pause
        self.name, self.fingerprint = "scripted", fingerprint
        self.asked: list[Generate | Score] = []
        self.answered = 0
        self.closed = False

    def generate(
        self,
        requests: Sequence[Generate],
        on_done: Callable[[int, Written], None] | None = None,
    ) -> list[Written]:
        return self._all(requests, self._write, on_done)

    def score(
        self, requests: Sequence[Score], on_done: Callable[[int, Scored], None] | None = None
    ) -> list[Scored]:
        return self._all(requests, self._score, on_done)

    def check(self, requests: Sequence[Generate | Score]) -> None:
        if any(map(self._too_long, requests)):
            raise TeacherError(f"too long for {self.context} words", "raise teacher.context")

    def _too_long(self, request: Generate | Score) -> bool:
        words = sum(len(m.content.split()) for m in request.messages)
        return bool(self.context) and words > self.context

    def close(self) -> None:
        self.closed = True

    def _all(
        self, requests: Sequence[Any], answer: Callable[[Any], Any], on_done: Any
    ) -> list[Any]:
        assert not self.closed, "a closed teacher was asked"
        self.asked += requests
        replies: dict[int, Any] = {}
        # Requests end in an order of their own, as they do where they are decoded side by side.
        for i in sorted(range(len(requests)), key=lambda i: digest(i, requests[i])):
            if self.answered == self.fail_after:
                raise Stopped(f"after {self.answered} calls")
            time.sleep(self.pause)
            if self._too_long(requests[i]):
                write = isinstance(requests[i], Generate)
                replies[i] = TOO_LONG_TO_WRITE if write else TOO_LONG_TO_SCORE
            else:
                replies[i] = answer(requests[i])
            self.answered += 1
            if on_done is not None:
                on_done(i, replies[i])
        return [replies[i] for i in range(len(requests))]

    def _write(self, request: Generate) -> Written:
        number = digest(request.messages, request.seed)
        text = self._text(request.messages[-1].content, random.Random(request.seed), number)
        finish = "stop"
        if self.faulty and number % self.faulty == 0 and "Answer with" in _last(request):
            text, finish = (
                (text[: len(text) // 2], "length"),
                ("I cannot do that.", "stop"),
                ('{"texts": 3}', "stop"),
            )[number // self.faulty % 3]
        words_in = sum(len(m.content.split()) for m in request.messages)
        return Written(text, finish, words_in, len(text.split()), words_in)  # type: ignore[arg-type]

    def _text(self, asked: str, rng: random.Random, number: int) -> str:
        if found := re.match(r"Write (\d+) new texts of the class (.+?), ", _body(asked)):
            count, label = int(found[1]), found[2]
            # One writer in five misses the class that it was asked for.
            labels = [rng.choice(LABELS) if rng.random() < 0.2 else label for _ in range(count)]
            return json.dumps(self._flawed([sentence(rng, n) for n in labels], number))
        if found := re.search(r"Write (\d+) new texts that it .* and (\d+) that", asked):
            hard = [sentence(rng, *rng.sample(LABELS, 1), other=rng.choice(LABELS))
                    for _ in range(int(found[1]))]  # fmt: skip
            easy = [sentence(rng, rng.choice(LABELS)) for _ in range(int(found[2]))]
            made = {"hard": self._flawed(hard, number), "easy": easy}
            return f"Here they are:\n```json\n{json.dumps(made, ensure_ascii=False)}\n```"
        if found := re.match(r"Say this text in (\d+) other ways", _body(asked)):
            kept = [w for w in _quoted(asked).split() if w not in FILLERS]
            ways = [kept + rng.sample(FILLERS, rng.randint(3, 7)) for _ in range(int(found[1]))]
            return json.dumps(self._flawed([" ".join(way) for way in ways], number))
        if "Which kinds of text does it get wrong?" in asked:
            return f"- it takes {rng.choice(LABELS)} for {rng.choice(LABELS)} 🙂\n- short texts"
        if "To which class does this text belong?" in asked:
            return max(LABELS, key=lambda label: _hits(_quoted(asked), label))
        raise AssertionError(f"an unknown question: {asked}")

    def _flawed(self, texts: list[str], number: int) -> list[str]:
        """Repeat a text, nearly repeat one, or write what must not be written, now and then."""
        if number % 3 == 0:
            texts = [*texts, texts[0].upper()]
        if number % 4 == 0:
            texts = [*texts, f"{texts[0]}s"]
        if self.leaks and number % 5 == 0:
            texts = [*texts, self.leaks[number // 5 % len(self.leaks)]]
        return [f"{text} 😀" if digest(text) % 6 == 0 else text for text in texts]

    def _score(self, request: Score) -> Scored:
        text = _quoted(_last(request))
        points = [
            2.0 * _hits(text, choice) + digest(text, choice) % 100 / 200
            for choice in request.choices
        ]
        if digest(text) % 7 == 0:
            points[0] += 9  # it names what stands first, whatever that is
        array = np.array(points)
        logprobs = array - np.log(np.exp(array).sum())
        words = len(_last(request).split())
        return Scored(tuple(logprobs.tolist()), words, len(request.choices), words)


def _last(request: Generate | Score) -> str:
    return request.messages[-1].content


def _body(asked: str) -> str:
    return asked.rpartition("\n\n")[2]


def _quoted(asked: str) -> str:
    text: str = json.loads(f"\n{asked}".rpartition("\nText: ")[2])
    return text


def _hits(text: str, label: str) -> int:
    return sum(word.rstrip("s") in KEYWORDS[label] for word in text.casefold().split())


class FakeStudent:
    """Naive Bayes over words, in counts that JSON can hold."""

    def __init__(self, counts: dict[str, dict[str, int]], log: list[tuple[str, Any]]) -> None:
        self.counts, self.log = counts, log

    def predict(self, texts: Sequence[str]) -> np.ndarray:
        self.log.append(("predict", tuple(texts)))
        vocabulary = len({word for counts in self.counts.values() for word in counts}) + 1
        rows = []
        for text in texts:
            row = []
            for counts in self.counts.values():
                total = sum(counts.values()) + vocabulary
                words = text.casefold().split()
                row.append(sum(np.log((counts.get(w, 0) + 1) / total) for w in words))
            rows.append(row)
        logits = np.array(rows, dtype=np.float64).reshape(len(texts), len(self.counts))
        odds = np.exp(logits - logits.max(axis=1, keepdims=True))
        return (odds / odds.sum(axis=1, keepdims=True)).astype(np.float32)

    def save(self, folder: Path) -> None:
        aside = folder.with_name(f".{folder.name}.part")
        shutil.rmtree(aside, ignore_errors=True)
        aside.mkdir(parents=True)
        (aside / "counts.json").write_text(json.dumps(self.counts), encoding="utf-8")
        shutil.rmtree(folder, ignore_errors=True)
        os.replace(aside, folder)


class FakeLearner:
    """Counts words. `log` tells in order what was fitted, loaded and predicted.

    Args:
        fail_at: raise `Stopped` at the end of fit number `fail_at` (from 0).
        spoil: called with the examples of every fit, returns those that it really counts.
    """

    def __init__(
        self,
        labels: Sequence[str] = LABELS,
        *,
        fail_at: int | None = None,
        spoil: Callable[[int, Sequence[Example]], Sequence[Example]] | None = None,
    ) -> None:
        self.labels, self.fail_at, self.spoil = tuple(labels), fail_at, spoil
        self.fits = 0
        self.log: list[tuple[str, Any]] = []
        self.hows: list[tuple[FakeStudent | None, Sequence[float] | None]] = []

    def fit(
        self,
        examples: Sequence[Example],
        *,
        epochs: int,
        seed: int,
        on_step: Callable[[int, int], None],
        start: FakeStudent | None = None,
        weights: Sequence[float] | None = None,
    ) -> FakeStudent:
        self.log.append(("fit", tuple(e.text for e in examples)))
        self.hows.append((start, weights))
        counted = self.spoil(self.fits, examples) if self.spoil else examples
        # The seed matters, as it does to a real student: it picks one example that is not read.
        skipped = seed % max(1, len(counted))
        before = start.counts if start else {}
        counts = {label: Counter(before.get(label, {})) for label in self.labels}
        for i, example in enumerate(counted):
            if i != skipped or len(counted) <= len(self.labels):
                counts[example.label].update(example.text.casefold().split())
        for step in range(epochs):
            on_step(step + 1, epochs)
        if self.fits == self.fail_at:
            raise Stopped(f"at fit {self.fits}")
        self.fits += 1
        return FakeStudent({k: dict(v) for k, v in counts.items()}, self.log)

    def load(self, folder: Path) -> FakeStudent:
        self.log.append(("load", folder.name))
        counts = json.loads((folder / "counts.json").read_text(encoding="utf-8"))
        return FakeStudent(counts, self.log)

    def embed(self, texts: Sequence[str]) -> np.ndarray:
        """Return counts of words, hashed into a few columns."""
        vectors = np.zeros((len(texts), 64), dtype=np.float32)
        for row, text in zip(vectors, texts, strict=True):
            for word in text.casefold().split():
                row[digest(word) % 64] += 1
        return vectors

    def nearest(self, examples: Sequence[Example], texts: Sequence[str]) -> list[str]:
        """Label every text as the example with most words in common."""

        def common(text: str, example: Example) -> int:
            return len({*text.casefold().split()} & {*example.text.casefold().split()})

        return [max(examples, key=lambda e: common(text, e)).label for text in texts]


def user(text: str) -> tuple[Message, ...]:
    """Return a conversation of one turn."""
    return (Message("user", text),)
