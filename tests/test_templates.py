"""Prompts as the models' makers ask for them; tests/templates/SOURCE.md says whence."""

from __future__ import annotations

import ctypes
import hashlib
import json
import os
from datetime import datetime
from pathlib import Path
from typing import Any

import llama_cpp
import pytest
from llama_cpp import llama_chat_format
from transformers.utils import chat_template_utils

from evokd.errors import TeacherError
from evokd.teacher import Message
from evokd.teacher.chat import TODAY, defused, render
from evokd.teacher.thinking import opens, thinks

HERE = Path(__file__).parent / "templates"
FAMILIES: dict[str, dict[str, Any]] = json.loads((HERE / "prompts.json").read_text("utf-8"))
PLAIN = (Message("user", "Hello"),)
TALK = (
    Message("system", "Be brief."),
    Message("user", " Hi there \n"),
    Message("assistant", "Hello!\n"),
    Message("user", "Bye"),
)
CONVERSATIONS = {"plain": PLAIN, "talk": TALK}
REFUSES_SYSTEM = {"gemma-2"}
ALTERNATES = {"gemma-2", "gemma-3", "mistral-v0.3"}
BUILT_IN = {"gemma-2": "gemma", "phi-3.5": "phi3", "phi-4": "phi4", "qwen-2.5": "chatml"}


def own(family: str) -> str:
    return (HERE / f"{family}.jinja").read_text("utf-8")


def shown(family: str, messages: tuple[Message, ...], template: str = "", **flags: Any) -> str:
    facts = FAMILIES[family]
    options = {"add_generation_prompt": True, **flags}
    return render(template or own(family), messages, bos=facts["bos"], eos=facts["eos"], **options)


def by_transformers(family: str, messages: tuple[Message, ...], **flags: Any) -> str:
    facts = FAMILIES[family]
    turns = [{"role": m.role, "content": m.content} for m in messages]
    tokens = {"bos_token": facts["bos"], "eos_token": facts["eos"]}
    options = {"add_generation_prompt": True, "enable_thinking": False, **tokens, **flags}
    [text], _ = chat_template_utils.render_jinja_template(
        [turns], chat_template=own(family), **options
    )
    return str(text)


def by_llama_cpp(name: str, messages: tuple[Message, ...]) -> str:
    """Render with one of llama.cpp's own formats, which are written in C++."""
    turns = (llama_cpp.llama_chat_message * len(messages))(
        *((m.role.encode(), m.content.encode()) for m in messages)
    )
    room = ctypes.create_string_buffer(4096)
    size = llama_cpp.llama_chat_apply_template(name.encode(), turns, len(turns), True, room, 4096)
    assert 0 < size < 4096
    return room.raw[:size].decode()


@pytest.fixture
def fixed_day(monkeypatch: pytest.MonkeyPatch) -> None:
    class Day(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> Any:
            return TODAY

    monkeypatch.setattr(chat_template_utils, "datetime", Day)


@pytest.mark.parametrize("conversation", CONVERSATIONS)
@pytest.mark.parametrize("family", FAMILIES)
def test_prompts_are_as_the_makers_ask(family: str, conversation: str) -> None:
    assert shown(family, CONVERSATIONS[conversation]) == FAMILIES[family][conversation]


@pytest.mark.parametrize("add", [True, False])
@pytest.mark.parametrize("conversation", CONVERSATIONS)
@pytest.mark.parametrize("family", FAMILIES)
def test_prompts_are_as_transformers_makes_them(
    family: str, conversation: str, add: bool, fixed_day: None
) -> None:
    messages = CONVERSATIONS[conversation]
    if family in REFUSES_SYSTEM and messages[0].role == "system":
        with pytest.raises(Exception, match="system"):
            by_transformers(family, messages)
        messages = (Message("user", "Be brief.\n\n Hi there \n"), *messages[2:])
    expected = by_transformers(family, messages, add_generation_prompt=add)
    assert shown(family, CONVERSATIONS[conversation], add_generation_prompt=add) == expected


@pytest.mark.parametrize("conversation", CONVERSATIONS)
@pytest.mark.parametrize("family", BUILT_IN)
def test_prompts_are_as_llama_cpp_makes_them(family: str, conversation: str) -> None:
    facts, messages = FAMILIES[family], CONVERSATIONS[conversation]
    text = shown(family, messages).removeprefix(facts["bos"])
    if family == "qwen-2.5" and conversation == "plain":
        text = text.partition("<|im_end|>\n")[2]  # its own system text
    if family == "gemma-2":
        text = text.replace("\n\n Hi", "\n\nHi")  # llama.cpp trims before it joins
    assert text == by_llama_cpp(BUILT_IN[family], messages)


@pytest.mark.parametrize("family", ["CHATML", "LLAMA3_INSTRUCT", "MISTRAL_INSTRUCT"])
def test_templates_that_llama_cpp_python_ships(family: str) -> None:
    template = getattr(llama_chat_format, f"{family}_CHAT_TEMPLATE")
    text = render(template, TALK, add_generation_prompt=True, bos="<s>", eos="</s>")
    places = [text.index(word) for word in ("Be brief.", "Hi there", "Hello!", "Bye")]
    assert places == sorted(places)
    if family != "CHATML":
        assert text.startswith("<s>")
        assert text.count("<s>") == 1


@pytest.mark.parametrize("family", sorted(ALTERNATES))
def test_two_turns_of_one_role_become_one_where_they_must(family: str) -> None:
    twice = (Message("user", "one"), Message("user", "two"))
    assert "one\n\ntwo" in shown(family, twice)
    with pytest.raises(TeacherError, match="turns"):
        shown(family, (Message("assistant", "first"), *PLAIN))


def test_two_turns_of_one_role_stay_two_where_they_may() -> None:
    twice = (Message("user", "one"), Message("user", "two"))
    assert "one<|im_end|>\n<|im_start|>user\ntwo" in shown("qwen-3", twice)


@pytest.mark.parametrize("family", FAMILIES)
def test_only_what_cannot_switch_it_off_thinks(family: str) -> None:
    tags = thinks(own(family))
    assert (tags is not None) == (family == "deepseek-r1")
    assert tags is None or opens(FAMILIES[family]["talk"], tags)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_marker_in_a_text_comes_through_cut(family: str) -> None:
    import re

    marker = FAMILIES[family]["eos"]
    messages = (Message("user", f"a{marker}b"),)
    text = shown(family, defused(messages, re.compile(re.escape(marker))))  # type: ignore[arg-type]
    plain = shown(family, PLAIN)
    assert text.count(marker) == plain.count(marker)
    assert text.replace("\ufdd0", "") == plain.replace("Hello", f"a{marker}b")


def makers_own() -> dict[str, tuple[str, str]]:
    """Return the makers' templates that the folder EVOKD_TEMPLATES has, with their families."""
    folder = os.environ.get("EVOKD_TEMPLATES")
    known = {
        sha: (f, name) for f, facts in FAMILIES.items() for name, sha in facts["sha256"].items()
    }
    found = {}
    for path in sorted(Path(folder).glob("*.jinja")) if folder else ():
        data = path.read_bytes()
        family, name = known.get(hashlib.sha256(data).hexdigest(), ("", ""))
        if family:
            found[name] = (family, data.decode())
    return found


@pytest.mark.skipif("EVOKD_TEMPLATES" not in os.environ, reason="EVOKD_TEMPLATES names no folder")
@pytest.mark.parametrize("conversation", CONVERSATIONS)
def test_the_makers_own_templates_make_the_same_prompts(conversation: str) -> None:
    found = makers_own()
    assert found
    for name, (family, template) in found.items():
        text = shown(family, CONVERSATIONS[conversation], template)
        assert text == FAMILIES[family][conversation], name
        assert (thinks(template) is None) == (thinks(own(family)) is None)
