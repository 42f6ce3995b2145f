"""Asking llama-server and vLLM for tokens: of a conversation, of a text, and the likeliest next.

Each question is a path and a body, ready for `Wire.ask`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from evokd.errors import TeacherError
from evokd.teacher import Message
from evokd.teacher.address import Address
from evokd.teacher.dialect import Dialect, chat_body
from evokd.teacher.grammar import choice

Question = tuple[str, dict[str, Any]]


def prompt_question(address: Address, dialect: Dialect, messages: Sequence[Message]) -> Question:
    """Return path and body of the first step from a conversation to its tokens.

    vLLM answers with the tokens; llama-server with the text, of which `text_question` asks.
    """
    path = "/tokenize" if dialect.server == "vllm" else "/apply-template"
    return address.root + path, chat_body(dialect, messages)


def text_question(address: Address, dialect: Dialect, text: str, *, prompt: bool) -> Question:
    """Return path and body that ask for the tokens of a rendered prompt, or of plain text."""
    url = address.root + "/tokenize"
    if dialect.server == "vllm":
        return url, {"model": dialect.model, "prompt": text, "add_special_tokens": prompt}
    body = {"content": text, "add_special": prompt, "parse_special": prompt}
    return url, {"model": dialect.model, **body}


def next_question(
    address: Address, dialect: Dialect, tokens: Sequence[int], *, most: int, top: int
) -> Question:
    """Return path and body that ask for `most` likeliest tokens after these, with others."""
    body = {"model": dialect.model, "prompt": list(tokens), "temperature": 0}
    if dialect.server == "vllm":
        body |= {"max_tokens": most, "logprobs": top, "return_tokens_as_token_ids": True}
        return f"{address.base}/completions", body
    return f"{address.root}/completion", body | {"n_predict": most, "n_probs": top}


def forced_question(
    address: Address, dialect: Dialect, prompt: Sequence[int], *, text: str, path: Sequence[int]
) -> Question:
    """Return path and body that ask for the log-probability of a whole text behind a prompt.

    vLLM reads the text's tokens as part of the prompt, which costs it all of the prompt anew;
    llama-server is made to write the text.
    """
    body = {"model": dialect.model, "temperature": 0}
    if dialect.server == "vllm":
        tokens = [*prompt, *path]
        body |= {"prompt": tokens, "max_tokens": 1, "prompt_logprobs": 1}
        return f"{address.base}/completions", body
    most = len(text.encode("utf-8", "replace"))
    body |= {"prompt": list(prompt), "n_predict": most, "n_probs": 1, "grammar": choice([text])}
    return f"{address.root}/completion", body


def tokens_of(answer: dict[str, Any]) -> list[int]:
    """Return the tokens that a `text_question` asks for.

    Raises:
        TeacherError: when the answer has none.
    """
    tokens = answer.get("tokens")
    if not isinstance(tokens, list) or not all(isinstance(token, int) for token in tokens):
        raise TeacherError("the server gives no tokens", "see its log")
    return tokens


def tokens_after(answer: dict[str, Any]) -> list[tuple[int, dict[int, float]]]:
    """Return each place of a `next_question`: its token, and the likeliest with log-probs."""
    try:
        if "completion_probabilities" in answer:
            places = answer["completion_probabilities"]
            return [(p["id"], {t["id"]: t["logprob"] for t in p["top_logprobs"]}) for p in places]
        told = answer["choices"][0]["logprobs"]
        return [
            (_number(token), {_number(name): logprob for name, logprob in top.items()})
            for token, top in zip(told["tokens"], told["top_logprobs"], strict=True)
        ]
    except (LookupError, TypeError, ValueError, AttributeError):
        raise TeacherError("the server gives no log-probabilities", "see its log") from None


def _number(token: str) -> int:
    return int(token.rpartition(":")[2])


def forced_total(answer: dict[str, Any], path: Sequence[int]) -> float:
    """Return the log-probability that a `forced_question` asks for.

    Raises:
        TeacherError: when the answer does not say.
    """
    try:
        if "completion_probabilities" in answer:
            places = answer["completion_probabilities"]
            return float(sum(p["logprob"] for p in places if p["bytes"]))  # the end has none
        told = answer["choices"][0]["prompt_logprobs"][-len(path) :]
        return float(sum(p[str(token)]["logprob"] for p, token in zip(told, path, strict=True)))
    except (LookupError, TypeError, ValueError):
        raise TeacherError("the server gives no log-probabilities", "see its log") from None
