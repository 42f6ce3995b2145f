"""A model's tokens: text to tokens and back. Knows llama.cpp's vocabulary, not its context."""

from __future__ import annotations

import ctypes
import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Any

import llama_cpp as C

UNKNOWN, CONTROL, USER_DEFINED = 1, 8, 16  # of llama_token_attr: tokens that are found by text


class Vocabulary:
    """The tokens of a loaded model, valid as long as the model is.

    Attributes:
        size: how many there are.
        bos, eos: the text of the tokens for beginning and end, as templates print them.
        end: the token that ends a turn, None when the model has none.
        handle: llama.cpp's own, for grammars.
    """

    def __init__(self, vocab: Any) -> None:
        self.handle = vocab
        self._pieces: dict[int, bytes] = {}
        self.size: int = C.llama_vocab_n_tokens(vocab)
        bos, eos, eot = C.llama_vocab_bos(vocab), C.llama_vocab_eos(vocab), C.llama_vocab_eot(vocab)
        self.bos, self.eos = self._special(bos), self._special(eos)
        self.end: int | None = next((t for t in (eot, eos) if t >= 0), None)
        self._opening = [bos] if bos >= 0 and C.llama_vocab_get_add_bos(vocab) else []

    def prompt_tokens(self, text: str, *more: str) -> list[int]:
        """Return the tokens of a rendered conversation, with one token of beginning at most.

        No token lies across the parts of a text that is given in parts.
        """
        opened = bool(self.bos) and text.startswith(self.bos)
        tokens = [] if opened else list(self._opening)
        for part in (text, *more):
            tokens += self._tokens(part, special=True)
        return tokens

    def markers(self, template: str) -> re.Pattern[str] | None:
        """Return what matches any text that becomes a token of the model's own, None if nothing.

        Those are the control tokens, and of the tokens that the model's makers defined for
        themselves the ones that look like control tokens or stand in the chat template.
        """
        endings = defaultdict(set)  # by first letter, for speed
        for text in self._special_texts(template):
            if len(text) > 1:  # a single letter cannot be cut
                endings[text[0]].add(text[1:])
        options = (
            f"{re.escape(first)}(?:{'|'.join(map(re.escape, sorted(rest)))})"
            for first, rest in sorted(endings.items())
        )
        return re.compile("|".join(options)) if endings else None

    def reply_tokens(self, text: str, *, marks: bool = False) -> list[int]:
        """Return the tokens of plain text, or with marks, as the model would write it."""
        return self._tokens(text, special=marks)

    def text(self, tokens: Sequence[int], *, marks: Sequence[str] = ()) -> str:
        """Return what tokens stand for; a letter cut in the middle becomes U+FFFD.

        Control tokens stand for nothing, but for those whose text is among the marks.
        """
        pieces = (self.piece(token, marks=marks) for token in tokens)
        return b"".join(pieces).decode("utf-8", "replace")

    def piece(self, token: int, *, marks: Sequence[str] = ()) -> bytes:
        """Return the bytes that the token stands for, as `text` does."""
        if token not in self._pieces:
            self._pieces[token] = self._spell(token, special=False)
        piece = self._pieces[token]
        if not piece and marks:
            mark = self._special(token)
            return mark.encode() if mark in marks else b""
        return piece

    def ends(self, token: int) -> bool:
        """Return whether the token ends a turn or a text."""
        return bool(C.llama_vocab_is_eog(self.handle, token))

    def _special_texts(self, template: str) -> Iterator[str]:
        for token in range(self.size):
            kind = C.llama_vocab_get_attr(self.handle, token)
            if not kind & (UNKNOWN | CONTROL | USER_DEFINED):
                continue
            text = C.llama_vocab_get_text(self.handle, token).decode("utf-8", "replace")
            framed = text[:2] + text[-2:] == "<||>"
            if kind & (UNKNOWN | CONTROL) or framed or text in template:
                yield text

    def _tokens(self, text: str, *, special: bool) -> list[int]:
        data = text.encode("utf-8", "replace")
        room = len(data) + 16
        while True:
            tokens = (C.llama_token * room)()
            size = C.llama_tokenize(self.handle, data, len(data), tokens, room, False, special)
            if size >= 0:
                return list(tokens[:size])
            room = -size

    def _special(self, token: int) -> str:
        return self._spell(token, special=True).decode("utf-8", "replace") if token >= 0 else ""

    def _spell(self, token: int, *, special: bool) -> bytes:
        buffer = ctypes.create_string_buffer(512)
        size = C.llama_token_to_piece(self.handle, token, buffer, len(buffer), 0, special)
        return buffer.raw[: max(size, 0)]
