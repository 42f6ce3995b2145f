"""How fast choices are scored: against writing the label, and against reading the text alone.

    python -m benchmarks.throughput.scoring --models DIR [--threads N] [--json FILE] [--quick]

**7 labels** of the demo task and its test texts: the log-probabilities of all seven by evokd,
against the likeliest one written by `llama_cpp.Llama` under a grammar, greedily, with the shared
prompt warm. `ratio_read` is what reading the texts and scoring nothing would come to.

**77 labels** of clinc150, of whose texts the embedded teacher learned its trade, and texts of 48
tokens or more: scored as labelling asks for it (`search="auto"`, here best-first), against
decoding the same texts behind the same warm prompt and looking at nothing. How much best-first has
to look at depends on how sure the teacher is, and random weights are sure of nothing: a model with
random weights does all the work, but is told what the embedded teacher said to the same prompts.
`many_random` is without that, and `many_unknown` the embedded teacher with banking77's labels,
which it has never seen and would not write by itself: then little can be ruled out.

`score_agreement` is the share of texts whose best of 77 labels is the same as when all are worked
out. What is compared runs in turn, and the medians count; times are in milliseconds a text.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import llama_cpp

from benchmarks.throughput.questions import Rows, many, recorded, replayed, seven
from evokd.cpus import usable_cores
from evokd.settings import TeacherSettings
from evokd.teacher import Score, Scored, grammar, scoring
from evokd.teacher.heads import common_head
from evokd.teacher.llamacpp import LlamaCppTeacher
from evokd.teacher.modelfile import find_model

EMBEDDED, MAIN = "demo", "r04_q4.gguf"
CONTEXT, REPLY = 4096, 16
Clock = Callable[[], float]


@dataclass(frozen=True, slots=True)
class Work:
    """How much is scored: texts, texts for `Llama`, runs."""

    texts: int = 96
    llama_texts: int = 48
    runs: int = 7


SMALL = Work(texts=24, llama_texts=12, runs=3)
QUICK = Work(texts=6, llama_texts=2, runs=1)


def measure(
    models: Path, *, threads: int = 0, quick: bool = False, clock: Clock = time.perf_counter
) -> dict[str, Any]:
    """Return the `score_*` keys, None without the model, and all figures under `scoring`.

    Args:
        models: the folder with the models of `benchmarks.random_gguf`.
        threads: CPU threads, for all; 0 means the cores that this process may use.
        quick: little of everything; the figures mean nothing.
        clock: seconds that only rise.
    """
    threads = threads or usable_cores()
    known, said = _embedded(QUICK if quick else Work(), threads=threads, clock=clock)
    rows = {EMBEDDED: known}
    if (models / MAIN).exists():
        work = QUICK if quick else SMALL
        rows[MAIN] = _random(models / MAIN, work, said, threads=threads, clock=clock)
    seven = rows.get(MAIN, {}).get("seven", {})
    return {
        "score_vs_constrained_7_embedded": known["seven"]["ratio"],
        "score_vs_constrained_7": seven.get("ratio"),
        "score_77_vs_prefill": known["many"]["ratio"],
        "score_agreement": known["many"]["same_as_all"],
        "scoring": rows,
    }


def against_writing(
    teacher: LlamaCppTeacher,
    requests: Sequence[Score],
    work: Work,
    *,
    clock: Clock,
    said: Sequence[Rows] = (),
) -> dict[str, Any]:
    """Compare scoring few labels with writing one of them under a grammar.

    Args:
        teacher: does the work.
        requests: one for each text.
        work: how often, and how many of the texts for `Llama`.
        clock: seconds that only rise.
        said: what the teacher is made to find of each text; empty means its own.
    """
    asked = requests[: work.llama_texts]
    with replayed(said), closing(_open_llama(teacher)) as llama:
        ms, answers = _in_turn(
            {
                "all": (lambda: teacher.score(_searching(requests, "all")), len(requests)),
                "best": (lambda: teacher.score(_searching(requests, "best")), len(requests)),
                "read": (lambda: _read(teacher, requests), len(requests)),
                "llama": (lambda: _write(llama, asked), len(asked)),
            },
            work.runs,
            clock=clock,
        )
    written = zip(asked, answers["all"], answers["llama"], strict=False)
    return {
        "ms": ms,
        "ratio": ms["llama"] / ms["all"],
        "ratio_best_first": ms["llama"] / ms["best"],
        "ratio_read": ms["llama"] / ms["read"],
        "same_as_written": _share(r.choices[_best(s)] == w for r, s, w in written),
    }


def against_reading(
    teacher: LlamaCppTeacher,
    requests: Sequence[Score],
    work: Work,
    *,
    clock: Clock,
    said: Sequence[Rows] = (),
) -> dict[str, Any]:
    """Compare scoring many labels with reading the texts.

    Args:
        teacher: does the work.
        requests: one for each text.
        work: how often.
        clock: seconds that only rise.
        said: what the teacher is made to find of each text; empty means its own.
    """
    with replayed(said):
        ms, answers = _in_turn(
            {
                "best": (lambda: teacher.score(requests), len(requests)),
                "read": (lambda: _read(teacher, requests), len(requests)),
            },
            work.runs,
            clock=clock,
        )
    decoded = sum(scored.decoded for scored in answers["best"])
    return {
        "ms": ms,
        "ratio": ms["read"] / ms["best"],
        "tokens_read": answers["read"] / len(requests),
        "tokens_besides": (decoded - answers["read"]) / len(requests),
    }


def _embedded(
    work: Work, *, threads: int, clock: Clock
) -> tuple[dict[str, Any], dict[str, list[Rows]]]:
    """Return the embedded teacher's figures, and all that it said of few and of many labels."""
    few, much = seven(work.texts), many("clinc150", work.texts)
    said: dict[str, list[Rows]] = {"seven": [], "many": []}
    with closing(_open(find_model(EMBEDDED), threads)) as teacher:
        with recorded(said["seven"]):
            teacher.score(_searching(few, "all"))
        with recorded(said["many"]):
            every = teacher.score(_searching(much, "all"))
        row = against_reading(teacher, much, work, clock=clock)
        both = zip(teacher.score(much), every, strict=True)
        row["same_as_all"] = _share(_best(one) == _best(other) for one, other in both)
        unknown = many("banking77", work.texts // 3)
        return {
            "seven": against_writing(teacher, few, work, clock=clock),
            "many": row,
            "many_unknown": against_reading(teacher, unknown, QUICK, clock=clock),
        }, said


def _random(
    path: Path, work: Work, said: dict[str, list[Rows]], *, threads: int, clock: Clock
) -> dict[str, Any]:
    """Return the figures of a model with random weights."""
    few, much = seven(work.texts), many("clinc150", work.texts)
    told = {name: rows[: work.texts] for name, rows in said.items()}
    with closing(_open(path, threads)) as teacher:
        row = against_writing(teacher, few, work, clock=clock, said=told["seven"])
        del row["same_as_written"]  # it was told what to find
        return {
            "seven": row,
            "many": against_reading(teacher, much, work, clock=clock, said=told["many"]),
            "many_random": against_reading(teacher, much[:6], QUICK, clock=clock),
        }


def _open(path: Path, threads: int) -> LlamaCppTeacher:
    return LlamaCppTeacher(path, TeacherSettings(context=CONTEXT, threads=threads))


def _open_llama(teacher: LlamaCppTeacher) -> llama_cpp.Llama:
    threads = llama_cpp.llama_n_threads(teacher._open().context)
    return llama_cpp.Llama(
        str(teacher._path),
        n_ctx=1024,
        n_threads=threads,
        n_threads_batch=threads,
        flash_attn=True,
        verbose=False,
    )


def _write(llama: llama_cpp.Llama, requests: Sequence[Score]) -> list[str]:
    """Return the label that is written for each text; the prompt's beginning stays warm."""
    rules = llama_cpp.LlamaGrammar.from_string(grammar.choice(requests[0].choices), verbose=False)
    replies: list[Any] = [
        llama.create_chat_completion(
            [{"role": m.role, "content": m.content} for m in request.messages],
            grammar=rules,
            temperature=0,
            max_tokens=REPLY,
        )
        for request in requests
    ]
    return [reply["choices"][0]["message"]["content"] for reply in replies]


def _read(teacher: LlamaCppTeacher, requests: Sequence[Score]) -> int:
    """Decode the texts as scoring does, and no more; return how many tokens that were."""
    engine = teacher._open()
    prompts = [teacher._tokens(engine, teacher._prompt(engine, r.messages)) for r in requests]
    shared = common_head(prompts)
    engine.prefill(prompts[0][:shared], done=engine.resume(prompts[0][:shared]))
    used: list[int] = []

    def flush() -> None:
        engine.decode()
        llama_cpp.llama_synchronize(engine.context)
        for sequence in used:
            engine.drop(sequence)
        used.clear()

    for prompt in prompts:
        if engine.batch - engine.room + len(prompt) - shared > scoring.WIDTH:
            flush()
        used.append(len(used) + 1)
        engine.share(used[-1])
        engine.add(prompt[shared:], shared, sequences=used[-1:], logits=0)
    flush()
    engine.keep(prompts[0][:shared])
    return sum(len(prompt) - shared for prompt in prompts)


def _in_turn(
    ways: dict[str, tuple[Callable[[], Any], int]], runs: int, *, clock: Clock
) -> tuple[dict[str, float], dict[str, Any]]:
    """Return the median milliseconds a text of each way, and what each answered last."""
    times: dict[str, list[float]] = {way: [] for way in ways}
    answers = {way: call() for way, (call, _) in ways.items()}  # warms up
    for _ in range(runs):
        for way, (call, texts) in ways.items():
            start = clock()
            answers[way] = call()
            times[way].append((clock() - start) * 1000 / texts)
    return {way: statistics.median(taken) for way, taken in times.items()}, answers


def _searching(requests: Sequence[Score], search: Literal["all", "best"]) -> list[Score]:
    return [replace(request, search=search) for request in requests]


def _best(scored: Scored) -> int:
    return max(range(len(scored.logprobs)), key=scored.logprobs.__getitem__)


def _share(right: Iterator[bool]) -> float:
    return statistics.mean(map(float, right))


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the figures, and write them as JSON."""
    parser = argparse.ArgumentParser(description="Measure how fast choices are scored.")
    parser.add_argument("--models", type=Path, required=True, metavar="DIR", help=f"holds {MAIN}")
    parser.add_argument("--threads", type=int, default=0, help="CPU threads (default all)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures here")
    parser.add_argument("--quick", action="store_true", help="a smoke test")
    asked = parser.parse_args(arguments)
    made = measure(asked.models, threads=asked.threads, quick=asked.quick)
    print(json.dumps(made, indent=2))
    if asked.json:
        asked.json.write_text(json.dumps(made, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
