"""Training speed: our `fit` against Hugging Face's Trainer, in one run on one machine.

    python -m benchmarks.train [--json FILE] [--quick] [--threads N]

Same MiniLM weights, same texts, same number of threads, one pass, hard labels. Trainer has its
defaults (batch 8, float32, AdamW, padding to the longest of a batch by DataCollatorWithPadding,
texts in random order), and once more our batch size. Its clock runs over `train()` alone, with
the model loaded and the texts tokenised before; ours runs over all of `fit`, tokenising and
building the model included. Reading the weights from disk is outside both.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table

from evokd.cpus import cpu_model
from evokd.examples import Example
from evokd.settings import StudentSettings
from evokd.student import fit, untrained
from evokd.training import fast_bf16, pick_device, use_threads

TEXTS = 960  # 60 steps of 16: as few as `fit` ever takes
LABELS = tuple(f"intent_{number}" for number in range(8))
WORDS = """
play some jazz in the kitchen please wake me up at seven tomorrow morning set a timer for
ten minutes will it rain on saturday afternoon add this song to my running playlist what is
on my calendar next week remind us to call grandma book a quiet table near station turn down
all lights bedroom volume louder how long does driving airport take read latest headlines
send message saying i am late order two large pizzas without onions cancel meeting with
accountant find cheap flights lisbon translate good evening into portuguese start robot
vacuum cleaner weather forecast umbrella recipe lentil soup spicy
""".split()  # noqa: SIM905 (a list would be ninety lines)


def make_examples(count: int, *, seed: int) -> list[Example]:
    """Return examples of 3 to 25 words, as uneven in length as spoken requests are."""
    rng = random.Random(seed)
    return [
        Example(" ".join(rng.choices(WORDS, k=rng.randint(3, 25))), rng.choice(LABELS))
        for _ in range(count)
    ]


def time_fit(examples: Sequence[Example], settings: StudentSettings) -> float:
    """Return the seconds of one pass of `fit`, everything included."""
    start = time.perf_counter()
    fit(examples, LABELS, settings, epochs=1, seed=0)
    _synchronise(settings)
    return time.perf_counter() - start


def time_trainer(
    examples: Sequence[Example], settings: StudentSettings, *, batch_size: int | None
) -> float:
    """Return the seconds of one pass of `Trainer.train()`; None means its default batch size."""
    from transformers import PrinterCallback, Trainer, TrainingArguments

    student = untrained(LABELS, settings)
    tokens = student.tokens([example.text for example in examples])
    rows = [
        {"input_ids": ids, "attention_mask": [1] * len(ids), "labels": LABELS.index(e.label)}
        for ids, e in zip(tokens, examples, strict=True)
    ]
    size: dict[str, Any] = {} if batch_size is None else {"per_device_train_batch_size": batch_size}
    with tempfile.TemporaryDirectory() as folder, use_threads(settings.threads):
        arguments = TrainingArguments(
            output_dir=folder,
            num_train_epochs=1,
            use_cpu=pick_device(settings.device).type == "cpu",
            save_strategy="no",
            logging_strategy="no",
            report_to="none",
            disable_tqdm=True,
            **size,
        )
        trainer = Trainer(
            student.model,
            arguments,
            train_dataset=rows,
            processing_class=student.tokenizer,  # makes it pad each batch to its longest text
        )
        trainer.remove_callback(PrinterCallback)
        start = time.perf_counter()
        trainer.train()
        _synchronise(settings)
        return time.perf_counter() - start


def measure(settings: StudentSettings, *, repeats: int) -> dict[str, float]:
    """Return examples/s of the three ways, each the median of so many runs taken in turn."""
    examples = make_examples(TEXTS, seed=0)
    ways: dict[str, Callable[[], float]] = {
        "ours": lambda: time_fit(examples, settings),
        "trainer": lambda: time_trainer(examples, settings, batch_size=None),
        "trainer_same_batch": lambda: time_trainer(
            examples, settings, batch_size=settings.batch_size
        ),
    }
    untrained(LABELS, settings)  # reads the weights once
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(repeats):
        for name, way in ways.items():
            seconds[name].append(way())
    return {name: TEXTS / statistics.median(taken) for name, taken in seconds.items()}


def run(*, quick: bool, threads: int) -> dict[str, Any]:
    """Measure and return the record that `--json` writes."""
    settings = StudentSettings.model_validate({"threads": threads})
    device = pick_device(settings.device)
    speed = measure(settings, repeats=1 if quick else 3)
    with use_threads(threads):
        used = torch.get_num_threads()
    return {
        "quick": quick,
        "examples_per_second": speed,
        "ratio": speed["ours"] / speed["trainer"],
        "ratio_same_batch": speed["ours"] / speed["trainer_same_batch"],
        "batch_size": {"ours": settings.batch_size, "trainer": 8},
        "texts": TEXTS,
        "device": device.type if device.type == "cpu" else torch.cuda.get_device_name(device),
        "bf16": fast_bf16(device),
        "cpu": cpu_model(),
        "threads": used,
        "versions": {name: version(name) for name in ("torch", "transformers", "accelerate")},
    }


def show(record: dict[str, Any], console: Console) -> None:
    """Print the record as a table."""
    speed, sizes = record["examples_per_second"], record["batch_size"]
    title = f"{record['cpu']}, {record['threads']} threads, device {record['device']}"
    table = Table("", "batch", "precision", "examples/s", "ours is", title=title)
    ours = "bf16 autocast" if record["bf16"] else "fp32"
    table.add_row("evokd fit", str(sizes["ours"]), ours, f"{speed['ours']:.0f}", "")
    for name, size, ratio in (
        ("trainer", sizes["trainer"], record["ratio"]),
        ("trainer_same_batch", sizes["ours"], record["ratio_same_batch"]),
    ):
        label = "Trainer, its defaults" if name == "trainer" else "Trainer, our batch size"
        table.add_row(label, str(size), "fp32", f"{speed[name]:.0f}", f"{ratio:.2f} x as fast")
    console.print(table)


def _synchronise(settings: StudentSettings) -> None:
    if pick_device(settings.device).type == "cuda":
        torch.cuda.synchronize()


def main() -> None:
    """Parse, measure, print, write."""
    parser = argparse.ArgumentParser(description="Training speed: fit against Trainer.")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures here")
    parser.add_argument("--quick", action="store_true", help="one run of each; a smoke test")
    parser.add_argument("--threads", type=int, default=0, help="CPU threads; 0 means all allowed")
    arguments = parser.parse_args()
    record = run(quick=arguments.quick, threads=arguments.threads)
    show(record, Console())
    if arguments.json:
        arguments.json.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
