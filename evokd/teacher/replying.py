"""One reply as it grows: its tokens, its text as far as stop texts need it, and how it ends."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from evokd.teacher import Generate, Written
from evokd.teacher.sampling import Sampler
from evokd.teacher.thinking import EMPTY, Tags, thinking
from evokd.teacher.vocabulary import Vocabulary


@dataclass(frozen=True, slots=True)
class Thoughts:
    """That a reply may begin with a thinking part: its tags, and whether the prompt opens it."""

    tags: Tags
    opened: bool


def wanted(request: Generate, thoughts: Thoughts | None) -> int:
    """Return how long a reply may become; it shrinks where the context ends."""
    return request.max_tokens * (2 if thoughts else 1)


class Reply:
    """A reply under way; `close` frees its sampler.

    Attributes:
        tokens: what has been drawn, and what ended a thinking part that was too long.
        most: tokens that it may have. A thinking part gets at most half, and at most as many as
            the answer; where it ends by itself, the answer gets no more for that.
        ended: nothing more is to be drawn.
        decoded: tokens that went through the model for it.
    """

    def __init__(
        self,
        request: Generate,
        vocabulary: Vocabulary,
        *,
        most: int,
        thoughts: Thoughts | None = None,
    ) -> None:
        self.tokens: list[int] = []
        self.most = self._room = most
        self._short = most < wanted(request, thoughts)  # the context ends before
        self.ended = False
        self.decoded = 0
        self._request = request
        self._vocabulary = vocabulary
        self._sampler: Sampler | None = None
        self._stops = tuple(s.encode("utf-8", "replace") for s in request.stop if s)
        self._longest = max(map(len, self._stops), default=0)
        self._thoughts = thoughts  # None as soon as it does not think, or no longer
        self._tags = (thoughts.tags.opening, thoughts.tags.closing) if thoughts else ()
        self._bytes = bytearray()  # its text so far, kept only where it is looked at
        self._searched = 0  # bytes in which no stop text begins
        self._cut: int | None = None  # where a stop text begins in it
        self._turn_over = False

    def draw(self, context: Any, place: int) -> None:
        """Draw the next token from a row of the context's last batch."""
        if self._sampler is None:
            self._sampler = Sampler(self._request, self._vocabulary)
        token = self._sampler.draw(context, place)
        self.tokens.append(token)
        if self._vocabulary.ends(token):
            self._turn_over = self.ended = True
            if self._thoughts:  # it was too early to tell: nobody has searched it
                self._stopped()
            return
        if self._stops or self._thoughts:
            self._bytes += self._vocabulary.piece(token, marks=self._tags)
        if self._thoughts:
            self._think(self._thoughts)
        self.ended = (not self._thoughts and self._stopped()) or len(self.tokens) >= self.most

    def written(self, *, tokens_in: int) -> Written:
        """Return the result."""
        if self._cut is not None:
            text = self._bytes[: self._cut].decode("utf-8", "replace")
        else:
            tokens = self.tokens[:-1] if self._turn_over else self.tokens
            text = self._vocabulary.text(tokens, marks=self._tags)
        whole = self._turn_over or self._cut is not None
        out_of_room = self._short and len(self.tokens) >= self._room
        cut: Literal["length", "context"] = "context" if out_of_room else "length"
        return Written(
            text=text,
            finish="stop" if whole else cut,
            tokens_in=tokens_in,
            tokens_out=len(self.tokens),
            decoded=self.decoded,
        )

    def close(self) -> None:
        """Free its sampler; a second time does nothing."""
        if self._sampler is not None:
            self._sampler.close()
            self._sampler = None

    def _stopped(self) -> bool:
        """Return whether a stop text is whole now, and note where it begins.

        Only what the last token may have completed is searched. A stop text may begin and end
        within tokens, so it is looked for in bytes.
        """
        places = [self._bytes.find(stop, self._searched) for stop in self._stops]
        self._cut = min((p for p in places if p >= 0), default=None)
        self._searched = max(self._searched, len(self._bytes) - self._longest + 1)
        return self._cut is not None

    def _think(self, thoughts: Thoughts) -> None:
        """See whether the thinking part goes on; end one that is too long."""
        tags, budget = thoughts.tags, min(self._request.max_tokens, self.most // 2)
        text = self._bytes.decode("utf-8", "replace")
        if thinking(text, tags, opened=thoughts.opened):
            if len(self.tokens) < budget:
                return
            closing = EMPTY + tags.closing + EMPTY
            self.tokens += self._vocabulary.reply_tokens(closing, marks=True)
            self._bytes += closing.encode()
        elif tags.opening.startswith(text.strip()):
            return  # too early to tell
        self._thoughts = None
        thought = tags.closing.encode() in self._bytes
        self._searched = len(self._bytes) if thought else 0
        answer = len(self.tokens) if thought else 0
        self.most = min(self.most, answer + self._request.max_tokens)
