"""What a person sees of a run: progress bars, the teacher's words, counts, the summary."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from rich import box
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from evokd.scores import Scores
from evokd.watch import Tick
from serving.layout import INT8

WEAKNESSES_SHOWN = 6

SUMMARY_COLUMNS = (
    "dev\nacc.",
    "dev\nmacro\nF1",
    "test\nacc.",
    "test\nmacro\nF1",
    "size\nMB",
    "p50\nms",
    "slower",
)


class Live:
    """A watch that draws on the terminal (see `evokd.watch.Watch`)."""

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or Console(highlight=False)
        self.bars = Progress(
            TextColumn("  {task.description:<34}"),
            BarColumn(bar_width=30),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=self.console,
            transient=True,
        )

    def __enter__(self) -> Live:
        self.bars.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.bars.stop()

    def stage(self, title: str) -> None:
        """Print the title of a stage or round."""
        self._clear()
        self.console.print(Text(title, style="bold"))

    def progress(self, what: str, total: int) -> Tick:
        """Show a bar; it stays until the next stage."""
        self._clear()
        bar = self.bars.add_task(what, total=max(1, total))
        return lambda: self.bars.advance(bar)

    def weaknesses(self, named: Sequence[Sequence[str]]) -> None:
        """Print the patterns that the teacher named, each once."""
        patterns = list(dict.fromkeys(p for patterns in named for p in patterns))
        if not patterns:
            return
        self.console.print("  the teacher on the student's mistakes:")
        for pattern in patterns[:WEAKNESSES_SHOWN]:
            self.console.print(Text(f"    {pattern}", style="italic"))
        if len(patterns) > WEAKNESSES_SHOWN:
            self.console.print(f"    and {len(patterns) - WEAKNESSES_SHOWN} more in the report")

    def round(self, result: Mapping[str, Any]) -> None:
        """Print a round's counts and scores."""
        self._clear()
        dropped = ", ".join(f"{n} {why}" for why, n in sorted(result["dropped"].items()))
        self.console.print(
            f"  written {result['written']}, kept {result['kept']}"
            + (f", dropped {sum(result['dropped'].values())} ({dropped})" if dropped else "")
        )
        if result["rejects"]:
            refused = ", ".join(f"{n} {why}" for why, n in sorted(result["rejects"].items()))
            self.console.print(f"  refused: {refused}")
        for origin, (wrong, tested) in sorted(result["missed"].items()):
            share = wrong / tested
            self.console.print(f"  the student got {share:.0%} of {tested} {origin} texts wrong")
        parts = (("dev", "dev"), ("gold_dev", "gold dev"), ("test", "test"))
        scored = {name: result[key] for key, name in parts if result[key]}
        # Where a text has one answer the two are the same.
        several = any(abs(s["micro_f1"] - s["accuracy"]) > 1e-9 for s in scored.values())
        what = "micro F1" if several else "accuracy"
        shown = [f"{name} {s['micro_f1']:.3f}" for name, s in scored.items()]
        back = "  [yellow]rolled back: the dev score fell[/yellow]" if result["rolled_back"] else ""
        self.console.print(f"  {what} now: {', '.join(shown)}{back}")

    def note(self, text: str) -> None:
        """Print a line."""
        self.console.print(Text(f"  {text}"))

    def _clear(self) -> None:
        for bar in list(self.bars.task_ids):
            self.bars.remove_task(bar)


def show_summary(summary: Mapping[str, Any], out: Path) -> None:
    """Print the one table that a run ends with, and the lines below it."""
    console = Console(highlight=False)
    console.print(_summary_table(summary))
    console.print(_summary_lines(summary, out), soft_wrap=True, markup=False, emoji=False)


def _summary_table(summary: Mapping[str, Any]) -> Table:
    table = Table(
        title=Text(f"{summary['task']}: from seed examples to a served student"), box=box.SIMPLE
    )
    table.add_column("", no_wrap=True)
    for column in SUMMARY_COLUMNS:
        table.add_column(column, justify="right", no_wrap=True)
    student, size, latency = summary["student"], summary["size_bytes"], summary["latency_ms"]
    seed, served = summary["seed_only"], "int8" if summary["gate"]["served"] == INT8 else "onnx"
    rows: list[tuple[str, Mapping[str, Any] | None, int | None, str]] = [
        ("seeds, fine-tuned", seed["fine_tuned"], None, ""),
        ("seeds, centroid", seed["centroid"], None, ""),
        ("student, torch", None, None, "torch"),
        ("student, ONNX", student["fp32"], size["onnx"], "onnx"),
        ("student, INT8", student["int8"], size["int8"], "int8"),
        ("nano, INT8", summary["nano"], size["nano"], "nano"),
        ("teacher, scoring", None, None, "teacher_score"),
        ("teacher, writing", None, None, "teacher_generate"),
    ]
    for name, figures, megabytes, timed in rows:
        table.add_row(
            name, *_accuracies(figures), _megabytes(megabytes), *_times(latency, timed, served)
        )
    return table


def _summary_lines(summary: Mapping[str, Any], out: Path) -> str:
    teacher, examples = summary["teacher"], summary["examples"]
    gate = "passed" if summary["gate"]["passed"] else "INT8 refused"
    gate += ", INT8" if summary["gate"]["served"] == INT8 else ", full precision"
    return (
        f"gate: {gate} is served; rounds judged by {summary['selection']}\n"
        f"teacher {teacher.get('name', '')}: {teacher['calls']:,} calls, {teacher['tokens_in']:,} "
        f"tokens in, {teacher['tokens_out']:,} out ({teacher['decoded']:,} really decoded)\n"
        f"texts: {examples['written']} written, {examples['kept']} kept, "
        f"{examples['dropped']} dropped; {summary['seconds'] / 60:.1f} minutes\n"
        f"student: {out / 'student'}\nreport:  {out / 'report.html'}\n"
        f"serve it: evokd serve {out / 'student'}"
    )


def show_scores(scores: Scores, counted: str = "texts") -> None:
    """Print accuracy, macro F1 and a row a label; `counted` is what a label's row counts."""
    table = Table()
    for column in ("label", "precision", "recall", "F1", counted):
        table.add_column(column, justify="left" if column == "label" else "right")
    for label, part in scores.per_label.items():
        shown = [f"{part[key]:.3f}" for key in ("precision", "recall", "f1")]
        table.add_row(Text(label), *shown, str(part["support"]))
    console = Console(highlight=False)
    console.print(table)
    more = "" if scores.confusion else f", micro F1 {scores.micro_f1:.4f}"
    more += "" if scores.ece is None else f", calibration error {scores.ece:.3f}"
    console.print(
        f"{scores.n} texts: accuracy {scores.accuracy:.4f}, macro F1 {scores.macro_f1:.4f}{more}"
    )
    if nowhere := [label for label, part in scores.per_label.items() if not part["support"]]:
        console.print(Text(f"macro F1 takes 0 for what is not in the file: {', '.join(nowhere)}"))
    if scores.answered is not None:
        right = scores.accuracy_answered
        console.print(
            f"the service answers {scores.answered:.1%} of them"
            + (f", {right:.1%} of those rightly" if right is not None else "")
            + "; the rest score below its reject threshold and count above as if answered"
        )


def show_export(report: Mapping[str, Any]) -> None:
    """Print what export tried and what is served."""
    table = Table()
    for column in ("tried", "agreement", "macro F1 fp32", "macro F1 INT8", "gate"):
        table.add_column(column)
    for attempt in report["tried"]:
        gate = attempt["gate"]
        verdict = "passed" if gate["passed"] else "; ".join(gate["reasons"])
        figures = [f"{gate[k]:.4f}" for k in ("agreement", "macro_f1_fp32", "macro_f1_int8")]
        table.add_row(attempt["rung"], *figures, Text(verdict))
    console = Console(highlight=False)
    console.print(table)
    console.print(f"served: {report['served']}, sizes: {report['size_bytes']}")


def _accuracies(figures: Mapping[str, float | None] | None) -> list[str]:
    keys = ("dev_accuracy", "dev_macro_f1", "test_accuracy", "test_macro_f1")
    if figures is None:
        return [""] * len(keys)
    return ["–" if (value := figures.get(key)) is None else f"{value:.3f}" for key in keys]


def _megabytes(size: int | None) -> str:
    return "" if size is None else f"{size / 1e6:.1f}"


def _times(latency: Mapping[str, Any], row: str, served: str) -> list[str]:
    """Return the row's p50 and how many times as long as the served file it takes."""
    if not latency.get(row):
        return ["", ""]
    p50 = latency[row]["p50"]
    if not latency.get(served):  # exported again since, and not timed since
        return [f"{p50:.2f}", ""]
    times = p50 / latency[served]["p50"]
    return [f"{p50:.2f}", "" if row == served else f"{times:.{1 if times > 0.95 else 2}f}x"]
