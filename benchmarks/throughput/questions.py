"""What `benchmarks.throughput.scoring` asks, and answers that are noted and told again."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import cycle
from typing import Any
from unittest.mock import patch

from evokd.demo.training.corpus import resource
from evokd.prompts import ask_label
from evokd.task import demo_task, load_data
from evokd.teacher import Score, scoring
from evokd.teacher.search import Search

SEVEN, MANY, TOKENS = 7, 77, 48
ASIDES = (
    "I hope that this is the right place to ask.",
    "Sorry that I bother you so late.",
    "We have just come home and I am a little tired.",
    "Thank you very much in advance.",
    "Take all the time that you need.",
)
Rows = dict[int, Sequence[Sequence[float]]]  # of each branch of the choices


def seven(texts: int) -> list[Score]:
    """Return questions about the demo's test texts, with seven of its labels."""
    task = demo_task()
    shown = dict(list(task.labels.items())[:SEVEN])
    asked = [e.text for e in load_data(task).test if e.label in shown]
    chosen = random.Random(0).sample(asked, len(asked))[:texts]
    return [Score(ask_label(task.domain, shown, text), tuple(shown)) for text in chosen]


def many(source: str, texts: int) -> list[Score]:
    """Return questions about the demo's test texts, made longer, with 77 labels of a set."""
    data: Any = resource("definitions.json")[source]
    keys = random.Random(0).sample(sorted(data["labels"]), MANY)
    shown = {data["labels"][key]["names"][0]: "" for key in keys}
    asked = [e.text for e in load_data(demo_task()).test]
    chosen = random.Random(0).sample(asked, len(asked))[:texts]
    return [
        Score(ask_label(data["domains"][0], shown, _longer(text, random.Random(i))), tuple(shown))
        for i, text in enumerate(chosen)
    ]


def _longer(text: str, chance: random.Random) -> str:
    """Put asides around a text until it has about TOKENS tokens, by its letters."""
    before, *asides = chance.sample(ASIDES, len(ASIDES))
    longer = f"{before} {text}"
    while len(longer) < 3 * TOKENS and asides:
        longer += f" {asides.pop()}"
    return longer


@contextmanager
def recorded(said: list[Rows]) -> Iterator[None]:
    """Note what is found of each text, in the order of the texts."""

    class Recorder(Search):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            said.append({})
            self.said = said[-1]

        def take(self, number: int, rows: Sequence[Sequence[float]]) -> None:
            self.said[number] = rows
            super().take(number, rows)

    with patch.object(scoring, "Search", Recorder):
        yield


@contextmanager
def replayed(said: Sequence[Rows]) -> Iterator[None]:
    """Let the texts' searches find what was noted before, whatever the model says."""
    known = cycle(said)

    class Player(Search):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            self.said = next(known)

        def take(self, number: int, rows: Sequence[Sequence[float]]) -> None:
            super().take(number, self.said[number])

    with patch.object(scoring, "Search", Player if said else Search):
        yield
