"""A model's tokens: text to tokens and back. Knows llama.cpp's vocabulary, not its context."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import Any

import llama_cpp as C


class Vocabulary:
    """The tokens of a loaded model, valid as long as the model is.

    Attributes:
        size: how many there are.
        bos, eos: the text of the tokens for beginning and end, as templates print them.
        end: the token that ends a turn, None when the model has none.
    """

    def __init__(self, vocab: Any) -> None:
        self._vocab = vocab
        self._pieces: dict[int, bytes] = {}
        self.size: int = C.llama_vocab_n_tokens(vocab)
        bos, eos, eot = C.llama_vocab_bos(vocab), C.llama_vocab_eos(vocab), C.llama_vocab_eot(vocab)
        self.bos, self.eos = self._special(bos), self._special(eos)
        self.end: int | None = next((t for t in (eot, eos) if t >= 0), None)
        self._opening = [bos] if bos >= 0 and C.llama_vocab_get_add_bos(vocab) else []

    def prompt_tokens(self, text: str) -> list[int]:
        """Return the tokens of a rendered conversation, with one token of beginning at most."""
        opened = bool(self.bos) and text.startswith(self.bos)
        return ([] if opened else self._opening) + self._tokens(text, special=True)

    def reply_tokens(self, text: str) -> list[int]:
        """Return the tokens of plain text, as the model would write it in its turn."""
        return self._tokens(text, special=False)

    def text(self, tokens: Sequence[int]) -> str:
        """Return what tokens stand for; a letter cut in the middle becomes U+FFFD."""
        return b"".join(map(self._piece, tokens)).decode("utf-8", "replace")

    def ends(self, token: int) -> bool:
        """Return whether the token ends a turn or a text."""
        return bool(C.llama_vocab_is_eog(self._vocab, token))

    def _tokens(self, text: str, *, special: bool) -> list[int]:
        data = text.encode("utf-8", "replace")
        room = len(data) + 16
        while True:
            tokens = (C.llama_token * room)()
            size = C.llama_tokenize(self._vocab, data, len(data), tokens, room, False, special)
            if size >= 0:
                return list(tokens[:size])
            room = -size

    def _piece(self, token: int) -> bytes:
        if token not in self._pieces:
            self._pieces[token] = self._spell(token, special=False)
        return self._pieces[token]

    def _special(self, token: int) -> str:
        return self._spell(token, special=True).decode("utf-8", "replace") if token >= 0 else ""

    def _spell(self, token: int, *, special: bool) -> bytes:
        buffer = ctypes.create_string_buffer(512)
        size = C.llama_token_to_piece(self._vocab, token, buffer, len(buffer), 0, special)
        return buffer.raw[: max(size, 0)]
