"""How small a student may become, and what it costs: fewer words, fewer layers, nano.

    python -m benchmarks.size --data DIR [--json FILE] [--texts 200] [--quick]

A student is trained on `--texts` gold rows a label of SNIPS (`DIR/snips_raw`), made smaller in
several ways, exported and quantised. The smaller ones are distilled on the same texts. Each is
scored on SNIPS' own test split by the predictor that serves, in INT8, with its size on disk
(model and tokenizer) and its median time for a text on one thread.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.quality.tasks import rows_of, settings
from evokd.cpus import cpu_model
from evokd.examples import Example
from evokd.settings import StudentSettings
from evokd.shrink import shrink
from evokd.student import Student, fit
from export.nano import make_nano
from export.onnx import export_onnx
from export.quantize import PLAIN, quantize
from serving.layout import Manifest, StudentFiles, write_manifest
from serving.predictor import Predictor, open_predictor

VARIANTS: dict[str, dict[str, int]] = {
    "whole": {},
    "8,000 words": {"words": 8000},
    "3 layers": {"layers": 3},
    "4 layers, 4,000 words": {"layers": 4, "words": 4000},
    "3 layers, 4,000 words": {"layers": 3, "words": 4000},
    "2 layers, 4,000 words": {"layers": 2, "words": 4000},
}
TIMED = 100
EPOCHS = 8


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description="Size against accuracy and time, on SNIPS.")
    parser.add_argument("--data", type=Path, required=True, help="folder of the public sets")
    parser.add_argument("--texts", type=int, default=200, help="training texts a label")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures here")
    parser.add_argument("--quick", action="store_true", help="few texts; a smoke test")
    asked = parser.parse_args()
    record = measure(asked.data, per_label=10 if asked.quick else asked.texts, quick=asked.quick)
    show(record)
    if asked.json:
        asked.json.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")


def measure(data: Path, *, per_label: int, quick: bool) -> dict[str, Any]:
    """Return a row a variant: accuracy, megabytes, p50 in milliseconds."""
    setting = settings()["snips-7"]
    test = rows_of(setting, data, "test")[: 70 if quick else None]
    train = _some(rows_of(setting, data, "train"), per_label)
    names = [name for name, _ in setting.labels.values()]
    how = StudentSettings()
    whole = fit(train, names, how, epochs=how.final_epochs, seed=0)
    texts = list(dict.fromkeys(example.text for example in train))
    rows: dict[str, dict[str, float]] = {}
    with tempfile.TemporaryDirectory() as name:
        for title, size in VARIANTS.items():
            small = whole
            if size:
                epochs = 1 if quick else EPOCHS
                small = shrink(
                    whole, texts, settings=how.model_copy(update=size), epochs=epochs, seed=0
                )
            folder = _saved(small, Path(name) / str(len(rows)))
            rows[title] = _row(folder, test)
        folder = Path(name) / "nano"
        make_nano(Path(name) / "0", folder, texts=texts, probabilities=whole.predict(texts))
        rows["nano"] = _row(folder, test)
    facts = {"quick": quick, "texts": len(train), "test": len(test), "cpu": cpu_model()}
    return facts | {"rows": rows}


def show(record: dict[str, Any]) -> None:
    """Print the rows as a table."""
    table = Table("", title=f"SNIPS, {record['texts']} training texts, {record['test']} test texts")
    for head in ("test accuracy", "MB", "p50 ms"):
        table.add_column(head, justify="right")
    for title, row in record["rows"].items():
        figures = (f"{row['accuracy']:.4f}", f"{row['megabytes']:.1f}", f"{row['p50']:.2f}")
        table.add_row(title, *figures)
    Console().print(table)


def _some(rows: list[Example], per_label: int) -> list[Example]:
    mixed = random.Random(0).sample(rows, len(rows))
    labels = sorted({row.label for row in rows})
    return [row for label in labels for row in [r for r in mixed if r.label == label][:per_label]]


def _saved(student: Student, folder: Path) -> Path:
    """Write a sealed INT8 student, without the gate: its figures are what is to be seen."""
    student.save(folder)
    files = StudentFiles(folder)
    export_onnx(folder, opset=17)
    quantize(files.onnx, files.int8, rung=PLAIN)
    serve = str(files.int8.relative_to(folder))
    labels = dict.fromkeys(student.labels, "")
    write_manifest(folder, Manifest("snips", "", labels, 128, serve, "minilm", "gold"))
    return folder


def _row(folder: Path, test: list[Example]) -> dict[str, float]:
    predictor = open_predictor(folder)
    said = predictor.probabilities([example.text for example in test])
    names = np.array(predictor.labels)
    files = StudentFiles(folder)
    return {
        "accuracy": float((names[said.argmax(1)] == [example.label for example in test]).mean()),
        "megabytes": (files.int8.stat().st_size + files.tokenizer.stat().st_size) / 1e6,
        "p50": _p50(predictor, [example.text for example in test[:TIMED]]),
    }


def _p50(predictor: Predictor[Any], texts: list[str]) -> float:
    taken = []
    for text in texts[:10] + texts:
        start = time.perf_counter()
        predictor.probabilities([text])
        taken.append(time.perf_counter() - start)
    return 1000 * statistics.median(taken[10:])


if __name__ == "__main__":
    main()
