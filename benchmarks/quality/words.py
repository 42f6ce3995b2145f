"""The table of what was measured, in Markdown, for benchmarks/README.md."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from benchmarks.quality.variants import BASES, OF

HEAD = (
    "| arm | seeds | score | deviation | of full data | seen labels | unseen labels |"
    " evokd minus it, 95 % interval | of its error removed |\n"
    "|---|---:|---:|---:|---:|---:|---:|---:|---:|\n"
)
EARLIER = " †"


def in_words(table: Mapping[str, Any]) -> str:
    """Return a section a task, its arms from the best to the worst.

    Args:
        table: of `benchmarks.quality.cells.Cells`.
    """
    return "\n".join(f"### {task}\n\n{_section(about)}" for task, about in table.items())


def _section(about: Mapping[str, Any]) -> str:
    ordered = sorted(about["arms"].items(), key=lambda arm: -arm[1]["mean"])
    gaps = about["differences"]
    rows = "".join(_row(arm, of, gaps.get(f"{BASES.get(arm, OF)}-{arm}")) for arm, of in ordered)
    full = f"full data {about['full']:.3f}; " if about["full"] else ""
    budgets = sorted({budget for _, of in ordered for budget in of["budgets"]})
    spent = " or ".join(f"{budget:,}" for budget in budgets)
    note = f"\n{EARLIER.strip()}: some cells of an earlier version.\n" if EARLIER in rows else ""
    return f"{full}budget {spent} tokens.\n\n{HEAD}{rows}{note}{_pool(ordered)}"


def _row(arm: str, of: Mapping[str, Any], gap: Mapping[str, Any] | None) -> str:
    groups = of["groups"]
    share = f"{100 * of['full_share']:.1f} %" if of["full_share"] else ""
    seen, unseen = (_figure(groups.get(name)) for name in ("seen", "unseen"))
    told = f"{gap['diff']:+.3f} ({gap['low']:+.3f} to {gap['high']:+.3f})" if gap else ""
    if gap and gap["seeds"] < 2:  # nothing is known of the chance between runs
        told += " over the texts"
    removed = gap["error_removed"] if gap else None
    if arm in BASES and told:
        told = f"{BASES[arm]}: {told}"
    cells = (
        arm + EARLIER * of["earlier"], of["seeds"], _figure(of["mean"]), _figure(of["std"]), share,
        seen, unseen, told,
        "" if removed is None else f"{100 * removed:.0f} %",
    )  # fmt: skip
    return f"| {' | '.join(map(str, cells))} |\n"


def _pool(arms: list[tuple[str, Any]]) -> str:
    """Say how many texts of the pool had to be labelled, where there was one."""
    counted = [(arm, of["labelled"]) for arm, of in arms if "labelled" in of]
    if not counted:
        return ""
    shares = list(counted[0][1])
    rows = "".join(
        f"| {arm} | {' | '.join('never' if n is None else str(n) for n in needed.values())} |\n"
        for arm, needed in counted
    )
    head = f"| texts labelled up to | {' | '.join(shares)} |\n|---|{'---:|' * len(shares)}\n"
    return f"\nOf full data:\n\n{head}{rows}"


def _figure(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"
