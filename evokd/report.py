"""report.html: what a run did and how good its student is, in one file that asks for nothing else.

Reads the ledger and never a model. What is worth telling is collected here; `rounds_told` holds
the story of the rounds, `figures` places the marks of pictures, the template lays it all out.
Every text is escaped by the template: nothing is ever marked as safe.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from evokd import __version__, prompts
from evokd.answers import KindName, in_words
from evokd.figures import Chart, Mark, chart, heat, short
from evokd.kinds import kind_of
from evokd.latency_told import latency_table
from evokd.ledger import Ledger
from evokd.records import Row
from evokd.rounds_told import cut_texts, tested_rounds, weaknesses, written_rounds
from evokd.selection import Judge, Selection, learnt
from evokd.spending import STEPS, by_step, tokens
from evokd.task import Task, TaskData
from evokd.writable import write_whole
from serving.layout import INT8

ONE = (("accuracy", "Accuracy"), ("macro_f1", "Macro F1"))
SEVERAL = (("accuracy", "Whole answers right"), ("macro_f1", "Macro F1"), ("micro_f1", "Micro F1"))
WORK: dict[KindName, tuple[str, str, str]] = {
    "classification": ("Sorts", "into", "labels"),
    "multilabel": ("Says of", "which apply of", "labels"),
    "ner": ("Finds in", "entities of", "types"),
}
ALIKE: dict[KindName, str] = {
    "classification": "same label as full precision",
    "multilabel": "labels as in full precision",
    "ner": "tags as in full precision",
}
STAGES = ("seed_only", "scores", "export", "nano", "latency")


@dataclass(frozen=True, slots=True)
class Told:
    """What a run's records say, each read once; a part that the run has not reached is {}."""

    task: Task
    data: TaskData
    ledger: Ledger
    results: list[dict[str, Any]]
    rows: list[Row]
    seed_only: dict[str, Any]
    scores: dict[str, Any]
    export: dict[str, Any]
    nano: dict[str, Any]
    latency: dict[str, Any]

    @property
    def measures(self) -> tuple[tuple[str, str], ...]:
        """What is told of every set of scores: (key, title)."""
        return ONE if self.task.kind == "classification" else SEVERAL

    @property
    def split(self) -> str:
        """The gold texts that the headline is about: "test", else "dev", else ""."""
        return "test" if self.data.test else "dev" if self.data.dev else ""

    @property
    def served(self) -> str:
        """The precision that answers."""
        return "int8" if self.export.get("served") == INT8 else "fp32"

    def before(self, split: str) -> dict[str, Any] | None:
        """Return the scores of the better of the two students that saw the seeds alone."""
        tried = [part[split] for part in self.seed_only.values() if part.get(split)]
        return max(tried, key=lambda s: float(s["accuracy"]), default=None)

    def after(self, split: str) -> dict[str, Any] | None:
        """Return the scores of the student that is served."""
        found: dict[str, Any] | None = self.scores.get(self.served, {}).get(split)
        return found


def write_report(path: Path, task: Task, data: TaskData, ledger: Ledger) -> None:
    """Write the report of a run; a run that is not finished is told as far as it came."""
    html = environment().get_template("report.html.j2").render(content(task, data, ledger))
    write_whole(path, html)


def environment() -> Environment:
    """Return what renders the template: everything escaped, a missing name is an error."""
    made = Environment(
        loader=PackageLoader("evokd", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {
        "fraction": lambda v: "–" if v is None else f"{v:.2f}",
        "percent": lambda v: "–" if v is None else f"{100 * v:.1f}\u202f%",
        "number": lambda v: "–" if v is None else f"{v:,}".replace(",", "\u202f"),
        "megabytes": lambda v: "–" if v is None else f"{v / 1e6:.1f}\u202fMB",
        "milliseconds": lambda v: "–" if v is None else f"{v:.2f}" if v < 10 else f"{v:.0f}",
        "times": lambda v: "–" if v is None else f"{v:.1f}\u202f×" if v < 10 else f"{v:.0f}\u202f×",
        "short": short,
    }
    return made


def content(task: Task, data: TaskData, ledger: Ledger) -> dict[str, Any]:
    """Return everything that the template shows."""
    told = Told(
        task,
        data,
        ledger,
        ledger.results(),
        ledger.rows(),
        *((ledger.stage(name) or {}) for name in STAGES),
    )
    by, kind = Selection(task, data, ledger).by, kind_of(task)
    return {
        "task": task,
        "work": WORK[task.kind],
        "alike": ALIKE[task.kind],
        "tell": partial(in_words, task.kind),
        "judged": bool(told.after(told.split)),
        "version": __version__,
        "prompts_version": (ledger.meta("run") or {}).get("prompts", prompts.VERSION),
        "teacher": (ledger.meta("teacher") or {}).get("name", "unknown"),
        "by": by,
        "headline": headline(told),
        "scores": score_table(told),
        "final": ledger.stage("final") or {},
        "charts": [(title, learning_curve(told, key, by=by)) for key, title in told.measures],
        "written": written_rounds(told.rows, told.results),
        "cut": cut_texts(told.rows),
        "tested": tested_rounds(told.results),
        "confusions": confusions(told),
        "per_label": per_label(told),
        "weaknesses": weaknesses(ledger, told.results, kind),
        "export": told.export,
        "latency": latency_table(told.latency),
        "asked": asked(told),
        "steps": [{"name": STEPS.get(n, n), **spent} for n, spent in by_step(ledger).items()],
        "settings": settings(task),
        "seconds": ledger.seconds(),
        "counts": {name: len(getattr(data, name)) for name in ("seed", "unlabeled", "dev", "test")},
    }


def headline(told: Told) -> dict[str, Any]:
    """Return the figures of the first screen."""
    before, after = told.before(told.split), told.after(told.split)
    size, ratio = told.export.get("size_bytes", {}), told.latency.get("ratio", {})
    served = "int8" if told.served == "int8" else "onnx"
    return {
        "split": told.split,
        "served": "INT8" if served == "int8" else "full precision",
        "texts": after and after["n"],
        "scores": [
            (title, before and before[key], after and after[key]) for key, title in told.measures
        ],
        "size": size.get(served),
        "full_size": size.get("onnx"),
        "ms": ((told.latency.get("latency_ms") or {}).get(served) or {}).get("p50"),
        "score_ratio": ratio.get("teacher_score_over_served"),
        "generate_ratio": ratio.get("teacher_generate_over_served"),
        "tokens": tokens(told.ledger.call_totals()),
    }


def score_table(told: Told) -> list[dict[str, Any]]:
    """Return the scores on gold texts of every student that was measured."""
    students = [
        ("seeds alone, fine-tuned", told.seed_only.get("fine_tuned", {})),
        ("seeds alone, nearest centroid of embeddings", told.seed_only.get("centroid", {})),
        ("final student, full precision", told.scores.get("fp32", {})),
        ("final student, INT8", told.scores.get("int8", {})),
        ("nano student, INT8", told.nano.get("scores", {})),
    ]
    return [
        {"name": name, "dev": part.get("dev"), "test": part.get("test")}
        for name, part in students
        if part
    ]


def learning_curve(told: Told, measure: str, *, by: Judge) -> Chart | None:
    """Return one measure over the teacher's tokens: seeds alone, every round, final student."""
    sets = [(str(by), "made", "dev", "")] if by != "gold dev" else []
    sets += [("gold dev", "gold", "gold_dev", "dev"), ("test", "test", "test", "test")]
    marks: dict[tuple[str, str], list[Mark]] = {}
    for name, key, field, split in sets:
        line = marks[name, key] = []
        if before := told.before(split):
            line.append(Mark(0, before[measure], "seeds alone"))
        for result in told.results:
            if scored := result[field]:
                title = f"round {result['round']}" + " (rolled back)" * result["rolled_back"]
                spent = tokens(result["tokens"])
                line.append(Mark(spent, scored[measure], title, result["rolled_back"]))
        if after := told.after(split):
            line.append(Mark(None, after[measure], "final student"))
    if by != "gold dev" and measure == "macro_f1":
        final = told.ledger.stage("final") or {}
        if (made := final.get("dev_macro_f1", {}).get(final.get("chosen"))) is not None:
            marks[by, "made"].append(Mark(None, made, "final student"))
    return chart(marks)


def confusions(told: Told) -> list[tuple[str, Any]]:
    """Return the heat maps before and after, each (title, rows of cells).

    There are none without gold texts, nor where a text may have several labels.
    """
    pairs = [
        ("Before: seeds alone, fine-tuned", told.seed_only.get("fine_tuned", {}).get(told.split)),
        (f"After: final student, {headline(told)['served']}", told.after(told.split)),
    ]
    return [
        (title, heat(scored["confusion"]))
        for title, scored in pairs
        if scored and scored["confusion"]
    ]


def per_label(told: Told) -> list[dict[str, Any]]:
    """Return every label with its definition, texts, F1 before and after, the teacher's trust."""
    before = told.seed_only.get("fine_tuned", {}).get(told.split)
    after = told.after(told.split)
    labels_in = kind_of(told.task).labels_in
    seeds = Counter(name for e in told.data.seed for name in labels_in(e.label))
    trained = Counter(name for row in learnt(told.ledger) for name in labels_in(row.example.label))
    agreed = (told.ledger.stage("final") or {}).get("agreement", {})

    def f1(scored: dict[str, Any] | None, name: str) -> Any:
        return scored and scored["per_label"][name]["f1"]

    return [
        {
            "name": name,
            "about": about,
            "seeds": seeds[name],
            "trained": trained[name],
            "agreed": agreed.get(name),
            "support": after and after["per_label"][name]["support"],
            "before": f1(before, name),
            "after": f1(after, name),
        }
        for name, about in told.task.labels.items()
    ]


def asked(told: Told) -> list[dict[str, Any]]:
    """Return what was asked of the teacher: for every round, for the gate, and in all."""
    scopes = [(f"round {r['round']}", f"round {r['round']}/") for r in told.results]
    parts = [
        {"name": name, **told.ledger.call_totals(scope)}
        for name, scope in (*scopes, ("texts for the gate", "gate "), ("in all", ""))
    ]
    return [part for part in parts if part["calls"] or part["name"] == "in all"]


def settings(task: Task) -> list[tuple[str, dict[str, Any]]]:
    """Return the groups of the resolved settings, every default included.

    Not the teacher's model, which a run does not record; the page names the teacher.
    """
    groups = {n: g for n, g in task.settings().items() if isinstance(g, dict) and n != "labels"}
    groups["teacher"].pop("model")
    groups["student"]["model"] = task.student.encoder
    return list(groups.items())
