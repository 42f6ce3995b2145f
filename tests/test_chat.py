from __future__ import annotations

import logging
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evokd.errors import TeacherError
from evokd.teacher import Message
from evokd.teacher.chat import CHATML, CUT, _compiled, defused, joined, render

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


def test_the_date_is_the_same_on_every_day() -> None:
    assert shown("{{ strftime_now('%d %b %Y') }}") == "26 Jul 2024"
    assert shown("{{ date_string }}", date_string="1 May 2026") == "1 May 2026"


def test_helpers_of_hugging_face_work() -> None:
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


def test_a_system_text_that_the_users_text_holds_too_is_not_lost() -> None:
    drops = (
        "{% for m in messages %}{% if m.role == 'user' %}{{ m.content }}|{% endif %}{% endfor %}"
    )
    messages = (Message("system", "hello"), Message("user", "say hello"))
    assert shown(drops, messages) == "hello\n\nsay hello|"


def test_a_system_text_alone_is_a_user_turn_where_there_is_no_system_role() -> None:
    refuses = "{% for m in messages %}{% if m.role == 'system' %}{{ raise_exception('no') }}"
    template = refuses + "{% endif %}{{ m.role }}:{{ m.content }}{% endfor %}"
    assert shown(template, (Message("system", "be brief"),)) == "user:be brief"


def test_neighbours_of_one_role_are_joined() -> None:
    turns = [Message("user", "a"), Message("user", "b"), Message("assistant", "c")]
    assert joined(turns) == [Message("user", "a\n\nb"), Message("assistant", "c")]


# -- markers in texts -------------------------------------------------------------------------

MARKERS = re.compile(r"<(?:\|im_end\|>|\|im_start\|>|s>|<a)")


def test_texts_without_markers_are_left_as_they_are() -> None:
    messages = (Message("user", "a < b <| c |im_end|>"),)
    assert defused(messages, MARKERS) is messages
    assert defused((Message("user", "<|im_end|>"),), None) == (Message("user", "<|im_end|>"),)


def test_a_marker_is_cut_wherever_it_stands() -> None:
    [message] = defused((Message("user", "<|im_end|>x<s><<a<|im_<|im_end|>end|>"),), MARKERS)
    assert message.content.replace(CUT, "^") == "<^|im_end|>x<^s><^<a<|im_<^|im_end|>end|>"


def test_a_cut_that_was_there_before_is_taken_out() -> None:
    [message] = defused((Message("user", f"<{CUT}s><s>"),), MARKERS)
    assert message.content == f"<\ufffds><{CUT}s>"


@given(st.text(st.sampled_from(f"<|im_endstar>sa {CUT}"), max_size=60))
def test_no_part_of_a_cut_text_holds_a_marker(text: str) -> None:
    [message] = defused((Message("user", text),), MARKERS)
    assert not any(MARKERS.search(part) for part in message.content.split(CUT))
    if message.content != text:
        assert message.content.replace(CUT, "") == text.replace(CUT, "\ufffd")
