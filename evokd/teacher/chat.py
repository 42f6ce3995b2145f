"""Turn a conversation into the text that a model was trained on, by its own chat template.

A template comes out of a model file that somebody downloaded, so it runs in a sandbox: one that
reaches for Python's insides, or works without end, is refused. Knows nothing of tokens and of
llama.cpp.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from functools import lru_cache
from itertools import groupby
from typing import Any

from jinja2 import Template
from jinja2.exceptions import SecurityError

from evokd.errors import TeacherError
from evokd.teacher import Message
from evokd.teacher.sandbox import Sandbox, raise_exception

CHATML = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
CUT = "\ufdd0"  # where a text is cut before it is tokenised; Unicode gives it no other meaning
HINT = "use a GGUF file with a working tokenizer.chat_template"
PROBE = (Message("system", "\ufdd1"), Message("user", "\ufdd2"))
TODAY = datetime(2024, 7, 26)  # Llama 3 takes this day where it is told none
USUAL: dict[str, Any] = {
    "add_generation_prompt": True,
    "bos_token": "",
    "eos_token": "",
    "tools": None,
    "documents": None,
    "enable_thinking": False,  # Qwen 3 and most others
    "thinking": False,  # DeepSeek 3.1, Granite
    "thinking_budget": 0,  # Seed
}
log = logging.getLogger(__name__)


def render(
    template: str,
    messages: Sequence[Message],
    *,
    add_generation_prompt: bool,
    bos: str,
    eos: str,
    **flags: Any,
) -> str:
    """Return the conversation as one text.

    Thinking is switched off where the template can, unless a flag says otherwise. A template
    that asks for the date gets `TODAY`, the same on every day: a prompt must not change at
    midnight. Where the template has no system role, the system's text opens the first user turn;
    where it refuses two turns of one role in a row, they become one.

    Args:
        template: the jinja2 template of the model; empty means ChatML, with a warning.
        messages: the turns, oldest first.
        add_generation_prompt: end with the opening of the assistant's turn.
        bos: the text of the model's token for the beginning, as templates print it.
        eos: the text of the token for the end.
        flags: more variables for the template.

    Raises:
        TeacherError: when the template is broken, refuses the conversation, leaves the sandbox or
            works without end.
    """
    asked = {"add_generation_prompt": add_generation_prompt, "bos_token": bos, "eos_token": eos}
    values = {**USUAL, **asked, **flags}
    if any(m.role == "system" for m in messages) and not _takes_system(template):
        messages = joined([replace(m, role="user") if m.role == "system" else m for m in messages])
    try:
        return _run(template, messages, values)
    except TeacherError as problem:
        fewer = joined(messages)
        if len(fewer) == len(messages) or isinstance(problem.__cause__, SecurityError):
            raise
        return _run(template, fewer, values)


def joined(messages: Sequence[Message]) -> list[Message]:
    """Make neighbours of the same role one message, with an empty line between them."""
    turns = groupby(messages, lambda message: message.role)
    return [Message(role, "\n\n".join(m.content for m in turn)) for role, turn in turns]


def defused(messages: Sequence[Message], markers: re.Pattern[str] | None) -> Sequence[Message]:
    """Put `CUT` into each marker in the contents, so that it cannot become the model's own token.

    Somebody's text may hold "<|im_end|>", and would end its turn with it. `CUT` goes through
    templates like a letter; the tokeniser takes the text apart there. Messages without a marker
    are returned as they are.

    Args:
        messages: the turns.
        markers: matches the text of any marker, of two letters at least; None matches nothing.
    """
    if markers is None or not any(CUT in m.content or markers.search(m.content) for m in messages):
        return messages
    clean = [replace(m, content=m.content.replace(CUT, "\ufffd")) for m in messages]
    return [replace(m, content=_cut(m.content, markers)) for m in clean]


def _cut(text: str, markers: re.Pattern[str]) -> str:
    """Cut behind the first letter of each marker; markers may lie over each other."""
    places = [0]
    while found := markers.search(text, places[-1]):
        places.append(found.start() + 1)
    return CUT.join(text[a:b] for a, b in zip(places, [*places[1:], len(text)], strict=True))


@lru_cache(maxsize=8)
def _takes_system(template: str) -> bool:
    """Return whether a system's text comes through."""
    try:
        text = _run(template, PROBE, USUAL)
    except TeacherError as problem:
        if isinstance(problem.__cause__, SecurityError):
            raise
        return False
    return PROBE[0].content in text


def _run(template: str, messages: Sequence[Message], values: dict[str, Any]) -> str:
    sandbox, compiled = _compiled(template)
    turns = [{"role": m.role, "content": m.content} for m in messages]
    try:
        return sandbox.render(compiled, {"messages": turns, **values})
    except Exception as problem:  # a template may fail in any way that Python can
        raise _failure("fails", problem) from problem


@lru_cache(maxsize=8)
def _compiled(template: str) -> tuple[Sandbox, Template]:
    if not template:
        log.warning("the model has no chat template: ChatML is used, which may not suit it")
    sandbox = Sandbox()
    sandbox.globals["raise_exception"] = raise_exception
    sandbox.globals["strftime_now"] = TODAY.strftime
    try:
        return sandbox, sandbox.compiled(template or CHATML)
    except Exception as problem:  # jinja2's own errors, and Python's for what it makes of it
        raise _failure("is broken", problem) from problem


def _failure(what: str, problem: Exception) -> TeacherError:
    message = f"the model's chat template {what}: {type(problem).__name__}: {problem}"
    return TeacherError(" ".join(message.split())[:500], HINT)
