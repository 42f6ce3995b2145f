"""What it costs to hold replies to a grammar, and how often the grammar has to step in.

    python -m benchmarks.throughput.structure --models DIR [--threads N] [--json FILE] [--quick]

The embedded teacher answers the demo task's questions for texts twice, freely and held to the
JSON that is asked for: how many replies can be parsed, how many texts come twice, and how many
tokens the grammar refused. Held replies are then forced, token by token, through a model with
random weights and 152,000 tokens, which by itself would say nothing that fits. A step is the
decoding of one token for each row and its free drawing; `structure_cost` is what checking and
accepting the recorded tokens adds to that, as a share. `structure_cost_all` adds what drawing
again costs, at the embedded teacher's rate of refusals.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

from evokd.arms import COVER_TEXTS, SURPLUS
from evokd.cpus import usable_cpus
from evokd.curate import Known, curate
from evokd.prompts import STYLES, ask_cover
from evokd.replies import parse_list
from evokd.settings import TeacherSettings
from evokd.task import demo_task, load_data
from evokd.teacher import Generate, Teacher, Written, grammar, open_teacher, replying
from evokd.teacher.native import Engine
from evokd.teacher.sampling import Sampler, Structure

MODEL = "r04_q4_152k.gguf"  # 0.4 B weights, Q4_K_M, 152,000 tokens
ROWS, PROMPT = 16, 512  # replies side by side, and tokens of the prompt that they share
EACH, QUICK_EACH = 12, 2  # replies a label and way
GRAMMAR = grammar.texts(SURPLUS * COVER_TEXTS)
Clock = Callable[[], float]


def measure(
    models: Path, *, threads: int = 0, quick: bool = False, clock: Clock = time.perf_counter
) -> dict[str, Any]:
    """Return `structure_cost`, and the figures of the embedded teacher with and without structure.

    The cost is left out where the model is missing.

    Args:
        models: the folder that holds MODEL.
        threads: CPU threads; 0 means all that this process may use.
        quick: fewer replies; the figures are rough.
        clock: seconds that only rise.
    """
    settings = TeacherSettings(context=16384, threads=threads)
    asked = _questions(QUICK_EACH if quick else EACH)
    with closing(open_teacher(settings)) as teacher:
        free, _ = _write(teacher, asked)
        held, refused = _write(teacher, [replace(a, grammar=GRAMMAR) for a in asked])
    rate = refused / sum(w.tokens_out for w in held)
    texts = sorted((w.text for w in held if w.finish == "stop"), key=len)[-ROWS:]
    made = {"refusal_rate": rate, "free": _quality(free), "held": _quality(held)}
    if not (models / MODEL).exists():
        return made
    engine = Engine(models / MODEL, settings)
    try:
        cost = step_cost(engine, texts, clock=clock)
    finally:
        engine.close()
    share = cost["check_ms"] / cost["step_ms"]
    again = rate * cost["redraw_ms"] * len(texts) / cost["step_ms"]
    costs = {"structure_cost": share, "structure_cost_all": share + again, **cost}
    return made | costs | {"rows": len(texts)}


def step_cost(engine: Engine, texts: Sequence[str], *, clock: Clock) -> dict[str, float]:
    """Return milliseconds of a step of all rows, of its checks, and of drawing one token again."""
    replies = [engine.vocabulary.reply_tokens(text) for text in texts]
    marks = []
    with ExitStack() as stack:
        free, fresh, held = [], [], []
        for _ in replies:
            free.append(stack.enter_context(closing(Sampler(Generate(()), engine.vocabulary))))
            request = Generate((), grammar=GRAMMAR)
            fresh.append(stack.enter_context(closing(Sampler(request, engine.vocabulary))))
            held.append(stack.enter_context(closing(Structure(GRAMMAR, engine.vocabulary))))
        _prefill(engine, len(replies))
        for step, tokens in enumerate(zip(*replies, strict=False)):
            start = clock()
            for row, token in enumerate(tokens):
                engine.add([token], PROMPT + step, sequences=(row + 1,), logits=True)
            engine.decode()
            for row, sampler in enumerate(free):
                sampler.draw(engine.context, row)
            drawn = clock()
            for structure, token in zip(held, tokens, strict=True):
                if not structure.allows(token):
                    raise AssertionError("a recorded reply does not follow its grammar")
                structure.accept(token)
            marks.append((drawn - start, clock() - drawn))
        start = clock()
        for row, sampler in enumerate(fresh):
            sampler.draw(engine.context, row)
        redraw = (clock() - start) / max(1, sum(sampler.refused for sampler in fresh))
    steps, checks = (sum(part) / len(marks[1:]) for part in zip(*marks[1:], strict=True))
    return {"step_ms": steps * 1e3, "check_ms": checks * 1e3, "redraw_ms": redraw * 1e3}


def _prefill(engine: Engine, rows: int) -> None:
    engine.clear()
    words = engine.vocabulary.reply_tokens("Write new texts for a small text classifier. " * PROMPT)
    engine.prefill(words[:PROMPT])
    for row in range(rows):
        engine.share(row + 1)


def _questions(each: int) -> list[Generate]:
    """Return questions for texts of every label of the demo task in every style."""
    task = demo_task()
    shown = {e.label: [e.text] for e in load_data(task).seed}
    return [
        Generate(
            ask_cover(
                task.domain,
                task.labels,
                label=label,
                count=COVER_TEXTS,
                style=STYLES[n % len(STYLES)],
                examples=shown[label],
            ),
            seed=1000 * i + n,
        )
        for i, label in enumerate(task.names)
        for n in range(each)
    ]


def _write(teacher: Teacher, asked: Sequence[Generate]) -> tuple[list[Written], int]:
    """Return the replies, and how many tokens their grammars refused."""
    made: list[Sampler] = []

    def make(*arguments: Any) -> Sampler:
        made.append(Sampler(*arguments))
        return made[-1]

    with patch.object(replying, "Sampler", make):
        replies = teacher.generate(asked)
    return replies, sum(sampler.refused for sampler in made)


def _quality(replies: Sequence[Written]) -> dict[str, float]:
    parsed = [parse_list(reply) for reply in replies]
    texts = [text for p in parsed for _, text in p.texts]
    return {
        "replies": len(replies),
        "parseable": sum(p.reject is None for p in parsed) / len(replies),
        "texts_a_reply": len(texts) / len(replies),
        "duplicates": sum(map(bool, curate(texts, Known()))) / max(1, len(texts)),
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the figures, and write them as JSON."""
    parser = argparse.ArgumentParser(description="Measure what structure costs.")
    parser.add_argument("--models", type=Path, required=True, metavar="DIR", help=f"holds {MODEL}")
    parser.add_argument("--threads", type=int, default=0, help="CPU threads (default all)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures here")
    parser.add_argument("--quick", action="store_true", help="fewer replies")
    asked = parser.parse_args(arguments)
    made = measure(asked.models, threads=asked.threads, quick=asked.quick)
    made |= {"threads": asked.threads or usable_cpus(), "quick": asked.quick}
    print(json.dumps(made, indent=2))
    if asked.json:
        asked.json.write_text(json.dumps(made, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
