from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from fake_run import replies
from fakes import LABELS, ScriptedTeacher, Stopped, user
from hypothesis import given, settings
from hypothesis import strategies as st

from evokd.calls import Calls
from evokd.errors import ReplayMiss, TeacherError
from evokd.ledger import Ledger
from evokd.teacher import Generate, Score

QUESTION = "Which kinds of text does it get wrong?"


def writes(count: int) -> list[Generate]:
    return [Generate(user(QUESTION), seed=n) for n in range(count)]


def scores(count: int) -> list[Score]:
    return [
        Score(user(f'To which class does this text belong?\nText: "song {n}"'), LABELS)
        for n in range(count)
    ]


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    opened = Ledger(tmp_path / "run.db")
    yield opened
    opened.close()


def test_a_recorded_call_is_never_made_again(ledger: Ledger) -> None:
    teacher = ScriptedTeacher()
    calls = Calls(ledger, lambda: teacher)
    said, scored = calls.generate("s", writes(3)), calls.score("s", scores(3))
    assert [w.text for w in said] == [w.text for w in ScriptedTeacher().generate(writes(3))]
    later = Calls(ledger, None)
    assert later.generate("s", writes(3)) == said
    assert later.score("s", scores(3)) == scored
    assert teacher.answered == 6


def test_only_what_is_missing_is_asked(ledger: Ledger) -> None:
    Calls(ledger, ScriptedTeacher).generate("s", writes(2))
    teacher = ScriptedTeacher()
    said = Calls(ledger, lambda: teacher).generate("s", writes(5))
    assert teacher.asked == writes(5)[2:]
    assert said == ScriptedTeacher().generate(writes(5))


def test_the_same_request_twice_is_two_calls(ledger: Ledger) -> None:
    calls = Calls(ledger, ScriptedTeacher)
    twice = [writes(1)[0], writes(1)[0]]
    keys = calls.keys("s", twice)
    assert len({*keys, *calls.keys("another scope", twice)}) == 4
    assert calls.keys("s", twice) == keys
    calls.generate("s", twice)
    assert set(replies(ledger.path)) == set(keys)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(0, 2), max_size=8))
def test_keys_do_not_depend_on_the_neighbours(seeds: list[int]) -> None:
    calls = Calls(None, None)  # type: ignore[arg-type]  # keys need neither
    keys = calls.keys("s", [Generate(user("x"), seed=n) for n in seeds])
    assert len(set(keys)) == len(seeds)
    for n in set(seeds):
        alone = calls.keys("s", [Generate(user("x"), seed=n)] * seeds.count(n))
        assert [k for k, seed in zip(keys, seeds, strict=True) if seed == n] == alone


def test_a_score_and_a_continuation_of_the_same_words_differ() -> None:
    calls = Calls(None, None)  # type: ignore[arg-type]
    requests: list[Any] = [Score(user("x"), LABELS), Score(user("x"), LABELS[::-1])]
    requests += [Generate(user("x")), Generate(user("x"), temperature=0)]
    assert len(set(calls.keys("s", requests))) == 4


def test_errors_are_never_cached(ledger: Ledger) -> None:
    failing = ScriptedTeacher(fail_after=2)
    with pytest.raises(Stopped):
        Calls(ledger, lambda: failing).generate("s", writes(5))
    done = {key for key, reply in replies(ledger.path).items() if reply is not None}
    assert (len(done), len(replies(ledger.path))) == (2, 5)
    teacher = ScriptedTeacher()
    assert Calls(ledger, lambda: teacher).generate("s", writes(5)) == (
        ScriptedTeacher().generate(writes(5))
    )
    assert len(teacher.asked) == 3
    assert None not in replies(ledger.path).values()


def test_a_teacher_that_leaves_a_request_out(ledger: Ledger) -> None:
    class Forgetful(ScriptedTeacher):
        def generate(self, requests: Sequence[Generate], on_done: Any = None) -> Any:
            return super().generate(requests[:-1], on_done)

    with pytest.raises(TeacherError, match="without an answer"):
        Calls(ledger, Forgetful).generate("s", writes(2))
    assert sorted(reply is None for reply in replies(ledger.path).values()) == [False, True]


def test_another_model_is_refused_again_and_again(ledger: Ledger) -> None:
    Calls(ledger, ScriptedTeacher).generate("s", writes(1))
    other = ScriptedTeacher(fingerprint="scripted-2")
    calls = Calls(ledger, lambda: other)
    for _ in range(2):
        with pytest.raises(TeacherError, match="was begun with scripted, another model"):
            calls.generate("s", writes(2))
    assert (other.asked, other.closed) == ([], True)
    assert calls.generate("s", writes(1)) == ScriptedTeacher().generate(writes(1))


def test_without_a_model_a_missing_call_is_a_replay_miss(ledger: Ledger) -> None:
    with pytest.raises(ReplayMiss):
        Calls(ledger, None).score("s", scores(1))


def test_the_model_is_opened_once_and_only_when_it_is_needed(ledger: Ledger) -> None:
    opened: list[ScriptedTeacher] = []

    def open_one() -> ScriptedTeacher:
        opened.append(ScriptedTeacher())
        return opened[-1]

    calls = Calls(ledger, open_one)
    assert calls.generate("s", []) == []
    assert opened == []
    calls.generate("s", writes(1))
    calls.score("s", scores(1))
    assert len(opened) == 1
    calls.close()
    assert opened[0].closed


@pytest.mark.parametrize("recorded", [0, 2, 4])
def test_progress_ticks_once_a_request(ledger: Ledger, recorded: int) -> None:
    Calls(ledger, ScriptedTeacher).generate("s", writes(recorded))
    ticks: list[None] = []
    Calls(ledger, ScriptedTeacher).generate("s", writes(4), lambda: ticks.append(None))
    assert len(ticks) == 4


def test_reserved_calls_are_in_flight_before_the_first_is_made(ledger: Ledger) -> None:
    calls = Calls(ledger, ScriptedTeacher)
    calls.reserve("s", writes(2))
    assert list(replies(ledger.path).values()) == [None, None]
    calls.generate("s", writes(2))
    assert len(replies(ledger.path)) == 2


def test_log_probabilities_come_back_exactly(ledger: Ledger) -> None:
    first = Calls(ledger, ScriptedTeacher).score("s", scores(4))
    assert Calls(ledger, None).score("s", scores(4)) == first
    assert first == ScriptedTeacher().score(scores(4))
