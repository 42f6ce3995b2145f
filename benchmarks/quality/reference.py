"""The same student trained on all gold rows, until dev stops rising: what full data gives."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from benchmarks.quality.tasks import Setting, make_task, rows_of
from evokd.examples import normalise
from evokd.gathering import scores_of
from evokd.kinds import kind_of
from evokd.learner import EncoderLearner

MOST_PASSES = 12  # over the full train split; dev stops rising before
PATIENCE = 2  # passes without a better dev score before the end


def full_data(setting: Setting, data: Path, folder: Path, *, quick: bool) -> dict[str, Any]:
    """Train pass after pass and return the figures of the pass with the best dev score.

    Every pass has a warm-up and a decay of its own and goes on from the last one, so that each
    ends as a finished student and costs one pass. Rows whose text is one of test are left out.
    """
    rows, dev, test = (rows_of(setting, data, part) for part in ("train", "dev", "test"))
    known = {normalise(example.text) for example in test}
    train = [example for example in rows if normalise(example.text) not in known]
    train = train[:200] if quick else train
    task = make_task(folder, setting, seeds=train, test=test, teacher="demo", quick=quick)
    learner, kind = EncoderLearner(task), kind_of(task)
    measure = "micro_f1" if setting.kind == "ner" else "accuracy"
    student = None
    best: dict[str, Any] = {"dev": -1.0}
    for passes in range(1, 2 if quick else MOST_PASSES + 1):
        student = learner.fit(
            train, epochs=1, seed=passes, on_step=lambda done, total: None, start=student
        )
        on_dev = scores_of(student, dev, kind)[measure]
        print(f"  pass {passes}: dev {on_dev:.4f}", flush=True)
        if on_dev <= best["dev"]:
            if passes - best["passes"] >= PATIENCE:
                break
            continue
        scored = scores_of(student, test, kind)
        best = {
            "score": scored[measure],
            "macro_f1": scored["macro_f1"],
            "dev": on_dev,
            "passes": passes,
            "rows": len(train),
        }
    return best
