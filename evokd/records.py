"""What a ledger records, as the rest of the program sees it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from evokd.examples import Example

Split = Literal["train", "dev", "gate"]
ASKED = "not the asked label"  # why a text is dropped that was written for another label
RELABELLED = "relabelled"  # origin of such a text where it is kept (`method.relabel`)


@dataclass(frozen=True, slots=True)
class Row:
    """A text of the run.

    Attributes:
        round: 0 for the cover, n for feedback round n, -1 for texts of the gate.
        example: its label is "" when the text was dropped before it was labelled.
        split: what it serves; None when it was dropped.
        reason: why it was dropped; None when it was kept.
        call: key of the call that wrote it; None where no call did.
        source: what the call was after, such as "group 2" or a label's name.
    """

    round: int
    example: Example
    split: Split | None
    reason: str | None = None
    call: str | None = None
    source: str | None = None


@dataclass(frozen=True, slots=True)
class Prediction:
    """What the student said of a text: label, its probability, and the lead over the next."""

    predicted: str
    confidence: float
    margin: float


@dataclass(frozen=True, slots=True)
class Call:
    """A teacher call as it is recorded.

    Attributes:
        scope: the round and step, such as "round 3/write".
        kind: "generate" or "score".
        request: the request's fields; `messages` are the conversation as it was asked.
        reply: None while the call is in flight; then `text` and `finish`, or `logprobs`.
        tokens: in, out and really decoded.
    """

    key: str
    scope: str
    kind: str
    request: dict[str, Any]
    reply: dict[str, Any] | None
    tokens: tuple[int, int, int]
