"""Takes a question, gives the answer: turns, stages, metrics and harvest around the predictor."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from serving import metrics
from serving.harvest import Harvest
from serving.messages import Answers, Info, Question, Times, shape
from serving.reading import Predictor, Rows
from serving.said import Said
from serving.turns import Turns

STAGES = {name: metrics.STAGE_SECONDS.labels(name) for name in ("wait", "tokenize", "model")}
JOINED_AT_ONCE = 4
"""Windows that are made one answer in the event loop; the entities of more of them would hold it
for longer than a window takes, so they are looked for in a thread."""

LARGE = 8192
"""Letters from which a request is large: as many as some sixteen windows have."""

log = logging.getLogger("bentoml.student")


@dataclass(slots=True)
class Stages:
    """Seconds that a request has spent in each stage so far."""

    began: float
    tokenize: float = 0.0
    model: float = 0.0
    total: float = 0.0

    @property
    def wait(self) -> float:
        """Everything that was no work of its own."""
        return max(0.0, self.total - self.tokenize - self.model)

    def milliseconds(self) -> dict[str, float]:
        """Return them as they are told."""
        return {name: round(getattr(self, name) * 1000, 3) for name in (*STAGES, "total")}


@dataclass(slots=True)
class Desk:
    """Answers questions with one student.

    Attributes:
        info: the facts that /info tells.
        harvest: where unsure texts are kept; None when nobody asked for that.
        clock: seconds that only rise.
    """

    predictor: Predictor[Any]
    turns: Turns
    info: Info
    harvest: Harvest | None = None
    clock: Callable[[], float] = field(default=time.perf_counter)

    async def answer(self, question: Question) -> tuple[Answers, Stages]:
        """Answer a question; also say how long it took.

        Raises:
            Overloaded: when too many are waiting.
            Late: when it has waited too long.
        """
        stages = Stages(began=self.clock())
        texts = question.asked()
        large = sum(map(len, texts)) >= LARGE
        with self.turns.admitted() as deadline:
            async with self.turns.alone(deadline) if large else nullcontext():
                said = [await self._predict(text, deadline, stages) for text in texts]
        stages.total = self.clock() - stages.began
        self._record(texts, said, stages)
        answers = Answers(
            model=self.predictor.name,
            predictions=[shape(prediction, question) for prediction in said],
        )
        if question.explain_time:
            answers.time_ms = Times(**stages.milliseconds())
        return answers, stages

    async def _predict(self, text: str, deadline: float, stages: Stages) -> Said:
        begun = self.clock()
        reading = self.predictor.split(text)
        stages.tokenize += self.clock() - begun
        rows: list[Rows] = []
        for window in reading.windows:
            read = partial(self._read, window, stages)
            rows.append(await self.turns.take(read, deadline))
        begun = self.clock()
        said: Said
        if len(rows) <= JOINED_AT_ONCE:
            said = self.predictor.prediction(reading, rows)
        else:
            said = await asyncio.to_thread(self.predictor.prediction, reading, rows)
        stages.model += self.clock() - begun
        return said

    def _read(self, window: list[int], stages: Stages) -> Rows:
        begun = self.clock()
        row = self.predictor.read(window)
        stages.model += self.clock() - begun
        return row

    def _record(self, texts: list[str], said: list[Said], stages: Stages) -> None:
        for name, timed in STAGES.items():
            timed.observe(getattr(stages, name))
        for one in said:
            for label in one.names or (metrics.NOTHING,):
                metrics.labelled(label).inc()
            metrics.CONFIDENCE.observe(one.score)
        if self.harvest is not None:
            try:
                metrics.HARVESTED.inc(self.harvest.add(zip(texts, said, strict=True)))
            except OSError as error:
                # A full disk must not cost the caller the answer.
                log.warning("harvest: %s", error.strerror)
