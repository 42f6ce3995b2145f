"""What a run's teacher was asked for, step by step, from the scopes of its calls."""

from __future__ import annotations

from collections.abc import Mapping

from evokd.ledger import Ledger

STEPS = {
    "attributes": "asking how texts differ",
    "analyse": "analysing mistakes",
    "write": "writing hard and easy texts",
    "cover": "writing texts of every label",
    "paraphrase": "saying the seeds in other ways",
    "label": "labelling",
    "verdicts": "asking again about entities",
}
"""How the last part of a scope begins, and what such calls are for."""
OTHER = "other"


def tokens(totals: Mapping[str, int]) -> int:
    """Return the tokens in and out of a step's, a round's or a run's totals."""
    return totals["tokens_in"] + totals["tokens_out"]


def by_step(ledger: Ledger) -> dict[str, dict[str, int]]:
    """Return step -> calls, tokens_in, tokens_out and decoded; together they are all of the run's.

    A step that was never asked for is left out; calls of no known step are OTHER.
    """
    made = {step: ledger.call_totals(step=step) for step in STEPS}
    every = ledger.call_totals()
    known = {name: sum(totals[name] for totals in made.values()) for name in every}
    made[OTHER] = {name: count - known[name] for name, count in every.items()}
    return {step: totals for step, totals in made.items() if totals["calls"]}
