"""A tiny teacher, requests for it, and the slow decode that its answers are compared with."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import llama_cpp
import numpy as np
import pytest

from evokd.settings import TeacherSettings
from evokd.teacher import Generate, Message, Score, Written, opening
from evokd.teacher.chat import CHATML, render
from evokd.teacher.llamacpp import LlamaCppTeacher

HEAD = "These are the classes: music, weather, the rest.\n"
CHOICES = ("music", "mu", "weather", "the rest", "the best", "")


def opened(path: Path, **settings: Any) -> LlamaCppTeacher:
    return LlamaCppTeacher(path, TeacherSettings(threads=1, **{"context": 1024, **settings}))


def cold(teacher: LlamaCppTeacher) -> LlamaCppTeacher:
    """Let the teacher forget what it kept of the call before."""
    teacher._open().clear()
    return teacher


def tokens_of(teacher: LlamaCppTeacher, messages: tuple[Message, ...]) -> list[int]:
    """Return the tokens of the prompt that the teacher makes of a conversation."""
    engine = teacher._open()
    return teacher._tokens(engine, teacher._prompt(engine, messages))


def plain_model(path: Path) -> llama_cpp.Llama:
    """Open the model in the library's own class: one sequence at a time."""
    cells = opening.cells(TeacherSettings())  # bfloat16 would not be as float16
    return llama_cpp.Llama(
        str(path),
        n_ctx=512,
        logits_all=True,
        n_threads=1,
        n_threads_batch=1,
        type_k=cells,
        type_v=cells,
        verbose=False,
    )


def writes(count: int, **sampling: Any) -> list[Generate]:
    texts = [HEAD + f"Write about {'x' * (7 * i % 31)} {i}" for i in range(count)]
    settings = {"max_tokens": 24, **sampling}
    return [Generate((Message("user", t),), seed=i, **settings) for i, t in enumerate(texts)]


def scores(count: int, choices: tuple[str, ...] = CHOICES) -> list[Score]:
    heads = (HEAD, "These are the classes: the rest, weather, music; pick one.\n")
    texts = [heads[i % 2] + f"Text: {'y' * (11 * i % 37)} {i}" for i in range(count)]
    return [Score((Message("user", t),), choices) for t in texts]


def plain_logprobs(
    plain: llama_cpp.Llama, request: Generate | Score, reply: list[int]
) -> np.ndarray[Any, Any]:
    """Return the log-probabilities of every token at each place of a reply."""
    text = render(CHATML, request.messages, add_generation_prompt=True, bos="", eos="")
    start = plain.tokenize(text.encode(), add_bos=False, special=True)
    plain.reset()
    plain.eval(start + reply)
    rows = np.array(plain.scores[len(start) - 1 : len(start) + len(reply) - 1], np.float64)
    return rows - np.log(np.exp(rows).sum(axis=1, keepdims=True))


def assert_greedy(plain: llama_cpp.Llama, requests: list[Generate], replies: list[Written]) -> None:
    """Each token is the likeliest in a plain decode, or next to it. Replies are token numbers."""
    for request, written in zip(requests, replies, strict=True):
        reply = [int(token) for token in written.text.split()]
        rows = plain_logprobs(plain, request, reply)
        assert (rows.max(axis=1) - rows[np.arange(len(reply)), reply]).max() < 0.05


def spell_numbers(teacher: LlamaCppTeacher, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let replies come as the numbers of their tokens."""
    vocabulary = teacher._open().vocabulary
    monkeypatch.setattr(vocabulary, "text", lambda tokens, **_: " ".join(map(str, tokens)))
