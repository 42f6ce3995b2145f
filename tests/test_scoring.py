from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Literal

import llama_cpp
import numpy as np
import pytest
from tiny_gguf import write_gguf
from tiny_teacher import (
    CHOICES,
    HEAD,
    cold,
    opened,
    plain_logprobs,
    plain_model,
    scores,
)

from evokd.errors import TeacherError
from evokd.teacher import Message
from evokd.teacher.llamacpp import LlamaCppTeacher
from evokd.teacher.native import NoSlot


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_gguf(tmp_path_factory.mktemp("teacher") / "tiny.gguf")


@pytest.fixture(scope="module")
def teacher(path: Path) -> Iterator[LlamaCppTeacher]:
    with opened(path) as teacher:
        yield teacher


@pytest.fixture(scope="module")
def plain(path: Path) -> llama_cpp.Llama:
    return plain_model(path)


def test_scores_equal_a_plain_decode_of_each_sequence(
    teacher: LlamaCppTeacher, plain: llama_cpp.Llama
) -> None:
    requests = scores(6)
    found = teacher.score(requests)
    for request, scored in zip(requests, found, strict=True):
        for choice, logprob, length in zip(CHOICES, scored.logprobs, scored.lengths, strict=True):
            tokens = [*plain.tokenize(choice.encode(), add_bos=False), plain.token_eos()]
            reply = tokens[:length]
            rows = plain_logprobs(plain, request, reply)
            slow = rows[np.arange(len(reply)), reply].sum()
            assert logprob == pytest.approx(slow, abs=0.05)
    assert np.std([s.logprobs for s in found], axis=0).min() > 0.1  # the texts matter


@pytest.mark.parametrize("context", [256, 1024])
def test_scores_alone_equal_scores_in_a_batch(path: Path, context: int) -> None:
    requests = [replace(s, search="all") for s in scores(40)]
    with opened(path, context=context) as teacher:
        together = teacher.score(requests)
        alone = [teacher.score([request])[0] for request in requests]
    for a, b in zip(together, alone, strict=True):
        assert a.logprobs == pytest.approx(b.logprobs, abs=0.05)
        assert (a.tokens_in, a.tokens_out) == (b.tokens_in, b.tokens_out)
    assert sum(s.decoded for s in together) < sum(s.decoded for s in alone)


def test_more_choices_than_sequences(teacher: LlamaCppTeacher) -> None:
    choices = tuple(f"class {i:03}" for i in range(300))
    [scored] = teacher.score([replace(scores(1, choices)[0], search="all")])
    assert len(scored.logprobs) == 300
    assert not scored.bounded
    few = teacher.score(scores(1, choices[254:258]))[0]
    assert scored.logprobs[254:258] == pytest.approx(few.logprobs, abs=0.05)


@pytest.mark.parametrize("sequences", [3, 4, 5, 9])
def test_forks_are_decoded_again_where_sequences_are_few(
    teacher: LlamaCppTeacher, monkeypatch: pytest.MonkeyPatch, sequences: int
) -> None:
    choices = tuple(f"{a}{b}{c}{d}" for a in "xy" for b in "xyz" for c in "xy" for d in ("", "zz"))
    requests = [replace(s, search="all") for s in scores(3, choices)]
    expected = teacher.score(requests)
    monkeypatch.setattr(teacher._open(), "sequences", sequences)
    for a, b in zip(teacher.score(requests), expected, strict=True):
        assert a.logprobs == pytest.approx(b.logprobs, abs=0.05)
        assert a.decoded > b.decoded


def test_too_few_sequences_end_in_an_error(
    teacher: LlamaCppTeacher, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(teacher._open(), "sequences", 2)
    with pytest.raises(TeacherError, match="memory is full"):
        teacher.score([replace(scores(1)[0], search="all")])


def test_the_end_of_the_turn_counts_only_where_one_choice_begins_another(
    teacher: LlamaCppTeacher, plain: llama_cpp.Llama
) -> None:
    [request] = scores(1, ("ab", "abc"))
    [scored] = teacher.score([request])
    for choice, logprob in zip(request.choices, scored.logprobs, strict=True):
        reply = [*plain.tokenize(choice.encode(), add_bos=False), plain.token_eos()]
        slow = plain_logprobs(plain, request, reply)[np.arange(len(reply)), reply].sum()
        assert logprob == pytest.approx(slow, abs=0.05)
    [scored] = cold(teacher).score(scores(1, ("ab", "ac")))
    assert scored.lengths == (2, 2)
    assert scored.decoded == scored.tokens_in + 1  # a
    [scored] = cold(teacher).score(scores(1, ("ab", "ac", "")))
    assert scored.lengths == (3, 3, 1)
    assert scored.tokens_out == 3 + 3 + 1
    assert scored.decoded == scored.tokens_in + 3  # a, b, c
    assert scored.per_token == pytest.approx(np.divide(scored.logprobs, (3, 3, 1)))


def test_equal_choices_score_the_same(teacher: LlamaCppTeacher) -> None:
    [scored] = teacher.score(scores(1, ("music", "rest", "music")))
    assert scored.logprobs[0] == scored.logprobs[2] != scored.logprobs[1]


def test_the_best_of_many_is_that_of_all(teacher: LlamaCppTeacher) -> None:
    choices = tuple(f"{kind} {what}" for kind in "abcdefgh" for what in ("this", "that", "th"))
    requests = scores(30, choices)
    every = teacher.score([replace(s, search="all") for s in requests])
    some = teacher.score(requests)  # by itself: they are many
    assert all(s.bounded for s in some)
    for a, b in zip(every, some, strict=True):
        assert np.argmax(a.logprobs) == np.argmax(b.logprobs)
        assert b.tokens_out == sum(n for i, n in enumerate(b.lengths) if i not in b.bounded)
        for i, (exact, value) in enumerate(zip(a.logprobs, b.logprobs, strict=True)):
            if i in b.bounded:
                assert value > exact - 0.05
            else:
                assert value == pytest.approx(exact, abs=0.05)
    assert sum(s.decoded for s in some) < sum(s.decoded for s in every)


@pytest.mark.parametrize("search", ["all", "best"])
def test_a_baseline_is_taken_off_and_decoded_once(
    teacher: LlamaCppTeacher, search: Literal["all", "best"]
) -> None:
    plain = [replace(s, search="all") for s in scores(8)]
    empty = replace(plain[0], messages=(Message("user", HEAD + "Text: "),))
    asked = [replace(s, baseline=empty.messages, search=search) for s in plain]
    [base] = cold(teacher).score([empty])
    for raw, scored in zip(teacher.score(plain), teacher.score(asked), strict=True):
        exact = np.subtract(raw.logprobs, base.logprobs)
        assert int(np.argmax(scored.logprobs)) == int(np.argmax(exact))
        for i, value in enumerate(scored.logprobs):
            assert value == pytest.approx(exact[i], abs=0.05) or (
                i in scored.bounded and value > exact[i]
            )
    more = sum(s.decoded for s in cold(teacher).score(asked)) - sum(
        s.decoded for s in cold(teacher).score([replace(s, search=search) for s in plain])
    )
    if search == "all":
        assert 0 < more <= base.decoded  # what it begins with may be there already


def test_a_full_memory_halves_the_texts(
    teacher: LlamaCppTeacher, monkeypatch: pytest.MonkeyPatch
) -> None:
    requests = scores(12)
    expected = teacher.score(requests)
    engine = teacher._open()
    decode, calls = engine.decode, count()

    def refuse_some() -> None:
        if next(calls) in (1, 3):  # six prompts' ends, then the branches of the first three texts
            engine._filled = 0
            raise NoSlot("full")
        decode()

    monkeypatch.setattr(engine, "decode", refuse_some)
    done: list[int] = []
    found = teacher.score(requests, lambda i, _: done.append(i))
    assert next(calls) > 8
    assert sorted(done) == list(range(12))
    for a, b in zip(found, expected, strict=True):
        assert a.logprobs == pytest.approx(b.logprobs, abs=0.05)
