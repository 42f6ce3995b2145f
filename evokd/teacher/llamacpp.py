"""The teacher that runs in this process, on llama.cpp. Turns messages into tokens and back.

The work itself is in `writing` (sampled replies) and `scoring` (exact log-probabilities of
choices); `native` holds the model.
"""

from __future__ import annotations

import threading
from array import array
from collections.abc import Sequence
from dataclasses import replace
from functools import cache, cached_property
from pathlib import Path
from types import TracebackType
from typing import Self

from evokd.errors import MissingExtra, TeacherError

try:  # before the modules below, which need them all
    import gguf
    import llama_cpp
except ImportError as missing:
    raise MissingExtra("teacher", missing) from missing

from evokd.settings import TeacherSettings
from evokd.teacher import Generate, Message, OnScored, OnWritten, Score, Scored, Written
from evokd.teacher.chat import CUT, defused, render
from evokd.teacher.modelfile import find_model, sha256
from evokd.teacher.native import Engine
from evokd.teacher.replying import Thoughts
from evokd.teacher.scoring import Ask, score
from evokd.teacher.thinking import close_thinking, opens, strip_thinking, thinks
from evokd.teacher.tuning import choose_width
from evokd.teacher.writing import write

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
            TeacherError: when a prompt is too long, or the chat template fails.
        """
        with self._lock:
            engine = self._open()
            if self._side_by_side is None:
                self._side_by_side = choose_width(engine, self._path, self._settings)
            prompts, thoughts = [], []
            for request in requests:
                text = self._written_prompt(engine, request)
                prompts.append(array("i", self._tokens(engine, text)))  # a tenth of a list's memory
                thoughts.append(self._thoughts(text))
            replies = write(
                engine,
                prompts,
                requests=requests,
                side_by_side=self._side_by_side,
                on_done=on_done and (lambda i, r: on_done(i, _answer(r, thoughts[i]))),
                thoughts=thoughts,
            )
            return [_answer(r, t) for r, t in zip(replies, thoughts, strict=True)]

    def score(self, requests: Sequence[Score], on_done: OnScored | None = None) -> list[Scored]:
        """Score every request's choices; `on_done(index, scored)` is called as each one ends.

        Raises:
            TeacherError: when a prompt is too long, or the chat template fails.
        """
        if not all(request.choices for request in requests):
            raise ValueError("a Score needs at least one choice")
        with self._lock:
            engine = self._open()
            choice = cache(lambda text: tuple(engine.vocabulary.reply_tokens(text)))
            prompt = cache(lambda turns: self._scored_prompt(engine, turns))
            asks = [
                Ask(
                    prompt(request.messages),
                    tuple(map(choice, request.choices)),
                    prompt(request.baseline) if request.baseline else (),
                    EVERY[request.search],
                )
                for request in requests
            ]
            return score(engine, asks, on_done=on_done)

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
        return render(
            self._template,
            defused(messages, self._markers),
            add_generation_prompt=True,
            bos=engine.vocabulary.bos,
            eos=engine.vocabulary.eos,
        )

    def _tokens(self, engine: Engine, prompt: str) -> list[int]:
        tokens = engine.vocabulary.prompt_tokens(*prompt.split(CUT))
        if not tokens:
            hint = "use a GGUF of a chat model"
            raise TeacherError("the model's chat template makes an empty prompt", hint)
        return tokens

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


def _answer(reply: Written, thoughts: Thoughts | None) -> Written:
    """Return the reply without what the model thought before it."""
    if thoughts is None:
        return reply
    text = strip_thinking(reply.text, thoughts.tags, opened=thoughts.opened)
    return replace(reply, text=text)
