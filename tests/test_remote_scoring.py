"""Scores from a server's likeliest tokens, against toys of which every answer is known."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from fakes import user
from faulty_server import Asked, Pauses, Reply, Serve, pauses, serve, teacher
from hypothesis import given, settings
from hypothesis import strategies as st
from toy_servers import (
    llama_server,
    logprobs_after,
    prompt_of,
    tokens_of,
    vllm,
)

from evokd.teacher import Message, Score
from evokd.teacher.remote_scoring import MARGIN, ByTexts, ByTokens, Values, best_first

__all__ = ["pauses", "serve"]


CHOICES = ("play music", "play", "alarm", "pläy 🙂", "playing")

SLACK = 0.2  # nats: what longer choices that are out of sight may take, in this toy of 60 tokens


def prompt_tokens(messages: Sequence[Message]) -> list[int]:
    return tokens_of(prompt_of([{"role": m.role, "content": m.content} for m in messages]))


def exact(messages: Sequence[Message], choices: Sequence[str]) -> list[float]:
    """Return the toy's log-probabilities: of the tokens, and that no other choice goes on there."""
    prompt = prompt_tokens(messages)
    ids = [tokens_of(text) for text in choices]
    values = []
    for path in ids:
        steps = [logprobs_after([*prompt, *path[:d]])[t] for d, t in enumerate(path)]
        longer = {o[len(path)] for o in ids if len(o) > len(path) and o[: len(path)] == path}
        after = logprobs_after([*prompt, *path])
        rest = 1 - sum(math.exp(after[t]) for t in longer)
        values.append(sum(steps) + math.log(max(rest, 1e-6)))
    return values


@pytest.mark.parametrize("answer", [vllm, llama_server])
def test_scores_are_the_models_own(serve: Serve, pauses: Pauses, answer: Any) -> None:
    requests = [Score(user(f"text {i}"), CHOICES, search="all") for i in range(12)]
    seen: list[int] = []
    with teacher(serve(answer).url, pauses) as opened:
        scored = opened.score(requests, lambda i, _: seen.append(i))
        quick = opened.score([replace(r, search="best") for r in requests])
    assert sorted(seen) == list(range(12))
    for request, full, fast in zip(requests, scored, quick, strict=True):
        true = exact(request.messages, CHOICES)
        assert full.logprobs == pytest.approx(true, abs=SLACK if answer is vllm else 1e-6)
        assert full.bounded == ()
        best = max(range(len(true)), key=true.__getitem__)
        assert max(range(len(true)), key=fast.logprobs.__getitem__) == best
        begins = [any(o != c and o.startswith(c) for o in CHOICES) for c in CHOICES]
        assert sum(begins) == 1  # "play" alone
        lengths = [len(tokens_of(c)) + more for c, more in zip(CHOICES, begins, strict=True)]
        assert full.lengths == (*lengths,)
        assert full.per_token == tuple(p / n for p, n in zip(full.logprobs, lengths, strict=True))
        assert full.tokens_in == len(prompt_tokens(request.messages))
        assert fast.decoded <= full.decoded


@pytest.mark.parametrize("answer", [vllm, llama_server])
def test_thoughts_that_the_prompt_opens_are_closed_before_choices_are_scored(
    serve: Serve, pauses: Pauses, answer: Any
) -> None:
    """The toys' template ends as that of a model that always thinks."""

    def opening(asked: Asked) -> Reply | None:
        if asked.path not in ("/apply-template", "/tokenize") or "messages" not in asked.body:
            return answer(asked)
        last = asked.body["messages"][-1]
        turns = [{"role": last["role"], "content": last["content"]}]
        text = even(prompt_of(turns)) + "<think>\n"
        return Reply({"prompt": text} if answer is llama_server else {"tokens": tokens_of(text)})

    with teacher(serve(opening).url, pauses) as opened:
        (scored,) = opened.score([Score(user("text"), ("alarm", "music"), search="all")])
    prompt = even(prompt_of([{"role": "user", "content": "text"}]))
    closed = prompt + ("<think>" if answer is llama_server else "<think>\n") + "\n\n</think>\n\n"
    parts = (prompt + "<think>\n", "\n\n</think>\n\n")
    tokens = (
        tokens_of(closed) if answer is llama_server else [t for p in parts for t in tokens_of(p)]
    )
    for text, logprob in zip(("alarm", "music"), scored.logprobs, strict=True):
        path = tokens_of(text)
        steps = [logprobs_after([*tokens, *path[:d]])[t] for d, t in enumerate(path)]
        assert logprob == pytest.approx(sum(steps), abs=SLACK)


def even(text: str) -> str:
    """Return a text whose end is the end of a toy's token, too."""
    return text + "." * (len(text) % 2)


def test_a_baseline_is_taken_off(serve: Serve, pauses: Pauses) -> None:
    server = serve(llama_server)
    request = Score(user("a text"), CHOICES, baseline=user("no text"), search="all")
    with teacher(server.url, pauses) as opened:
        one, two = opened.score([request, replace(request, messages=user("another"))])
        asked = len(server.questions("/completion"))
        opened.score([request])
    usual = exact(request.baseline, CHOICES)
    for scored, messages in ((one, request.messages), (two, user("another"))):
        true = [v - u for v, u in zip(exact(messages, CHOICES), usual, strict=True)]
        assert scored.logprobs == pytest.approx(true)
    assert len(server.questions("/completion")) - asked < asked / 2  # it is asked about only once


def test_a_baselines_tokens_count_for_the_first_that_wants_it(serve: Serve, pauses: Pauses) -> None:
    request = Score(user("a text"), CHOICES, search="all")
    empty = replace(request, messages=user("no text"))
    with teacher(serve(llama_server).url, pauses) as opened:
        (alone,), (base,) = opened.score([request]), opened.score([empty])
        held = replace(request, baseline=empty.messages)
        (first,), (second,) = opened.score([held]), opened.score([held])
    assert first.decoded == alone.decoded + base.decoded
    assert second.decoded == alone.decoded
    assert (first.tokens_in, first.tokens_out) == (alone.tokens_in, alone.tokens_out)


def walked(
    prompt: list[int], choices: Sequence[tuple[int, ...]], top: int, margin: float
) -> Values:
    async def ask_next(path: tuple[int, ...], most: int) -> Any:
        places = []
        for _ in range(most):
            after = logprobs_after([*prompt, *path])
            likeliest = sorted(range(len(after)), key=lambda t: -after[t])[:top]
            places.append((likeliest[0], {t: after[t] for t in likeliest}))
            path = (*path, likeliest[0])
        return places

    async def force(number: int) -> float:
        path = choices[number]
        return sum(logprobs_after([*prompt, *path[:d]])[t] for d, t in enumerate(path))

    search = ByTokens(choices, ask_next, force)
    return asyncio.run(best_first(search, len(choices), margin=margin))


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.lists(st.integers(1, 59), min_size=1, max_size=3).map(tuple), min_size=1, max_size=9
    ),
    st.integers(0, 10**6),
    st.sampled_from([5, 20, 60]),
)
def test_the_best_are_exact_and_the_rest_bounded(
    choices: list[tuple[int, ...]], seed: int, top: int
) -> None:
    everything = walked([seed], choices, 60, math.inf)
    assert everything.bounded == ()
    found = walked([seed], choices, top, MARGIN)
    for number, right in enumerate(everything.logprobs):
        value = found.logprobs[number]
        if number in found.bounded:
            assert value >= right - 1e-9
        else:
            assert value == pytest.approx(right, abs=SLACK)
    best = max(everything.logprobs)
    assert all(found.logprobs[n] < best - MARGIN + SLACK for n in found.bounded)


@pytest.mark.parametrize("margin", [MARGIN, math.inf])
def test_choices_are_scored_by_having_them_written(margin: float) -> None:
    """Letters as tokens: what is forced follows the choices, what is likely is told besides."""
    choices = ("go", "gold", "stop", "étage")
    log = {"": {"g": -0.5, "s": -1.5, "": -3.0}, "g": {"o": -0.1}, "go": {"l": -0.7, "!": -0.9}}
    asked: list[Sequence[str]] = []

    async def force(allowed: Sequence[str]) -> Any:
        asked.append(allowed)
        text = allowed[0] if len(allowed) == 1 else "gold"
        nodes = [log.get(text[:i], {letter: -9.0}) for i, letter in enumerate(text)]
        return text, [(c, n.get(c, -9.0), n) for c, n in zip(text, nodes, strict=True)]

    values = asyncio.run(best_first(ByTexts(choices, force), len(choices), margin=margin))
    assert asked[0] == choices
    assert values.logprobs[1] == pytest.approx(-0.5 - 0.1 - 0.7 - 9.0)
    assert values.logprobs[0] == pytest.approx(-0.6 + math.log(1 - math.exp(-0.7)))
    assert ["étage"] in asked  # letters beyond ASCII have no bound
    assert ["stop"] in asked
    assert (3 in values.bounded) is False
