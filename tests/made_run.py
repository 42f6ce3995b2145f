"""A finished run, made up: its ledger is written as the loop and the stages write theirs."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from evokd.diversity import diversity
from evokd.examples import Example
from evokd.feedback import groups
from evokd.gathering import missed
from evokd.kinds import kind_of
from evokd.ledger import Ledger
from evokd.records import Prediction, Row, Split
from evokd.scores import score
from evokd.task import Task, TaskData
from export.gate import GateReport
from export.student import Attempt, ExportReport

HEADS = ("please", "could you", "hey,", "I'd like you to", "um", "quickly now:", "when you can,")
TAILS = ("for me", "before eight", "at my sister's", "in the kitchen", "again", "tomorrow", "now")


def make_task(labels: dict[str, str], *, rounds: int) -> Task:
    return Task(
        name="assistant-intents",
        domain="requests to a voice assistant",
        labels=labels,
        data={"seed": "seed.jsonl"},
        loop={"rounds": rounds},
        selection={"by": "teacher"},
    )


def make_data(task: Task, *, test: int, dev: int = 0) -> TaskData:
    rng = random.Random(1)
    return TaskData(
        seed=tuple(Example(_text(rng, n), n, "seed") for n in task.names),
        dev=tuple(_gold(rng, task.names, dev)),
        test=tuple(_gold(rng, task.names, test)),
    )


def write_run(
    path: Path,
    task: Task,
    data: TaskData,
    *,
    texts: tuple[str, ...] = (),
    int8: bool = True,
    per_round: int = 30,
    silent_label: str = "",
    most_groups: int = 4,
) -> Ledger:
    """Record a whole run of `task.loop.rounds` rounds and return its open ledger.

    Args:
        texts: stand among the texts that the teacher wrote, as weaknesses too.
        int8: whether the gate passed.
        per_round: texts written in a round.
        silent_label: a label that the teacher never wrote for.
        most_groups: groups of feedback in a round.
    """
    ledger = Ledger(path, clock=iter(range(10**6)).__next__)
    ledger.set_meta("teacher", {"name": "Made-up 4B Q4_K_M", "fingerprint": "0"})
    rng = random.Random(0)
    ledger.finish_stage(
        "seed_only",
        {
            "fine_tuned": _both(rng, task, data, 0.5),
            "centroid": _both(rng, task, data, 0.45),
        },
    )
    for number in range(task.loop.rounds + 1):
        _round(ledger, rng, task, data, number, texts, per_round, silent_label, most_groups)
    rows = _rows(rng, task, -1, per_round, texts, [], silent_label)
    ledger.add_rows([Row(r.round, r.example, "gate" if r.split else None, r.reason) for r in rows])
    _call(ledger, "gate 0/cover", 40_000)
    _stages(ledger, rng, task, data, int8)
    return ledger


def _stages(ledger: Ledger, rng: random.Random, task: Task, data: TaskData, int8: bool) -> None:
    chosen = {"final": 0.94, "round 1": 0.92}
    agreed = {name: 0.8 for name in list(task.labels)[1:]}
    final = {"chosen": "final", "dev_macro_f1": chosen, "trained_on": 300, "agreement": agreed}
    ledger.finish_stage("final", final)
    calibration = {"temperature": 1.31, "texts": 90, "ece": 0.061, "ece_after": 0.024}
    ledger.finish_stage("export", asdict(_export(task, int8)) | {"calibration": calibration})
    scores = {"fp32": _both(rng, task, data, 0.95)}
    if int8:
        scores["int8"] = _both(rng, task, data, 0.94)
    ledger.finish_stage("scores", scores)
    ledger.finish_stage("latency", _latency(int8))


def _latency(int8: bool) -> dict[str, Any]:
    medians = {
        "torch": 6.2,
        "onnx": 3.1,
        "int8": 1.2 if int8 else None,
        "nano": None,
        "teacher_score": 84.0,
        "teacher_generate": 61.0,
    }
    rows = {name: p50 and _row(p50) for name, p50 in medians.items()}
    return {
        "latency_ms": rows,
        "throughput": {
            name: p50 and {"texts_per_second": 1250 / p50, "at_once": 100, "seconds": p50 / 12.5}
            for name, p50 in medians.items()
        },
        "server": {
            name: p50 and {"50%": _row(p50), "80%": _row(2 * p50) if p50 < 60 else None}
            for name, p50 in medians.items()
        },
        "ratio": {
            "teacher_score_over_served": 70.0,
            "teacher_generate_over_served": 50.8,
            "torch_over_int8": 5.2 if int8 else None,
        },
        "student_vs_teacher_score_cold": 131.0,
        "student_vs_teacher_generate_cold": 123.0,
        "break_even_requests": 8123,
        "break_even": {"run_seconds": 300.0, "teacher": "teacher_score", "saved_seconds": 0.0369},
        "random_weights": False,
        "texts": 100, "threads": 1, "mean_tokens": 12.4, "cpu": "A CPU", "teacher": "Made-up",
    }  # fmt: skip


def _row(p50: float) -> dict[str, Any]:
    interval = {"p50": (0.9 * p50, 1.1 * p50), "p99": (1.7 * p50, None if p50 > 60 else 2.5 * p50)}
    percentiles = {"p50": p50, "p90": 1.3 * p50, "p95": 1.5 * p50, "p99": 2 * p50}
    return {**percentiles, "interval": interval, "queries": 256, "texts": 100}


def _round(
    ledger: Ledger,
    rng: random.Random,
    task: Task,
    data: TaskData,
    number: int,
    texts: tuple[str, ...],
    count: int,
    silent: str,
    most_groups: int,
) -> None:
    shown = groups(ledger.tested(number - 1), most_groups, kind_of(task)) if number else []
    ledger.set_plan(number, {"groups": [g.to_json() for g in shown], "cover": {}, "pool": []})
    sources = [f"group {n}" for n, _ in enumerate(shown, start=1)]
    rows = _rows(rng, task, number, count, texts, sources, silent)
    ledger.add_rows(rows)
    ledger.add_predictions(
        number,
        [
            Prediction(
                r.example.label if rng.random() < 0.65 else rng.choice(task.names),
                rng.uniform(0.4, 0.99),
                rng.uniform(0, 0.6),
            )
            for r in rows
            if r.split == "train"
        ],
    )
    _call(ledger, f"round {number}/write", 30_000 + 1000 * number)
    skill = min(0.95, 0.75 + 0.05 * number)
    rolled_back = number == 2
    words = [["Requests that name a time but want a song", *texts]] * len(shown)
    result = {
        "round": number,
        "written": len(rows),
        "kept": sum(r.split is not None for r in rows),
        "dropped": dict(Counter(r.reason for r in rows if r.reason)),
        "rejects": {"no json": 2, "cut": 1} if number else {},
        "weaknesses": words,
        "diversity": diversity([r.example.text for r in rows if r.split], seed=number),
        "missed": missed(ledger.tested(number)),
        "trained_on": 40 + count * number,
        "dev": _score(rng, task, _gold(rng, task.names, 60), skill + 0.02 - 0.1 * rolled_back),
        "gold_dev": _score(rng, task, data.dev, skill - 0.12 * rolled_back),
        "test": _score(rng, task, data.test, skill - 0.11 * rolled_back),
        "tokens": ledger.call_totals(),
        "rolled_back": rolled_back,
    }
    if rolled_back:
        ledger.roll_back(number)
    ledger.finish_round(number, result)


def _rows(
    rng: random.Random,
    task: Task,
    number: int,
    count: int,
    texts: tuple[str, ...],
    sources: list[str],
    silent: str,
) -> list[Row]:
    names = [n for n in task.names if n != silent]
    made = []
    for i in range(count):
        label = names[i % len(names)]
        text = texts[i] if i < len(texts) else f"{_text(rng, label)} {number}-{i}"
        source = sources[i % len(sources)] if sources else label
        origin = rng.choice(("hard", "hard", "easy")) if sources else "cover"
        split: Split | None = "dev" if number == 0 and i % 5 == 4 else "train"
        reason = rng.choice(("duplicate", "near-duplicate", "labels disagree", "leak: test"))
        dropped = i >= len(texts) and rng.random() < 0.25
        soft = tuple(np.full(len(task.names), 1 / len(task.names)).tolist())
        example = Example(text, "" if dropped and reason != "labels disagree" else label, origin)
        made.append(
            Row(number, example, None, reason, f"call {number}", source)
            if dropped
            else Row(number, Example(text, label, origin, soft), split, None, None, source)
        )
    return made


def _export(task: Task, passed: bool) -> ExportReport:
    reasons = ("INT8 agrees on 98.1% of texts",)
    refused = GateReport(
        False,
        560,
        3e-7,
        0.981,
        0.94,
        0.925,
        task.names[0],
        0.05,
        reasons,
    )
    good = GateReport(True, 560, 3e-7, 0.996, 0.94, 0.939, "", 0.0, ())
    tried = (Attempt("per channel", refused),) + ((Attempt("reduced range", good),) * passed)
    sizes = {"onnx": 90_400_000} | ({"int8": 22_900_000} if passed else {})
    served = "onnx/model_quantized.onnx" if passed else "onnx/model.onnx"
    return ExportReport(passed, served, "avx2", 3e-7, tried, sizes)


def _call(ledger: Ledger, scope: str, tokens: int) -> None:
    ledger.reserve(scope, [(scope, "generate", {})])
    ledger.record(scope, {"text": "", "finish": "stop"}, (tokens, tokens // 10, tokens // 4))


def _both(rng: random.Random, task: Task, data: TaskData, skill: float) -> dict[str, Any]:
    sets = {"dev": data.dev, "test": data.test}
    return {name: _score(rng, task, gold, skill) for name, gold in sets.items() if gold}


def _score(rng: random.Random, task: Task, gold: Any, skill: float) -> dict[str, Any] | None:
    if not gold:
        return None
    answers = [e.label if rng.random() < skill else rng.choice(task.names) for e in gold]
    return score([e.label for e in gold], answers, task.names).to_dict()


def _gold(rng: random.Random, names: list[str], count: int) -> list[Example]:
    return [Example(_text(rng, names[i % len(names)]), names[i % len(names)]) for i in range(count)]


def _text(rng: random.Random, label: str) -> str:
    words = f"{rng.choice(HEADS)} {label.replace('_', ' ')} {rng.choice(TAILS)}"
    return f"{words}, {rng.choice(TAILS)}" if rng.random() < 0.3 else words
