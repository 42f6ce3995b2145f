"""Write many replies side by side. Knows the engine's sequences, not how prompts are made.

Every step puts one token of each live row into one batch, beside parts of the prompts of rows
that have just begun; a row that ends makes place for the next in the queue at once. What prompts
share is decoded once. Rows are let in by what they will probably need, not by the most that they
may: where that was too little, the youngest wait again.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from itertools import repeat

from evokd.errors import TeacherError
from evokd.teacher import Generate, OnWritten, Written
from evokd.teacher.heads import Head, plan
from evokd.teacher.native import Engine, NoSlot
from evokd.teacher.replying import Reply, Thoughts, wanted
from evokd.teacher.strands import Strand, Strands

LEAST = 16  # tokens of room for a reply below which a prompt counts as too long
LEVELS = 8  # heads that may go on from one another
MARGIN = 32  # tokens that a row is expected to go on for, at least
SHARE = 2  # prompts get this part of a batch while replies are being written


def write(
    engine: Engine,
    prompts: Sequence[Sequence[int]],
    *,
    requests: Sequence[Generate],
    side_by_side: int,
    on_done: OnWritten | None,
    thoughts: Sequence[Thoughts | None] = (),
) -> list[Written]:
    """Return the replies in the order of the requests.

    Args:
        engine: the model; its memory is cleared first, but for a beginning that is needed again.
        prompts: the tokens of each request's prompt, none of them `too_long`.
        requests: how to sample.
        side_by_side: how many replies may be under way at once.
        on_done: called with the index and the reply as each one ends.
        thoughts: of each request, whether its reply may begin with a thinking part, which gets
            as many tokens again; empty means that none does.
    """
    levels = min(LEVELS, engine.sequences - 2)  # one for a row, and one more to grow beside it
    empty = [
        Reply(
            request,
            engine.vocabulary,
            most=min(wanted(request, thought), engine.longest - len(prompt)),
            thoughts=thought,
        )
        for prompt, request, thought in zip(
            prompts, requests, thoughts or repeat(None), strict=False
        )
    ]
    rows = [_Row(i, prompts[i], empty[i], head) for i, head in plan(prompts, levels=levels)]
    desk = _Desk(engine, rows, side_by_side=side_by_side)
    replies: dict[int, Written] = {}
    try:
        for row in desk.ended():
            reply = replies[row.index] = row.reply.written(tokens_in=len(row.prompt))
            if on_done:
                on_done(row.index, reply)
    finally:
        desk.close()
    return [replies[i] for i in range(len(prompts))]


def too_long(
    engine: Engine,
    prompts: Sequence[Sequence[int]],
    *,
    requests: Sequence[Generate],
    thoughts: Sequence[Thoughts | None],
) -> dict[int, TeacherError]:
    """Return which prompts leave no room for a reply, each with the error that says so."""
    return {
        i: engine.too_long(f"a prompt of {len(prompt)} tokens, with {LEAST} for the reply,")
        for i, (prompt, request, thought) in enumerate(
            zip(prompts, requests, thoughts, strict=True)
        )
        if engine.longest - len(prompt) < min(wanted(request, thought), LEAST)
    }


class _Row(Strand):
    """A request on its way: its prompt, then its reply so far."""

    __slots__ = ("head", "index", "prompt", "reply")

    def __init__(self, index: int, prompt: Sequence[int], reply: Reply, head: Head | None) -> None:
        super().__init__([])
        self.index = index
        self.prompt = prompt
        self.reply = reply
        self.head = head


class _OpenHead(Strand):
    """A head that is in the memory, or on its way there; `reply` is the one that pays for it."""

    __slots__ = ("head", "reply")

    def __init__(self, head: Head, reply: Reply) -> None:
        super().__init__(head.tokens)
        self.head = head
        self.reply = reply


class _Desk:
    """The rows that are being written, and those that wait for a place."""

    def __init__(self, engine: Engine, rows: Sequence[_Row], *, side_by_side: int) -> None:
        self.engine = engine
        self.strands = Strands(engine)
        self.most = side_by_side
        self.waiting = deque(rows)
        self.live: list[_Row] = []  # in the order in which they came
        self.heads: list[_OpenHead] = []  # each goes on from the one before
        # Every live row is in one of these, and every head whose tokens are not all in the memory.
        self.reading: list[_Row | _OpenHead] = []  # prompts that are not yet all in the memory
        self.writing: list[_Row] = []  # rows of which only the last token is missing
        self.full = False  # there is no memory for more, and no row has ended since
        # How long replies become: half of the most they may have, until some have ended.
        self.length = sum(row.reply.most for row in rows) / (2 * max(len(rows), 1))
        self.seen = 1

    def ended(self) -> Iterator[_Row]:
        """Go on until every row has ended; give each as it ends."""
        while self.waiting or self.live:
            self._admit()
            for row in self._step():
                self._leave(row)
                yield row
        while self.heads:  # the first of them last: it may be the next call's too
            self._close(self.heads.pop())

    def close(self) -> None:
        """Free what interrupted rows still hold."""
        for row in (*self.live, *self.waiting):
            row.reply.close()

    # -- coming and going ---------------------------------------------------------------------

    def _admit(self) -> None:
        """Let rows in as long as there is room for what they will probably need."""
        while self.waiting and not self.full and len(self.live) < self.most:
            row = self.waiting[0]
            parked = bool(row.reply.tokens)
            if not self.strands.numbers or not (parked or self._heads_ready(row)):
                return
            above = self._longest_head(row)
            row.tokens = [*row.prompt, *row.reply.tokens]
            row.done = above.done if above else 0
            if self.live and sum(map(self._expected, (row, *self.live))) > self.strands.left:
                self.full = True
                return
            self.strands.open(self.waiting.popleft(), above)
            self.live.append(row)
            self.reading.append(row)

    def _heads_ready(self, row: _Row) -> bool:
        """Return whether all heads of a row are in the memory; if not, see to the next of them."""
        chain = row.head.chain if row.head else []
        while self.heads and self.heads[-1].head not in chain:
            self._close(self.heads.pop())
        if self.heads and self.heads[-1].missing:
            return False
        if len(self.heads) == len(chain):
            return True
        head = _OpenHead(chain[len(self.heads)], row.reply)
        above = self.heads[-1] if self.heads else None
        if self.live and head.missing - (above.done if above else 0) > self.strands.left:
            self.full = True
            return False
        self.strands.open(head, above)
        self.heads.append(head)
        self.reading.append(head)
        return False

    def _longest_head(self, row: _Row) -> _OpenHead | None:
        """Return what a row can go on from; for one that was parked its heads may be gone."""
        chain = row.head.chain if row.head else []
        ready = [head for head in self.heads if head.head in chain and not head.missing]
        return ready[-1] if ready else None

    def _expected(self, row: _Row) -> float:
        """Return the tokens of memory that a row will probably still need."""
        reply = row.reply
        written = len(reply.tokens)
        return row.missing + min(reply.most - written, max(MARGIN, self.length - written))

    def _give_way(self) -> None:
        """Free memory: a head that no row has gone on from, or else the youngest row.

        The row will go on from the tokens that it has.

        Raises:
            NoSlot: when only one row is left.
        """
        self.full = True
        if self.live and self.heads and self.heads[-1].users == 1:
            self._close(self.heads.pop())
        elif len(self.live) > 1:
            row = self.live.pop()
            self._close(row)
            self.waiting.appendleft(row)
        else:
            raise NoSlot("the teacher's memory is full", "raise teacher.context")

    def _leave(self, row: _Row) -> None:
        self.live.remove(row)
        self._close(row)
        self.full = False
        self.seen += 1
        self.length += (len(row.reply.tokens) - self.length) / self.seen
        row.reply.close()

    def _close(self, strand: _Row | _OpenHead) -> None:
        if strand in self.reading:
            self.reading.remove(strand)
        elif isinstance(strand, _Row):
            self.writing.remove(strand)
        self.strands.close(strand)
        strand.tokens = []

    # -- a step -------------------------------------------------------------------------------

    def _step(self) -> list[_Row]:
        """Decode one batch, draw a token for each row whose tokens are all in, return the ended."""
        while self.strands.left < max(len(self.writing), 1):
            self._give_way()
        rows = self.writing
        if rows:
            self.engine.add_one_each(
                [row.tokens[-1] for row in rows],
                [row.done for row in rows],
                [row.sequence for row in rows],
            )
        parts = self._add_prompts()
        try:
            self.engine.decode()
        except NoSlot:  # the count says otherwise: the memory of this model has rules of its own
            self._give_way()
            return []
        for row in rows:
            self.strands.grow(row, 1)
            row.reply.decoded += 1
        drawing = list(enumerate(rows))
        for strand, size, place in parts:
            self.strands.grow(strand, size)
            strand.reply.decoded += size
            if strand.missing:
                continue
            self.reading.remove(strand)
            if isinstance(strand, _Row):
                rows.append(strand)
                drawing.append((place, strand))
        return [row for place, row in drawing if self._draw(row, place)]

    def _add_prompts(self) -> list[tuple[_Row | _OpenHead, int, int]]:
        """Fill up the batch with prompts; return what of whom, and the place of the last token."""
        rows = len(self.writing)
        room = min(self.engine.room, self.strands.left - rows)
        if rows:
            room = min(room, self.engine.batch // SHARE)
        parts = []
        for strand in self.reading:
            size = min(room, strand.missing)
            if not size:
                break
            part = strand.tokens[strand.done : strand.done + size]
            wanted = isinstance(strand, _Row) and size == strand.missing
            place = self.engine.add(part, strand.done, sequences=(strand.sequence,), logits=wanted)
            parts.append((strand, size, place))
            room -= size
        return parts

    def _draw(self, row: _Row, place: int) -> bool:
        """Draw a row's next token; return whether its reply has ended."""
        known = len(row.reply.tokens)
        row.reply.draw(self.engine.context, place)
        row.tokens += row.reply.tokens[known:]
        if row.missing > 1 and not row.reply.ended:  # what ends its thoughts has to be read
            self.writing.remove(row)
            self.reading.append(row)
        return row.reply.ended
