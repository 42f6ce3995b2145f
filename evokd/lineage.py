"""What there is to say of where a text of a run came from. `evokd.why` finds it in the ledger."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from evokd.records import ASKED, RELABELLED, Call, Prediction, Row
from evokd.teacher import TOO_LONG

SPENT = "budget"
LATER = ("round rolled back", "likely mislabelled")  # why texts are taken out of training again


@dataclass(frozen=True, slots=True)
class Told:
    """A text of a run, told in one line.

    Attributes:
        fate: what it serves ("train", "held out: dev", "seed example", ...), or why it was dropped.
        round: the round that wrote it, -1 for texts of the gate; None for the user's own.
        origin: what was expected of it: "cover", "hard", "easy", "paraphrase", "edited" or "pool";
            "relabelled" of a cover text that is another's and was kept; "" for the user's own.
        source: what its call was after: "group 2", or a label's name.
    """

    id: str
    text: str
    label: str
    fate: str
    round: int | None = None
    origin: str = ""
    source: str = ""


@dataclass(frozen=True, slots=True)
class Shown:
    """A text that another one came from: its prompt showed it, or it is the seed that was edited.

    Attributes:
        role: "wrong" or "right" by what the student had said of it, or "example", or "edited".
        said: what the student had said; "" of an example and of what was edited.
        confidence: how sure it was, where that is recorded.
    """

    told: Told
    role: str
    said: str = ""
    confidence: float | None = None


@dataclass(frozen=True, slots=True)
class Opinion:
    """A labelling call, and how likely it finds each choice; none where it wrote its answer."""

    call: Call
    probabilities: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Check:
    """A check of the loop. `passed` is None where the text did not come as far."""

    name: str
    passed: bool | None
    says: str = ""


@dataclass(frozen=True, slots=True)
class Ancestor:
    """A text that others came from, with the ids of those that its own prompt showed."""

    told: Told
    shown: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Lineage:
    """Where a text came from; of the user's own there is only `told`, and `also`.

    Attributes:
        soft: the teacher's probability of every label, as the student is trained on it.
        tested: what the student said of it before it was trained on it.
        call: the call that wrote it; None for a text of the user's pool and an edited seed.
        analysis: the call that named what a hard or easy text is about.
        weakness: the same in the teacher's words, a pattern each.
        shown: the texts that its prompt showed, or the seed that was edited.
        ancestors: those and all that they came from in turn, each once, the nearest first.
        also: the other times that the same text came up.
    """

    told: Told
    soft: Mapping[str, float]
    tested: Prediction | None = None
    call: Call | None = None
    analysis: Call | None = None
    weakness: tuple[str, ...] = ()
    shown: tuple[Shown, ...] = ()
    labelling: tuple[Opinion, ...] = ()
    checks: tuple[Check, ...] = ()
    ancestors: tuple[Ancestor, ...] = ()
    also: tuple[Told, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return plain types, for programs."""
        return asdict(self)


def checks(
    row: Row, *, labelled: bool, twin: Callable[[], str], tell: Callable[[str, str], str]
) -> tuple[Check, ...]:
    """Return the checks of the loop in their order; those behind a failed one were not made.

    Args:
        labelled: whether the teacher was asked for its label; some arms set it.
        twin: names the text that a dropped one is too like.
        tell: says the answer to a text in words.
    """
    reason, source = row.reason or "", row.source or ""
    leak = reason.startswith("leak: ")
    again = reason in ("duplicate", "near-duplicate")
    # Whatever else a text was dropped for comes from its labelling.
    others = ("empty", ASKED, SPENT, TOO_LONG, *LATER)
    doubted = bool(reason) and not leak and not again and reason not in others
    # The budget may end before a text is labelled, or allow no more texts than were.
    unlabelled = reason == SPENT and not row.example.label
    says = "spent before its label was known" if unlabelled else "budget.examples allows no more"
    budget = Check("within the budget", reason != SPENT, says if reason == SPENT else "")
    wanted = f"asked for {source}, labelled {tell(row.example.label, row.example.text)}"
    whence = "set by the arm, not asked for" if row.example.label and not labelled else ""
    if row.example.origin == RELABELLED:
        whence = wanted
    made = [
        Check("has words", reason != "empty"),
        Check("no leak of a dev or test text", not leak, twin() if leak else ""),
        Check("not said before", not again, twin() if again else ""),
        *[budget] * unlabelled,
        *[Check("short enough for the teacher", False)] * (reason == TOO_LONG),
        Check("its label can be trusted", not doubted, reason if doubted else whence),
    ]
    if row.example.origin == "cover":
        made.append(Check("is what was asked for", reason != ASKED, wanted))
    made += [budget] * (not unlabelled)
    later = reason in LATER
    made.append(Check("not taken back later", not later, reason if later else ""))
    failed = next((i for i, check in enumerate(made) if not check.passed), len(made))
    return tuple([*made[: failed + 1], *(Check(c.name, None) for c in made[failed + 1 :])])
