from __future__ import annotations

import logging
import os
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import llama_cpp
import pytest
from tiny_gguf import write_gguf
from tiny_teacher import (
    CHOICES,
    assert_greedy,
    cold,
    opened,
    plain_model,
    scores,
    spell_numbers,
    tokens_of,
    writes,
)

from evokd.errors import TeacherError
from evokd.teacher import TOO_LONG, Generate, Message, Score, Scored, Written, opening
from evokd.teacher.chat import CHATML
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


# -- writing ----------------------------------------------------------------------------------


def test_greedy_replies_take_the_likeliest_tokens(
    teacher: LlamaCppTeacher, plain: llama_cpp.Llama, monkeypatch: pytest.MonkeyPatch
) -> None:
    spell_numbers(teacher, monkeypatch)
    requests = writes(12, temperature=0)
    together = teacher.generate(requests)
    assert_greedy(plain, requests, together)
    alone = [teacher.generate([request])[0] for request in requests]
    assert_greedy(plain, requests, alone)
    assert [w.tokens_in for w in together] == [w.tokens_in for w in alone]
    assert len({w.text for w in together}) > 1


def test_seeds_reproduce_the_same_batch(teacher: LlamaCppTeacher) -> None:
    requests = writes(20)
    first = teacher.generate(requests)
    assert first == teacher.generate(requests)
    again = [Generate(r.messages, seed=r.seed + 1000, max_tokens=24) for r in requests]
    assert [w.text for w in first] != [w.text for w in teacher.generate(again)]


def test_replies_end_at_the_turns_end_or_the_limit(teacher: LlamaCppTeacher) -> None:
    replies = teacher.generate(writes(60, temperature=1.5, top_p=1, max_tokens=40))
    assert {w.finish for w in replies} == {"stop", "length"}
    assert all((w.tokens_out == 40) or w.finish == "stop" for w in replies)
    assert not any("<|im_end|>" in w.text for w in replies)


def test_tokens_are_counted(teacher: LlamaCppTeacher) -> None:
    first, second = cold(teacher).generate(writes(2, temperature=0, max_tokens=4))
    text = writes(1)[0].messages[0].content
    markers = len("user\n") + len("\n") + len("assistant\n") + 3  # and three special tokens
    assert first.tokens_in == len(text) - text.count("th") + markers
    assert first.decoded == first.tokens_in + first.tokens_out - 1
    assert second.decoded < second.tokens_in


def test_a_beginning_that_is_needed_again_is_kept(teacher: LlamaCppTeacher) -> None:
    for requests in (writes(3, temperature=0), writes(1, temperature=0)):
        first = cold(teacher).generate(requests)
        again = teacher.generate(requests)
        assert [w.text for w in again] == [w.text for w in first]
        assert sum(w.decoded for w in again) < sum(w.decoded for w in first) - 30
    for asked in (scores(6), scores(1)):
        exact = cold(teacher).score(asked)
        teacher.generate(writes(2))
        for warm, plain in zip(teacher.score(asked), exact, strict=True):
            assert warm.logprobs == pytest.approx(plain.logprobs, abs=0.02)
        assert sum(s.decoded for s in teacher.score(asked)) < sum(s.decoded for s in exact)


def test_a_kept_beginning_does_not_count_twice_in_a_small_memory(path: Path) -> None:
    with opened(path, context=256, sequences=8) as small:
        for n in range(6):
            assert len(small.generate(writes(6 + n, temperature=0))) == 6 + n
            assert len(small.score(scores(5 + n))) == 5 + n


def test_letters_of_several_tokens_come_out_whole(teacher: LlamaCppTeacher) -> None:
    vocabulary = teacher._open().vocabulary
    tokens = vocabulary.reply_tokens("thé 🎵")
    assert len(tokens) == 1 + 2 + 1 + 4
    assert vocabulary.text(tokens) == "thé 🎵"
    assert vocabulary.text(tokens[:2]) == "th\ufffd"


# -- both -------------------------------------------------------------------------------------


@pytest.mark.parametrize(("method", "make"), [("generate", writes), ("score", scores)])
def test_on_done_is_called_once_for_each(
    teacher: LlamaCppTeacher, method: str, make: Callable[[int], list[Any]]
) -> None:
    seen: dict[int, Written | Scored] = {}

    def note(index: int, reply: Written | Scored) -> None:
        assert index not in seen
        seen[index] = reply

    replies = getattr(teacher, method)(make(40), note)
    assert [seen[i] for i in range(40)] == replies
    assert getattr(teacher, method)([]) == []


def test_a_small_context_still_answers_many(
    path: Path, plain: llama_cpp.Llama, monkeypatch: pytest.MonkeyPatch
) -> None:
    requests = writes(30, temperature=0, max_tokens=60)
    with opened(path, context=256) as small:
        spell_numbers(small, monkeypatch)
        assert_greedy(plain, requests, small.generate(requests))


def test_a_full_memory_parks_rows_and_goes_on(
    path: Path, plain: llama_cpp.Llama, monkeypatch: pytest.MonkeyPatch
) -> None:
    requests = writes(20, temperature=0, max_tokens=40)
    with opened(path, context=256) as small:
        spell_numbers(small, monkeypatch)
        booked, scored = small.generate(requests), small.score(scores(20))
        small._open().cells = 100_000  # a lie: now C itself says that there is no slot
        overbooked = small.generate(requests)
        assert_greedy(plain, requests, overbooked)
        assert sum(w.decoded for w in overbooked) > sum(w.decoded for w in booked)
        for a, b in zip(small.score(scores(20)), scored, strict=True):
            assert a.logprobs == pytest.approx(b.logprobs, abs=0.05)


def test_too_long_a_prompt_is_refused_and_the_others_are_answered(path: Path) -> None:
    long = (Message("user", "z" * 300),)
    one, *others = writes(3, temperature=0)
    first, *rest = scores(3)
    with opened(path, context=256) as small:
        done: dict[int, Written | Scored] = {}
        replies = small.generate([one, Generate(long), *others], done.__setitem__)
        assert dict(enumerate(replies)) == done
        assert replies[1] == Written("", TOO_LONG, 0, 0, 0)
        alone = [w.text for w in cold(small).generate([one, *others])]
        assert [w.text for w in (replies[0], *replies[2:])] == alone
        scored: dict[int, Scored] = {}
        said = small.score([first, Score(long, CHOICES), *rest], scored.__setitem__)
        assert dict(enumerate(said)) == scored
        assert said[1] == Scored((), 0, 0, 0, refused=TOO_LONG)
        plain = small.score([first, *rest])
        assert [s.logprobs for s in plain] == [
            pytest.approx(s.logprobs, abs=0.05) for s in (said[0], *said[2:])
        ]
        assert small.score([Score(long, CHOICES)]) == [said[1]]
        far = Score(first.messages, CHOICES, baseline=long)
        assert small.score([far]) == [said[1]]


def test_what_is_too_long_can_be_told_before_it_is_asked(path: Path) -> None:
    long = (Message("user", "z" * 300),)
    with opened(path, context=256) as small:
        small.check([*writes(2), *scores(2)])
        for request in (Generate(long), Score(long, CHOICES)):
            with pytest.raises(TeacherError, match="256") as caught:
                small.check([*writes(2), *scores(2), request])
            assert "teacher.context" in caught.value.hint


def test_a_reply_shrinks_where_the_context_ends(path: Path) -> None:
    with opened(path, context=256) as small:
        tokens = small.generate(writes(1, max_tokens=1))[0].tokens_in
        fill = "z" * (256 - 20 - tokens)
        [request] = writes(1, temperature=0, max_tokens=100)
        message = Message("user", request.messages[0].content + fill)
        [reply] = small.generate([Generate((message,), temperature=0, max_tokens=100)])
        assert reply.tokens_in == 236
        assert (reply.tokens_out, reply.finish) == (20, "context") or reply.finish == "stop"


def test_no_sequence_outgrows_the_training_context(tmp_path: Path) -> None:
    path = write_gguf(tmp_path / "short.gguf", context=128)
    with opened(path, context=1024) as teacher:
        assert len(teacher.generate(writes(20, temperature=0))) == 20
        with pytest.raises(TeacherError, match="128") as caught:
            teacher.check([Generate((Message("user", "z" * 130),))])
        assert "trained on 128" in caught.value.hint


@pytest.mark.parametrize("problem", [KeyboardInterrupt, RuntimeError])
def test_the_engine_survives_an_interrupted_call(
    teacher: LlamaCppTeacher, problem: type[BaseException]
) -> None:
    def stop(index: int, reply: Written | Scored) -> None:
        raise problem

    def answers() -> tuple[list[Written], list[Scored]]:
        return cold(teacher).generate(writes(8, temperature=0)), cold(teacher).score(scores(8))

    expected = answers()
    for call in (
        lambda: teacher.generate(writes(40), stop),
        lambda: teacher.score(scores(40), stop),
    ):
        with pytest.raises(problem):
            call()
        assert answers() == expected


def test_threads_wait_for_each_other(teacher: LlamaCppTeacher) -> None:
    teacher.generate(writes(8))
    expected = teacher.generate(writes(8))
    found: list[list[Written]] = []
    threads = [
        threading.Thread(target=lambda: found.append(teacher.generate(writes(8)))) for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [expected] * 3


# -- opening and closing ----------------------------------------------------------------------


@pytest.mark.parametrize(("template", "expected"), [("", 1), ("{{ bos_token }}", 1)])
def test_one_token_of_beginning(tmp_path: Path, template: str, expected: int) -> None:
    path = write_gguf(tmp_path / "bos.gguf", template=template + CHATML, add_bos=True)
    with opened(path) as teacher:
        tokens = tokens_of(teacher, writes(1)[0].messages)
    assert tokens[0] == 0
    assert tokens.count(0) == expected


def test_no_token_of_beginning_where_the_model_wants_none(teacher: LlamaCppTeacher) -> None:
    assert 0 not in tokens_of(teacher, writes(1)[0].messages)


def test_a_hostile_template_is_refused(tmp_path: Path) -> None:
    path = write_gguf(tmp_path / "bad.gguf", template="{{ ''.__class__.__mro__ }}")
    with opened(path) as teacher, pytest.raises(TeacherError, match="unsafe"):
        teacher.generate(writes(1))


def test_a_thinking_part_is_stripped_and_closed_for_scoring(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opening = "{% if add_generation_prompt %}<think>\n{% endif %}"
    with opened(write_gguf(tmp_path / "thinks.gguf", template=CHATML + opening)) as teacher:
        vocabulary = teacher._open().vocabulary
        prompts: list[str] = []

        def prompt_tokens(text: str, *more: str) -> list[int]:
            prompts.append(text)
            return vocabulary._tokens(text, special=True)

        monkeypatch.setattr(vocabulary, "prompt_tokens", prompt_tokens)
        monkeypatch.setattr(vocabulary, "text", lambda *_, **__: "hm\n</think>\n\nplain")
        seen: list[Written] = []
        [reply] = teacher.generate(writes(1), lambda _, written: seen.append(written))
        assert reply.text == "plain"
        assert seen == [reply]
        teacher.score(scores(1))
    assert prompts[0].endswith("assistant\n<think>\n")
    assert prompts[1].endswith("assistant\n<think>\n\n</think>\n\n")


def test_name_and_fingerprint(teacher: LlamaCppTeacher, path: Path, tmp_path: Path) -> None:
    assert teacher.name == "tiny F32"
    with opened(path) as same, opened(write_gguf(tmp_path / "b.gguf", seed=1)) as other:
        assert same.fingerprint == teacher.fingerprint != other.fingerprint
    assert llama_cpp.__version__ in teacher.fingerprint


def test_c_is_silent_and_its_words_are_in_the_log(
    path: Path, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    with opened(path) as teacher:
        teacher.generate(writes(2))
    assert capfd.readouterr() == ("", "")
    with caplog.at_level(logging.INFO, "evokd"):
        opened(path).close()
    said = [record.message for record in caplog.records]
    assert any("llama_context" in line for line in said)
    assert not any("\n" in line for line in said)


def test_what_llama_cpp_refuses_is_one_line(tmp_path: Path, path: Path) -> None:
    data = path.read_bytes().replace(b"blk.1.ffn_up", b"blk.1.ffn_xx")
    bad = tmp_path / "bad.gguf"
    bad.write_bytes(data)
    with pytest.raises(TeacherError, match="cannot be loaded") as caught:
        opened(bad)
    assert "\n" not in caught.value.message
    assert "ffn_up" in caught.value.message


def test_ctrl_c_while_a_model_loads_ends_the_loading(
    path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """llama.cpp says what it does while it loads; what Python raises there, ctypes drops."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored behind nohup
    load, made = llama_cpp.llama_model_load_from_file, list[Any]()

    class Presses(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if not presses:
                presses.append(record)
                signal.raise_signal(signal.SIGINT)

    presses: list[logging.LogRecord] = []
    keep = lambda *given: made.append(load(*given)) or made[-1]  # noqa: E731
    monkeypatch.setattr(llama_cpp, "llama_model_load_from_file", keep)
    handler = Presses()
    with caplog.at_level(logging.INFO, "evokd"):
        logging.getLogger("evokd.teacher").addHandler(handler)
        try:
            with pytest.raises(KeyboardInterrupt):
                opened(path)
        finally:
            logging.getLogger("evokd.teacher").removeHandler(handler)
            after = signal.signal(signal.SIGINT, before)
    assert presses
    assert made == [None]  # it was told to stop, and did
    assert after is signal.default_int_handler
    opened(path).close()


def test_ctrl_c_while_closing_frees_nothing_twice(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    teacher = opened(path)
    engine, free = teacher._open(), llama_cpp.llama_model_free
    freed: list[Any] = []

    def interrupted(model: Any) -> None:
        freed.append(model)
        free(model)
        raise KeyboardInterrupt

    monkeypatch.setattr(llama_cpp, "llama_model_free", interrupted)
    with pytest.raises(KeyboardInterrupt):
        teacher.close()
    teacher.close()
    engine.close()
    assert len(freed) == 1


@pytest.mark.parametrize(
    ("layers", "gpu", "context", "told"),
    [
        ("auto", True, 1024, (opening.ALL_LAYERS, opening.FLASH_AUTO)),
        (12, True, 1024, (12, opening.FLASH_AUTO)),
        (0, True, 1024, (0, opening.FLASH_OFF)),
        ("auto", False, 1024, (opening.ALL_LAYERS, opening.FLASH_OFF)),
        ("auto", False, 2 * opening.FLASH_FROM, (opening.ALL_LAYERS, opening.FLASH_AUTO)),
    ],
)
def test_what_c_is_told_of_a_gpu(
    path: Path,
    monkeypatch: pytest.MonkeyPatch,
    layers: Any,
    gpu: bool,
    context: int,
    told: tuple[int, int],
) -> None:
    load, make = llama_cpp.llama_model_load_from_file, llama_cpp.llama_init_from_model
    seen: list[int] = []

    def loaded(name: bytes, params: Any) -> Any:
        seen.append(params.n_gpu_layers)
        return load(name, params)

    def made(model: Any, params: Any) -> Any:
        seen.append(params.flash_attn_type)
        assert params.type_k == params.type_v
        assert params.flash_attn_type == opening.FLASH_OFF or params.type_k == opening.FLOAT16
        return make(model, params)

    monkeypatch.setattr(llama_cpp, "llama_supports_gpu_offload", lambda: gpu)
    monkeypatch.setattr(llama_cpp, "llama_model_load_from_file", loaded)
    monkeypatch.setattr(llama_cpp, "llama_init_from_model", made)
    opened(path, gpu_layers=layers, context=context).close()
    assert tuple(seen) == told


def test_an_empty_prompt_is_refused(tmp_path: Path) -> None:
    with opened(write_gguf(tmp_path / "mute.gguf", template="{% if false %}x{% endif %}")) as mute:
        for call in (lambda: mute.generate(writes(2)), lambda: mute.score(scores(1))):
            with pytest.raises(TeacherError, match="empty prompt"):
                call()


def test_on_done_may_ask_for_the_name(path: Path) -> None:
    with opened(path) as teacher:
        names: list[str] = []
        teacher.generate(writes(2), lambda *_: names.append(teacher.name))
    assert names == ["tiny F32"] * 2


def test_a_path_need_not_be_text(path: Path, tmp_path: Path) -> None:
    odd = tmp_path / os.fsdecode(b"m\xff.gguf")
    odd.write_bytes(path.read_bytes())
    with opened(path) as plain, opened(odd) as teacher:
        assert teacher.generate(writes(2)) == plain.generate(writes(2))
        assert teacher.fingerprint == plain.fingerprint


def test_a_reply_of_no_tokens_cannot_be_asked_for() -> None:
    with pytest.raises(ValueError, match="at least one token"):
        Generate((), max_tokens=0)


def test_close_twice_then_refuse(path: Path) -> None:
    teacher = opened(path)
    teacher.close()
    teacher.close()
    with pytest.raises(ValueError, match="closed"):
        teacher.generate(writes(1))


def test_a_score_needs_choices(teacher: LlamaCppTeacher) -> None:
    with pytest.raises(ValueError, match="choice"):
        teacher.score(scores(1, ()))
