"""Servers over a toy language model, for tests of the HTTP teacher.

Each answers in the form that the real server of its kind was seen to use. The toy's
log-probability of a next token is a function of the tokens before it.
"""

from __future__ import annotations

import hashlib
import json
import math
import random
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache
from typing import Any

from faulty_server import Answer, Asked, Reply

END = 0  # the toy's token for the end of a turn
VOCABULARY = 60


# -- the toy model --------------------------------------------------------------------------------


def tokens_of(text: str) -> list[int]:
    """Return a toy's tokens: one for every two letters."""
    return [_hash(text[i : i + 2]) % (VOCABULARY - 1) + 1 for i in range(0, len(text), 2)]


def logprobs_after(tokens: Sequence[int]) -> list[float]:
    """Return the log-probability of every token behind some tokens."""
    return _logprobs(tuple(tokens))


@cache
def _logprobs(tokens: tuple[int, ...]) -> list[float]:
    # Spread widely, so that the likeliest tokens are some and the rest are far behind.
    rng = random.Random(_hash(str(tokens)))
    scores = [rng.random() * 8 for _ in range(VOCABULARY)]
    total = math.log(sum(map(math.exp, scores)))
    return [score - total for score in scores]


def likeliest_after(tokens: Sequence[int], most: int) -> list[tuple[int, float]]:
    """Return the likeliest next tokens with their log-probabilities, best first."""
    ranked = sorted(enumerate(logprobs_after(tokens)), key=lambda pair: -pair[1])
    return ranked[:most]


def written_after(tokens: Sequence[int], most: int) -> list[int]:
    """Return what the toy writes, the likeliest token each time, its end included."""
    made: list[int] = []
    while len(made) < most and END not in made:
        made.append(likeliest_after([*tokens, *made], 1)[0][0])
    return made


def prompt_of(messages: Sequence[Mapping[str, str]]) -> str:
    """Return the toy's template."""
    return "".join(f"<{m['role']}>{m['content']}" for m in messages) + "<assistant>"


def _hash(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=4).digest(), "big")


# -- servers --------------------------------------------------------------------------------------


def chat(
    text: Any,
    *,
    finish: str = "stop",
    cached: int | None = None,
    places: Sequence[Mapping[str, float]] = (),
) -> dict[str, Any]:
    """Return an answer to a chat question; each place tells the written token first."""
    details = {} if cached is None else {"prompt_tokens_details": {"cached_tokens": cached}}
    told = [
        [{"token": t, "logprob": v, "bytes": [*t.encode()]} for t, v in p.items()] for p in places
    ]
    logprobs = {"content": [place[0] | {"top_logprobs": place} for place in told]}
    said = {"message": {"role": "assistant", "content": text}, "finish_reason": finish}
    return {
        "choices": [said | ({"logprobs": logprobs} if places else {})],
        "usage": {"prompt_tokens": 10, "completion_tokens": 3, "total_tokens": 13} | details,
    }


def models(*names: str, **fields: Any) -> Reply:
    """Return the list of a server's models."""
    return Reply(
        {"object": "list", "data": [{"id": n, "object": "model", **fields} for n in names]}
    )


def slow(answer: Answer, pause: float) -> Answer:
    """Return a server that answers so, each question after a pause."""

    def late(asked: Asked) -> Reply | None:
        reply = answer(asked)
        return replace(reply, pause=pause) if reply else None

    return late


def plain(asked: Asked) -> Reply | None:
    """Answer like a server of which nothing is known: by repeating, or by the last choice."""
    if asked.path == "/v1/models":
        return models("toy")
    if asked.path != "/v1/chat/completions":
        return None
    said = asked.body["messages"][-1]["content"]
    if form := asked.body.get("response_format"):
        enum = form["json_schema"]["schema"]["properties"]["answer"]["enum"]
        return Reply(chat(json.dumps({"answer": next(c for c in enum if c in said)})))
    return Reply(chat(f"you said {said}, seed {asked.body.get('seed')}"))


def telling(places: Sequence[Mapping[str, float]], most: int = 20) -> Answer:
    """Return a server of which nothing is known, which always says the same and tells of it.

    Args:
        places: its tokens, each with what else was likely.
        most: it refuses to tell of more tokens.
    """

    def answer(asked: Asked) -> Reply | None:
        if not (asked.body or {}).get("logprobs"):
            return plain(asked)
        if asked.body["top_logprobs"] > most:
            return Reply({"error": "too many logprobs"}, 400)
        return Reply(chat("".join(next(iter(place)) for place in places), places=places))

    return answer


def vllm(asked: Asked) -> Reply | None:
    """Answer like vLLM."""
    if asked.path == "/version":
        return Reply({"version": "0.11.2"})
    if asked.path == "/tokenize" and "messages" in asked.body:
        return _tokens(prompt_of(asked.body["messages"]))
    if asked.path == "/tokenize":
        return _tokens(asked.body["prompt"])
    if asked.path != "/v1/completions":
        return plain(asked)
    prompt = asked.body["prompt"]
    if "prompt_logprobs" in asked.body:
        places = [logprobs_after(prompt[:i]) for i in range(1, len(prompt))]
        read = [{str(t): {"logprob": p[t]}} for p, t in zip(places, prompt[1:], strict=True)]
        return Reply({"choices": [{"text": "", "prompt_logprobs": [None, *read]}]})
    top = asked.body["logprobs"]
    assert top <= 20, "vLLM refuses more"
    made = written_after(prompt, asked.body["max_tokens"])
    likeliest = [likeliest_after([*prompt, *made[:i]], top) for i in range(len(made))]
    named = [{f"token_id:{t}": logprob for t, logprob in place} for place in likeliest]
    told = {"tokens": [f"token_id:{t}" for t in made], "top_logprobs": named}
    usage = {"prompt_tokens": len(prompt), "completion_tokens": len(made)}
    return Reply({"choices": [{"text": "", "logprobs": told}], "usage": usage})


def _tokens(text: str) -> Reply:
    tokens = tokens_of(text)
    return Reply({"tokens": tokens, "count": len(tokens), "max_model_len": 4096})


def llama_server(asked: Asked) -> Reply | None:
    """Answer like llama-server."""
    if asked.path == "/v1/models":
        return models("toy.gguf", owned_by="llamacpp", meta={"n_params": 7, "size": 9})
    if asked.path == "/props":
        return Reply({"build_info": "b1-x", "total_slots": 4})
    if asked.path == "/apply-template":
        return Reply({"prompt": prompt_of(asked.body["messages"])})
    if asked.path == "/tokenize":
        return Reply({"tokens": tokens_of(asked.body["content"])})
    if asked.path != "/completion":
        return plain(asked)
    prompt, top = asked.body["prompt"], asked.body["n_probs"]
    if "grammar" in asked.body:
        return Reply({"completion_probabilities": _forced(prompt, asked.body["grammar"])})
    made = written_after(prompt, asked.body["n_predict"])
    places = [
        {
            "id": token,
            "top_logprobs": [
                {"id": t, "logprob": logprob}
                for t, logprob in likeliest_after([*prompt, *made[:i]], top)
            ],
        }
        for i, token in enumerate(made)
    ]
    counts = {"tokens_evaluated": len(prompt), "tokens_predicted": len(made)}
    cached = {"timings": {"cache_n": len(prompt) - 1}}
    return Reply({"content": "", "completion_probabilities": places} | counts | cached)


def _forced(prompt: list[int], grammar: str) -> list[dict[str, Any]]:
    """Return what the toy says of the one text that a grammar allows, and of the end behind it."""
    path = tokens_of(re.fullmatch(r'root ::= "(.*)"', grammar)[1])  # type: ignore[index]
    places = [
        {"logprob": logprobs_after([*prompt, *path[:i]])[token], "bytes": [65]}
        for i, token in enumerate(path)
    ]
    return [*places, {"logprob": -1.0, "bytes": []}]
