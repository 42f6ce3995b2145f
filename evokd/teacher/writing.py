"""Write many replies side by side. Knows the engine's sequences, not how prompts are made.

Every step puts one token of each live row into one batch, beside the prompts of rows that have
just begun; a row that ends makes place for the next in the queue at once.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from evokd.teacher import Generate, OnWritten, Written
from evokd.teacher.heads import common_head
from evokd.teacher.native import Engine, NoSlot
from evokd.teacher.sampling import Sampler

LEAST = 16  # tokens of room for a reply below which a prompt counts as too long


def write(
    engine: Engine,
    prompts: Sequence[list[int]],
    *,
    requests: Sequence[Generate],
    side_by_side: int,
    on_done: OnWritten | None,
) -> list[Written]:
    """Return the replies in the order of the requests.

    Args:
        engine: the model; its memory is cleared first.
        prompts: the tokens of each request's prompt.
        requests: how to sample.
        side_by_side: how many replies may be under way at once.
        on_done: called with the index and the reply as each one ends.

    Raises:
        TeacherError: when a prompt leaves no room for a reply, before anything is decoded.
    """
    most = [_room(engine, p, wanted=r.max_tokens) for p, r in zip(prompts, requests, strict=True)]
    shared = common_head(prompts)
    engine.clear()
    engine.prefill(prompts[0][:shared] if prompts else [])
    rows = [_Row(i, p[shared:], most[i], requests[i]) for i, p in enumerate(prompts)]
    if rows:
        rows[0].decoded = shared
    desk = _Desk(engine, rows, shared=shared, side_by_side=side_by_side)
    replies: dict[int, Written] = {}
    try:
        for row in desk.ended():
            replies[row.index] = _written(engine, row, tokens_in=len(prompts[row.index]))
            if on_done:
                on_done(row.index, replies[row.index])
    finally:
        desk.close()
    return [replies[i] for i in range(len(prompts))]


@dataclass(slots=True)
class _Row:
    """A request on its way.

    Attributes:
        tokens: what follows the shared prefix: its own prompt, then its reply so far.
        most: tokens that the reply may have.
        done: how many of `tokens` are in the memory.
        decoded: tokens that went through the model for it.
    """

    index: int
    tokens: list[int]
    most: int
    request: Generate
    reply: list[int] = field(default_factory=list)
    done: int = 0
    decoded: int = 0
    sequence: int = 0
    sampler: Sampler | None = None

    @property
    def cells(self) -> int:
        """Tokens of memory that it may come to need."""
        return len(self.tokens) - len(self.reply) + self.most

    def draw(self, engine: Engine, place: int) -> int:
        """Draw its next token from a row of the last batch."""
        if self.sampler is None:
            self.sampler = Sampler(self.request)
        return self.sampler.draw(engine.context, place)

    def close(self) -> None:
        """Free its sampler."""
        if self.sampler is not None:
            self.sampler.close()
            self.sampler = None


class _Desk:
    """The rows that are being written, and those that wait for a place."""

    def __init__(
        self, engine: Engine, rows: Sequence[_Row], *, shared: int, side_by_side: int
    ) -> None:
        self.engine = engine
        self.shared = shared
        self.waiting = deque(rows)
        self.live: list[_Row] = []
        self.full = False  # the memory refused a batch, and no row has ended since
        self.free = list(range(min(side_by_side, engine.sequences - 1), 0, -1))

    def ended(self) -> Iterator[_Row]:
        """Go on until every row has ended; give each as it ends."""
        while self.waiting or self.live:
            self._admit()
            for row in self._step():
                self._leave(row)
                yield row

    def close(self) -> None:
        """Free what interrupted rows still hold."""
        for row in (*self.live, *self.waiting):
            row.close()

    def _admit(self) -> None:
        """Let rows in while the memory can hold all that the live ones may come to need."""
        if self.full:
            return
        used = self.shared + sum(row.cells for row in self.live)
        while self.waiting and self.free and used + self.waiting[0].cells <= self.engine.cells:
            row = self.waiting.popleft()
            row.sequence, row.done = self.free.pop(), 0
            self.engine.share(row.sequence)
            used += row.cells
            self.live.append(row)

    def _step(self) -> list[_Row]:
        """Decode one batch, draw a token for each row whose tokens are all in, return the ended."""
        parts = [(row, *self._add(row)) for row in self.live if self.engine.room]
        try:
            self.engine.decode()
        except NoSlot:
            if len(self.live) == 1:
                raise
            self._park()
            return []
        ended = []
        for row, count, place in parts:
            row.done += count
            row.decoded += count
            if row.done < len(row.tokens):
                continue
            token = row.draw(self.engine, place)
            row.reply.append(token)
            row.tokens.append(token)
            if len(row.reply) == row.most or self.engine.vocabulary.ends(token):
                ended.append(row)
        return ended

    def _add(self, row: _Row) -> tuple[int, int]:
        """Put the row's next tokens into the batch; return how many, and the place of the last."""
        next_ = row.tokens[row.done : row.done + self.engine.room]
        complete = row.done + len(next_) == len(row.tokens)
        place = self.engine.add(
            next_, self.shared + row.done, sequences=(row.sequence,), logits=complete
        )
        return len(next_), place

    def _park(self) -> None:
        """Send the youngest row back to wait; it will go on from the tokens that it has."""
        row = self.live[-1]
        self._vacate(row)
        self.full = True
        self.waiting.appendleft(row)

    def _leave(self, row: _Row) -> None:
        self._vacate(row)
        self.full = False
        row.close()

    def _vacate(self, row: _Row) -> None:
        self.live.remove(row)
        self.engine.drop(row.sequence)
        self.free.append(row.sequence)


def _room(engine: Engine, prompt: list[int], *, wanted: int) -> int:
    """Return how long the reply may become; it shrinks where the context ends."""
    room = engine.longest - len(prompt)
    if room >= min(wanted, LEAST):
        return min(wanted, room)
    raise engine.too_long(f"a prompt of {len(prompt)} tokens, with {LEAST} for the reply,")


def _written(engine: Engine, row: _Row, *, tokens_in: int) -> Written:
    ended = engine.vocabulary.ends(row.reply[-1])
    return Written(
        text=engine.vocabulary.text(row.reply[:-1] if ended else row.reply),
        finish="stop" if ended else "length",
        tokens_in=tokens_in,
        tokens_out=len(row.reply),
        decoded=row.decoded,
    )
