"""How fast many replies are written: evokd, a loop over `llama_cpp.Llama`, and C alone.

    python -m benchmarks.throughput.generating --models DIR [--threads N] [--width N]
                                               [--json FILE] [--quick]

64 texts of 48 tokens each after a prompt of about 520, of which the first 512 are shared. Same
file, prompts, sampling, threads and number of new tokens for all; the end of a turn ends nothing.
`Llama` keeps the prefix of the last prompt, and its clock runs over `Llama.generate` alone: no
template, no tokenising, no text; it has flash attention where that makes it faster. It is asked
for a part of the texts only: it takes them one by one, so that its tokens a second do not depend
on how many there are. "raw" is the very batches that evokd sent, sent again with nothing drawn:
what is left to win. Each is run in turn, and the medians count. `split` says where evokd's time
goes, from one more run.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

import llama_cpp

from evokd.cpus import usable_cores
from evokd.settings import SIDE_BY_SIDE, TeacherSettings
from evokd.teacher import Generate, Message
from evokd.teacher.llamacpp import LlamaCppTeacher
from evokd.teacher.modelfile import find_model
from evokd.teacher.native import Engine
from evokd.teacher.replying import Reply
from evokd.teacher.tuning import measure as measure_widths

EMBEDDED, MAIN = "demo", "r04_q4.gguf"
OTHERS = ("r04_q8.gguf", "r04_q4_152k.gguf", "r1_q4.gguf", "r1_q8.gguf")
KEYS = {
    "generate_vs_llama": (MAIN, "vs_llama"),
    "generate_vs_raw": (MAIN, "vs_raw"),
    "generate_vs_llama_embedded": (EMBEDDED, "vs_llama"),
}
HEAD, CONTEXT = 512, 8192
TOP_K = 1000  # what evokd looks at
Clock = Callable[[], float]


@dataclass(frozen=True, slots=True)
class Work:
    """How much is written: texts by evokd, texts by `Llama`, tokens of each, runs."""

    texts: int = 64
    llama_texts: int = 16
    tokens: int = 48
    runs: int = 5


QUICK = Work(texts=8, llama_texts=2, tokens=8, runs=1)


def measure(
    models: Path,
    *,
    threads: int = 0,
    quick: bool = False,
    width: int = SIDE_BY_SIDE,
    clock: Clock = time.perf_counter,
) -> dict[str, Any]:
    """Return the keys of KEYS, None without the model, and a row of figures for each model.

    Args:
        models: the folder with the models of `benchmarks.random_gguf`; those missing are left out.
        threads: CPU threads, for all; 0 means the cores that this process may use.
        quick: little of everything; the figures mean nothing.
        width: texts side by side; 0 measures what is fastest first.
        clock: seconds that only rise.
    """
    work = QUICK if quick else Work()
    rows = {}
    for name in (EMBEDDED, MAIN, *(() if quick else OTHERS)):
        path = find_model(EMBEDDED) if name == EMBEDDED else models / name
        if path.exists():
            few = work if name in (EMBEDDED, MAIN) or quick else Work(llama_texts=8, runs=1)
            rows[name] = compare(
                path, few, threads=threads or usable_cores(), width=width, clock=clock
            )
    found = {key: rows.get(name, {}).get(field) for key, (name, field) in KEYS.items()}
    return {**found, "generating": rows}


def compare(path: Path, work: Work, *, threads: int, width: int, clock: Clock) -> dict[str, Any]:
    """Return tokens a second of all three ways with one model, and their ratios."""
    settings = TeacherSettings(model=str(path), context=CONTEXT, threads=threads, sequences=2)
    with closing(LlamaCppTeacher(path, settings)) as teacher:
        engine = teacher._open()
        teacher._side_by_side = width or measure_widths(engine).best
        asked = requests(engine, work)
        prompts = [teacher._tokens(engine, teacher._prompt(engine, r.messages)) for r in asked]
        longest = max(map(len, prompts)) + work.tokens
        llama, flash = _fastest_llama(path, prompts[:2], work, threads=threads, longest=longest)
        with patch.object(engine.vocabulary, "ends", lambda token: False):
            teacher.generate(asked)
            tape = Tape(engine)
            with tape.recording():  # with the shared prompt in the memory, as `Llama` has it
                replies = teacher.generate(asked)
            assert all(reply.tokens_out == work.tokens for reply in replies)
            some = prompts[: work.llama_texts]
            ways: dict[str, Callable[[], object]] = {
                "evokd": lambda: teacher.generate(asked),
                "llama": lambda: _write_by_llama(llama, some, work),
                "raw": tape.play,
            }
            times: dict[str, list[float]] = {way: [] for way in ways}
            for _ in range(work.runs):
                for way, call in ways.items():
                    times[way].append(_timed(call, clock))
            split = _split(teacher, asked, clock)
        found = {way: statistics.median(seconds) for way, seconds in times.items()}
        tokens = {"evokd": work.texts, "llama": work.llama_texts, "raw": work.texts}
        speeds = {way: tokens[way] * work.tokens / found[way] for way in found}
        llama.close()
        return {
            "width": teacher._side_by_side,
            "batches": tape.batches,
            "llama_flash_attention": flash,
            "tokens_per_second": speeds,
            "vs_llama": speeds["evokd"] / speeds["llama"],
            "vs_raw": speeds["evokd"] / speeds["raw"],
            "split": split,
            "seconds": times,
        }


class Tape:
    """What an engine was told to do, to do it again without anybody who looks at the logits."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self._steps: list[Callable[[], object]] = []
        self.batches = 0

    @contextmanager
    def recording(self) -> Any:
        """Record every call that changes the model's memory."""
        engine, decode = self.engine, self.engine.decode
        with patch.multiple(
            engine,
            resume=self._noting(engine.resume),
            keep=self._noting(engine.keep),
            share=self._noting(engine.share),
            drop=self._noting(engine.drop),
            decode=partial(self._decode, decode),
        ):
            yield

    def play(self) -> None:
        """Do it all again."""
        for step in self._steps:
            step()

    def _noting(self, call: Callable[..., Any]) -> Callable[..., Any]:
        def noted(*args: Any, **kwargs: Any) -> Any:
            self._steps.append(lambda: call(*args, **kwargs))
            return call(*args, **kwargs)

        return noted

    def _decode(self, decode: Callable[[], None]) -> None:
        engine = self.engine
        size = engine.batch - engine.room
        arrays = (engine._token, engine._position, engine._count, engine._ids, engine._wanted)
        kept = [(array, array[:size].copy()) for array in arrays]

        def again() -> None:
            for array, values in kept:
                array[:size] = values
            engine._filled = size
            decode()

        self._steps.append(again)
        self.batches += 1
        decode()


def requests(engine: Engine, work: Work) -> list[Generate]:
    """Return the requests: prompts whose first HEAD tokens are shared."""
    vocabulary = engine.vocabulary
    words = "Write new texts for a small text classifier, each with a subject of its own. " * HEAD
    shared = vocabulary.text(vocabulary.reply_tokens(words)[: HEAD - 5])
    return [
        Generate((Message("user", f"{shared}\nText number {i}"),), seed=i, max_tokens=work.tokens)
        for i in range(work.texts)
    ]


def _fastest_llama(
    path: Path, prompts: Sequence[list[int]], work: Work, *, threads: int, longest: int
) -> tuple[llama_cpp.Llama, bool]:
    """Open it with and without flash attention; return the faster one, warm, and which it is."""
    found = []
    for flash in (False, True):
        llama = llama_cpp.Llama(
            str(path),
            n_ctx=-(-longest // 256) * 256,
            n_threads=threads,
            n_threads_batch=threads,
            flash_attn=flash,
            verbose=False,
        )
        _write_by_llama(llama, prompts[:1], work)
        seconds = _timed(partial(_write_by_llama, llama, prompts[1:], work), time.perf_counter)
        found.append((seconds, flash, llama))
    (_, flash, llama), (_, _, slower) = sorted(found, key=lambda f: f[0])
    slower.close()
    return llama, flash


def _write_by_llama(llama: llama_cpp.Llama, prompts: Sequence[list[int]], work: Work) -> None:
    asked = Generate(())
    for seed, prompt in enumerate(prompts):
        llama.set_seed(seed)
        tokens = llama.generate(
            prompt, top_k=TOP_K, top_p=asked.top_p, min_p=asked.min_p, temp=asked.temperature
        )
        for _, _ in zip(range(work.tokens), tokens, strict=False):
            pass


def _split(
    teacher: LlamaCppTeacher, requests: Sequence[Generate], clock: Clock
) -> dict[str, float]:
    """Return the shares of evokd's time: decoding, drawing, and the rest, which is Python."""
    spent = {"decode": 0.0, "draw": 0.0}

    def timing(name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def timed(*args: Any) -> Any:
            start = clock()
            try:
                return call(*args)
            finally:
                spent[name] += clock() - start

        return timed

    engine = teacher._open()
    with (
        patch.object(engine, "decode", timing("decode", engine.decode)),
        patch.object(Reply, "draw", timing("draw", Reply.draw)),
    ):
        whole = _timed(lambda: teacher.generate(requests), clock)
    shares = {name: seconds / whole for name, seconds in spent.items()}
    return {**shares, "rest": 1 - sum(shares.values())}


def _timed(call: Callable[[], object], clock: Clock) -> float:
    start = clock()
    call()
    return clock() - start


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the figures, and write them as JSON."""
    parser = argparse.ArgumentParser(description="Measure how fast replies are written.")
    parser.add_argument("--models", type=Path, required=True, metavar="DIR")
    parser.add_argument("--threads", type=int, default=0, help="CPU threads (default all)")
    parser.add_argument("--width", type=int, default=0, help="texts side by side")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures here")
    parser.add_argument("--quick", action="store_true", help="a smoke test")
    asked = parser.parse_args(arguments)
    made = measure(asked.models, threads=asked.threads, quick=asked.quick, width=asked.width)
    print(json.dumps(made, indent=2))
    if asked.json:
        asked.json.write_text(json.dumps(made, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
