"""Which server answers, and how each kind is asked and understood."""

from __future__ import annotations

from typing import Any

import pytest
from fakes import user
from faulty_server import Asked, Pauses, Reply, Serve, Server, asks, pauses, serve, teacher
from toy_servers import (
    chat,
    llama_server,
    models,
    plain,
    vllm,
)

from evokd.errors import TeacherError
from evokd.teacher import Generate, Score, Written
from evokd.teacher.grammar import choice

__all__ = ["pauses", "serve"]


def test_nobody_there_is_said_at_once(pauses: Pauses) -> None:
    with Server(plain) as server:
        url = server.url
    with pytest.raises(TeacherError, match="no server answers") as caught:
        teacher(url, pauses)
    assert "llama-server" in caught.value.hint
    assert not pauses.taken


def test_of_several_models_one_must_be_named(serve: Serve, pauses: Pauses) -> None:
    server = serve(lambda a: models("one", "org/two") if a.path == "/v1/models" else plain(a))
    with pytest.raises(TeacherError, match=r"has 2 models: one, org/two") as caught:
        teacher(server.url, pauses)
    assert caught.value.hint.endswith("/v1#MODEL")
    with pytest.raises(TeacherError, match="has no model three"):
        teacher(f"{server.url}#three", pauses)
    with teacher(f"{server.url}#org/two", pauses) as opened:
        opened.generate(asks(1))
        assert opened.name == "org/two"
    assert server.questions()[-1].body["model"] == "org/two"


def test_a_server_that_loads_its_model_is_waited_for(serve: Serve, pauses: Pauses) -> None:
    loading = [Reply({"error": {"message": "Loading model"}}, 503)] * 6

    def late(asked: Asked) -> Reply | None:
        return loading.pop() if loading and asked.path == "/v1/models" else llama_server(asked)

    with teacher(serve(late).url, pauses) as opened:
        assert opened.name == "toy"
    assert len(pauses.taken) == 6


@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize(("path", "answer"), [("/props", llama_server), ("/version", vllm)])
def test_a_server_that_is_busy_for_a_moment_is_recognised(
    serve: Serve, pauses: Pauses, path: str, answer: Any, status: int
) -> None:
    busy = [Reply({"error": "busy"}, status)] * 2

    def late(asked: Asked) -> Reply | None:
        return busy.pop() if busy and asked.path == path else answer(asked)

    with teacher(serve(late).url, pauses) as opened, teacher(serve(answer).url, pauses) as usual:
        assert opened.fingerprint == usual.fingerprint
    assert len(pauses.taken) == 2


def test_recognising_a_server_waits_for_no_long_pause(serve: Serve, pauses: Pauses) -> None:
    busy = Reply({"error": "busy"}, 429, headers={"Retry-After": "200"})
    with teacher(serve(lambda a: busy if a.path == "/props" else plain(a)).url, pauses):
        pass
    assert not pauses.taken


def test_a_path_on_which_a_server_fails_is_not_asked_for_again(
    serve: Serve, pauses: Pauses
) -> None:
    server = serve(lambda a: Reply({"error": "?"}, 500) if a.path == "/props" else plain(a))
    with teacher(server.url, pauses):
        pass
    assert len([asked for asked in server.asked if asked.path == "/props"]) == 1
    assert not pauses.taken


def test_a_web_page_is_no_teacher(serve: Serve, pauses: Pauses) -> None:
    server = serve(lambda a: Reply(b"<html>hello</html>", kind="text/html"))
    with pytest.raises(TeacherError, match="answers with text/html"):
        teacher(server.url, pauses)


@pytest.mark.parametrize(
    ("answer", "fingerprint"),
    [
        (plain, "toy openai answer"),
        (vllm, "toy vllm 0.11.2 tokens"),
        (llama_server, "toy.gguf llama-server b1-x 7 9 tokens"),
    ],
)
def test_a_server_is_recognised(
    serve: Serve, pauses: Pauses, answer: Any, fingerprint: str
) -> None:
    with teacher(serve(answer).url, pauses) as opened:
        assert opened.fingerprint == fingerprint
        assert opened.name == "toy"


def test_a_server_without_its_extras_scores_by_answers(serve: Serve, pauses: Pauses) -> None:
    def bare(asked: Asked) -> Reply | None:
        return None if asked.path == "/tokenize" else vllm(asked)

    with teacher(serve(bare).url, pauses) as opened:
        assert opened.fingerprint == "toy vllm 0.11.2 answer"


FULL = Generate(
    user("hi"), seed=2**40 + 1, temperature=0.7, top_p=0.8, min_p=0.1, repetition_penalty=1.2,
    max_tokens=50, stop=("", "END"), grammar=choice(["a"]),
)  # fmt: skip
COMMON = {"temperature": 0.7, "top_p": 0.8, "max_tokens": 50, "stop": ["END"], "model": "toy"}
MORE = COMMON | {"min_p": 0.1, "chat_template_kwargs": {"enable_thinking": False}}


def old_vllm(asked: Asked) -> Reply | None:
    return Reply({"version": "0.8.5"}) if asked.path == "/version" else vllm(asked)


@pytest.mark.parametrize(
    ("answer", "sent"),
    [
        (plain, COMMON),
        (
            vllm,
            MORE | {"repetition_penalty": 1.2, "structured_outputs": {"grammar": choice(["a"])}},
        ),
        (old_vllm, MORE | {"repetition_penalty": 1.2, "guided_grammar": choice(["a"])}),
        (
            llama_server,
            MORE | {"repeat_penalty": 1.2, "grammar": choice(["a"]), "model": "toy.gguf"},
        ),
    ],
)
def test_sampling_and_structure_are_worded_for_the_server(
    serve: Serve, pauses: Pauses, answer: Any, sent: dict[str, Any]
) -> None:
    server = serve(answer)
    with teacher(server.url, pauses) as opened:
        opened.generate([FULL])
    body = server.questions()[-1].body
    assert {name: body[name] for name in sent} == sent
    assert body["messages"] == [{"role": "user", "content": "hi"}]
    assert 0 <= body["seed"] < 2**31
    if answer is plain:  # a strict server refuses fields that it does not know
        assert body.keys() == {*COMMON, "messages", "seed"}


@pytest.mark.parametrize(
    ("body", "written"),
    [
        (chat("hi"), Written("hi", "stop", 10, 3, 13)),
        (chat("hi", finish="length"), Written("hi", "length", 10, 3, 13)),
        (chat("hi", finish="content_filter"), Written("hi", "length", 10, 3, 13)),
        (chat("hi", cached=8), Written("hi", "stop", 10, 3, 5)),
        (chat("<think>\nhm\n</think>\n\nhi"), Written("hi", "stop", 10, 3, 13)),
        (chat("<think>\nhm"), Written("", "length", 10, 3, 13)),
        (chat("hm\n</think>\n\nhi"), Written("hi", "stop", 10, 3, 13)),
        (chat("[THINK]hm[/THINK]hi"), Written("hi", "stop", 10, 3, 13)),
        ({"choices": [{"message": {"content": None}, "finish_reason": "stop"}]},
         Written("", "stop", 0, 0, 0)),
        (chat([{"type": "text", "text": "h"}, {"type": "text", "text": "i"}, {"type": "image"}, 3]),
         Written("hi", "stop", 10, 3, 13)),
        (chat({"odd": 1}), Written("", "stop", 10, 3, 13)),
        (chat("hi \ud83d", finish="length"), Written("hi \ufffd", "length", 10, 3, 13)),
        (chat("hi \ud83d\ude00"), Written("hi \U0001f600", "stop", 10, 3, 13)),
        (chat("hi", cached=20), Written("hi", "stop", 10, 3, 3)),
        (chat("hi") | {"usage": [1]}, Written("hi", "stop", 0, 0, 0)),
        (chat("hi") | {"usage": {"prompt_tokens": "x", "completion_tokens": 3}, "timings": 7},
         Written("hi", "stop", 0, 3, 3)),
        (chat("hi") | {"usage": {"prompt_tokens": -4, "prompt_tokens_details": "x"}},
         Written("hi", "stop", 0, 0, 0)),
    ],
)  # fmt: skip
def test_a_reply_is_read(
    serve: Serve, pauses: Pauses, body: dict[str, Any], written: Written
) -> None:
    with teacher(serve(plain, Reply(body)).url, pauses) as opened:
        assert opened.generate(asks(1)) == [written]


@pytest.mark.parametrize("body", [{"choices": [{"message": None}]}, {"choices": "no"}, {}])
def test_what_is_no_reply_is_said_to_be_none(
    serve: Serve, pauses: Pauses, body: dict[str, Any]
) -> None:
    with (
        teacher(serve(plain, Reply(body)).url, pauses) as opened,
        pytest.raises(TeacherError, match="gives no reply"),
    ):
        opened.generate(asks(1))


def test_an_empty_stop_is_not_sent(serve: Serve, pauses: Pauses) -> None:
    server = serve(plain)
    with teacher(server.url, pauses) as opened:
        opened.generate([Generate(user("hi"), stop=("",))])
    assert "stop" not in server.questions()[0].body


@pytest.mark.parametrize("answer", [Reply({"tokens": "none"}), Reply({"content": 1})])
def test_a_server_without_tokens_is_named(serve: Serve, pauses: Pauses, answer: Reply) -> None:
    server = serve(lambda a: answer if a.path == "/tokenize" else llama_server(a))
    with teacher(server.url, pauses) as opened, pytest.raises(TeacherError, match="no tokens"):
        opened.score([Score(user("hi"), ("a", "b"))])


# -- servers that take less -----------------------------------------------------------------------

MUSIC = Score(user("about music"), ("alarm", "music"))


def taking(*forms: str, status: int = 400) -> Any:
    """Return a server that refuses other forms of structure."""

    def answer(asked: Asked) -> Reply | None:
        form = (asked.body or {}).get("response_format", {}).get("type")
        if form and form not in forms:
            return Reply({"error": f"{form} is not supported"}, status)
        if form == "json_object":
            assert "JSON" in asked.body["messages"][-1]["content"]
            return Reply(chat('{"answer": "music"}'))
        return Reply(chat("music.")) if asked.path.endswith("chat/completions") else plain(asked)

    return answer


@pytest.mark.parametrize("status", [400, 422, 500, 501])
@pytest.mark.parametrize(
    ("forms", "asked"),
    [
        (["json_object"], ["json_schema", "json_object", "json_object"]),
        ([], ["json_schema", "json_object", None, None]),
    ],
)
def test_a_form_that_is_refused_is_asked_for_once(
    serve: Serve, pauses: Pauses, forms: list[str], asked: list[str | None], status: int
) -> None:
    server = serve(taking(*forms, status=status))
    with teacher(server.url, pauses) as opened:
        one, two = (opened.score([MUSIC])[0] for _ in range(2))
    assert one.logprobs == two.logprobs == (-20.0, 0.0)
    sent = [question.body.get("response_format", {}).get("type") for question in server.questions()]
    times = 6 if status == 500 else 1  # which might pass
    refused = {"json_schema", "json_object"}.difference(forms)
    assert sent == [form for form in asked for _ in range(times if form in refused else 1)]
    assert server.questions()[-1].body["messages"][-1]["content"].startswith("about music")


def test_many_at_once_agree_on_a_form(serve: Serve, pauses: Pauses) -> None:
    server = serve(taking())
    with teacher(server.url, pauses) as opened:
        assert {s.logprobs for s in opened.score([MUSIC] * 20)} == {(-20.0, 0.0)}
        before = len(server.questions())
        opened.score([MUSIC] * 5)
    assert len(server.questions()) - before == 5


def test_a_question_that_is_refused_in_every_form_changes_nothing(
    serve: Serve, pauses: Pauses
) -> None:
    long = [Reply({"error": "context too long"}, 400)] * 3
    server = serve(plain, *long)
    with teacher(server.url, pauses) as opened:
        with pytest.raises(TeacherError, match="too long"):
            opened.score([MUSIC])
        opened.score([MUSIC])
    assert server.questions()[-1].body["response_format"]["type"] == "json_schema"
    assert len(server.questions()) == 4


def test_an_outage_is_no_refusal(serve: Serve, pauses: Pauses) -> None:
    server = serve(plain, *[Reply({"error": "down"}, 503)] * 6)
    with teacher(server.url, pauses) as opened:
        with pytest.raises(TeacherError, match=r"503.*6 attempts") as caught:
            opened.score([MUSIC])
        assert caught.value.retryable
    assert {q.body["response_format"]["type"] for q in server.questions()} == {"json_schema"}
