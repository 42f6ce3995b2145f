"""How a row's next token is drawn. The drawing itself stays in C, over that row's logits alone.

A reply that must follow a grammar is drawn freely first, and only the drawn token is shown to the
grammar: that costs microseconds. Where the grammar refuses it, the token is drawn again among
those that fit. To mask every token at every step would cost more than decoding a small model.
"""

from __future__ import annotations

import ctypes
import re
from codecs import utf_8_decode
from typing import Any

import llama_cpp as C
import numpy as np
import numpy.typing as npt

from evokd.errors import TeacherError
from evokd.teacher import Generate
from evokd.teacher.vocabulary import Vocabulary

NUCLEUS = 1000  # likeliest tokens that are looked at: sorting them all costs more than decoding
FAINT = 1e-4  # share of the likeliest one's odds below which no token is looked at: speed
RANDOM = 0xFFFFFFFF  # the seed that means "any" to llama.cpp
CANDIDATE = np.dtype([("id", np.int32), ("logit", np.float32), ("p", np.float32)])
QUOTED = re.compile(r'"(?:\\.|[^"\\])*"|\[(?:\\.|[^]\\])*]|#.*')
HINT = "build grammars with evokd.teacher.grammar"

Candidates = npt.NDArray[np.void]  # of CANDIDATE, as llama.cpp lays them out


class Sampler:
    """A chain of llama.cpp's samplers for one reply, and its structure; `close` frees them.

    Args:
        request: how to sample, and the grammar to follow, if any.
        vocabulary: the model's tokens.

    Attributes:
        refused: how often the grammar refused what was drawn freely.

    Raises:
        TeacherError: when llama.cpp refuses the grammar.
    """

    def __init__(self, request: Generate, vocabulary: Vocabulary) -> None:
        self.refused = 0
        self._size = vocabulary.size
        self._structure = Structure(request.grammar, vocabulary) if request.grammar else None
        self._chain, self._penalties = _chain(request, vocabulary.size)
        self._reply: list[int] = []

    def draw(self, context: Any, place: int) -> int:
        """Draw a token from the logits of a row of the context's last batch, and remember it.

        Raises:
            TeacherError: when no token of the model fits the grammar.
        """
        token = int(C.llama_sampler_sample(self._chain, context, place))
        if self._structure is None:
            return token
        if not self._structure.allows(token):
            self.refused += 1
            self._forget_last()
            logits = C.llama_get_logits_ith(context, place)
            token = self._draw_fitting(np.ctypeslib.as_array(logits, shape=(self._size,)))
        self._structure.accept(token)
        self._reply.append(token)
        return token

    def close(self) -> None:
        """Free the chain and the structure; a second time does nothing."""
        if self._chain is not None:
            C.llama_sampler_free(self._chain)
            self._chain = None
        if self._structure is not None:
            self._structure.close()

    def _draw_fitting(self, logits: npt.NDArray[np.float32]) -> int:
        """Draw among the likeliest tokens that fit; among all that fit where none of those does."""
        assert self._structure is not None
        found = self._structure.fitting(_likeliest(logits), logits)
        if not len(found):
            found = self._structure.fitting(np.arange(self._size), logits)
        if not len(found):
            raise TeacherError("no token of the model fits the grammar of the reply", HINT)
        array = _array(found)
        C.llama_sampler_apply(self._chain, ctypes.byref(array))
        token = int(array.data[array.selected].id)
        C.llama_sampler_accept(self._chain, token)
        return token

    def _forget_last(self) -> None:
        """Let no penalty fall on a token that was drawn and refused."""
        C.llama_sampler_reset(self._penalties)
        for token in self._reply:
            C.llama_sampler_accept(self._penalties, token)


class Structure:
    """A grammar and how far a reply has come in it; `close` frees it.

    C ends the process when it must accept a token that does not fit, so `accept` only what
    `allows` or `fitting` let pass. Tokens that stand for no text never fit, but for those that end
    a turn: they fit where the reply is whole. What fits is UTF-8, which C does not see to.

    Args:
        grammar: GBNF with the rule `root`, as `evokd.teacher.grammar` builds it. C hangs on a
            grammar that recurs on the left behind a rule that may be empty.
        vocabulary: the model's tokens.

    Raises:
        TeacherError: when llama.cpp refuses the grammar.
    """

    def __init__(self, grammar: str, vocabulary: Vocabulary) -> None:
        beginning = " ".join(grammar.split())[:60]
        if re.search("[<!]", QUOTED.sub("", grammar)):
            # llama.cpp lets some tokens pass there that it cannot accept.
            raise TeacherError(f"a grammar must not name tokens: {beginning}", HINT)
        gbnf = grammar.encode("utf-8", "replace")
        self._sampler = C.llama_sampler_init_grammar(vocabulary.handle, gbnf, b"root")
        if not self._sampler:
            raise TeacherError(f"llama.cpp refuses the grammar that begins {beginning}", HINT)
        self._vocabulary = vocabulary
        self._open = b""  # the bytes of a letter that is not whole yet
        self._one = C.llama_token_data()
        self._alone = C.llama_token_data_array(ctypes.pointer(self._one), 1, -1, False)

    def allows(self, token: int) -> bool:
        """Return whether the token may come next."""
        self._one.id, self._one.logit = token, 0.0
        C.llama_sampler_apply(self._sampler, ctypes.byref(self._alone))
        return self._one.logit == 0.0 and self._reads_on(token)

    def fitting(self, tokens: npt.NDArray[Any], logits: npt.NDArray[np.float32]) -> Candidates:
        """Return those of the tokens that may come next, with the model's logits."""
        candidates = np.zeros(len(tokens), CANDIDATE)
        candidates["id"], candidates["logit"] = tokens, logits[tokens]
        C.llama_sampler_apply(self._sampler, ctypes.byref(_array(candidates)))
        left = candidates[np.isfinite(candidates["logit"])]
        reads_on = map(self._reads_on, left["id"].tolist())
        found: Candidates = left[np.fromiter(reads_on, bool, len(left))]
        return found

    def accept(self, token: int) -> None:
        """Go on by a token that fits."""
        C.llama_sampler_accept(self._sampler, token)
        read = self._open + self._vocabulary.piece(token)
        self._open = read[utf_8_decode(read, "strict", False)[1] :]

    def close(self) -> None:
        """Free it; a second time does nothing."""
        if self._sampler is not None:
            C.llama_sampler_free(self._sampler)
            self._sampler = None

    def _reads_on(self, token: int) -> bool:
        """Return whether the token stands for text that goes on as UTF-8, or ends the turn."""
        piece = self._vocabulary.piece(token)
        try:
            utf_8_decode(self._open + piece, "strict", False)
        except UnicodeDecodeError:
            return False
        return bool(piece) or self._vocabulary.ends(token)


def _chain(request: Generate, vocabulary: int) -> tuple[Any, Any]:
    """Return the chain for a request, and its link that penalises repetition.

    The order is llama.cpp's own, but that the likeliest tokens are chosen before all else, so
    that no other link looks at the whole vocabulary; where repetition is penalised, the faint ones
    go only after that. Temperature comes last: the nucleus is that of the model's own
    probabilities. A link that has nothing to do does nothing.
    """
    # Only the reply's own tokens are penalised: the chain is never shown the prompt.
    penalty: list[float] = [request.max_tokens, request.repetition_penalty, 0.0, 0.0]
    if len(C.llama_sampler_init_penalties.argtypes) > len(penalty):  # llama-cpp-python >= 0.3.35
        penalty.insert(0, vocabulary)
    penalties = C.llama_sampler_init_penalties(*penalty)
    links = [penalties, C.llama_sampler_init_greedy()]
    if request.temperature != 0:
        likeliest = C.llama_sampler_init_top_k(NUCLEUS)
        # What is faint now may not be at a temperature above 1.
        faint = C.llama_sampler_init_min_p(FAINT ** max(request.temperature, 1.0), 1)
        links = [
            *(
                (faint, likeliest, penalties)
                if request.repetition_penalty == 1
                else (likeliest, penalties, faint)
            ),
            C.llama_sampler_init_top_p(request.top_p, 1),
            C.llama_sampler_init_min_p(request.min_p, 1),
            C.llama_sampler_init_temp(request.temperature),
            C.llama_sampler_init_dist(request.seed % RANDOM),
        ]
    chain = C.llama_sampler_chain_init(C.llama_sampler_chain_default_params())
    for link in links:
        C.llama_sampler_chain_add(chain, link)
    return chain, penalties


def _likeliest(logits: npt.NDArray[np.float32]) -> npt.NDArray[Any]:
    if len(logits) <= NUCLEUS:
        return np.arange(len(logits))
    return np.argpartition(logits, -NUCLEUS)[-NUCLEUS:]


def _array(candidates: Candidates) -> Any:
    """Return what C takes for an array of candidates; it changes them in place."""
    pointer = ctypes.cast(candidates.ctypes.data, C.llama_token_data_p)
    return C.llama_token_data_array(pointer, len(candidates), -1, False)
