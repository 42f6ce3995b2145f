"""Score choices, many texts side by side. Knows the engine's sequences, not how prompts are made.

Each text has a sequence of its own, and each branch of its choices one that goes on from there:
what choices share, the prompt and their first tokens, is decoded once. The first batch holds the
ends of many prompts, the next ones the branches that `search` wants to see of each.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from evokd.errors import TeacherError
from evokd.teacher import OnScored, Scored
from evokd.teacher.choices import Ask, Tokens, Tree, tree
from evokd.teacher.heads import groups
from evokd.teacher.native import Engine, NoSlot
from evokd.teacher.search import FEW, Search

WIDTH = 256  # tokens of texts side by side: with more, each pays for more memory of the others
_Base = tuple[Tokens, tuple[Tokens, ...]]  # a prompt about an empty text, and choices


def score(engine: Engine, asks: Sequence[Ask], *, on_done: OnScored | None) -> list[Scored]:
    """Return the log-probabilities of every question's choices, in the order of the questions.

    A baseline is worked out once for all questions that have it and the same choices; its tokens
    count as decoded for the first of them.

    Args:
        engine: the model; its memory is cleared first, but for a beginning that is needed again.
        asks: the questions, none of them `too_long`.
        on_done: called with the index and the result as each one ends.
    """
    forest = _forest(engine, asks)
    first: dict[_Base, int] = {}
    for i, ask in enumerate(asks):
        if ask.baseline:
            first.setdefault((ask.baseline, ask.choices), i)
    empty = [_Text(i, p, forest[c], every=True) for i, (p, c) in enumerate(first)]
    bases = dict(zip(first, _all(engine, empty), strict=True))
    texts = [_text(i, ask, forest[ask.choices], bases) for i, ask in enumerate(asks)]
    for base, i in first.items():
        texts[i].decoded += bases[base].decoded
    return _all(engine, texts, on_done=on_done)


def too_long(engine: Engine, asks: Sequence[Ask]) -> dict[int, TeacherError]:
    """Return which questions do not fit, by their index, each with the error that says so."""
    forest, found = _forest(engine, asks), {}
    for i, ask in enumerate(asks):
        choices, prompt = forest[ask.choices], max(len(ask.prompt), len(ask.baseline))
        longest = prompt + choices.deepest
        if longest > engine.longest or longest + choices.forks > engine.cells:
            what = f"a prompt of {prompt} tokens with {choices.size} tokens of choices"
            found[i] = engine.too_long(what)
    return found


def logprobs(row: npt.NDArray[np.float32], tokens: Sequence[int]) -> list[float]:
    """Return the log-probabilities of some tokens under a row of logits, in nats."""
    top = row.max()
    total = float(top) + float(np.log(np.exp(row - top).sum(dtype=np.float64)))
    return [float(row[token]) - total for token in tokens]


def _text(index: int, ask: Ask, choices: Tree, bases: dict[_Base, Scored]) -> _Text:
    every = choices.size <= FEW if ask.every is None else ask.every
    base = bases[ask.baseline, ask.choices].logprobs if ask.baseline else ()
    return _Text(index, ask.prompt, choices, every=every, baseline=base)


def _forest(engine: Engine, asks: Sequence[Ask]) -> dict[tuple[Tokens, ...], Tree]:
    return {c: tree(c, end=engine.vocabulary.end) for c in {ask.choices for ask in asks}}


def _all(engine: Engine, texts: Sequence[_Text], on_done: OnScored | None = None) -> list[Scored]:
    """Finish the texts, those that begin alike together."""
    results: dict[int, Scored] = {}
    prompts = [[*text.prompt] for text in texts]
    for group, shared in groups(prompts):
        head = prompts[group[0]][:shared]
        done = engine.resume(head)
        engine.prefill(head, done=done)
        members = [texts[i] for i in sorted(group)]
        members[0].decoded += shared - done
        for wave in _waves(engine, members, shared=shared):
            for text in _finished(engine, wave, shared=shared):
                results[text.index] = text.result()
                if on_done:
                    on_done(text.index, results[text.index])
        engine.keep(head)
    return [results[i] for i in range(len(texts))]


@dataclass(slots=True)
class _Text:
    """A question on its way.

    Attributes:
        held: for each fork that is in the memory its sequence; the root's is the prompt's.
    """

    index: int
    prompt: Tokens
    choices: Tree
    every: bool
    baseline: tuple[float, ...] = ()
    decoded: int = 0
    search: Search = field(init=False)
    held: dict[int, int] = field(init=False)

    def begin(self) -> None:
        """Start, or start again."""
        self.search = Search(self.choices, every=self.every, baseline=self.baseline)
        self.held = {}

    def way(self, number: int) -> tuple[int, Tokens]:
        """Return the nearest fork in the memory on the way to a branch, and what to decode."""
        branches = self.choices.branches
        tokens = branches[number].read
        at = branches[number].parent
        while at not in self.held:
            tokens = branches[at].tokens + tokens
            at = branches[at].parent
        return at, tokens

    def result(self) -> Scored:
        """Return what is known."""
        values, bounded = self.search.result()
        lengths = self.choices.lengths
        out = sum(lengths) - sum(lengths[i] for i in bounded)
        return Scored(values, len(self.prompt), out, self.decoded, lengths, bounded)


@dataclass(slots=True)
class _Job:
    """Tokens to decode in a sequence of their own: a prompt's end, or a branch.

    Attributes:
        start: position of the first.
        rows: log-probabilities of what may follow, for each of the last tokens, as they come in.
    """

    text: _Text
    number: int
    tokens: Tokens
    start: int
    sequence: int
    rows: list[list[float]] = field(default_factory=list)

    @property
    def after(self) -> tuple[Tokens, ...]:
        """What may follow each of the last tokens."""
        return self.text.choices.branches[self.number].after


def _waves(engine: Engine, texts: Sequence[_Text], *, shared: int) -> Iterator[list[_Text]]:
    """Cut texts into runs whose ends of prompts fit WIDTH, and all they hold the memory."""
    wave: list[_Text] = []
    ends = cells = deepest = 0
    for text in texts:
        end = len(text.prompt) - shared
        ends, cells = ends + end, cells + end + text.choices.forks
        deepest = max(deepest, text.choices.deepest)
        full = shared + cells + deepest > engine.cells or ends > WIDTH
        if wave and (full or len(wave) >= engine.sequences // 2 - 1):
            yield wave
            wave, deepest = [], text.choices.deepest
            ends, cells = end, end + text.choices.forks
        wave.append(text)
    if wave:
        yield wave


def _finished(engine: Engine, texts: Sequence[_Text], *, shared: int) -> Iterator[_Text]:
    """Give the texts as they end; in halves when the memory has no place for all at once."""
    wave = _Wave(engine, texts, shared=shared)
    try:
        yield from wave.ended()
        return
    except NoSlot:
        if len(texts) == 1:
            raise
    finally:
        wave.close()
    half = (len(wave.live) + 1) // 2
    for part in filter(None, (wave.live[:half], wave.live[half:])):
        yield from _finished(engine, part, shared=shared)


class _Wave:
    """Texts whose prompts are in the memory together."""

    def __init__(self, engine: Engine, texts: Sequence[_Text], *, shared: int) -> None:
        self.engine = engine
        self.shared = shared
        self.live = list(texts)
        self.free = list(range(engine.sequences - 1, 0, -1))
        forks = sum(len(t.prompt) - shared + t.choices.forks for t in texts)
        self.room = min(WIDTH, engine.cells - shared - forks)  # for branches, in tokens
        for text in texts:
            text.begin()

    def ended(self) -> Iterator[_Text]:
        """Go on until every text has ended; give each as it ends."""
        self._decode([self._opening(text) for text in self.live if text.search.open])
        while self.live:
            wanted = [(text, text.search.wanted()) for text in self.live]
            for text, numbers in wanted:
                if not numbers:
                    self._forget(text, [*text.held])
                    self.live.remove(text)
                    yield text
            jobs = self._branches(wanted)
            if self.live and not jobs:
                raise NoSlot("the teacher's memory is full", "raise teacher.context")
            self._decode(jobs)

    def close(self) -> None:
        """Leave the memory as it was."""
        for sequence in {*range(1, self.engine.sequences)} - {*self.free}:
            self.engine.drop(sequence)

    def _opening(self, text: _Text) -> _Job:
        tokens, sequence = text.prompt[self.shared :], self.free.pop()
        self.engine.share(sequence)
        return _Job(text, 0, tokens, self.shared, sequence)

    def _branches(self, wanted: Sequence[tuple[_Text, list[int]]]) -> list[_Job]:
        """Return the next branches, as many as there is room for."""
        if not self.free:  # forks can be decoded again, with what is below them
            for text in self.live:
                self._forget(text, [number for number in text.held if number])
        jobs: list[_Job] = []
        room = self.room
        for text, number in ((text, number) for text, numbers in wanted for number in numbers):
            fork, tokens = text.way(number)
            if not self.free or (jobs and len(tokens) > room):
                break
            sequence = self.free.pop()
            self.engine.share(sequence, text.held[fork])
            branch = text.choices.branches[number]
            start = len(text.prompt) + branch.depth + len(branch.read) - len(tokens)
            jobs.append(_Job(text, number, tokens, start, sequence))
            room -= len(tokens)
        return jobs

    def _decode(self, jobs: Sequence[_Job]) -> None:
        """Send tokens through the model, a batch at a time, and hand on what is read."""
        parts: list[tuple[_Job, int, int]] = []
        for job in jobs:
            tokens, at = job.tokens, job.start
            while tokens:
                if not self.engine.room:
                    self._read(parts)
                now, tokens = tokens[: self.engine.room], tokens[self.engine.room :]
                rows = max(0, min(len(now), len(job.after) - len(tokens)))
                place = self.engine.add(now, at, sequences=(job.sequence,), logits=rows)
                parts.append((job, rows, place))
                at += len(now)
        if parts:
            self._read(parts)
        for job in jobs:
            job.text.decoded += len(job.tokens)
            job.text.search.take(job.number, job.rows)
            job.text.held[job.number] = job.sequence
            if not job.text.choices.branches[job.number].below:
                self._forget(job.text, [job.number])

    def _read(self, parts: list[tuple[_Job, int, int]]) -> None:
        """Decode the batch; take the log-probabilities from it."""
        self.engine.decode()
        for job, rows, place in parts:
            for row in range(place + 1 - rows, place + 1):
                after = job.after[len(job.rows)]
                job.rows.append(logprobs(self.engine.logits(row), after))
        parts.clear()

    def _forget(self, text: _Text, numbers: Sequence[int]) -> None:
        """Take what a text holds out of the memory."""
        for number in numbers:
            sequence = text.held.pop(number)
            self.engine.drop(sequence)
            self.free.append(sequence)
