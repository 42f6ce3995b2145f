"""How each kind of server wants to be asked for text, and how its answers are read.

OpenAI's API is the common part; the rest are the fields of llama-server, vLLM's server and
llama-cpp-python's. What a server does not know is left out, not hoped for.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from evokd.errors import TeacherError
from evokd.teacher import Generate, Message, Written
from evokd.teacher.grammar import choice
from evokd.teacher.thinking import KNOWN, strip_thinking, thinking

Server = Literal["llama-server", "vllm", "llama-cpp-python", "openai"]
Way = Literal["tokens", "texts", "answer"]
NUCLEUS = 1000  # likeliest tokens that top_p looks at, as in the teacher of this process
SEEDS = 0x7FFFFFFF  # every server takes seeds below
SIGNS = 32  # tokens of JSON around an answer, at most


@dataclass(frozen=True, slots=True)
class Dialect:
    """A server, and what it can do.

    Attributes:
        server: its kind; "openai" stands for all others.
        model: the name that it has for the model.
        build: what it says about itself and the model's file.
        way: how it scores, best first: "tokens" walks over the choices' own tokens, each with
            the likeliest next tokens (exact); "texts" makes it write each likely choice and adds
            up what it says of the tokens (exact for that spelling); "answer" makes it choose one.
    """

    server: Server
    model: str
    build: str
    way: Way


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens of one question: of its prompt, of its answer, and of the prompt's known part."""

    prompt: int
    answer: int
    cached: int


# -- asking for text ------------------------------------------------------------------------------


def generate_body(dialect: Dialect, request: Generate) -> dict[str, Any]:
    """Return the body that asks for a sampled reply."""
    body = chat_body(dialect, request.messages) | {
        "max_tokens": request.max_tokens,
        "temperature": request.temperature,
        "top_p": request.top_p,
        "seed": request.seed % SEEDS,
    }
    if request.stop:
        body["stop"] = list(request.stop)
    if dialect.server == "openai":
        return body
    body |= {"min_p": request.min_p, "top_k": NUCLEUS}
    if dialect.server == "vllm":
        body["repetition_penalty"] = request.repetition_penalty
    else:
        # The window of the penalty reaches over the whole reply, at first into the prompt too.
        window = {"repeat_last_n": request.max_tokens}
        body |= {"repeat_penalty": request.repetition_penalty} | window
    if request.grammar:
        body |= _structure(dialect, "grammar", request.grammar)
    return body


def choice_body(
    dialect: Dialect, messages: Sequence[Message], choices: Sequence[str]
) -> dict[str, Any]:
    """Return the body that asks for one of the choices, the likeliest, and nothing else."""
    most = max(len(text.encode("utf-8", "replace")) for text in choices) + SIGNS
    body = chat_body(dialect, messages) | {"max_tokens": most, "temperature": 0}
    if dialect.server == "openai":
        schema = {
            "type": "object",
            "properties": {"answer": {"type": "string", "enum": list(choices)}},
            "required": ["answer"],
            "additionalProperties": False,
        }
        named = {"name": "answer", "strict": True, "schema": schema}
        return body | {"response_format": {"type": "json_schema", "json_schema": named}}
    if dialect.server == "vllm":
        return body | _structure(dialect, "choice", list(choices))
    return body | {"repeat_penalty": 1.0} | _structure(dialect, "grammar", choice(choices))


def force_body(
    dialect: Dialect, messages: Sequence[Message], choices: Sequence[str], *, top: int
) -> dict[str, Any]:
    """Return the same, with the `top` likeliest tokens at every place."""
    return choice_body(dialect, messages, choices) | {"logprobs": True, "top_logprobs": top}


def chat_body(dialect: Dialect, messages: Sequence[Message]) -> dict[str, Any]:
    """Return what every question about a conversation holds."""
    turns = [{"role": m.role, "content": m.content} for m in messages]
    body: dict[str, Any] = {"model": dialect.model, "messages": turns}
    if dialect.server != "openai":
        body["chat_template_kwargs"] = {"enable_thinking": False}
    return body


def _structure(dialect: Dialect, kind: str, value: object) -> dict[str, Any]:
    if dialect.server != "vllm":
        return {kind: value}
    if _version(dialect.build) < (0, 11):
        return {f"guided_{kind}": value}
    return {"structured_outputs": {kind: value}}


def _version(build: str) -> tuple[int, ...]:
    parts = build.split(" ")[0].split(".")[:2]
    return tuple(int(part) for part in parts) if all(p.isdigit() for p in parts) else (1, 0)


# -- reading answers ------------------------------------------------------------------------------


def reply_of(answer: dict[str, Any]) -> Written:
    """Return what a chat answer says.

    Thoughts that the server left in the text are taken out.

    Raises:
        TeacherError: when it is no chat answer.
    """
    try:
        first = answer["choices"][0]
        text = first["message"].get("content") or ""
        ended = first.get("finish_reason") in ("stop", "eos", None)
    except (LookupError, TypeError, AttributeError):
        said = " ".join(str(answer.get("error") or "no choices").split())[:200]
        raise TeacherError(f"the server gives no reply: {said}", "see its log") from None
    for tags in KNOWN:
        ended = ended and not thinking(text, tags, opened=False)
        text = strip_thinking(text, tags, opened=False)
    usage = usage_of(answer)
    decoded = usage.prompt - usage.cached + usage.answer
    return Written(text, "stop" if ended else "length", usage.prompt, usage.answer, decoded)


def usage_of(answer: dict[str, Any]) -> Usage:
    """Return the tokens that the server counted, 0 where it does not say."""
    told = answer.get("usage") or {}
    cached = (told.get("prompt_tokens_details") or {}).get("cached_tokens")
    timings = answer.get("timings") or {}
    return Usage(
        prompt=int(told.get("prompt_tokens") or answer.get("tokens_evaluated") or 0),
        answer=int(told.get("completion_tokens") or answer.get("tokens_predicted") or 0),
        cached=int(cached or timings.get("cache_n") or 0),
    )


def answer_of(answer: dict[str, Any]) -> str:
    """Return the answer to a `choice_body`, taken out of the JSON that it may stand in."""
    text = reply_of(answer).text.strip()
    try:
        return str(json.loads(text)["answer"])
    except (ValueError, RecursionError, LookupError, TypeError):
        return text


def texts_after(answer: dict[str, Any]) -> list[tuple[str, float, dict[str, float]]]:
    """Return each place of a `force_body`: its text, its log-prob, and the likeliest texts."""
    return [
        (p["token"], p["logprob"], {t["token"]: t["logprob"] for t in p["top_logprobs"]})
        for p in logprobs_of(answer)
    ]


def logprobs_of(answer: dict[str, Any]) -> list[dict[str, Any]]:
    """Return what a chat answer says of each of its tokens; nothing where it says nothing."""
    try:
        return answer["choices"][0]["logprobs"]["content"] or []
    except (LookupError, TypeError):
        return []
