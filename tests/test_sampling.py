from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny_gguf import write_gguf
from tiny_teacher import opened, writes

from evokd.errors import TeacherError
from evokd.prompts import ask_cover, ask_label
from evokd.replies import parse_list
from evokd.task import demo_task
from evokd.teacher import Generate, grammar, sampling
from evokd.teacher.chat import CHATML
from evokd.teacher.llamacpp import LlamaCppTeacher, find_model
from evokd.teacher.native import Engine
from evokd.teacher.sampling import Sampler

GREEDY: dict[str, Any] = {"temperature": 0.0}


@pytest.fixture(scope="module")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LlamaCppTeacher]:
    with opened(write_gguf(tmp_path_factory.mktemp("teacher") / "tiny.gguf")) as teacher:
        yield teacher


@pytest.fixture(scope="module")
def engine(teacher: LlamaCppTeacher) -> Engine:
    return teacher._open()


@pytest.fixture
def ranked(engine: Engine) -> list[int]:
    """The tokens of the row at place 0 that are a letter or a digit, likeliest first.

    The first of them is the likeliest of all.
    """
    spell = engine.vocabulary.text
    for prompt in "abcdefghijklmnopqrstuvwxyz":
        engine.clear()
        engine.add(engine.vocabulary.prompt_tokens(prompt), 0, sequences=(1,), logits=True)
        engine.decode()
        order = np.argsort(-engine.logits(0)).tolist()
        if spell([order[0]]).isalnum():
            return [t for t in order if len(spell([t])) == 1 and spell([t]).isalnum()]
    raise AssertionError("no prompt will do")


def draws(engine: Engine, count: int = 1, **asked: Any) -> list[int]:
    """Draw several times from the same row, which the penalties alone can tell apart."""
    with closing(Sampler(Generate((), **asked), engine.vocabulary)) as sampler:
        return [sampler.draw(engine.context, 0) for _ in range(count)]


def rigged(engine: Engine, known: dict[int, float]) -> Any:
    """Decode a row and write over its logits; what is not known is out of the question."""
    engine.clear()
    engine.add(engine.vocabulary.prompt_tokens("a"), 0, sequences=(1,), logits=True)
    engine.decode()
    logits = engine.logits(0)
    logits[:] = -50.0
    for token, value in known.items():
        logits[token] = value
    return logits


def spelled(engine: Engine, token: int) -> str:
    """Return a grammar's name for a token that is one byte of ASCII."""
    return grammar._literal(engine.vocabulary.text([token]))


# -- the chain --------------------------------------------------------------------------------


def test_greedy_takes_the_likeliest(engine: Engine, ranked: list[int]) -> None:
    assert draws(engine, 3, **GREEDY) == [int(np.argmax(engine.logits(0)))] * 3


def test_seeds_tell_draws_apart(engine: Engine, ranked: list[int]) -> None:
    first = draws(engine, 20, seed=1, temperature=2.0)
    assert first == draws(engine, 20, seed=1, temperature=2.0)
    assert first != draws(engine, 20, seed=2, temperature=2.0)
    assert len({*first}) > 5


def test_min_p_leaves_out_what_is_far_less_likely(engine: Engine, ranked: list[int]) -> None:
    wide = {"temperature": 5.0, "top_p": 1.0}
    logits = engine.logits(0)
    assert {*draws(engine, 50, min_p=1.0, **wide)} == {int(np.argmax(logits))}
    shares = np.exp(logits - logits.max())
    some = {*draws(engine, 300, min_p=0.3, **wide)}
    assert some <= {*np.flatnonzero(shares >= 0.3).tolist()}
    assert min(shares[t] for t in draws(engine, 300, **wide)) < 0.3


def test_a_penalty_keeps_tokens_from_coming_again(engine: Engine, ranked: list[int]) -> None:
    count = int((engine.logits(0) > 0.1).sum()) - 3
    assert count > 20
    for sampling_ in (GREEDY, {"temperature": 0.01}):
        drawn = draws(engine, count, repetition_penalty=1e6, **sampling_)
        assert len({*drawn}) == count


def test_a_penalty_is_looked_at_before_the_faint_are_left_out(engine: Engine) -> None:
    logits = rigged(engine, {5: 40.0, 7: 29.0})
    assert logits[5] - logits[7] > -np.log(sampling.FAINT)
    drawn = draws(engine, 2, repetition_penalty=1.5, temperature=0.01)
    assert drawn == [5, 7]


def test_at_a_high_temperature_the_faint_are_drawn(engine: Engine) -> None:
    rigged(engine, {5: 20.0} | dict.fromkeys(range(10, 210), 10.5))
    hot = draws(engine, 300, temperature=2.0, top_p=1.0)
    assert 0.3 < np.mean([t != 5 for t in hot]) < 0.95  # 0.63 of all probability
    assert {*draws(engine, 100, temperature=1.0, top_p=1.0)} == {5}


# -- structure --------------------------------------------------------------------------------


def test_the_likeliest_that_fits_is_taken(engine: Engine, ranked: list[int]) -> None:
    gbnf = f"root ::= {spelled(engine, ranked[30])} | {spelled(engine, ranked[20])}"
    assert draws(engine, grammar=gbnf, **GREEDY) == [ranked[20]]
    drawn = {draws(engine, seed=i, temperature=9.0, grammar=gbnf)[0] for i in range(40)}
    assert drawn == {ranked[20], ranked[30]}


def test_refusals_are_counted_and_draw_again(engine: Engine, ranked: list[int]) -> None:
    gbnf = f"root ::= {spelled(engine, ranked[0])} {spelled(engine, ranked[1])}"
    with closing(Sampler(Generate((), grammar=gbnf, **GREEDY), engine.vocabulary)) as sampler:
        assert sampler.draw(engine.context, 0) == ranked[0]
        assert sampler.refused == 0
        assert sampler.draw(engine.context, 0) == ranked[1]
        assert sampler.refused == 1
        assert engine.vocabulary.ends(sampler.draw(engine.context, 0))
        assert sampler.refused == 2


def test_structure_changes_nothing_where_all_fits(engine: Engine, ranked: list[int]) -> None:
    asked = {"temperature": 0.3, "top_p": 0.6, "min_p": 0.1, "repetition_penalty": 1.02}
    drawn = [draws(engine, 6, seed=i, **asked) for i in range(60)]
    ascii_ = [i for i, tokens in enumerate(drawn) if engine.vocabulary.text(tokens).isascii()]
    assert len({tuple(drawn[i]) for i in ascii_}) > 5
    for i in ascii_:
        assert draws(engine, 6, seed=i, grammar="root ::= .*", **asked) == drawn[i]


def test_no_penalty_falls_on_what_was_refused(engine: Engine, ranked: list[int]) -> None:
    best, other = ranked[0], ranked[20]
    gbnf = f"root ::= {spelled(engine, other)} [a-zA-Z0-9] [a-zA-Z0-9]"
    drawn = draws(engine, 3, grammar=gbnf, repetition_penalty=1e6, **GREEDY)
    assert drawn[:2] == [other, best]
    assert drawn[2] not in (best, other)


def test_all_tokens_are_looked_at_when_no_likely_one_fits(
    engine: Engine, ranked: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sampling, "NUCLEUS", 2)
    gbnf = f"root ::= {spelled(engine, ranked[-1])}"
    assert draws(engine, grammar=gbnf) == [ranked[-1]]


def test_tokens_without_text_do_not_fit(engine: Engine) -> None:
    asked = [Generate((), seed=i, temperature=9.0, grammar='root ::= "<s>"') for i in range(5)]
    for request in asked:
        with closing(Sampler(request, engine.vocabulary)) as sampler:
            assert engine.vocabulary.text([sampler.draw(engine.context, 0)]) == "<"


def test_a_cut_reply_is_never_half_parsed(teacher: LlamaCppTeacher) -> None:
    replies = teacher.generate(writes(6, max_tokens=8, grammar=grammar.texts(3)))
    assert {w.finish for w in replies} == {"length"}
    assert {parse_list(w).reject for w in replies} == {"cut"}


def test_rows_with_and_without_structure_go_side_by_side(teacher: LlamaCppTeacher) -> None:
    requests = writes(8, temperature=0)
    free = teacher.generate(requests)
    asked = writes(8, temperature=0, grammar=grammar.choice(["yes", "no"]))
    mixed = [asked[i] if i % 2 else requests[i] for i in range(8)]
    replies = teacher.generate(mixed)
    assert {w.text for w in replies[1::2]} <= {"yes", "no"}
    assert [w.finish for w in replies[0::2]] == [w.finish for w in free[0::2]]


def test_the_embedded_teacher_keeps_to_lists_and_names() -> None:
    task = demo_task()
    cover = [
        Generate(
            ask_cover(task.domain, task.labels, label=n, count=5, style="short", examples=["hey"]),
            temperature=1.5,
            top_p=1.0,
            grammar=grammar.texts(5),
        )
        for n in task.names
    ]
    named = [
        Generate(ask_label(task.domain, task.labels, n), temperature=3.0, max_tokens=16)
        for n in task.names
    ]
    names = grammar.choice(task.names)
    with opened(find_model("demo"), context=8192) as teacher:
        lists = teacher.generate(cover)
        labels = teacher.generate([replace(request, grammar=names) for request in named])
    assert {parse_list(w).reject for w in lists if w.finish == "stop"} == {None}
    assert {w.text for w in labels} <= {*task.names}


def test_a_model_that_thinks_answers_at_once_under_a_grammar(tmp_path: Path) -> None:
    template = CHATML + "{% if add_generation_prompt %}<think>\n{% endif %}"
    with opened(write_gguf(tmp_path / "thinks.gguf", template=template)) as thinker:
        replies = thinker.generate(writes(4, grammar=grammar.choice(["yes", "no"])))
    assert {w.text for w in replies} <= {"yes", "no"}


@pytest.mark.parametrize(
    ("gbnf", "message"),
    [
        ("root ::= [a", "refuses"),
        ('rot ::= "a"', "refuses"),
        ("root ::= missing", "refuses"),
        ('root ::= root "a"', "refuses"),
        ("# nothing\n", "refuses"),
        ('root ::= "a" !<[5]>', "name tokens"),
        ("root ::= <[5]>", "name tokens"),
        ('root ::= "\\x00"', "no token"),
    ],
)
def test_a_grammar_that_will_not_do_is_one_line(
    teacher: LlamaCppTeacher, gbnf: str, message: str
) -> None:
    with pytest.raises(TeacherError, match=message) as caught:
        teacher.generate(writes(3, grammar=gbnf))
    assert "\n" not in caught.value.message
    assert len(teacher.generate(writes(3))) == 3


def test_marks_of_tokens_may_stand_in_texts(teacher: LlamaCppTeacher) -> None:
    gbnf = 'root ::= "<a!" [<!] # <b>'
    [reply] = teacher.generate(writes(1, grammar=gbnf))
    assert reply.text in ("<a!<", "<a!!")


def test_close_twice(engine: Engine) -> None:
    sampler = Sampler(Generate((), grammar=grammar.texts(1)), engine.vocabulary)
    sampler.close()
    sampler.close()
    assert sampler._chain is None
