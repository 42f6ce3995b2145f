"""What a student is measured on: the texts of its run, their labels, and what the run has cost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from evokd.errors import InputError
from evokd.examples import Example
from evokd.runfiles import RunFiles

Item = TypeVar("Item")


@dataclass(frozen=True, slots=True)
class Material:
    """What is measured on.

    Attributes:
        texts: to be answered.
        labelled: texts whose label is known, for accuracy.
        labels_by: who gave those labels.
        run_seconds: what the student's run took; None where that is not known.
    """

    texts: Sequence[str]
    labelled: Sequence[Example] = ()
    labels_by: str = ""
    run_seconds: float | None = None


def material_of_run(root: Path) -> Material:
    """Return what a run's folder holds: its gate's texts to time, its test texts to score.

    Without a test file the gate's texts are scored too, by the labels that the teacher gave them.

    Raises:
        InputError: when there is no run, or one that has not come so far.
    """
    from evokd.ledger import reading
    from evokd.replay import recorded_task

    files = RunFiles(root)
    if not files.ledger.is_file():
        raise InputError(f"{root}: holds no run to take texts from", "give --texts FILE")
    with reading(files.ledger) as ledger:
        gate = [row.example for row in ledger.rows(split="gate")]
        test = recorded_task(ledger)[1].test
        seconds = ledger.seconds()
    if not gate:
        raise InputError(f"{root}: its run has no texts of the gate yet", "give --texts FILE")
    who = "the test file" if test else "the teacher"
    return Material([e.text for e in gate], test or gate, who, seconds)


def spread(texts: Sequence[Item], most: int) -> list[Item]:
    """Return at most `most` texts, evenly from the whole list: a run's texts go label by label."""
    return [texts[i * len(texts) // most] for i in range(most)] if len(texts) > most else [*texts]


def of_length(texts: Sequence[str], tokens: int, *, tokenizer: Path) -> list[str]:
    """Return as many texts of about `tokens` tokens, special ones included, made of the given.

    Each is a text with those that follow it, cut off behind a token.

    Args:
        tokenizer: a tokenizer.json; the student's own.
    """
    from tokenizers import Tokenizer

    reader = Tokenizer.from_file(str(tokenizer))
    reader.no_padding()
    reader.no_truncation()
    room = tokens - reader.num_special_tokens_to_add(is_pair=False)
    if room < 1:
        raise InputError(f"{tokens} tokens leave no room for words", "raise --tokens")
    return [_cut(texts, first, room, reader) for first in range(len(texts))]


def _cut(texts: Sequence[str], first: int, room: int, reader: object) -> str:
    """Return the texts from `first` on, in a ring, up to `room` tokens."""
    whole = ""
    for step in range(room * len(texts)):
        whole = f"{whole} {texts[(first + step) % len(texts)]}".strip()
        encoded = reader.encode(whole, add_special_tokens=False)  # type: ignore[attr-defined]
        if len(encoded.ids) >= room:
            return whole[: encoded.offsets[room - 1][1]]
    raise InputError("the texts have no words", "give others with --texts")
