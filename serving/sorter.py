"""Students that give a text labels: one of them, or any number.

Of one label, a long text's probabilities are the mean of its windows', each weighted by the tokens
that it reads first: what a token picked at random would be told. A mean of logits would let one
very sure window outvote all.

Of any number, they are the greatest of its windows': a label applies to a text when it applies to
a part of it. A mean would wash out the one complaint at the end of a long letter.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serving.reading import Predictor, Reading, Rows, S
from serving.said import LabelSet, Prediction

Probabilities = NDArray[np.float32]
HALF = 0.5


class _Sorter(Predictor[S]):
    """What both have in common."""

    def __init__(self, *files: Any, **options: Any) -> None:
        super().__init__(*files, **options)
        self._stride = self.room // 4
        self.tokenizer.enable_truncation(self.max_length, stride=self._stride)

    def outputs(self, texts: Sequence[str]) -> Probabilities:
        """Return the probability of every label, [texts, labels]."""
        return self.probabilities(texts)

    def split(self, text: str) -> Reading:
        """Return the windows of a text; never none."""
        first = self.tokenizer.encode(text)
        windows = [first, *first.overflowing] if self._windowed else [first]
        return Reading(text, [window.ids for window in windows])

    def row(self, reading: Reading, rows: Sequence[Rows]) -> Probabilities:
        """Return the probability of every label, [labels]."""
        return rows[0] if len(rows) == 1 else self._joined(reading, rows)

    @abstractmethod
    def _joined(self, reading: Reading, rows: Sequence[Rows]) -> Probabilities: ...


def own_score(row: NDArray[Any], temperature: float) -> Any:
    """Return a student's own score of the likeliest label: the one before the temperature.

    A temperature below 1 makes scores right about the texts that belong to a label, and hides
    those that belong to none: it brings all that is fairly sure near 1.

    Args:
        row: probabilities under the temperature, [..., labels].
    """
    exact = row.astype(np.float64)
    if temperature == 1:
        return exact.max(axis=-1)
    powers = (exact / exact.max(axis=-1, keepdims=True)) ** temperature
    return 1 / powers.sum(axis=-1)


class Classifier(_Sorter[Prediction]):
    """A student that gives every text one label."""

    def __init__(self, *files: Any, reject: float = 0.0, **options: Any) -> None:
        """Load the model; see `serving.reading.Predictor`.

        Args:
            reject: a text whose likeliest label has a lower own score (`own_score`) is given none.
        """
        super().__init__(*files, **options)
        self._reject = reject

    def read(self, window: list[int]) -> Probabilities:
        """Return the probability of every label; they sum to 1."""
        exact = self._logits(window).astype(np.float64) / self.temperature
        powers = np.exp(exact - exact.max())
        probabilities: Probabilities = (powers / powers.sum()).astype(np.float32)
        return probabilities

    def prediction(self, reading: Reading, rows: Sequence[Rows]) -> Prediction:
        """Return the likeliest label."""
        row = self.row(reading, rows)
        best = int(row.argmax())
        sure = not self._reject or own_score(row, self.temperature) >= self._reject
        return Prediction(
            label=self.labels[best] if sure else None,
            score=float(row[best]),
            probabilities=dict(zip(self.labels, row.tolist(), strict=True)),
            windows=len(rows),
        )

    def _joined(self, reading: Reading, rows: Sequence[Rows]) -> Probabilities:
        special = self.max_length - self.room
        read = [len(window) - special for window in reading.windows]
        new = [read[0], *(max(1, tokens - self._stride) for tokens in read[1:])]
        mean = np.average(np.stack(rows).astype(np.float64), axis=0, weights=new)
        joined: Probabilities = mean.astype(np.float32)
        return joined


class MultiLabeller(_Sorter[LabelSet]):
    """A student that gives every text any number of labels."""

    def __init__(self, *files: Any, thresholds: Sequence[float] = (), **options: Any) -> None:
        """Load the model; see `serving.reading.Predictor`.

        Args:
            thresholds: from which probability on each label applies; a half each when empty.
        """
        super().__init__(*files, **options)
        self.thresholds = np.array(thresholds or [HALF] * len(self.labels))

    def read(self, window: list[int]) -> Probabilities:
        """Return the probability that each label applies."""
        exact = self._logits(window).astype(np.float64) / self.temperature
        probabilities: Probabilities = np.exp(-np.logaddexp(0, -exact)).astype(np.float32)
        return probabilities

    def prediction(self, reading: Reading, rows: Sequence[Rows]) -> LabelSet:
        """Return the labels that apply."""
        row = self.row(reading, rows)
        applies = row >= self.thresholds
        sure = np.where(applies, row, 1 - row).min()
        return LabelSet(
            labels=tuple(self.labels[i] for i in np.flatnonzero(applies)),
            score=float(sure),
            probabilities=dict(zip(self.labels, row.tolist(), strict=True)),
            windows=len(rows),
        )

    def _joined(self, reading: Reading, rows: Sequence[Rows]) -> Probabilities:
        most: Probabilities = np.stack(rows).max(axis=0)
        return most
