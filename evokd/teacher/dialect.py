"""How each kind of server wants to be asked for text, and how its answers are read.

OpenAI's API is the common part; the rest are the fields of llama-server, vLLM's server and
llama-cpp-python's. What a server does not know is left out, not hoped for. So a `grammar` goes to
these three alone: it is GBNF, for which OpenAI's API has no field, and its JSON schemas have no
list at the top and cannot hold an entity to the words of its text. Others write freely, and what
they write is read by the parsers of `evokd.replies`, which refuse what has the wrong shape.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

from evokd.errors import TeacherError
from evokd.teacher import Generate, Message, Written
from evokd.teacher.grammar import choice
from evokd.teacher.thinking import KNOWN, strip_thinking, thinking, was_opened

Server = Literal["llama-server", "vllm", "llama-cpp-python", "openai"]
Way = Literal["tokens", "texts", "reply", "answer"]
Form = Literal["json_schema", "json_object", "text"]
FORMS: tuple[Form, ...] = get_args(Form)  # the strictest first
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
            up what it says of the tokens (exact for that spelling); "reply" lets it write freely
            and reads the other choices from what was likely instead (the best is exact, the
            others often are bounds); "answer" makes it choose one.
        top: for "reply", so many likeliest tokens are told at each place.
        form: how an "openai" server is held to one of some choices.
        thoughts: tokens that every reply gets besides, for thoughts that count as a part of it.
    """

    server: Server
    model: str
    build: str
    way: Way
    top: int = 0
    form: Form = "json_schema"
    thoughts: int = 0


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens of one question: of its prompt, of its answer, and of the prompt's known part."""

    prompt: int
    answer: int
    cached: int

    @property
    def decoded(self) -> int:
        """Tokens that went through the model."""
        return self.prompt - self.cached + self.answer


# -- asking for text ------------------------------------------------------------------------------


def generate_body(dialect: Dialect, request: Generate) -> dict[str, Any]:
    """Return the body that asks for a sampled reply; its grammar goes where one is taken."""
    body = chat_body(dialect, request.messages) | {
        "max_tokens": request.max_tokens + dialect.thoughts,
        "temperature": request.temperature,
        "top_p": request.top_p,
        "seed": request.seed % SEEDS,
    }
    if stop := [text for text in request.stop if text]:  # an empty one would end every reply
        body["stop"] = stop
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
    """Return the body that asks for one of the choices, the likeliest, and nothing else.

    An "openai" server is held to them as `dialect.form` says: by a schema, by asking for JSON, or
    not at all.
    """
    options = list(dict.fromkeys(choices))
    body = _greedy_body(dialect, messages, most=_bytes(options) + SIGNS)
    if dialect.server == "openai":
        return body | _form(dialect.form, body["messages"], options)
    if dialect.server == "vllm":
        return body | _structure(dialect, "choice", options)
    return body | _structure(dialect, "grammar", choice(options))


def looser(dialect: Dialect) -> list[Dialect]:
    """Return the dialect, and those in which less is asked of a server that refuses the first."""
    forms = FORMS[FORMS.index(dialect.form) :] if dialect.server == "openai" else (dialect.form,)
    return [replace(dialect, form=form) for form in forms]


def force_body(
    dialect: Dialect, messages: Sequence[Message], choices: Sequence[str], *, top: int
) -> dict[str, Any]:
    """Return the same, with the `top` likeliest tokens at every place."""
    return choice_body(dialect, messages, choices) | {"logprobs": True, "top_logprobs": top}


def reply_body(
    dialect: Dialect, messages: Sequence[Message], choices: Sequence[str]
) -> dict[str, Any]:
    """Return the body that asks for a free reply, no longer than the choices, with `top` tokens."""
    body = _greedy_body(dialect, messages, most=_bytes(choices) + 1)
    return body | {"logprobs": True, "top_logprobs": dialect.top}


def chat_body(dialect: Dialect, messages: Sequence[Message]) -> dict[str, Any]:
    """Return what every question about a conversation holds."""
    turns = [{"role": m.role, "content": m.content} for m in messages]
    body: dict[str, Any] = {"model": dialect.model, "messages": turns}
    if dialect.server != "openai":
        body["chat_template_kwargs"] = {"enable_thinking": False}
    return body


def _greedy_body(dialect: Dialect, messages: Sequence[Message], *, most: int) -> dict[str, Any]:
    body = chat_body(dialect, messages) | {"temperature": 0}
    body["max_tokens"] = most + dialect.thoughts
    return body | ({"repeat_penalty": 1.0} if dialect.server.startswith("llama") else {})


def _bytes(choices: Sequence[str]) -> int:
    """Return the bytes of the longest, which are at least its tokens."""
    return max(len(text.encode("utf-8", "replace")) for text in choices)


def _form(form: Form, turns: list[dict[str, str]], options: Sequence[str]) -> dict[str, Any]:
    """Return the fields that hold an "openai" server to one of the options."""
    if form == "text":
        return {}
    if form == "json_object":  # without the word JSON in the conversation it is refused
        listed = json.dumps(options, ensure_ascii=False)
        asked = f'{turns[-1]["content"]}\n\nReply as JSON, {{"answer": ...}}, with one of {listed}.'
        last = turns[-1] | {"content": asked}
        return {"messages": [*turns[:-1], last], "response_format": {"type": form}}
    schema = {
        "type": "object",
        "properties": {"answer": {"type": "string", "enum": options}},
        "required": ["answer"],
        "additionalProperties": False,
    }
    named = {"name": "answer", "strict": True, "schema": schema}
    return {"response_format": {"type": form, form: named}}


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
        text = _text(first["message"].get("content"))
        ended = first.get("finish_reason") in ("stop", "eos", None)
    except (LookupError, TypeError, AttributeError):
        said = " ".join(str(answer.get("error") or "no choices").split())[:200]
        raise TeacherError(f"the server gives no reply: {said}", "see its log") from None
    for tags in KNOWN:
        opened = was_opened(text, tags)
        ended = ended and not thinking(text, tags, opened=opened)
        text = strip_thinking(text, tags, opened=opened)
    usage = usage_of(answer)
    finish: Literal["stop", "length"] = "stop" if ended else "length"
    return Written(text, finish, usage.prompt, usage.answer, usage.decoded)


def nothing_left(answer: dict[str, Any]) -> bool:
    """Say whether a reply was cut before it said anything: thoughts took its tokens."""
    return not reply_of(answer).text and answer["choices"][0].get("finish_reason") == "length"


def _text(content: object) -> str:
    """Return the text of a reply's content, which may be a list of parts.

    JSON may hold half an emoji, where a server cuts one in two: that is no text, and is replaced.
    """
    if isinstance(content, list):
        return "".join(_text(part.get("text")) for part in content if isinstance(part, dict))
    text = content if isinstance(content, str) else ""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def usage_of(answer: dict[str, Any]) -> Usage:
    """Return the tokens that the server counted, 0 where it does not say so in a whole number."""
    told = answer.get("usage")
    prompt = _count(told, "prompt_tokens") or _count(answer, "tokens_evaluated")
    written = _count(told, "completion_tokens") or _count(answer, "tokens_predicted")
    details = told.get("prompt_tokens_details") if isinstance(told, dict) else None
    cached = _count(details, "cached_tokens") or _count(answer.get("timings"), "cache_n")
    return Usage(prompt, written, min(cached, prompt))


def _count(told: object, name: str) -> int:
    value = told.get(name) if isinstance(told, dict) else None
    return max(value, 0) if type(value) is int else 0


def answer_of(answer: dict[str, Any]) -> str:
    """Return the answer to a `choice_body`, taken out of the JSON that it may stand in."""
    text = reply_of(answer).text.strip()
    try:
        return str(json.loads(text)["answer"])
    except (ValueError, RecursionError, LookupError, TypeError):
        return text


def texts_after(answer: dict[str, Any]) -> list[tuple[str, float, dict[str, float]]]:
    """Return each place of a `force_body`: its text, its log-prob, and the likeliest texts.

    Raises:
        TeacherError: when a place lacks one of them.
    """
    try:
        return [
            (p["token"], p["logprob"], {t["token"]: t["logprob"] for t in p["top_logprobs"]})
            for p in logprobs_of(answer)
        ]
    except (LookupError, TypeError):
        raise TeacherError("the server gives no log-probabilities", "see its log") from None


def bytes_after(answer: dict[str, Any]) -> list[tuple[bytes, dict[bytes, float]]]:
    """Return each place of a `reply_body`: its bytes, and the likeliest with log-probs.

    Nothing where the server does not say.
    """
    with suppress(LookupError, TypeError, ValueError, AttributeError):
        return [
            (_spelt(p), {_spelt(t): float(t["logprob"]) for t in [*p["top_logprobs"], p]})
            for p in logprobs_of(answer)
        ]
    return []


def _spelt(token: dict[str, Any]) -> bytes:
    told = token.get("bytes")  # the text of a part of a letter is made up
    return bytes(told) if told is not None else token["token"].encode()


def logprobs_of(answer: dict[str, Any]) -> list[dict[str, Any]]:
    """Return what a chat answer says of each of its tokens; nothing where it says nothing."""
    with suppress(LookupError, TypeError):
        return answer["choices"][0]["logprobs"]["content"] or []
    return []
