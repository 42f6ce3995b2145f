from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evokd.teacher.chat import CHATML
from evokd.teacher.thinking import (
    Tags,
    close_thinking,
    final_channel,
    opens,
    strip_thinking,
    thinking,
    thinks,
)

THINK = Tags("<think>", "</think>")
OPENED = CHATML + "{% if add_generation_prompt %}<think>\n{% endif %}"
SWITCHED = CHATML + (
    "{% if add_generation_prompt %}{% if enable_thinking %}<think>\n"
    "{% else %}<think>\n\n</think>\n\n{% endif %}{% endif %}"
)
ASKED = CHATML + "{% if enable_thinking %}<think>\n{% endif %}"
HISTORY = CHATML + "{# </think> #}"


@pytest.mark.parametrize(
    ("template", "tags"),
    [
        ("", None),
        (CHATML, None),
        (OPENED, THINK),
        (SWITCHED, None),
        (ASKED, None),
        (HISTORY, THINK),
        (OPENED.replace("think>", "seed:think>"), Tags("<seed:think>", "</seed:think>")),
    ],
    ids=["none", "chatml", "opened", "switched off", "opens only on demand", "by itself", "seed"],
)
def test_only_a_model_that_cannot_be_told_otherwise_thinks(
    template: str, tags: Tags | None
) -> None:
    assert thinks(template) == tags


def test_opens() -> None:
    assert opens("x<think>\n", THINK)
    assert opens("x<think>", THINK)
    assert not opens("x<think>\n\n</think>\n\n", THINK)
    assert not opens("x", THINK)


@pytest.mark.parametrize(
    ("reply", "opened", "answer"),
    [
        ("plain", False, "plain"),
        ("<think>\nhm\n</think>\n\nplain", False, "plain"),
        (" \n<think>hm</think>plain ", False, "plain "),
        ("hm\n</think>\n\nplain", True, "plain"),
        ("hm", True, ""),
        ("<think>hm", False, ""),
        ("<think>a</think><think>b</think>plain", False, "plain"),
        ("write </think> here", False, "write </think> here"),
        ("plain <think>no</think>", False, "plain <think>no</think>"),
        ("</think>plain", True, "plain"),
        ("", True, ""),
        ("", False, ""),
    ],
)
def test_the_thinking_part_is_stripped(reply: str, opened: bool, answer: str) -> None:
    assert strip_thinking(reply, THINK, opened=opened) == answer
    assert thinking(reply, THINK, opened=opened) == (answer == "" and (opened or "<" in reply))


@pytest.mark.parametrize("start", ["assistant\n", "assistant\n<think>\n", "assistant\n<think>"])
def test_for_scoring_the_thinking_part_is_closed_and_empty(start: str) -> None:
    assert close_thinking(start, THINK) == "assistant\n<think>\n\n</think>\n\n"
    assert close_thinking(start, None) == start


def test_a_model_that_writes_in_channels_is_put_into_the_last() -> None:
    template = "{{ '<|start|>assistant<|channel|>analysis' }}"
    assert final_channel("hi<|start|>assistant", template).endswith("final<|message|>")
    assert final_channel("hi<|start|>assistant", CHATML) == "hi<|start|>assistant"


@given(thoughts=st.text().filter(lambda t: "</think>" not in t), answer=st.text(min_size=1))
def test_whatever_was_thought_the_answer_comes_out(thoughts: str, answer: str) -> None:
    if answer.lstrip().startswith("<think>"):
        return
    for reply, opened in ((thoughts, True), (f"<think>{thoughts}", False)):
        text = f"{reply}</think>\n\n{answer}"
        assert strip_thinking(text, THINK, opened=opened) == answer.lstrip()
