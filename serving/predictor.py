"""Texts -> label probabilities, with raw tokenizers, onnxruntime and numpy.

Every text is answered alone. Dynamic INT8 takes one activation scale per batch, so in a batch an
answer would depend on its neighbours; alone, what is served is what was measured, bit for bit.
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
        truncated: the text was longer than the student reads; its end was not seen.
    """

    label: str
    score: float
    probabilities: dict[str, float]
    truncated: bool


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
    ) -> None:
        """Load the model.

        Args:
            labels: their names in the order of the model's outputs.
            max_length: tokens of a text that are read, special tokens included.
            name: what the student is called.
            threads: CPU threads of one run.

        Raises:
            InputError: when a file cannot be loaded or has another number of labels.
        """
        self.labels = tuple(labels)
        self.name = name
        self._tokenizer = _load_tokenizer(tokenizer, max_length)
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
        rows = [self._answer(self._tokenizer.encode(text)) for text in texts]
        return np.stack(rows) if rows else np.empty((0, len(self.labels)), np.float32)

    def predict(self, texts: Sequence[str]) -> list[Prediction]:
        """Return the answer for each text, in their order."""
        return [self._predict(text) for text in texts]

    def _predict(self, text: str) -> Prediction:
        encoding = self._tokenizer.encode(text)
        row = self._answer(encoding)
        best = int(row.argmax())
        return Prediction(
            label=self.labels[best],
            score=float(row[best]),
            probabilities=dict(zip(self.labels, row.tolist(), strict=True)),
            truncated=bool(encoding.overflowing),
        )

    def _answer(self, encoding: Encoding) -> Probabilities:
        rows = {
            "input_ids": encoding.ids,
            "attention_mask": encoding.attention_mask,
            "token_type_ids": encoding.type_ids,
        }
        feeds = {name: np.array([rows[name]], np.int64) for name in self._inputs}
        (logits,) = self._session.run(None, feeds)
        return _softmax(logits[0])


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
    )


def _softmax(logits: NDArray[Any]) -> Probabilities:
    exact = logits.astype(np.float64)
    powers = np.exp(exact - exact.max())
    probabilities: Probabilities = (powers / powers.sum()).astype(np.float32)
    return probabilities


def _load_tokenizer(path: Path, max_length: int) -> Tokenizer:
    try:
        tokenizer = Tokenizer.from_file(str(path))
    except Exception as error:  # the Rust side raises bare Exception
        raise InputError(f"{path}: not a tokenizer: {error}", "export the student again") from error
    tokenizer.no_padding()
    tokenizer.enable_truncation(max_length)
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
