from __future__ import annotations

import logging
from datetime import datetime
from typing import Any

import pytest

from evokd.errors import TeacherError
from evokd.teacher import Message
from evokd.teacher.chat import CHATML, _compiled, render

USER = (Message("user", "hello"),)
SYSTEM = (Message("system", "be brief"), *USER)


def shown(template: str, messages: tuple[Message, ...] = USER, **flags: Any) -> str:
    return render(template, messages, add_generation_prompt=True, bos="<s>", eos="</s>", **flags)


def test_chatml_opens_the_assistants_turn() -> None:
    assert shown(CHATML, SYSTEM) == (
        "<|im_start|>system\nbe brief<|im_end|>\n<|im_start|>user\nhello<|im_end|>\n"
        "<|im_start|>assistant\n"
    )
    closed = render(CHATML, USER, add_generation_prompt=False, bos="", eos="")
    assert closed == "<|im_start|>user\nhello<|im_end|>\n"


def test_no_template_means_chatml_with_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    _compiled.cache_clear()
    with caplog.at_level(logging.WARNING):
        assert shown("") == shown(CHATML)
    assert "ChatML" in caplog.text


def test_templates_get_the_tokens_texts_and_no_thinking() -> None:
    template = "{{ bos_token }}{{ enable_thinking }}{{ messages[0].content }}{{ eos_token }}"
    assert shown(template) == "<s>Falsehello</s>"
    assert shown(template, enable_thinking=True) == "<s>Truehello</s>"


@pytest.mark.parametrize(
    "guard",
    [
        "{% if m.role == 'system' %}{{ raise_exception('no system role') }}{% endif %}{{ m.role }}",
        "{% if m.role == 'system' %}{% continue %}{% endif %}{{ m.role }}",
    ],
    ids=["refuses", "leaves out"],
)
def test_system_text_joins_the_user_turn_where_there_is_no_system_role(guard: str) -> None:
    template = "{% for m in messages %}" + guard + ": {{ m.content }}|{% endfor %}"
    assert shown(template, SYSTEM) == "user: be brief\n\nhello|"


def test_white_space_of_blocks_is_trimmed() -> None:
    assert shown("  {% if true %}\nA\n  {% endif %}\nB") == "A\nB"


def test_helpers_of_hugging_face_work() -> None:
    assert shown("{{ strftime_now('%Y') }}") in {str(datetime.now().year + d) for d in (-1, 0)}
    assert shown("{{ messages | tojson }}") == '[{"role": "user", "content": "hello"}]'
    assert shown("{{ '<é>' | tojson }}") == '"<é>"'


@pytest.mark.parametrize(
    "attack",
    [
        "{{ ''.__class__ }}",
        "{{ ''.__class__.__mro__[1].__subclasses__() }}",
        "{{ raise_exception.__globals__ }}",
        "{{ cycler.__init__.__globals__.os.popen('id').read() }}",
        "{{ messages.append(1) }}",
        "{{ '{0.__class__}'.format(1) }}",
    ],
)
@pytest.mark.parametrize("messages", [USER, SYSTEM])
def test_a_template_cannot_leave_the_sandbox(attack: str, messages: tuple[Message, ...]) -> None:
    with pytest.raises(TeacherError, match=r"unsafe|not safely callable"):
        shown(attack, messages)


@pytest.mark.parametrize("template", ["{% if %}", "{{ raise_exception('no') }}", "{{ 1 / 0 }}"])
def test_a_broken_template_is_one_line_with_a_hint(template: str) -> None:
    with pytest.raises(TeacherError, match="chat template") as caught:
        shown(template)
    assert "\n" not in caught.value.message
    assert caught.value.hint
