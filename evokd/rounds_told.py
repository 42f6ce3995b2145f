"""The rounds of a run as the report tells them: what was written, tested and learnt. Reads only."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import Any

from evokd.feedback import Group
from evokd.kinds import Kind
from evokd.ledger import Ledger
from evokd.records import ASKED, RELABELLED, Prediction, Row

KEPT = {"train": "train", "dev": "held out: dev", "gate": "held out: gate"}
ORIGINS = ("hard", "easy", "cover", RELABELLED, "paraphrase", "edited", "pool")
# A stacked bar with a colour for every reason is not readable; the table has them all.
PARTS = {
    "train": ("train",),
    "held out": ("held out: dev", "held out: gate"),
    "duplicate": ("duplicate", "near-duplicate"),
    "labels disagree": ("labels disagree", ASKED),
    "leak": ("leak: dev", "leak: test"),
    "rolled back": ("round rolled back",),
}
OTHER = "other"


def written_rounds(rows: Sequence[Row], results: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return for every round what became of its texts, and what was refused of replies.

    Returns:
        `fates` and `rejects`, the columns that occur, and `rounds`: each with its name, the number
        written, counts by fate and by reject, the parts of its bar as (key, count, percent), and
        how varied its kept texts are, as `evokd.diversity` says, so far as it was measured.
    """
    fates: dict[int, Counter[str]] = defaultdict(Counter)
    for row in rows:
        fates[row.round][fate(row)] += 1
    refused = {r["round"]: r["rejects"] for r in results}
    varied = {r["round"]: r.get("diversity", {}) for r in results}
    numbers = sorted({*fates, *refused}, key=lambda n: (n < 0, n))  # the gate's texts come last
    longest = max((c.total() for c in fates.values()), default=0) or 1
    order = [*KEPT.values(), *(reason for part in PARTS.values() for reason in part)]
    known = dict.fromkeys(order) | dict.fromkeys(sorted({f for c in fates.values() for f in c}))
    return {
        "fates": [f for f in known if any(c[f] for c in fates.values())],
        "rejects": sorted({name for counts in refused.values() for name in counts}),
        "parts": [*PARTS, OTHER],
        "rounds": [
            {
                "name": "gate" if n < 0 else str(n),
                "written": fates[n].total(),
                "fates": fates[n],
                "rejects": refused.get(n, {}),
                "bar": _bar(fates[n], longest),
                "diversity": varied.get(n, {}),
            }
            for n in numbers
        ],
    }


def cut_texts(rows: Sequence[Row]) -> dict[str, int]:
    """Return how many texts were written, and how many were dropped for touching gold texts."""
    reasons = Counter(row.reason for row in rows)
    return {"written": len(rows), "dev": reasons["leak: dev"], "test": reasons["leak: test"]}


def tested_rounds(results: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return the rounds with the shares that the student got wrong, by what was expected."""
    origins = [o for o in ORIGINS if any(o in r["missed"] for r in results)]
    return {"origins": origins, "rounds": list(results)}


def weaknesses(
    ledger: Ledger, results: Sequence[dict[str, Any]], kind: Kind
) -> list[dict[str, Any]]:
    """Return for every round its groups of feedback: mistakes, the teacher's words, new texts."""
    made = []
    for result in results:
        number = result["round"]
        shown = [Group.from_json(g) for g in (ledger.plan(number) or {}).get("groups", [])]
        if not shown:
            continue
        said = dict(ledger.tested(number))
        rows = ledger.rows(round=number)
        named = [*result["weaknesses"], *([()] * len(shown))]
        groups = [
            {
                "number": n,
                "pairs": list(dict.fromkeys(kind.confusion(s) for s in group.wrong)),
                "named": named[n - 1],
                "wrong": group.wrong,
                "right": group.right,
                "written": [_written(r, said.get(r)) for r in rows if r.source == f"group {n}"],
            }
            for n, group in enumerate(shown, start=1)
        ]
        made.append({"round": number, "groups": groups})
    return made


def fate(row: Row) -> str:
    """Say what became of a text: what it serves, or why it was dropped."""
    return KEPT[row.split] if row.split else row.reason or OTHER


def _written(row: Row, said: Prediction | None) -> dict[str, Any]:
    return {
        "text": row.example.text,
        "expected": row.example.origin,
        "label": row.example.label,
        "said": said and said.predicted,
        "fate": fate(row),
        "kept": row.split is not None,
    }


def _bar(fates: Counter[str], longest: int) -> list[tuple[str, int, float]]:
    counts = {part: sum(fates[f] for f in names) for part, names in PARTS.items()}
    counts[OTHER] = fates.total() - sum(counts.values())
    return [(part, n, round(100 * n / longest, 3)) for part, n in counts.items() if n]
