"""One model and one context of llama.cpp. Knows tokens, positions and sequences, no requests.

All sequences share one memory (`kv_unified`), so that copying a sequence copies no data. The
batch is a set of numpy arrays that C reads in place. One thread at a time may use an engine.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import llama_cpp as C
import numpy as np
import numpy.typing as npt

from evokd.errors import TeacherError
from evokd.settings import TeacherSettings
from evokd.teacher.complaints import LOG
from evokd.teacher.opening import load, make_context
from evokd.teacher.vocabulary import Vocabulary

LIFE = 50_000  # batches after which a context is made anew: some backends' memory grows
WORTH = 16  # tokens: fewer are not worth keeping from one call to the next
NO_SLOT = 1  # what llama_decode returns when the memory has no place for the batch


class NoSlot(TeacherError):
    """The memory has no place for this batch; nothing was decoded."""


class Engine:
    """A loaded model, its context and its batch.

    Attributes:
        cells: tokens that the memory holds, over all sequences.
        longest: tokens that one sequence may have.
        batch: tokens that one batch may have.
        sequences: sequences that may live at once, numbered from 0.
        vocabulary: its tokens.
        context: llama.cpp's own, for samplers to read the last batch's logits.
    """

    def __init__(self, path: Path, settings: TeacherSettings) -> None:
        LOG.start()
        self._path, self._settings = path, settings
        self._held: list[int] = []  # what sequence 0 holds between two calls
        self._model = load(path, settings)
        self.context: Any = None
        try:
            self._renew()
        except BaseException:
            C.llama_model_free(self._model)
            raise
        self.vocabulary = Vocabulary(C.llama_model_get_vocab(self._model))
        self.cells: int = C.llama_n_ctx(self.context)
        self.longest: int = min(self.cells, C.llama_model_n_ctx_train(self._model))
        self.batch: int = C.llama_n_batch(self.context)
        self.sequences: int = C.llama_n_seq_max(self.context)
        self._make_batch()

    def too_long(self, what: str) -> TeacherError:
        """Return the error that says what is too long for one sequence, and what to do."""
        trained = C.llama_model_n_ctx_train(self._model)
        hint = "raise teacher.context"
        if self.longest == trained:
            hint = f"the model was trained on {trained} tokens: use shorter texts or another model"
        return TeacherError(f"{what} is too long for a context of {self.longest} tokens", hint)

    def close(self) -> None:
        """Free the context and the model. The engine must not be used again."""
        context, self.context = self.context, None  # first: Ctrl-C must not free them twice
        model, self._model = self._model, None
        if context:
            C.llama_free(context)
        if model:
            C.llama_model_free(model)

    def template(self) -> str:
        """Return the chat template, empty when the file has none."""
        found = C.llama_model_chat_template(self._model, None)
        return found.decode("utf-8", "replace") if found else ""

    def field(self, key: str) -> str:
        """Return a field of the file's header as text, empty when there is none."""
        buffer = ctypes.create_string_buffer(1024)
        size = C.llama_model_meta_val_str(self._model, key.encode(), buffer, len(buffer))
        return buffer.value.decode("utf-8", "replace") if size >= 0 else ""

    # -- memory -------------------------------------------------------------------------------

    def clear(self) -> None:
        """Forget all sequences and whatever an interrupted call left in the batch."""
        self._filled, self._held = 0, []
        if self.context is None or self._batches >= LIFE:
            self._renew()
        C.llama_memory_clear(self._memory, False)

    def keep(self, tokens: Sequence[int]) -> None:
        """Forget all sequences but 0, which holds these tokens; `resume` may go on from them."""
        C.llama_memory_seq_keep(self._memory, 0)
        self._held = list(tokens)

    def resume(self, tokens: Sequence[int]) -> int:
        """Begin with sequence 0 holding what it has kept of these tokens; return how many.

        All else is forgotten. A memory that cannot go back to an earlier place is cleared.
        """
        held, self._held, self._filled = self._held, [], 0
        pairs = zip(held, tokens, strict=False)
        common = next((i for i, (a, b) in enumerate(pairs) if a != b), min(len(held), len(tokens)))
        if (
            common < WORTH
            or self._batches >= LIFE
            or C.llama_memory_seq_pos_min(self._memory, 0) != 0  # a sliding window has let go of it
            or not C.llama_memory_seq_rm(self._memory, 0, common, -1)
        ):
            self.clear()
            return 0
        return common

    def share(self, sequence: int, source: int = 0) -> None:
        """Let a sequence begin with everything that another holds: 0, the shared prefix."""
        C.llama_memory_seq_cp(self._memory, source, sequence, -1, -1)

    def drop(self, sequence: int) -> None:
        """Forget a sequence."""
        C.llama_memory_seq_rm(self._memory, sequence, -1, -1)

    # -- decoding -----------------------------------------------------------------------------

    @property
    def room(self) -> int:
        """Tokens that the batch can still take."""
        return self.batch - self._filled

    def add(
        self, tokens: Sequence[int], start: int, *, sequences: Sequence[int], logits: int
    ) -> int:
        """Put tokens with positions from `start` into the batch; return the row of the last.

        Each token belongs to all the sequences, which must be equal up to it. `logits` says how
        many of the last tokens shall have theirs.
        """
        a, b = self._filled, self._filled + len(tokens)
        self._token[a:b] = tokens
        self._position[a:b] = range(start, start + len(tokens))
        self._count[a:b] = len(sequences)
        self._ids[a:b, : len(sequences)] = sequences
        self._wanted[a:b] = 0
        self._wanted[b - logits : b] = 1
        self._filled = b
        return b - 1

    def add_one_each(
        self, tokens: Sequence[int], positions: Sequence[int], sequences: Sequence[int]
    ) -> int:
        """Put one token for each sequence into the batch, with logits; return the first's row."""
        a, b = self._filled, self._filled + len(tokens)
        self._token[a:b] = tokens
        self._position[a:b] = positions
        self._count[a:b] = 1
        self._ids[a:b, 0] = sequences
        self._wanted[a:b] = 1
        self._filled = b
        return a

    def decode(self) -> None:
        """Send the batch through the model and empty it.

        Raises:
            NoSlot: when the memory has no place for it.
            TeacherError: when llama.cpp fails.
        """
        self._batch.n_tokens, self._filled = self._filled, 0
        self._batches += 1
        LOG.complaint = ""
        code = C.llama_decode(self.context, self._batch)
        if code == NO_SLOT:
            raise NoSlot("the teacher's memory is full", "raise teacher.context")
        if code:
            raise TeacherError(f"llama.cpp cannot decode (code {code}): {LOG.complaint}")

    def prefill(self, tokens: Sequence[int], *, done: int = 0) -> None:
        """Decode tokens as the whole of sequence 0, for others to share; `done` are there."""
        for start in range(done, len(tokens), self.batch):
            self.add(tokens[start : start + self.batch], start, sequences=(0,), logits=False)
            self.decode()

    def logits(self, row: int) -> npt.NDArray[np.float32]:
        """Return the logits of a row of the last batch: a view that the next batch overwrites."""
        pointer = C.llama_get_logits_ith(self.context, row)
        return np.ctypeslib.as_array(pointer, shape=(self.vocabulary.size,))

    def _renew(self) -> None:
        """Make the context, in place of the one there is."""
        old, self.context = self.context, None
        if old:
            C.llama_free(old)
        self.context = make_context(self._model, self._path, self._settings)
        self._memory = C.llama_get_memory(self.context)
        self._batches = 0

    def _make_batch(self) -> None:
        """Lay out the arrays that C reads; `_ids` has a row of sequence numbers per token."""
        self._filled = 0
        self._token = np.zeros(self.batch, np.int32)
        self._position = np.zeros(self.batch, np.int32)
        self._count = np.zeros(self.batch, np.int32)
        self._ids = np.zeros((self.batch, self.sequences), np.int32)
        self._wanted = np.zeros(self.batch, np.int8)
        rows = self._ids.ctypes.data + self._ids.strides[0] * np.arange(self.batch, dtype=np.uintp)
        self._rows = rows.astype(np.uintp)
        arrays: dict[str, npt.NDArray[Any]] = {
            "token": self._token,
            "pos": self._position,
            "n_seq_id": self._count,
            "seq_id": self._rows,
            "logits": self._wanted,
        }
        kinds = dict(C.llama_batch._fields_)
        self._batch = C.llama_batch()
        for name, array in arrays.items():
            setattr(self._batch, name, ctypes.cast(array.ctypes.data, kinds[name]))
