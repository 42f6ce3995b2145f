"""Can a student tell that a text is none of its labels? Scores of texts that are out of scope.

    python -m benchmarks.reject --data DIR [--json FILE] [--texts 20] [--epochs 4] [--quick]

A student is trained on `--texts` gold rows a label of clinc150's 150 labels (`DIR/clinc150`), and
its temperature is fitted on dev, which holds no text out of scope: as in a run. Then the test
texts and clinc150's out-of-scope ones are scored before and after the temperature:

- AUROC: how often a text of a label scores higher than one out of scope;
- AURC: the mean share of wrong answers among those given, over every threshold (lower is better);
  a text out of scope is wrong whenever it is answered;
- for a few thresholds, and for the one under which 95 % of dev is answered (`export.unanswered:
  0.05`): how many texts of each sort are answered, and the accuracy of those in scope that are.

A student that is served withholds labels by the score before the temperature.
"""

from __future__ import annotations

import argparse
import json
import random
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from evokd.calibration import fit_temperature, tempered
from evokd.cpus import cpu_model
from evokd.examples import Example
from evokd.formats import read_examples
from evokd.scores import score
from evokd.settings import StudentSettings
from evokd.student import fit

OUT = "oos"
REJECTS = (0.3, 0.5, 0.7, 0.9)
KEPT = 0.95  # of dev
QUICK_TEXTS, QUICK_LABELS = 5, 12

Floats = NDArray[Any]


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description="Texts out of scope, on clinc150.")
    parser.add_argument("--data", type=Path, required=True, help="folder of the public sets")
    parser.add_argument("--texts", type=int, default=20, help="training texts a label")
    parser.add_argument("--epochs", type=int, default=4, help="passes over them")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures here")
    parser.add_argument("--quick", action="store_true", help="few labels and texts; a smoke test")
    asked = parser.parse_args()
    texts = QUICK_TEXTS if asked.quick else asked.texts
    record = measure(asked.data / "clinc150", texts=texts, epochs=asked.epochs, quick=asked.quick)
    show(record)
    if asked.json:
        asked.json.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")


def measure(data: Path, *, texts: int, epochs: int, quick: bool) -> dict[str, Any]:
    """Train, score, and return the figures before and after the temperature."""
    known = json.loads((data / "labels.json").read_text(encoding="utf-8"))["labels"]
    every = sorted(name for name in known if name != OUT)
    names = every[:QUICK_LABELS] if quick else every

    def rows(name: str) -> list[Example]:
        read = read_examples(data / f"{name}.jsonl", [*every, OUT])
        return [row for row in read if row.label in (*names, OUT)]

    train, dev, test = _some(rows("train"), texts), rows("dev"), rows("test")
    outside = [row.text for row in rows("oos_test")]
    student = fit(train, names, StudentSettings(), epochs=epochs, seed=0)
    said = {
        part: student.predict(asked).astype(np.float64)
        for part, asked in (
            ("dev", [row.text for row in dev]),
            ("test", [row.text for row in test]),
            ("out", outside),
        )
    }
    temperature = fit_temperature(said["dev"], [names.index(row.label) for row in dev])
    gold = {"dev": [row.label for row in dev], "test": [row.label for row in test]}
    return {
        "quick": quick,
        "labels": len(names),
        "trained_on": len(train),
        "in_scope": len(test),
        "out_of_scope": len(outside),
        "temperature": temperature,
        "cpu": cpu_model(),
        "before": figures(said, gold, names),
        "after": figures({n: tempered(p, temperature) for n, p in said.items()}, gold, names),
    }


def figures(said: dict[str, Floats], gold: dict[str, list[str]], names: list[str]) -> Any:
    """Return the figures of one set of probabilities.

    Args:
        said: of "dev", "test" and "out", [texts, labels].
        gold: the right labels of "dev" and "test".
    """
    answers = [names[int(i)] for i in said["test"].argmax(axis=1)]
    right = np.array([a == g for a, g in zip(answers, gold["test"], strict=True)])
    inside, outside = said["test"].max(axis=1), said["out"].max(axis=1)
    edge = float(np.quantile(said["dev"].max(axis=1), 1 - KEPT))
    return {
        "ece": score(gold["test"], answers, names, said["test"]).ece,
        "accuracy": float(right.mean()),
        "auroc": auroc(inside, outside),
        "aurc": aurc(np.append(inside, outside), np.append(~right, np.full(len(outside), True))),
        "at": {f"{t:g}": at(t, inside, outside, right) for t in REJECTS},
        f"dev_{KEPT:g}": {"reject": edge, **at(edge, inside, outside, right)},
    }


def at(reject: float, inside: Floats, outside: Floats, right: Floats) -> dict[str, float | None]:
    """Return what a reject threshold does, as shares."""
    given = inside >= reject
    answered = int(given.sum()) + int((outside >= reject).sum())
    return {
        "in_scope_answered": float(given.mean()),
        "out_of_scope_answered": float((outside >= reject).mean()),
        "accuracy_of_answered_in_scope": float(right[given].mean()) if given.any() else None,
        "right_of_all_answered": float(right[given].sum() / answered) if answered else None,
    }


def auroc(higher: Floats, lower: Floats) -> float:
    """Return how often one of `higher` is above one of `lower`; a tie counts half."""
    ordered = np.sort(lower)
    below = np.searchsorted(ordered, higher, "left") + np.searchsorted(ordered, higher, "right")
    return float(below.mean() / 2 / len(lower))


def aurc(scores: Floats, wrong: NDArray[np.bool_]) -> float:
    """Return the mean, over all coverages, of the share of wrong answers among the surest."""
    ranked = wrong[np.argsort(-scores, kind="stable")]
    return float((np.cumsum(ranked) / np.arange(1, len(ranked) + 1)).mean())


def show(record: dict[str, Any]) -> None:
    """Print the figures as a table."""
    title = (
        f"clinc150, {record['labels']} labels, {record['trained_on']} training texts;"
        f" {record['in_scope']} test texts and {record['out_of_scope']} out of scope;"
        f" temperature {record['temperature']:.2f}"
    )
    table = Table("", "before the temperature", "after it", title=title)
    both = [record[name] for name in ("before", "after")]
    for name in ("accuracy", "ece", "auroc", "aurc"):
        table.add_row(name, *(f"{part[name]:.4f}" for part in both))
    for reject in map("{:g}".format, REJECTS):
        table.add_row(f"reject {reject}", *(_told(part["at"][reject]) for part in both))
    told = [f"reject {p['dev_0.95']['reject']:.2f}: {_told(p['dev_0.95'])}" for p in both]
    table.add_row("95 % of dev answered", *told)
    Console().print(table)


def _told(part: dict[str, float | None]) -> str:
    accuracy = part["accuracy_of_answered_in_scope"]
    right = "-" if accuracy is None else f"{accuracy:.1%} right"
    return (
        f"answers {part['in_scope_answered']:.1%} in scope ({right}),"
        f" {part['out_of_scope_answered']:.1%} out of it"
    )


def _some(rows: list[Example], per_label: int) -> list[Example]:
    of_label: dict[str, list[Example]] = defaultdict(list)
    for row in random.Random(0).sample(rows, len(rows)):
        of_label[row.label].append(row)
    return [row for name in sorted(of_label) for row in of_label[name][:per_label] if name != OUT]


if __name__ == "__main__":
    main()
