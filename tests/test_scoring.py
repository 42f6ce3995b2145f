from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import llama_cpp
import numpy as np
import pytest
from tiny_gguf import write_gguf
from tiny_teacher import (
    CHOICES,
    opened,
    plain_logprobs,
    plain_model,
    scores,
)

from evokd.teacher.llamacpp import LlamaCppTeacher


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
        for choice, logprob in zip(CHOICES, scored.logprobs, strict=True):
            reply = [*plain.tokenize(choice.encode(), add_bos=False), plain.token_eos()]
            rows = plain_logprobs(plain, request, reply)
            slow = rows[np.arange(len(reply)), reply].sum()
            assert logprob == pytest.approx(slow, abs=0.05)
    assert np.std([s.logprobs for s in found], axis=0).min() > 0.1  # the texts matter


@pytest.mark.parametrize("context", [256, 1024])
def test_scores_alone_equal_scores_in_a_batch(path: Path, context: int) -> None:
    requests = scores(40)
    with opened(path, context=context) as teacher:
        together = teacher.score(requests)
        alone = [teacher.score([request])[0] for request in requests]
    for a, b in zip(together, alone, strict=True):
        assert a.logprobs == pytest.approx(b.logprobs, abs=0.05)
        assert (a.tokens_in, a.tokens_out) == (b.tokens_in, b.tokens_out)
    assert sum(s.decoded for s in together) < sum(s.decoded for s in alone)


def test_more_choices_than_sequences(teacher: LlamaCppTeacher) -> None:
    choices = tuple(f"class {i}" for i in range(300))
    [scored] = teacher.score(scores(1, choices))
    assert len(scored.logprobs) == 300
    few = teacher.score(scores(1, choices[254:258]))[0]
    assert scored.logprobs[254:258] == pytest.approx(few.logprobs, abs=0.05)


def test_choices_count_their_end_of_turn(teacher: LlamaCppTeacher) -> None:
    [scored] = teacher.score(scores(1, ("ab", "ac", "")))
    assert scored.tokens_out == 3 + 3 + 1
    assert scored.decoded == scored.tokens_in + 3  # a, b, c


def test_equal_choices_score_the_same(teacher: LlamaCppTeacher) -> None:
    [scored] = teacher.score(scores(1, ("music", "rest", "music")))
    assert scored.logprobs[0] == scored.logprobs[2] != scored.logprobs[1]
