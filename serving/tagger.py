"""A student that finds entities: it tags tokens, and `serving.spans` makes spans of the tags."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serving import spans
from serving.reading import Predictor, Reading, Rows
from serving.said import Entities, Entity
from serving.spans import Found
from serving.windows import frame, joined, windows


class Tagger(Predictor[Entities]):
    """A student that finds entities. Its `labels` are their types."""

    def __init__(self, *files: Any, whole_words: bool = False, **options: Any) -> None:
        """Load the model; see `serving.reading.Predictor`.

        Args:
            whole_words: whether entities begin and end with words.
        """
        super().__init__(*files, **options)
        self._whole_words = whole_words
        framed = self.tokenizer.encode("a")
        self._before, self._behind = frame(framed.ids, framed.special_tokens_mask)

    @property
    def _outputs(self) -> int:
        return len(spans.tags_of(self.labels))

    def outputs(self, texts: Sequence[str]) -> list[list[Found]]:
        """Return the entities of every text."""
        read = map(self.split, texts)
        return [self._found(one, self._joined(one, self._read_all(one))) for one in read]

    def split(self, text: str) -> Reading:
        """Return the windows of a text; none where it has no tokens."""
        whole = self.tokenizer.encode(text, add_special_tokens=False)
        parts = windows(len(whole.ids), self.room)
        words = whole.word_ids if self._whole_words else None
        return Reading(
            text,
            [[*self._before, *whole.ids[p.start : p.stop], *self._behind] for p in parts],
            parts,
            spans.units(text, whole.offsets, words),
        )

    def read(self, window: list[int]) -> Rows:
        """Return the logits of a window's tokens, [tokens, tags], special tokens left out."""
        return self._logits(window)[len(self._before) : len(window) - len(self._behind)]

    def row(self, reading: Reading, rows: Sequence[Rows]) -> NDArray[np.float32]:
        """Return the probability of every tag, [tokens, tags]."""
        said: NDArray[np.float32] = np.exp(self._joined(reading, rows)).astype(np.float32)
        return said

    def prediction(self, reading: Reading, rows: Sequence[Rows]) -> Entities:
        """Return the entities of a text, with their words."""
        said = self._joined(reading, rows)
        return Entities(
            entities=tuple(
                Entity(one.start, one.end, one.label, reading.text[one.start : one.end], one.score)
                for one in self._found(reading, said)
            ),
            score=_least_sure(reading, said),
            windows=max(1, len(rows)),
        )

    def _found(self, reading: Reading, said: Rows) -> list[Found]:
        return spans.find_spans(said, reading.units, self.labels)

    def _joined(self, reading: Reading, rows: Sequence[Rows]) -> Rows:
        """Return the log-probabilities of all the text's tokens, [tokens, tags]."""
        return spans.log_softmax(joined(reading.parts, rows), self.temperature)


def _least_sure(reading: Reading, said: Rows) -> float:
    tokens = [token for unit in reading.units for token in unit.tokens]
    return float(np.exp(said[tokens].max(axis=1).min())) if tokens else 1.0
