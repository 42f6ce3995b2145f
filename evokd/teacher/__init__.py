"""What the loop may ask of a teacher, and how to open one. Knows no llama.cpp and no prompts.

A teacher answers many requests at once: `generate` writes, `score` gives the log-probability of
every choice. Both return results in the order of the requests and report each one as it ends.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal, Protocol

if TYPE_CHECKING:
    from evokd.settings import TeacherSettings

KEY = "EVOKD_API_KEY"  # environment variable with a server's key
Refusal = Literal["budget", "too long for the teacher"]
"""Why a request got no answer: a run's budget was spent, or its prompt has no place."""
TOO_LONG: Final = "too long for the teacher"


THOUGHTS = 2048
"""Tokens besides a reply's own, for the thoughts of a model behind a server that counts them."""


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of a conversation."""

    role: Literal["system", "user", "assistant"]
    content: str


@dataclass(frozen=True, slots=True)
class Generate:
    """Ask for a continuation of a conversation by sampling.

    Only the 1,000 likeliest tokens are drawn from, without those whose odds against the likeliest
    are below 1 to 10,000 at the temperature.

    Attributes:
        temperature: 0 means greedy.
        min_p: tokens below this share of the likeliest one's probability are left out.
        repetition_penalty: divides the logits of tokens that the reply has had; 1 means none.
        max_tokens: the reply ends there at the latest, marked `finish="length"`.
        stop: texts that end the reply before them.
        grammar: the reply must follow this GBNF; empty means that it is free.
    """

    messages: tuple[Message, ...]
    seed: int = 0
    temperature: float = 0.9
    top_p: float = 0.95
    min_p: float = 0.0
    repetition_penalty: float = 1.0
    max_tokens: int = 400
    stop: tuple[str, ...] = ()
    grammar: str = ""

    def __post_init__(self) -> None:
        if self.max_tokens < 1:
            raise ValueError("a reply has at least one token")


@dataclass(frozen=True, slots=True)
class Score:
    """Ask for the log-probability of each choice as the whole reply to a conversation.

    Attributes:
        baseline: the same conversation about an empty text; what the choices get there is taken
            off (contextual calibration, Zhao et al. 2021). Empty means no calibration. It is
            worked out once for all requests with the same baseline and choices.
        search: "all" works out every choice; "best" the likeliest ones exactly, among them always
            the very best, and a bound for the rest, at about the cost of reading the text;
            "auto" is "all" where the choices have few tokens together (a teacher in this process:
            up to 48).
    """

    messages: tuple[Message, ...]
    choices: tuple[str, ...]
    baseline: tuple[Message, ...] = ()
    search: Literal["auto", "all", "best"] = "auto"


@dataclass(frozen=True, slots=True)
class Written:
    """A sampled reply.

    Attributes:
        finish: "stop" when the model ended its turn, "length" when it was cut at `max_tokens`,
            "context" when the context ended before that; or why it was never asked.
        tokens_in: tokens of the rendered prompt, shared prefixes counted in full.
        tokens_out: tokens sampled.
        decoded: tokens that went through the model for this request, a shared prefix counted
            once for the first request that needs it.
    """

    text: str
    finish: Literal["stop", "length", "context"] | Refusal
    tokens_in: int
    tokens_out: int
    decoded: int


@dataclass(frozen=True, slots=True)
class Scored:
    """Log-probabilities of the choices, in their order.

    Attributes:
        logprobs: nats, of the whole choice; less those of the baseline, where there is one. Empty
            when it was never asked.
        tokens_in: tokens of the rendered prompt, shared prefixes counted in full.
        tokens_out: tokens of the choices that were worked out.
        decoded: tokens that went through the model for this request, a shared prefix and a
            baseline counted once for the first request that needs it.
        lengths: tokens of each choice; with the end of the turn where one choice begins another.
            Empty where a server does not tell its tokens.
        bounded: indices of the choices whose log-probability is only an upper bound; the same one
            for choices that begin alike and were not told apart.
        refused: why it was never asked; None when it was.
    """

    logprobs: tuple[float, ...]
    tokens_in: int
    tokens_out: int
    decoded: int
    lengths: tuple[int, ...] = ()
    bounded: tuple[int, ...] = ()
    refused: Refusal | None = None

    @property
    def per_token(self) -> tuple[float, ...]:
        """The log-probabilities divided by the lengths: long choices lose their handicap.

        Empty where the lengths are unknown.
        """
        if not self.lengths:
            return ()
        return tuple(p / max(n, 1) for p, n in zip(self.logprobs, self.lengths, strict=True))


TOO_LONG_TO_WRITE = Written("", TOO_LONG, 0, 0, 0)
TOO_LONG_TO_SCORE = Scored((), 0, 0, 0, refused=TOO_LONG)
OnWritten = Callable[[int, Written], None]
OnScored = Callable[[int, Scored], None]


class Teacher(Protocol):
    """A language model that writes and scores, many requests at once.

    A request whose prompt is too long for it is answered with a refusal, and the others as usual.
    """

    @property
    def name(self) -> str:
        """What reports call it: the model's own name, with its quantisation."""
        ...

    @property
    def fingerprint(self) -> str:
        """What makes its answers its own: hash of the model file and build of the engine."""
        ...

    def generate(
        self, requests: Sequence[Generate], on_done: OnWritten | None = None
    ) -> list[Written]:
        """Answer every request; `on_done(index, reply)` is called as each one ends."""
        ...

    def score(self, requests: Sequence[Score], on_done: OnScored | None = None) -> list[Scored]:
        """Score every request's choices; `on_done(index, scored)` is called as each one ends."""
        ...

    def check(self, requests: Sequence[Generate | Score]) -> None:
        """Raise a TeacherError where a prompt is too long and that can be told without asking."""
        ...

    def close(self) -> None:
        """Free the model. A closed teacher must not be asked again."""
        ...


def open_teacher(settings: TeacherSettings) -> Teacher:
    """Open the teacher that the settings name: a model file, or a server's address.

    A server's key is taken from the environment variable EVOKD_API_KEY.

    Raises:
        TeacherError: when the model file is missing, is not a GGUF, or cannot be loaded; when no
            server answers, or it is not clear which of its models is meant.
        MissingExtra: when llama-cpp-python or httpx is not installed.
    """
    if settings.remote:
        from evokd.teacher.http import HttpTeacher

        return HttpTeacher(settings, key=os.environ.get(KEY, ""))
    from evokd.teacher.llamacpp import LlamaCppTeacher, find_model

    return LlamaCppTeacher(find_model(settings.model), settings)


def check_teacher(settings: TeacherSettings) -> None:
    """Refuse a model file or an address that cannot be used; loads and asks nothing.

    Raises:
        TeacherError, MissingExtra: as `open_teacher` does.
    """
    if settings.remote:
        from evokd.teacher.address import checked_key, parse_address

        checked_key(os.environ.get(KEY, ""), parse_address(settings.model))
    else:
        from evokd.teacher.llamacpp import find_model

        find_model(settings.model)
