"""Score choices exactly, many texts side by side. Knows the engine's sequences, not the prompts.

Each choice of each text has a sequence of its own. What choices share, the prompt and their first
tokens, is decoded once, as tokens that belong to several sequences; so one batch holds the ends
of many prompts and all their choices.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice

import numpy as np
import numpy.typing as npt

from evokd.teacher import OnScored, Scored
from evokd.teacher.choices import Step, Tree, trees
from evokd.teacher.heads import groups
from evokd.teacher.native import Engine, NoSlot

Choices = tuple[tuple[int, ...], ...]


def score(
    engine: Engine,
    prompts: Sequence[list[int]],
    *,
    choices: Sequence[Choices],
    on_done: OnScored | None,
) -> list[Scored]:
    """Return the log-probabilities of every request's choices, in the order of the requests.

    Args:
        engine: the model; its memory is cleared first.
        prompts: the tokens of each request's prompt.
        choices: the tokens of each request's choices, the end of the turn left out.
        on_done: called with the index and the result as each one ends.

    Raises:
        TeacherError: when a prompt and its choices do not fit, before anything is decoded.
    """
    forest = {
        c: trees(c, end=engine.vocabulary.end, most=engine.sequences - 1) for c in set(choices)
    }
    texts = [_Text(i, p, forest[c]) for i, (p, c) in enumerate(zip(prompts, choices, strict=True))]
    for text in texts:
        _check_room(engine, text)
    results: dict[int, Scored] = {}
    for group, shared in groups(prompts):
        engine.clear()
        engine.prefill(prompts[group[0]][:shared])
        texts[min(group)].decoded += shared
        for wave in _waves(engine, [texts[i] for i in sorted(group)], shared=shared):
            for part in _decode_wave(engine, wave, shared=shared):
                if not part.text.add(part):
                    continue
                index = part.text.index
                results[index] = part.text.result()
                if on_done:
                    on_done(index, results[index])
    return [results[i] for i in range(len(texts))]


def logprobs(row: npt.NDArray[np.float32], tokens: Sequence[int]) -> list[float]:
    """Return the log-probabilities of some tokens under a row of logits, in nats."""
    top = row.max()
    total = float(top) + float(np.log(np.exp(row - top).sum(dtype=np.float64)))
    return [float(row[token]) - total for token in tokens]


@dataclass(slots=True)
class _Text:
    """A request while the parts of its choices come in."""

    index: int
    prompt: list[int]
    trees: list[Tree]
    decoded: int = 0
    found: dict[int, float] = field(default_factory=dict)

    @property
    def steps(self) -> int:
        """Tokens of all its choices."""
        return sum(len(path) for tree in self.trees for path in tree.paths)

    def add(self, part: _Part) -> bool:
        """Take in a decoded part; return whether it was the last."""
        self.found.update(zip(part.tree.numbers, part.sums(), strict=True))
        self.decoded += part.cells
        return len(self.found) == sum(len(tree.numbers) for tree in self.trees)

    def result(self) -> Scored:
        """Return it all."""
        sums = tuple(self.found[i] for i in range(len(self.found)))
        return Scored(sums, len(self.prompt), self.steps, self.decoded)


@dataclass(slots=True)
class _Part:
    """A text with one tree of its choices: what is decoded as a whole.

    Attributes:
        tail: the prompt behind the head that its group shares.
        values: the log-probability of every step of the tree, as they come in.
    """

    text: _Text
    tree: Tree
    tail: list[int]
    values: dict[Step, float] = field(default_factory=dict)

    @property
    def cells(self) -> int:
        """Tokens of memory that it needs."""
        return len(self.tail) + len(self.tree.nodes) - 1

    def sums(self) -> list[float]:
        """Return the log-probability of each choice of the tree."""
        return [sum(self.values[step] for step in path) for path in self.tree.paths]


def _check_room(engine: Engine, text: _Text) -> None:
    for tree in text.trees:
        depth = tree.nodes[-1].depth + 1
        most, longest = len(tree.nodes) - 1, len(text.prompt) + depth
        if longest > engine.longest or len(text.prompt) + most > engine.cells:
            what = f"a prompt of {len(text.prompt)} tokens with {most} tokens of choices"
            raise engine.too_long(what)


def _waves(engine: Engine, texts: Sequence[_Text], *, shared: int) -> Iterator[list[_Part]]:
    """Cut the texts' parts into runs that fit the memory, the sequences and, if possible, a batch.

    More than a batch would gain nothing: each row pays for all tokens in the shared memory.
    """
    room = min(engine.cells - shared, engine.batch)
    wave: list[_Part] = []
    sequences = cells = 0
    for part in (_Part(t, tree, t.prompt[shared:]) for t in texts for tree in t.trees):
        sequences += len(part.tree.numbers)
        cells += part.cells
        if wave and (sequences >= engine.sequences or cells > room):
            yield wave
            wave, sequences, cells = [], len(part.tree.numbers), part.cells
        wave.append(part)
    if wave:
        yield wave


def _decode_wave(engine: Engine, wave: list[_Part], *, shared: int) -> list[_Part]:
    """Fill in the parts' values; in halves when the memory has no place for all at once."""
    numbers = iter(range(1, engine.sequences))
    owned = [tuple(islice(numbers, len(part.tree.numbers))) for part in wave]
    try:
        for sequence in (s for own in owned for s in own):
            engine.share(sequence)
        _decode(engine, wave, owned, start=shared)
        return wave
    except NoSlot:
        if len(wave) == 1:
            raise
    finally:
        for sequence in (s for own in owned for s in own):
            engine.drop(sequence)
    half = len(wave) // 2
    first = _decode_wave(engine, wave[:half], shared=shared)
    return first + _decode_wave(engine, wave[half:], shared=shared)


def _decode(
    engine: Engine, wave: list[_Part], owned: Sequence[Sequence[int]], *, start: int
) -> None:
    """Send the parts through the model, a batch at a time, and read what their steps need."""
    places: list[tuple[_Part, int, int]] = []

    def flush() -> None:
        engine.decode()
        for part, number, place in places:
            follow = part.tree.nodes[number].follow
            for token, value in zip(follow, logprobs(engine.logits(place), [*follow]), strict=True):
                part.values[number, token] = value
        places.clear()

    for part, own in zip(wave, owned, strict=True):
        end = start + len(part.tail)
        for number, node in enumerate(part.tree.nodes):
            tokens = [node.token] if number else part.tail
            at = end + node.depth if number else start
            sequences = [own[m] for m in node.members]
            while tokens:
                if not engine.room:
                    flush()
                now, tokens = tokens[: engine.room], tokens[engine.room :]
                place = engine.add(now, at, sequences=sequences, logits=not tokens)
                at += len(now)
            places.append((part, number, place))
    flush()
