"""The teacher that runs in this process, on llama.cpp. Turns messages into tokens and back.

The work itself is in `writing` (sampled replies) and `scoring` (exact log-probabilities of
choices); `native` holds the model.
"""

from __future__ import annotations

import logging
import threading
from array import array
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cache, cached_property
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

from evokd.errors import MissingExtra, TeacherError

try:  # before the modules below, which need them all
    import gguf
    import llama_cpp
except ImportError as missing:
    raise MissingExtra("teacher", missing) from missing

from evokd.settings import TeacherSettings
from evokd.teacher import (
    TOO_LONG_TO_SCORE,
    TOO_LONG_TO_WRITE,
    Generate,
    Message,
    OnScored,
    OnWritten,
    Score,
    Scored,
    Written,
)
from evokd.teacher.chat import CUT, defused, render
from evokd.teacher.choices import Ask
from evokd.teacher.modelfile import find_model, sha256
from evokd.teacher.native import Engine
from evokd.teacher.replying import Thoughts
from evokd.teacher.scoring import score
from evokd.teacher.scoring import too_long as too_long_to_score
from evokd.teacher.thinking import close_thinking, final_channel, opens, strip_thinking, thinks
from evokd.teacher.tuning import choose_width
from evokd.teacher.writing import too_long as too_long_to_write
from evokd.teacher.writing import write

R = TypeVar("R")
log = logging.getLogger("evokd.teacher")
EVERY = {"all": True, "best": False, "auto": None}  # of a Score's search

__all__ = ["LlamaCppTeacher", "find_model"]


class LlamaCppTeacher:
    """A GGUF model that writes and scores many requests at once; a `Teacher`.

    Calls from several threads wait for each other. After an interrupted call, whatever the
    exception, the next one works as usual. `on_done` must not call the teacher.

    Args:
        path: the model file, checked by `find_model`.
        settings: context, sequences, threads and layers on a GPU.

    Attributes:
        name: the model's own, with its quantisation, as in "Qwen3 4B Q4_K_M".

    Raises:
        TeacherError: when llama.cpp cannot load the model or make the context.
    """

    def __init__(self, path: Path, settings: TeacherSettings) -> None:
        self._path = path
        self._settings = settings
        self._side_by_side: int | None = None  # chosen when it is first needed
        self._lock = threading.Lock()
        self._engine: Engine | None = Engine(path, settings)
        self.name = self._name(self._engine)
        self._template = self._engine.template()
        self._markers = self._engine.vocabulary.markers(self._template)

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of the model file, and the version of llama-cpp-python."""
        return f"{sha256(self._path)} llama-cpp-python {llama_cpp.__version__}"

    def generate(
        self, requests: Sequence[Generate], on_done: OnWritten | None = None
    ) -> list[Written]:
        """Answer every request; `on_done(index, reply)` is called as each one ends.

        A reply becomes shorter than asked for where the context ends before.

        Raises:
            TeacherError: when the chat template fails.
        """
        with self._lock:
            engine = self._open()
            if self._side_by_side is None:
                self._side_by_side = choose_width(engine, self._path, self._settings)
            width = self._side_by_side
            prompts, thoughts = self._to_write(engine, requests)
            problems = too_long_to_write(engine, prompts, requests=requests, thoughts=thoughts)

            def work(fitting: Sequence[int], done: OnWritten) -> None:
                thinking = [thoughts[i] for i in fitting]
                write(
                    engine,
                    [prompts[i] for i in fitting],
                    requests=[requests[i] for i in fitting],
                    side_by_side=width,
                    on_done=lambda i, reply: done(i, _answer(reply, thinking[i])),
                    thoughts=thinking,
                )

            return _fitting(len(requests), problems, TOO_LONG_TO_WRITE, work, on_done)

    def score(self, requests: Sequence[Score], on_done: OnScored | None = None) -> list[Scored]:
        """Score every request's choices; `on_done(index, scored)` is called as each one ends.

        Raises:
            TeacherError: when the chat template fails.
        """
        if not all(request.choices for request in requests):
            raise ValueError("a Score needs at least one choice")
        with self._lock:
            engine = self._open()
            asks = self._to_score(engine, requests)

            def work(fitting: Sequence[int], done: OnScored) -> None:
                score(engine, [asks[i] for i in fitting], on_done=done)

            problems = too_long_to_score(engine, asks)
            return _fitting(len(requests), problems, TOO_LONG_TO_SCORE, work, on_done)

    def check(self, requests: Sequence[Generate | Score]) -> None:
        """Raise the TeacherError of the first prompt that is too long; decodes nothing."""
        with self._lock:
            engine = self._open()
            written = [request for request in requests if isinstance(request, Generate)]
            prompts, thoughts = self._to_write(engine, written)
            problems = too_long_to_write(engine, prompts, requests=written, thoughts=thoughts)
            scored = [request for request in requests if isinstance(request, Score)]
            more = too_long_to_score(engine, self._to_score(engine, scored))
        for problem in (*problems.values(), *more.values()):
            raise problem

    def close(self) -> None:
        """Free the model; a second time does nothing."""
        with self._lock:
            engine, self._engine = self._engine, None  # first: Ctrl-C must not free it twice
            if engine:
                engine.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        problem: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _open(self) -> Engine:
        if self._engine is None:
            raise ValueError("the teacher is closed")
        return self._engine

    def _name(self, engine: Engine) -> str:
        name, kind = (engine.field(f"general.{key}") for key in ("name", "file_type"))
        kinds = {str(int(t)): t.name.split("_", 1)[-1] for t in gguf.LlamaFileType}
        return f"{name or self._path.stem} {kinds.get(kind, '')}".strip()

    def _prompt(self, engine: Engine, messages: Sequence[Message]) -> str:
        text = render(
            self._template,
            defused(messages, self._markers),
            add_generation_prompt=True,
            bos=engine.vocabulary.bos,
            eos=engine.vocabulary.eos,
        )
        return final_channel(text, self._template)

    def _tokens(self, engine: Engine, prompt: str) -> list[int]:
        tokens = engine.vocabulary.prompt_tokens(*prompt.split(CUT))
        if not tokens:
            hint = "use a GGUF of a chat model"
            raise TeacherError("the model's chat template makes an empty prompt", hint)
        return tokens

    def _to_write(
        self, engine: Engine, requests: Sequence[Generate]
    ) -> tuple[list[array[int]], list[Thoughts | None]]:
        """Return the tokens of every prompt, and how its reply may begin."""
        prompts, thoughts = [], []
        for request in requests:
            text = self._written_prompt(engine, request)
            prompts.append(array("i", self._tokens(engine, text)))  # a tenth of a list's memory
            thoughts.append(self._thoughts(text))
        return prompts, thoughts

    def _to_score(self, engine: Engine, requests: Sequence[Score]) -> list[Ask]:
        choice = cache(lambda text: tuple(engine.vocabulary.reply_tokens(text)))
        prompt = cache(lambda turns: self._scored_prompt(engine, turns))
        return [
            Ask(
                prompt(request.messages),
                tuple(map(choice, request.choices)),
                prompt(request.baseline) if request.baseline else (),
                EVERY[request.search],
            )
            for request in requests
        ]

    def _written_prompt(self, engine: Engine, request: Generate) -> str:
        text = self._prompt(engine, request.messages)
        # A grammar has no place for thoughts.
        return close_thinking(text, thinks(self._template)) if request.grammar else text

    def _scored_prompt(self, engine: Engine, messages: Sequence[Message]) -> tuple[int, ...]:
        text = close_thinking(self._prompt(engine, messages), thinks(self._template))
        return tuple(self._tokens(engine, text))

    def _thoughts(self, prompt: str) -> Thoughts | None:
        """Return what the model may do before it answers; a closed thinking part leaves nothing."""
        tags = thinks(self._template)
        if tags is None or prompt.rstrip().endswith(tags.closing):
            return None
        return Thoughts(tags, opens(prompt, tags))


def _fitting(
    count: int,
    too_long: Mapping[int, TeacherError],
    refusal: R,
    work: Callable[[Sequence[int], Callable[[int, R], None]], None],
    on_done: Callable[[int, R], None] | None,
) -> list[R]:
    """Return the replies of all requests: a refusal to those that are too long.

    Args:
        work: answers the requests with some numbers, and hands on each reply with its place there.
    """
    replies = [refusal] * count
    fitting = [i for i in range(count) if i not in too_long]

    def done(place: int, reply: R) -> None:
        replies[fitting[place]] = reply
        if on_done:
            on_done(fitting[place], reply)

    for i, problem in too_long.items():
        log.info("%s", problem.message)
        if on_done:
            on_done(i, refusal)
    if fitting:
        work(fitting, done)
    return replies


def _answer(reply: Written, thoughts: Thoughts | None) -> Written:
    """Return the reply without what the model thought before it."""
    if thoughts is None:
        return reply
    text = strip_thinking(reply.text, thoughts.tags, opened=thoughts.opened)
    return replace(reply, text=text)
