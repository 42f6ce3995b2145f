"""Texts -> label probabilities, with raw tokenizers, onnxruntime and numpy.

Every text is answered alone. Dynamic INT8 takes one activation scale per batch, so in a batch an
answer would depend on its neighbours; alone, what is served is what was measured, bit for bit.

A text that is longer than the student reads is answered in windows that overlap by a quarter. Its
probabilities are the mean of the windows', each weighted by the tokens that it reads first: what a
token picked at random would be told. A mean of logits would let one very sure window outvote all.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evokd.errors import InputError, MissingExtra
from serving import layout

try:
    import onnxruntime
    from tokenizers import Encoding, Tokenizer
except ImportError as error:
    raise MissingExtra("serve", error) from error

Probabilities = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Prediction:
    """The answer for one text.

    Attributes:
        score: the probability of `label`.
        probabilities: label -> probability, in the order of the labels; they sum to 1.
        windows: parts that the text was read in; 1 unless it is longer than the student reads.
    """

    label: str
    score: float
    probabilities: dict[str, float]
    windows: int


class Predictor:
    """An ONNX classifier with its tokenizer, ready to answer. Safe to share between threads."""

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
            labels: their names in the order of the model's outputs.
            max_length: tokens of a text that are read, special tokens included.
            name: what the student is called.
            threads: CPU threads of one run.
            windowed: read long texts to their end; else only their first window, as training does.
            temperature: what logits are divided by; see `serving.layout.Manifest`.

        Raises:
            InputError: when a file cannot be loaded or has another number of labels.
        """
        self.labels = tuple(labels)
        self.name = name
        self.max_length = max_length
        self._windowed = windowed
        self._temperature = temperature
        self._tokenizer = _load_tokenizer(tokenizer, max_length)
        self._stride = self._tokenizer.truncation["stride"]
        self._session = _load_session(model, threads)
        self._inputs = tuple(node.name for node in self._session.get_inputs())
        outputs = self._session.get_outputs()[0].shape[-1]
        if isinstance(outputs, int) and outputs != len(self.labels):
            raise InputError(
                f"{model}: has {outputs} labels where {len(self.labels)} are named",
                "export the student again",
            )

    def probabilities(self, texts: Sequence[str]) -> Probabilities:
        """Return the probability of every label, [texts, labels]; rows sum to 1."""
        rows = [self._answer(self.split(text)) for text in texts]
        return np.stack(rows) if rows else np.empty((0, len(self.labels)), np.float32)

    def predict(self, texts: Sequence[str]) -> list[Prediction]:
        """Return the answer for each text, in their order."""
        split = (self.split(text) for text in texts)
        return [self.prediction(self._answer(windows), len(windows)) for windows in split]

    def split(self, text: str) -> list[Encoding]:
        """Return the windows of a text, each at most `max_length` tokens; never none."""
        first = self._tokenizer.encode(text)
        return [first, *first.overflowing] if self._windowed else [first]

    def read(self, window: Encoding) -> Probabilities:
        """Return what one window alone says: the probability of every label."""
        rows = {
            "input_ids": window.ids,
            "attention_mask": window.attention_mask,
            "token_type_ids": window.type_ids,
        }
        feeds = {name: np.array([rows[name]], np.int64) for name in self._inputs}
        (logits,) = self._session.run(None, feeds)
        return _softmax(logits[0], self._temperature)

    def join(self, windows: Sequence[Encoding], rows: Sequence[Probabilities]) -> Probabilities:
        """Return what a whole text says, from what each of its windows says."""
        if len(windows) == 1:
            return rows[0]
        read = [len(window.ids) - sum(window.special_tokens_mask) for window in windows]
        new = [read[0], *(max(1, tokens - self._stride) for tokens in read[1:])]
        mean = np.average(np.stack(rows).astype(np.float64), axis=0, weights=new)
        joined: Probabilities = mean.astype(np.float32)
        return joined

    def prediction(self, row: Probabilities, windows: int) -> Prediction:
        """Return the answer that a text's probabilities give."""
        best = int(row.argmax())
        return Prediction(
            label=self.labels[best],
            score=float(row[best]),
            probabilities=dict(zip(self.labels, row.tolist(), strict=True)),
            windows=windows,
        )

    def _answer(self, windows: Sequence[Encoding]) -> Probabilities:
        return self.join(windows, [self.read(window) for window in windows])


def open_predictor(
    root: Path, *, file: str | None = None, threads: int = 1, verify: bool = True
) -> Predictor:
    """Open the student in a folder.

    Args:
        root: a sealed student folder.
        file: the ONNX file to answer with, relative to `root`; the manifest's choice when None.
        threads: CPU threads of one run.
        verify: compare the files that are read with the manifest's sha256 first.

    Raises:
        InputError: when the folder is no whole student.
        IntegrityError: when a file was changed after the export.
    """
    manifest = layout.read_manifest(root)
    chosen = file or manifest.serve
    if chosen not in manifest.sha256:
        raise InputError(f"{root / chosen}: not part of this student", "see evokd.json: sha256")
    if verify:
        layout.verify(root, manifest, only=(chosen, layout.TOKENIZER))
    return Predictor(
        root / chosen,
        layout.StudentFiles(root).tokenizer,
        labels=tuple(manifest.labels),
        max_length=manifest.max_length,
        name=manifest.name,
        threads=threads,
        windowed=True,
        temperature=manifest.temperature,
    )


def _softmax(logits: NDArray[Any], temperature: float) -> Probabilities:
    exact = logits.astype(np.float64) / temperature
    powers = np.exp(exact - exact.max())
    probabilities: Probabilities = (powers / powers.sum()).astype(np.float32)
    return probabilities


def _load_tokenizer(path: Path, max_length: int) -> Tokenizer:
    try:
        tokenizer = Tokenizer.from_file(str(path))
    except Exception as error:  # the Rust side raises bare Exception
        raise InputError(f"{path}: not a tokenizer: {error}", "export the student again") from error
    tokenizer.no_padding()
    room = max(0, max_length - tokenizer.num_special_tokens_to_add(is_pair=False))
    tokenizer.enable_truncation(max_length, stride=room // 4)
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
