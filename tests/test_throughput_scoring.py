from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from tiny_gguf import write_gguf
from tiny_teacher import opened, scores

from benchmarks.throughput import scoring
from benchmarks.throughput.questions import Rows, many, recorded, replayed, seven


def test_a_teacher_can_be_told_what_another_said(tmp_path: Path) -> None:
    requests = [replace(s, search="all") for s in scores(1)]
    said: list[Rows] = []
    with opened(write_gguf(tmp_path / "one.gguf")) as one, recorded(said):
        expected = one.score(requests)
    with opened(write_gguf(tmp_path / "other.gguf", seed=1)) as other:
        assert other.score(requests)[0].logprobs != expected[0].logprobs
        with replayed(said):
            for _ in range(2):
                assert other.score(requests)[0].logprobs == expected[0].logprobs
        assert other.score(requests)[0].logprobs != expected[0].logprobs


def test_fewer_texts_are_the_first_of_more() -> None:
    assert seven(9)[:4] == seven(4)
    assert many("clinc150", 9)[:4] == many("clinc150", 4)
    assert {len(request.choices) for request in many("banking77", 4)} == {77}
    assert {len(request.choices) for request in seven(4)} == {7}


def test_reading_decodes_each_text_behind_the_shared_prompt(tmp_path: Path) -> None:
    requests = scores(9)[::2]  # one beginning
    with opened(write_gguf(tmp_path / "tiny.gguf")) as teacher:
        before = teacher.score(requests)
        tails = scoring._read(teacher, requests)
        assert tails < sum(s.tokens_in for s in before) / 2
        after = teacher.score(requests)  # the engine is left as it should be
        assert [s.logprobs for s in after] == [s.logprobs for s in before]
