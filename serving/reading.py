"""An ONNX file and its tokenizer, and what every student that answers with them can do.

Every text is answered alone. Dynamic INT8 takes one activation scale per batch, so in a batch an
answer would depend on its neighbours; alone, what is served is what was measured, bit for bit.

A text that is longer than the student reads is answered in windows that overlap by a quarter; how
they become one answer is each kind's own business.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from evokd.errors import InputError, MissingExtra
from serving.said import Said
from serving.spans import Unit
from serving.windows import Window

try:
    import onnxruntime
    from tokenizers import Tokenizer
except ImportError as error:
    raise MissingExtra("serve", error) from error

Rows = NDArray[Any]
S = TypeVar("S", bound=Said)


@dataclass(frozen=True, slots=True)
class Reading:
    """A text, ready to be read.

    Attributes:
        windows: the token numbers of each part that is read at once, special ones included.
        parts: for which tokens each window answers; only where tokens are tagged.
        units: the tokens that are tagged together; only where tokens are tagged.
    """

    text: str
    windows: Sequence[list[int]]
    parts: Sequence[Window] = ()
    units: Sequence[Unit] = ()


class Predictor(ABC, Generic[S]):
    """A student that answers. Safe to share between threads.

    `predict` says what people are told, `outputs` what `evokd.kinds.Kind` reads, `probabilities`
    the numbers behind both. The three steps of an answer, for who has other work between them:
    `split`, then `read` of every window, then `prediction`.
    """

    def __init__(
        self,
        model: Path,
        tokenizer: Path,
        *,
        labels: Sequence[str],
        max_length: int,
        name: str = "",
        threads: int = 1,
        windowed: bool = False,
        temperature: float = 1.0,
    ) -> None:
        """Load the model.

        Args:
            labels: their names in the order of the model's outputs, or the types of entities.
            max_length: tokens of a text that are read at once, special tokens included.
            name: what the student is called.
            threads: CPU threads of one run.
            windowed: read long texts to their end; else only their first window, as training of
                labels does. Entities are always looked for to the end.
            temperature: what logits are divided by; see `serving.layout.Manifest`.

        Raises:
            InputError: when a file cannot be loaded or has another number of labels.
        """
        self.labels = tuple(labels)
        self.name = name
        self.max_length = max_length
        self.temperature = temperature
        self.tokenizer = _load_tokenizer(tokenizer)
        self.session = _load_session(model, threads)
        room = max_length - self.tokenizer.num_special_tokens_to_add(is_pair=False)
        self.room = max(0, room)
        self._windowed = windowed
        self._inputs = tuple(node.name for node in self.session.get_inputs())
        outputs = self.session.get_outputs()[0].shape[-1]
        if isinstance(outputs, int) and outputs != self._outputs:
            raise InputError(
                f"{model}: has {outputs} labels where {self._outputs} are named",
                "export the student again",
            )

    @property
    def _outputs(self) -> int:
        """How many numbers the model gives for a text or a token."""
        return len(self.labels)

    def predict(self, texts: Sequence[str]) -> list[S]:
        """Return the answer for each text, in their order."""
        return [self.prediction(one, self._read_all(one)) for one in map(self.split, texts)]

    @abstractmethod
    def outputs(self, texts: Sequence[str]) -> Any:
        """Return what the task's kind reads, an entry a text."""

    def probabilities(self, texts: Sequence[str]) -> Rows:
        """Return the probability of every label, [texts, labels].

        Of a student that finds entities: of every tag, [tokens of all texts, tags].
        """
        read = map(self.split, texts)
        return self._table([self.row(one, self._read_all(one)) for one in read])

    def judged(self, texts: Sequence[str]) -> tuple[Rows, list[S]]:
        """Return `probabilities` and `predict` of texts that are read once."""
        rows, said = [], []
        for text in texts:
            reading = self.split(text)
            windows = self._read_all(reading)
            rows.append(self.row(reading, windows))
            said.append(self.prediction(reading, windows))
        return self._table(rows), said

    @abstractmethod
    def split(self, text: str) -> Reading:
        """Cut a text into windows, each at most `max_length` tokens."""

    @abstractmethod
    def read(self, window: list[int]) -> Rows:
        """Return what one window alone says."""

    @abstractmethod
    def row(self, reading: Reading, rows: Sequence[Rows]) -> Rows:
        """Return the probabilities that the windows of a text give together, float32.

        They are [labels], or [tokens, tags].
        """

    @abstractmethod
    def prediction(self, reading: Reading, rows: Sequence[Rows]) -> S:
        """Return the answer that the windows of a text give together."""

    def _table(self, rows: Sequence[Rows]) -> Rows:
        some = [row for row in rows if len(row)]
        return np.vstack(some) if some else np.empty((0, self._outputs), np.float32)

    def _read_all(self, reading: Reading) -> list[Rows]:
        return [self.read(window) for window in reading.windows]

    def _logits(self, window: list[int]) -> Rows:
        rows = {
            "input_ids": window,
            "attention_mask": [1] * len(window),
            "token_type_ids": [0] * len(window),
        }
        feeds = {name: np.array([rows[name]], np.int64) for name in self._inputs}
        (logits,) = self.session.run(None, feeds)
        alone: Rows = logits[0]
        return alone


def _load_tokenizer(path: Path) -> Tokenizer:
    try:
        tokenizer = Tokenizer.from_file(str(path))
    except Exception as error:  # the Rust side raises bare Exception
        raise InputError(f"{path}: not a tokenizer: {error}", "export the student again") from error
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return tokenizer


def _load_session(path: Path, threads: int) -> Any:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    # Every text has its own length: cached patterns and arenas grow memory and save no time.
    options.enable_mem_pattern = False
    options.enable_cpu_mem_arena = False
    options.log_severity_level = 3
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's errors share no base of their own
        raise InputError(
            f"{path}: onnxruntime cannot load it: {str(error).splitlines()[0]}",
            "export the student again",
        ) from error
