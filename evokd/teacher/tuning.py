"""How many conversations to decode side by side: measured on this machine, once, and remembered.

More rows share the reading of the weights, until the processor is busy; behind that, each row only
pays for the memory of the others. Where that is differs between models and machines.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

import llama_cpp

from evokd import __version__
from evokd.cpus import cpu_model, usable_cores
from evokd.settings import SIDE_BY_SIDE, TeacherSettings
from evokd.teacher.modelfile import parts
from evokd.teacher.native import Engine
from evokd.writable import write_whole

WIDTHS = (1, 2, 4, 8, 16, 32, 64)
GROWTH = 1.05  # a width counts as faster from there
FLAT = 3  # widths in a row that are not faster before it ends: kernels for 16 rows jump again
HEAD = 256  # tokens that all rows share while they are timed, as a question shares its task
STEPS = 3  # timed at each width, after one that is not; the fastest counts
SECONDS = 4.0  # that measuring may take
Clock = Callable[[], float]
log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Speeds:
    """Tokens a second that go through the model, sampling left out.

    Attributes:
        prefill: of a prompt.
        generation: at each width, all rows together.
        complete: whether there was time for all widths that were worth a look.
    """

    prefill: float
    generation: dict[int, float]
    complete: bool

    @property
    def best(self) -> int:
        """The smallest width that is about as fast as the fastest."""
        enough = max(self.generation.values()) / GROWTH
        return min(width for width, speed in self.generation.items() if speed >= enough)


@dataclass(frozen=True, slots=True)
class Setting:
    """What a measured width holds for; where any of it differs, it is measured again.

    Attributes:
        files: size and time of change of each part of the model's file.
    """

    model: str
    files: list[list[int]]
    cpu: str
    threads: int
    gpu_layers: int | str
    context: int
    engine: str

    @property
    def key(self) -> str:
        """A short name of it all."""
        return hashlib.sha256(json.dumps(asdict(self)).encode()).hexdigest()[:24]


def choose_width(
    engine: Engine,
    path: Path,
    settings: TeacherSettings,
    *,
    cache: Path | None = None,
    clock: Clock = time.perf_counter,
) -> int:
    """Return how many conversations to decode side by side.

    That is `settings.sequences`; for "auto" what was fastest when it was measured here, now or
    before. Where measuring would take too long, the default: a model as slow as that spends its
    time on reading weights, and rows cost little. Fewer rows than that only if they are as fast
    when both are timed again: a machine that gets busy meanwhile makes wide look slow.

    Args:
        engine: the open model; its memory is cleared if it is measured.
        path: the model's file.
        settings: how it was opened.
        cache: the folder of what was measured before; None means the user's own.
        clock: seconds that only grow.
    """
    if settings.sequences != "auto":
        return settings.sequences
    setting = _setting(path, settings)
    folder = cache or user_cache() / "tuning"
    known = _recall(folder, setting)
    if known:
        return known
    began = clock()
    speeds = measure(engine, clock=clock)
    width = speeds.best if speeds.complete else SIDE_BY_SIDE
    if width < SIDE_BY_SIDE <= min(engine.sequences - 1, engine.batch):
        again = measure(engine, (width, SIDE_BY_SIDE), clock=clock)
        width = again.best if again.complete else SIDE_BY_SIDE
    log.info("%d conversations side by side, measured in %.1f s", width, clock() - began)
    _remember(folder, setting, width=width, speeds=speeds)
    return width


def measure(
    engine: Engine,
    widths: Sequence[int] = WIDTHS,
    *,
    seconds: float = SECONDS,
    clock: Clock = time.perf_counter,
) -> Speeds:
    """Time a few steps at each width, until it grows no faster or the time is up.

    At least one width is timed. Widths for which the engine has no room are left out.
    """
    head, prefill = _head(engine, seconds=seconds / 2, clock=clock)
    deadline = clock() + seconds / 2
    room = min(engine.sequences - 1, engine.batch, (engine.cells - head) // (STEPS + 1))
    generation: dict[int, float] = {}
    flat, best, last = 0, 0.0, 0.0  # `last` is the seconds of a step at the last width
    for width in (w for w in widths if w <= room):
        # A step may take as long as the last in proportion; usually it takes much less.
        longest = (STEPS + 1) * last * width / max(generation, default=1)
        if generation and clock() + longest > deadline:
            return Speeds(prefill, generation, complete=False)
        last = _step(engine, width, start=head, clock=clock)
        generation[width] = width / last
        flat = 0 if generation[width] > best * GROWTH else flat + 1
        best = max(best, generation[width])
        if flat == FLAT:
            break
    engine.clear()
    return Speeds(prefill, generation, complete=True)


def user_cache() -> Path:
    """Return evokd's folder in the user's cache; it need not exist."""
    base = os.environ.get("XDG_CACHE_HOME") or os.environ.get("LOCALAPPDATA")
    return Path(base) / "evokd" if base else Path(os.path.expanduser("~/.cache/evokd"))


def _head(engine: Engine, *, seconds: float, clock: Clock) -> tuple[int, float]:
    """Decode a head for all rows; return its length, and the tokens a second of its longer part.

    The first part, which is not counted, brings the weights into memory.
    """
    whole = max(2, min(HEAD, engine.batch, engine.longest // 4))
    first = max(1, whole // 16)
    tokens = _tokens(engine, whole)
    engine.clear()
    began = clock()
    engine.prefill(tokens[:first])
    share = min(1.0, seconds / max(clock() - began, 1e-9) * first / whole)
    head = max(min(whole, 2 * first), int(share * whole))
    began = clock()
    place = engine.add(tokens[first:head], first, sequences=(0,), logits=True)
    engine.decode()
    engine.logits(place)  # waits for a GPU
    return head, (head - first) / max(clock() - began, 1e-9)


def _step(engine: Engine, width: int, *, start: int, clock: Clock) -> float:
    """Return the seconds of a step in which each of so many rows gets a token."""
    rows = range(1, width + 1)
    for row in rows:
        engine.share(row)
    took = []
    for step in range(STEPS + 1):
        place = engine.add_one_each(_tokens(engine, width), [start + step] * width, rows)
        began = clock()
        engine.decode()
        engine.logits(place)  # waits for a GPU
        took.append(clock() - began)
    for row in rows:
        engine.drop(row)
    return max(min(took[1:]), 1e-9)


def _tokens(engine: Engine, count: int) -> list[int]:
    """Return tokens all over the vocabulary; which ones makes no difference to the time."""
    return [(7919 * i + 11) % engine.vocabulary.size for i in range(count)]


def _setting(path: Path, settings: TeacherSettings) -> Setting:
    stats = [Path(part).stat() for part in parts(str(path))]
    return Setting(
        model=path.name,
        files=[[stat.st_size, stat.st_mtime_ns] for stat in stats],
        cpu=cpu_model(),
        threads=settings.threads or usable_cores(),
        gpu_layers=settings.gpu_layers if llama_cpp.llama_supports_gpu_offload() else 0,
        context=settings.context,
        engine=f"evokd {__version__} llama-cpp-python {llama_cpp.__version__}",
    )


def _recall(folder: Path, setting: Setting) -> int | None:
    try:
        record = json.loads((folder / f"{setting.key}.json").read_text(encoding="utf-8"))
        width = record["width"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return width if type(width) is int and 1 <= width <= max(WIDTHS) else None


def _remember(folder: Path, setting: Setting, *, width: int, speeds: Speeds) -> None:
    """Write it down; a cache that cannot be written is no reason to stop."""
    record = {"width": width, "holds_for": asdict(setting), **asdict(speeds)}
    path = folder / f"{setting.key}.json"
    with suppress(OSError):
        folder.mkdir(parents=True, exist_ok=True)
        write_whole(path, json.dumps(record, indent=2) + "\n")
