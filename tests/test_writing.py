from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import llama_cpp
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiny_gguf import write_gguf
from tiny_teacher import assert_greedy, opened, plain_model, spell_numbers, writes

from evokd.teacher import Generate, Message, native, replying
from evokd.teacher.llamacpp import LlamaCppTeacher
from evokd.teacher.native import Engine
from evokd.teacher.replying import Reply, Thoughts
from evokd.teacher.strands import Strand, Strands
from evokd.teacher.thinking import Tags

SYSTEM = "You write short texts for a small classifier of requests.\n"
TASKS = ("Write a text about music, please. ", "Write a text about the weather today. ")


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_gguf(tmp_path_factory.mktemp("teacher") / "tiny.gguf")


@pytest.fixture(scope="module")
def teacher(path: Path) -> Iterator[LlamaCppTeacher]:
    with opened(path, context=2048) as teacher:
        yield teacher


@pytest.fixture(scope="module")
def plain(path: Path) -> llama_cpp.Llama:
    return plain_model(path)


def nested(count: int, **sampling: Any) -> list[Generate]:
    """Requests that share a system text, in two tasks, each with its second turn."""
    requests = []
    for i in range(count):
        task = TASKS[i % 2]
        turns = (
            Message("system", SYSTEM),
            Message("user", task),
            Message("assistant", "What shall it be like? " + "o" * (i % 4 // 2 * 20)),
            Message("user", f"Number {i}"),
        )
        requests.append(Generate(turns, seed=i, **sampling))
    return requests


def batches(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """Return a list that fills with the tokens, and the tokens with logits, of each batch."""
    seen = []
    decode = engine.decode

    def noted() -> None:
        size = engine.batch - engine.room
        seen.append((size, int(engine._wanted[:size].sum())))
        decode()

    monkeypatch.setattr(engine, "decode", noted)
    return seen


# -- shared beginnings ------------------------------------------------------------------------


def test_what_prompts_share_is_decoded_once_at_every_level(
    teacher: LlamaCppTeacher, plain: llama_cpp.Llama, monkeypatch: pytest.MonkeyPatch
) -> None:
    spell_numbers(teacher, monkeypatch)
    requests = nested(16, temperature=0, max_tokens=12)
    replies = teacher.generate(requests)
    assert_greedy(plain, requests, replies)
    engine = teacher._open()
    prompts = [teacher._tokens(engine, teacher._prompt(engine, r.messages)) for r in requests]
    starts = {tuple(p[:n]) for p in prompts for n in range(1, len(p) + 1)}
    decoded = sum(w.decoded - w.tokens_out + 1 for w in replies)
    assert decoded < len(starts) + 16 * len(requests)  # short common beginnings are not worth it
    assert decoded < sum(map(len, prompts)) / 2


def test_a_long_prompt_does_not_hold_up_the_others(
    teacher: LlamaCppTeacher, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = teacher._open()
    seen = batches(engine, monkeypatch)
    long = Generate((Message("user", "z" * 900),), max_tokens=4, temperature=0)
    teacher.generate([*writes(4, temperature=0, max_tokens=40), long])
    _, *beside = [size for size, rows in seen if rows]  # in the first, no row writes yet
    assert max(beside) <= engine.batch // 2 + 5
    assert max(beside) > 100  # it is read beside rows that write
    assert sum(size for size, _ in seen) < 2048


# -- memory -----------------------------------------------------------------------------------


def test_rows_give_way_before_the_memory_is_full(
    path: Path, plain: llama_cpp.Llama, monkeypatch: pytest.MonkeyPatch
) -> None:
    requests = [*nested(4, temperature=0, max_tokens=30), *writes(16, temperature=0, max_tokens=70)]
    with opened(path, context=448) as small:
        spell_numbers(small, monkeypatch)
        engine, refused = small._open(), []
        decode = engine.decode

        def watched() -> None:
            try:
                decode()
            except native.NoSlot:
                refused.append(1)
                raise

        monkeypatch.setattr(engine, "decode", watched)
        replies = small.generate(requests)
        assert_greedy(plain, requests, replies)
    assert not refused
    needed = sum(w.tokens_in + w.tokens_out for w in replies)
    assert sum(w.decoded for w in replies) < 1.5 * needed  # rows that wait again cost little


def test_a_row_may_fill_all_the_memory(path: Path) -> None:
    with opened(path, context=256) as small:
        requests = writes(3, temperature=0, max_tokens=400)
        replies = small.generate(requests)
        assert all(w.tokens_in + w.tokens_out == 256 or w.finish == "stop" for w in replies)


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(1, 9)), max_size=30))
def test_strands_count_what_is_in_the_memory(moves: list[tuple[int, int]]) -> None:
    class Memory:
        """Keeps sequences as sets of cells, as llama.cpp does."""

        sequences, cells = 6, 1000

        def __init__(self) -> None:
            self.held: dict[int, set[int]] = {}

        def resume(self, tokens: list[int]) -> int:
            left = self.held.get(0, set())
            self.held = {0: left}  # all of it goes on
            return len(left)

        def keep(self, tokens: list[int]) -> None:
            self.held = {0: self.held[0]}

        def share(self, sequence: int, *, source: int) -> None:
            self.held[sequence] = set(self.held[source])

        def drop(self, sequence: int) -> None:
            del self.held[sequence]

    memory = Memory()
    strands: Any = Strands(memory)  # type: ignore[arg-type]
    live: list[Strand] = []
    cells = iter(range(10_000))
    for which, size in moves:
        chosen = live[which % len(live)] if live else None
        if chosen and which > 5:
            live.remove(chosen)
            strands.close(chosen)
        elif strands.numbers:
            strand = Strand([])
            strands.open(strand, chosen)
            memory.held.setdefault(strand.sequence, set())
            memory.held[strand.sequence] |= {next(cells) for _ in range(size)}
            strands.grow(strand, size)
            live.append(strand)
        assert strands.used == (len(set().union(*memory.held.values())) if live else 0)


def test_the_context_is_made_anew_after_many_batches(
    teacher: LlamaCppTeacher, monkeypatch: pytest.MonkeyPatch
) -> None:
    requests = writes(6, temperature=0)
    expected = teacher.generate(requests)
    monkeypatch.setattr(native, "LIFE", 1)
    made: list[int] = []
    make = native.make_context
    monkeypatch.setattr(native, "make_context", lambda *a: (made.append(1), make(*a))[1])
    assert teacher.generate(requests) == expected
    assert made == [1]


# -- how a reply ends -------------------------------------------------------------------------


def test_a_stop_text_ends_the_reply_before_it(teacher: LlamaCppTeacher) -> None:
    [request] = writes(1, temperature=0, max_tokens=40)
    [whole] = teacher.generate([request])
    for size in (1, 2, 3):  # tokens are bytes: longer ones lie across several
        stop = next(s for i in range(5, 40) if "\ufffd" not in (s := whole.text[i : i + size]))
        assert len(stop) == size
        stopped = Generate(request.messages, temperature=0, max_tokens=40, stop=("\0", stop, ""))
        [reply] = teacher.generate([stopped])
        assert reply.text == whole.text[: whole.text.find(stop)]
        assert reply.finish == "stop"
        assert reply.tokens_out < whole.tokens_out


class Letters:
    """A vocabulary of single bytes; token 0 ends the turn."""

    def ends(self, token: int) -> bool:
        return token == 0

    def piece(self, token: int, **_: Any) -> bytes:
        return bytes([token]) if token else b""

    def text(self, tokens: list[int], **_: Any) -> str:
        return b"".join(map(self.piece, tokens)).decode("utf-8", "replace")

    def reply_tokens(self, text: str, **_: Any) -> list[int]:
        return list(text.encode())


def spoken(monkeypatch: pytest.MonkeyPatch, text: str, reply: Reply) -> Reply:
    """Let a reply draw the bytes of a text, then the end of the turn, as long as it asks."""

    class Script:
        def __init__(self, *_: Any) -> None:
            self.bytes = iter([*text.encode(), 0])

        def draw(self, *_: Any) -> int:
            return next(self.bytes)

        def close(self) -> None:
            pass

    monkeypatch.setattr(replying, "Sampler", Script)
    while not reply.ended:
        reply.draw(None, 0)
    return reply


def of(most: int, *, stop: tuple[str, ...] = (), thoughts: Thoughts | None = None) -> Reply:
    request = Generate((), max_tokens=most if thoughts is None else most // 2, stop=stop)
    return Reply(request, Letters(), most=most, thoughts=thoughts)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "stop", "expected"),
    [
        ("one\ntwo", ("\n",), "one"),
        ("aab", ("ab",), "a"),
        ("xENDy", ("ND", "END"), "x"),
        ("thé🎵 la", ("🎵",), "thé"),
        ("none", ("\n\n",), "none"),
        ("stop", ("stop",), ""),
    ],
)
def test_stop_texts(
    monkeypatch: pytest.MonkeyPatch, text: str, stop: tuple[str, ...], expected: str
) -> None:
    written = spoken(monkeypatch, text, of(99, stop=stop)).written(tokens_in=1)
    assert (written.text, written.finish) == (expected, "stop")


THINK_TAGS = ("<think>", "</think>")
THINK = Tags(*THINK_TAGS)


@pytest.mark.parametrize(
    ("text", "opened", "expected", "finish"),
    [
        ("<think>a\nb</think>\nyes\nno", False, "<think>a\nb</think>", "stop"),
        ("a\nb</think>yes\nno", True, "a\nb</think>yes", "stop"),
        ("<this is no thought\n", False, "<this is no thought", "stop"),
        ("\nyes", False, "", "stop"),
        ("<\n", False, "<", "stop"),
        ("w" * 90, False, "w" * 40, "length"),
        ("w" * 90, True, "w" * 40 + "\n\n</think>\n\n" + "w" * 28, "length"),
        (
            "<think>" + "w" * 90,
            False,
            "<think>" + "w" * 33 + "\n\n</think>\n\n" + "w" * 28,
            "length",
        ),
    ],
)
def test_a_thinking_part_is_bounded_and_has_no_stops(
    monkeypatch: pytest.MonkeyPatch, text: str, opened: bool, expected: str, finish: str
) -> None:
    reply = of(80, stop=("\n",), thoughts=Thoughts(THINK, opened))
    if "\n" in expected and finish == "length":
        reply = of(80, thoughts=Thoughts(THINK, opened))
    written = spoken(monkeypatch, text, reply).written(tokens_in=1)
    assert (written.text, written.finish) == (expected, finish)


@pytest.mark.parametrize(("room", "finish"), [(80, "length"), (79, "context"), (30, "context")])
def test_a_reply_behind_thoughts_that_the_context_cuts_is_said_to_be(
    monkeypatch: pytest.MonkeyPatch, room: int, finish: str
) -> None:
    request = Generate((), max_tokens=40)
    thinks = Thoughts(THINK, opened=True)
    reply = Reply(request, Letters(), most=room, thoughts=thinks)  # type: ignore[arg-type]
    written = spoken(monkeypatch, "t</think>" + "w" * 90, reply).written(tokens_in=1)
    ended_by_itself = room > 9 + 40
    assert written.finish == ("length" if ended_by_itself else finish)
    reply = Reply(request, Letters(), most=room, thoughts=thinks)  # type: ignore[arg-type]
    assert spoken(monkeypatch, "w" * 90, reply).written(tokens_in=1).finish == finish


def test_a_thinking_part_that_is_too_long_is_ended_and_stripped(tmp_path: Path) -> None:
    template = (
        "{% for m in messages %}{{ m.content }}{% endfor %}"
        "{% if add_generation_prompt %}<think>{% endif %}"
    )
    path = write_gguf(tmp_path / "thinks.gguf", template=template)
    with opened(path) as teacher:
        request = Generate((Message("user", "Write"),), max_tokens=30, temperature=0)
        replies = teacher.generate([request, request])
    assert replies[0].tokens_out == 60 or replies[0].finish == "stop"
    assert all("</think>" not in w.text for w in replies)
    assert any(w.text for w in replies)


@pytest.mark.parametrize("opened_by", ["prompt", "model"])
def test_the_tags_of_a_thinking_part_may_be_control_tokens(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, opened_by: str
) -> None:
    opening = "<think>" if opened_by == "prompt" else ""
    template = (
        "{% for m in messages %}{{ m.content.split('</think>')[-1] }}{% endfor %}"
        "{% if add_generation_prompt %}" + opening + "{% endif %}"
    )
    path = write_gguf(tmp_path / "m.gguf", template=template, marks=("<think>", "</think>"))
    with opened(path) as teacher:
        vocabulary = teacher._open().vocabulary
        begin, end = (vocabulary.reply_tokens(tag, marks=True) for tag in THINK_TAGS)
        assert (len(begin), len(end), vocabulary.piece(end[0])) == (1, 1, b"")
        said = [*vocabulary.reply_tokens("hm"), *end, *vocabulary.reply_tokens("the answer"), 2]
        script = iter(said if opened_by == "prompt" else [*begin, *said])
        monkeypatch.setattr(replying.Sampler, "draw", lambda *_: next(script))
        [reply] = teacher.generate([Generate((Message("user", "Write"),), max_tokens=60)])
    assert (reply.text, reply.finish) == ("the answer", "stop")
