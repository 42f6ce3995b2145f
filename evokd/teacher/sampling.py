"""How a row's next token is drawn. The drawing itself stays in C, over that row's logits alone."""

from __future__ import annotations

from typing import Any

import llama_cpp as C

from evokd.teacher import Generate

NUCLEUS = 1000  # likeliest tokens that top_p looks at: sorting them all costs more than decoding
RANDOM = 0xFFFFFFFF  # the seed that means "any" to llama.cpp


class Sampler:
    """A chain of llama.cpp's samplers for one reply; `close` frees it."""

    def __init__(self, request: Generate) -> None:
        self._chain = C.llama_sampler_chain_init(C.llama_sampler_chain_default_params())
        for link in _links(request):
            C.llama_sampler_chain_add(self._chain, link)

    def draw(self, context: Any, place: int) -> int:
        """Draw a token from the logits of a row of the context's last batch, and remember it."""
        return int(C.llama_sampler_sample(self._chain, context, place))

    def close(self) -> None:
        """Free the chain; a second time does nothing."""
        if self._chain is not None:
            C.llama_sampler_free(self._chain)
            self._chain = None


def _links(request: Generate) -> list[Any]:
    if request.temperature == 0:
        return [C.llama_sampler_init_greedy()]
    return [
        C.llama_sampler_init_top_k(NUCLEUS),
        C.llama_sampler_init_top_p(request.top_p, 1),
        C.llama_sampler_init_temp(request.temperature),
        C.llama_sampler_init_dist(request.seed % RANDOM),
    ]
