"""One server, asked one request at a time: a reply, or the log-probabilities of choices."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from evokd.teacher import (
    THOUGHTS,
    TOO_LONG_TO_SCORE,
    TOO_LONG_TO_WRITE,
    Generate,
    Message,
    Score,
    Scored,
    Written,
)
from evokd.teacher import dialect as chat
from evokd.teacher import token_questions as ask
from evokd.teacher.dialect import FORMS, Dialect
from evokd.teacher.one_reply import by_reply, one_hot
from evokd.teacher.remote_scoring import (
    MARGIN,
    ByTexts,
    ByTokens,
    Next,
    Piece,
    Values,
    best_first,
)
from evokd.teacher.thinking import EMPTY, KNOWN, close_thinking, opens
from evokd.teacher.wire import Refused, TooLong, Wire

TOP = {"llama-server": 200, "llama-cpp-python": 200, "vllm": 20}  # 20 is the most that vLLM gives


class Remote:
    """A recognised server. All of it runs in one event loop, many requests side by side.

    Attributes:
        wire: the connection to it.
        dialect: how to speak with it; what it turns out not to take is remembered here.
    """

    def __init__(self, wire: Wire, dialect: Dialect) -> None:
        self.wire, self.dialect = wire, dialect
        self._paths: dict[str, tuple[int, ...]] = {}
        self._baselines: dict[tuple[tuple[Message, ...], tuple[str, ...]], Values] = {}
        self._turn = asyncio.Lock()

    async def write(self, request: Generate) -> Written:
        """Return a sampled reply; a refusal where the prompt is too long."""
        meter = _Meter()
        try:
            answer = await self._asked(lambda d: chat.generate_body(d, request), meter)
        except TooLong:
            return TOO_LONG_TO_WRITE
        reply = chat.reply_of(answer)
        return replace(
            reply, tokens_in=meter.prompt, tokens_out=meter.answer, decoded=meter.decoded
        )

    async def score(self, request: Score) -> Scored:
        """Return the choices' log-probabilities; a refusal where the prompt is too long."""
        try:
            return await self._scored(request)
        except TooLong:
            return TOO_LONG_TO_SCORE

    async def _scored(self, request: Score) -> Scored:
        """Return the choices' log-probabilities, calibrated where that is asked for."""
        meter = _Meter()
        margin = math.inf if request.search == "all" else MARGIN
        usual = await self._usual(request, meter)
        if usual:
            margin += max(usual) - min(usual)
        values = await self._values(request.messages, request.choices, margin=margin, meter=meter)
        logprobs = values.logprobs
        if usual:
            logprobs = tuple(v - u for v, u in zip(logprobs, usual, strict=True))
        counts = (meter.prompt, meter.answer, meter.decoded)
        return Scored(logprobs, *counts, lengths=values.lengths, bounded=values.bounded)

    async def _usual(self, request: Score, meter: _Meter) -> tuple[float, ...]:
        """Return what the choices get about an empty text; nothing where that is not wanted.

        Nothing either where bounds are all that one reply tells of most choices. Its tokens are
        added to those that went through the model for the first request that wants it.
        """
        if not request.baseline or self.dialect.way in ("reply", "answer"):
            return ()
        key = (request.baseline, request.choices)
        async with self._turn:
            if key not in self._baselines:
                own = _Meter()
                self._baselines[key] = await self._values(*key, margin=math.inf, meter=own)
                meter.decoded += own.decoded
        return self._baselines[key].logprobs

    async def _values(
        self,
        messages: Sequence[Message],
        choices: Sequence[str],
        *,
        margin: float,
        meter: _Meter,
    ) -> Values:
        if self.dialect.way in ("reply", "answer"):
            return await self._said(messages, choices, meter)
        if self.dialect.way == "texts":
            force = partial(self._force, messages, meter)
            return await best_first(ByTexts(choices, force), len(choices), margin=margin)
        prompt = await self._prompt(messages)
        paths = [await self._path(text) for text in choices]
        told = _Told(self.wire, self.dialect, meter, prompt, paths, choices)
        search = ByTokens(paths, told.after, told.whole)
        values = await best_first(search, len(choices), margin=margin)
        return replace(values, lengths=search.lengths)

    async def _said(
        self, messages: Sequence[Message], choices: Sequence[str], meter: _Meter
    ) -> Values:
        """Return what a free reply tells, or else an answer that is held to the choices."""
        if self.dialect.way == "reply":
            answer = await self._asked(lambda d: chat.reply_body(d, messages, choices), meter)
            reply = chat.reply_of(answer).text
            places = chat.bytes_after(answer)
            if b"".join(written for written, _ in places).strip() != reply.strip().encode():
                places = []  # they tell of thoughts too, which are no part of it
            if values := by_reply(choices, reply, places):
                return values
        answer = await self._answer(messages, choices, meter)
        return one_hot(choices, chat.answer_of(answer))

    async def _answer(
        self, messages: Sequence[Message], choices: Sequence[str], meter: _Meter
    ) -> dict[str, Any]:
        """Ask for one of the choices, in the strictest form that the server takes."""
        for dialect in chat.looser(self.dialect):
            worded = partial(_worded, dialect.form, messages, choices)
            try:
                answer = await self._asked(worded, meter)
            except Refused as problem:
                refusal = problem
            else:
                # Others may have found out more meanwhile: they never go back.
                form = max(self.dialect.form, dialect.form, key=FORMS.index)
                self.dialect = replace(self.dialect, form=form)
                return answer
        raise refusal

    async def _asked(
        self, body: Callable[[Dialect], dict[str, Any]], meter: _Meter
    ) -> dict[str, Any]:
        """Ask; once more, with room for thoughts, where these left nothing for the reply."""
        asked = self.dialect  # others may find out meanwhile
        answer = await self._chat(body(asked))
        meter.add(answer)  # thoughts that are thrown away are paid for all the same
        if not asked.thoughts and chat.nothing_left(answer):
            self.dialect = replace(self.dialect, thoughts=THOUGHTS)
            answer = await self._chat(body(self.dialect))
            meter.add(answer)
        return answer

    async def _force(
        self, messages: Sequence[Message], meter: _Meter, choices: Sequence[str]
    ) -> tuple[str, list[Piece]]:
        body = chat.force_body(self.dialect, messages, choices, top=TOP[self.dialect.server])
        answer = await self._chat(body)
        meter.add(answer)
        return chat.reply_of(answer).text, chat.texts_after(answer)

    async def _prompt(self, messages: Sequence[Message]) -> list[int]:
        question = ask.prompt_question(self.wire.address, self.dialect, messages)
        answer = await self.wire.ask(*question)
        if "tokens" in answer:
            return await self._closed(ask.tokens_of(answer))
        text = str(answer.get("prompt"))
        for tags in KNOWN:
            text = close_thinking(text, tags) if opens(text, tags) else text
        return await self._tokens(text, prompt=True)

    async def _closed(self, tokens: list[int]) -> list[int]:
        """Return a prompt's tokens; where it opens a thinking part, with that closed."""
        for tags in KNOWN:
            for opening in (f"{tags.opening}\n", tags.opening):
                path = await self._path(opening)
                if path and tuple(tokens[-len(path) :]) == path:
                    return [*tokens, *await self._path(EMPTY + tags.closing + EMPTY)]
        return tokens

    async def _path(self, text: str) -> tuple[int, ...]:
        if text not in self._paths:
            self._paths[text] = tuple(await self._tokens(text, prompt=False))
        return self._paths[text]

    async def _tokens(self, text: str, *, prompt: bool) -> list[int]:
        question = ask.text_question(self.wire.address, self.dialect, text, prompt=prompt)
        return ask.tokens_of(await self.wire.ask(*question))

    async def _chat(self, body: dict[str, Any]) -> dict[str, Any]:
        return await self.wire.ask(f"{self.wire.address.base}/chat/completions", body)


def _worded(
    form: chat.Form, messages: Sequence[Message], choices: Sequence[str], dialect: Dialect
) -> dict[str, Any]:
    return chat.choice_body(replace(dialect, form=form), messages, choices)


@dataclass(slots=True)
class _Meter:
    """Tokens of all questions about one request; its prompt counts once in `prompt`."""

    prompt: int = 0
    answer: int = 0
    decoded: int = 0

    def add(self, answer: dict[str, Any]) -> None:
        usage = chat.usage_of(answer)
        self.prompt = self.prompt or usage.prompt
        self.answer += usage.answer
        self.decoded += usage.decoded


@dataclass(frozen=True, slots=True)
class _Told:
    """What a server tells of the tokens behind one prompt."""

    wire: Wire
    dialect: Dialect
    meter: _Meter
    prompt: Sequence[int]
    paths: Sequence[tuple[int, ...]]
    choices: Sequence[str]

    async def after(self, path: tuple[int, ...], most: int) -> list[Next]:
        """Return so many likeliest tokens in a row behind some tokens, and what else is likely."""
        tokens, top = (*self.prompt, *path), TOP[self.dialect.server]
        address = self.wire.address
        question = ask.next_question(address, self.dialect, tokens, most=most, top=top)
        return ask.tokens_after(await self._metered(question))

    async def whole(self, number: int) -> float:
        """Return the log-probability of all of a choice's tokens."""
        path, text = self.paths[number], self.choices[number]
        address = self.wire.address
        question = ask.forced_question(address, self.dialect, self.prompt, text=text, path=path)
        return ask.forced_total(await self._metered(question), path)

    async def _metered(self, question: ask.Question) -> dict[str, Any]:
        answer = await self.wire.ask(*question)
        self.meter.add(answer)
        return answer
