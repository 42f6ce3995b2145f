from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evokd.errors import TeacherError
from evokd.teacher import Message
from evokd.teacher.chat import render

USER = (Message("user", "hello"),)
LOOP = "{% for i in range(100000) %}"
BIG = "{% set ns = namespace(x='ab') %}{% for i in range(60) %}"


def shown(template: str, messages: tuple[Message, ...] = USER) -> str:
    return render(template, messages, add_generation_prompt=True, bos="<s>", eos="</s>")


@pytest.mark.parametrize(
    "bomb",
    [
        LOOP * 3 + "{% endfor %}" * 3,
        LOOP + LOOP + "{% if false %}a{% endif %}" + "{% endfor %}" * 2,
        LOOP + "{% for j in range(100000) if j < 0 %}{% endfor %}{% endfor %}",
        "{% macro f(n) %}{% if n %}{{ f(n - 1) ~ f(n - 1) }}{% endif %}{% endmacro %}{{ f(50) }}",
        "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
        "{{ range(10**9) }}",
        "{{ range(1000000000) | list }}",
        "{{ 'a' * 10000000000 }}",
        "{{ 10000000000 * 'a' }}",
        "{{ [1] * 10000000000 }}",
        "{{ 9 ** 9 ** 9 }}",
        "{{ '%9999999999d' % 1 }}",
        "{{ '%9999999999d' | format(1) }}",
        "{{ '{:9999999999}'.format(1) }}",
        "{{ 'a' | center(9999999999) }}",
        "{{ 'a\na' | indent(9999999999) }}",
        "{{ 'a'.ljust(9999999999) }}",
        "{{ 'a'.zfill(9999999999) }}",
        "{{ '\t'.expandtabs(9999999999) }}",
        "{{ (1).to_bytes(9999999999, 'big') }}",
        "{{ 'a'.encode().ljust(9999999999) }}",
        "{{ [1] | tojson(indent=9999999999) }}",
        BIG + "{% set ns.x = ns.x + ns.x %}{% endfor %}{{ ns.x }}",
        BIG + "{% set ns.x = ns.x ~ ns.x %}{% endfor %}",
        BIG + "{% set ns.x = [ns.x, ns.x] %}{% endfor %}{{ ns.x | tojson }}",
        BIG + "{% set ns.x = [ns.x, ns.x] %}{% endfor %}{{ ns.x }}",
        BIG + "{% set ns.x = [ns.x, ns.x] %}{% endfor %}{{ 'a' ~ ns.x }}",
        BIG + "{% set ns.x %}{{ ns.x }}{{ ns.x }}{% endset %}{% endfor %}",
        BIG + "{% set ns.x = ns.x.replace('a', ns.x) %}{% endfor %}",
        BIG + "{% set ns.x = ns.x | replace('a', ns.x) %}{% endfor %}",
        BIG + "{% set ns.x = ns.x.join(ns.x) %}{% endfor %}",
        BIG + "{% set ns.x = [ns.x, ns.x, ns.x] | join(ns.x) %}{% endfor %}",
        BIG + "{% set ns.x = ns.x.translate({97: ns.x}) %}{% endfor %}",
        BIG + "{% set ns.x = (ns.x, ns.x) | map('string') | join %}{% endfor %}",
        "{{ lipsum(n=100000) }}",
        "(" * 5 + "{{ " + "(" * 5000 + "1" + ")" * 5000 + " }}",
        LOOP * 30 + "{% endfor %}" * 30,
    ],
)
def test_endless_work_is_stopped(bomb: str) -> None:
    start = time.process_time()
    with pytest.raises(TeacherError, match="chat template") as caught:
        shown(bomb)
    assert time.process_time() - start < 20
    assert "\n" not in caught.value.message
    assert len(caught.value.message) < 600


def test_ordinary_work_is_far_from_the_limit() -> None:
    body = "{% for m in messages %}{{ m.role ~ m.content.split('</think>')[-1] | trim }}"
    counted = "{{ loop.index0 % 2 }}{{ (messages | length - 1) - loop.index0 }}{% endfor %}"
    talk = tuple(Message("user", "x" * 2000) for _ in range(1000))
    assert len(shown(body + counted, talk)) > 2_000_000


def test_each_rendering_has_a_budget_of_its_own() -> None:
    for _ in range(3):
        assert shown("{% set long = range(200000000) %}x") == "x"
    with pytest.raises(TeacherError, match="without end"):
        shown("{% set long = range(200000000) %}{% set more = range(200000000) %}")


def test_two_templates_and_threads_do_not_meet() -> None:
    with ThreadPoolExecutor(4) as pool:
        texts = pool.map(lambda i: shown(f"{{{{ {i} }}}}{{{{ messages[0].content }}}}"), range(40))
        assert list(texts) == [f"{i}hello" for i in range(40)]


def test_what_templates_use_works() -> None:
    assert shown("{{ ['a', 'b'] | join(', ') }}{{ 'aXa' | replace('X', '-') }}") == "a, ba-a"
    assert shown("{{ messages | map(attribute='role') | join('/') }}") == "user"
    assert shown("{{ messages | selectattr('role', 'equalto', 'user') | list | length }}") == "1"
    assert shown("{{ {'b': 1, 'a': [2.5, none]} | tojson(indent=1) }}") == (
        '{\n "b": 1,\n "a": [\n  2.5,\n  null\n ]\n}'
    )
    assert shown("{{ {'b': 1, 'a': 2} | tojson(sort_keys=true, separators=(',', ':')) }}") == (
        '{"a":2,"b":1}'
    )
    assert shown("{% generation %}{% set x = 1 %}a{% endgeneration %}{{ x }}") == "a1"
    assert shown("{{ 3 * 4 }}{{ 7 % 4 }}{{ '-' * 3 }}{{ 1700000000 ~ 'x' }}") == "123---1700000000x"
    assert shown("{% for c in 'abc' if c != 'b' %}{{ c }}{% endfor %}") == "ac"


# -- the way out ------------------------------------------------------------------------------

ROOTS = (
    "''", "1", "[]", "{}", "()", "messages", "messages[0]", "messages[0].content", "self", "none",
    "raise_exception", "strftime_now", "range", "dict", "namespace", "namespace()", "cycler",
    "joiner", "loop", "caller", "bos_token.split", "environment", "context", "undefined_name",
)  # fmt: skip
WORDS = (
    "__class__", "__init__", "__globals__", "__builtins__", "__subclasses__", "__mro__", "__base__",
    "__self__", "__func__", "__code__", "__dict__", "__getattribute__", "__import__", "__reduce__",
    "__call__", "__wrapped__", "__module__", "mro", "gi_frame", "f_globals", "f_back", "cr_frame",
    "func_globals", "im_func", "environment", "_state", "globals", "os", "system", "popen", "open",
    "eval", "format", "format_map", "get", "items", "append", "pop", "update", "clear",
)  # fmt: skip
FORMS = (".{}", "['{}']", "|attr('{}')", ".{}()", "|map(attribute='{}')|list")
STEPS = st.builds(str.format, st.sampled_from(FORMS), st.sampled_from(WORDS))
INSIDE = ("<class", "<module", "<function", "<code", "<frame")


@settings(max_examples=200, deadline=None)
@given(root=st.sampled_from(ROOTS), steps=st.lists(STEPS, min_size=1, max_size=5))
def test_no_chain_of_attributes_reaches_pythons_insides(root: str, steps: list[str]) -> None:
    try:
        text = shown("{{ " + root + "".join(steps) + " }}")
    except TeacherError:
        return
    assert not any(word in text for word in INSIDE), text


@pytest.mark.parametrize("word", WORDS[:16])
@pytest.mark.parametrize("root", ["''", "raise_exception", "cycler", "messages", "namespace()"])
def test_no_underscored_attribute_is_given(root: str, word: str) -> None:
    for form in (f"{root}.{word}", f"{root}['{word}']"):
        try:
            assert shown("{{ " + form + " }}") == ""
        except TeacherError as problem:
            assert "unsafe" in problem.message  # noqa: PT017 - either outcome is right


@settings(max_examples=200, deadline=None)
@given(template=st.text(st.sampled_from("{}%#-~|.'()[]ab1 \n"), max_size=40))
def test_any_text_is_a_prompt_or_one_line(template: str) -> None:
    try:
        shown(template)
    except TeacherError as problem:
        assert "\n" not in problem.message  # noqa: PT017 - either outcome is right


@pytest.mark.parametrize("change", ["append(1)", "pop()", "clear()", "insert(0, 1)", "sort()"])
def test_the_conversation_cannot_be_changed(change: str) -> None:
    with pytest.raises(TeacherError, match=r"unsafe|not safely"):
        shown("{{ messages." + change + " }}")


def test_no_file_is_read() -> None:
    for tag in ("{% include 'x' %}", "{% import '/etc/passwd' as x %}", "{% extends 'x' %}"):
        with pytest.raises(TeacherError, match="chat template"):
            shown(tag)
