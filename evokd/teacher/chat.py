"""Turn a conversation into the text that a model was trained on, by its own chat template.

A template comes out of a model file that somebody downloaded, so it runs in a sandbox: one that
reaches for Python's insides is refused. Knows nothing of tokens and of llama.cpp.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from datetime import datetime
from functools import lru_cache
from typing import Any, NoReturn

from jinja2 import Template, TemplateError
from jinja2.exceptions import SecurityError
from jinja2.sandbox import ImmutableSandboxedEnvironment

from evokd.errors import TeacherError
from evokd.teacher import Message

CHATML = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
HINT = "use a GGUF file with a working tokenizer.chat_template"
log = logging.getLogger(__name__)


class _Sandbox(ImmutableSandboxedEnvironment):
    """A sandbox that refuses at once where jinja2 would print nothing and go on."""

    def unsafe_undefined(self, obj: Any, attribute: str) -> NoReturn:
        """Refuse the attribute."""
        raise SecurityError(f"access to attribute {attribute!r} is unsafe")


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

    Thinking is switched off (`enable_thinking=False`) unless a flag says otherwise. Where the
    template has no system role, the system's text opens the first user turn.

    Args:
        template: the jinja2 template of the model; empty means ChatML, with a warning.
        messages: the turns, oldest first.
        add_generation_prompt: end with the opening of the assistant's turn.
        bos: the text of the model's token for the beginning, as templates print it.
        eos: the text of the token for the end.
        flags: more variables for the template.

    Raises:
        TeacherError: when the template is broken, refuses the conversation or leaves the sandbox.
    """
    values = {
        "enable_thinking": False,
        "tools": None,
        "documents": None,
        "add_generation_prompt": add_generation_prompt,
        "bos_token": bos,
        "eos_token": eos,
        **flags,
    }
    compiled = _compiled(template)
    merged = _merge_system(messages)
    if len(merged) == len(messages):
        return _run(compiled, messages, values)
    try:
        text = _run(compiled, messages, values)
    except TeacherError as problem:
        if isinstance(problem.__cause__, SecurityError):
            raise
        return _run(compiled, merged, values)
    kept = messages[0].content.strip() in text
    return text if kept else _run(compiled, merged, values)


def _merge_system(messages: Sequence[Message]) -> Sequence[Message]:
    if len(messages) < 2 or messages[0].role != "system" or messages[1].role != "user":
        return messages
    system, user, *rest = messages
    return (Message("user", f"{system.content}\n\n{user.content}"), *rest)


def _run(compiled: Template, messages: Sequence[Message], values: dict[str, Any]) -> str:
    turns = [{"role": m.role, "content": m.content} for m in messages]
    try:
        return compiled.render(messages=turns, **values)
    except Exception as problem:  # a template may fail in any way that Python can
        message = f"the model's chat template fails: {type(problem).__name__}: {problem}"
        raise TeacherError(" ".join(message.split()), HINT) from problem


@lru_cache(maxsize=8)
def _compiled(template: str) -> Template:
    if not template:
        log.warning("the model has no chat template: ChatML is used, which may not suit it")
    sandbox = _Sandbox(trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols"])
    sandbox.globals["raise_exception"] = _raise
    sandbox.globals["strftime_now"] = _now
    sandbox.filters["tojson"] = _tojson
    try:
        return sandbox.from_string(template or CHATML)
    except TemplateError as problem:
        raise TeacherError(f"the model's chat template is broken: {problem}", HINT) from problem


def _raise(message: str) -> NoReturn:
    raise TemplateError(message)


def _now(form: str) -> str:
    return datetime.now().strftime(form)


def _tojson(value: Any, indent: int | None = None) -> str:
    """Plain JSON: jinja2's own filter escapes for HTML."""
    return json.dumps(value, ensure_ascii=False, indent=indent)
