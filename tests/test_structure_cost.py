from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tiny_gguf import write_gguf
from tiny_teacher import opened, writes

from benchmarks.throughput.structure import _quality, _questions, _write, step_cost
from evokd.settings import TeacherSettings
from evokd.teacher import Written, grammar
from evokd.teacher.llamacpp import LlamaCppTeacher
from evokd.teacher.native import Engine


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    path = write_gguf(tmp_path_factory.mktemp("model") / "tiny.gguf")
    engine = Engine(path, TeacherSettings(threads=1, context=2048))
    yield engine
    engine.close()


def test_recorded_replies_are_forced_and_timed(engine: Engine) -> None:
    made = step_cost(engine, ['["wake me at six"]', '["hello", "you"]'], clock=time.perf_counter)
    assert made.keys() == {"step_ms", "check_ms", "redraw_ms"}
    assert all(value > 0 for value in made.values())


def test_a_reply_that_does_not_follow_its_grammar_is_told(engine: Engine) -> None:
    with pytest.raises(AssertionError, match="follow"):
        step_cost(engine, ["wake me at six"], clock=time.perf_counter)


def test_refusals_are_summed_over_replies(tmp_path: Path) -> None:
    with opened(write_gguf(tmp_path / "tiny.gguf")) as teacher:
        assert isinstance(teacher, LlamaCppTeacher)
        _, free = _write(teacher, writes(3))
        replies, held = _write(teacher, writes(3, grammar=grammar.choice(["yes", "no"])))
    assert free == 0
    assert 0 < held <= sum(w.tokens_out for w in replies)


def test_every_label_is_asked_for_in_turn() -> None:
    asked = _questions(2)
    assert len({r.messages for r in asked}) == len({r.seed for r in asked}) == len(asked) == 18


def test_quality_counts_replies_and_texts() -> None:
    said = [Written(text, "stop", 1, 1, 1) for text in ('["a b c", "a b c"]', "nothing")]
    made = _quality(said)
    assert made == {"replies": 2, "parseable": 0.5, "texts_a_reply": 1.0, "duplicates": 0.5}
