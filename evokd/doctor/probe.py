"""What `doctor` asks of a process of its own: `python -m evokd.doctor.probe torch|llama|trial`.

Each answer is a record, a line of JSON on stdout, written as soon as it is known.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from evokd.errors import EvokdError

SECONDS = 20.0  # that timing a model may take


def torch_() -> Iterator[dict[str, Any]]:
    """Say what torch is built for, and the GPUs that it finds."""
    import torch

    yield {"version": torch.__version__, "built_for": torch.version.cuda or torch.version.hip or ""}
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    devices = [
        {"name": torch.cuda.get_device_name(i), "free": torch.cuda.mem_get_info(i)[0]}
        for i in range(count)
    ]
    apple = torch.backends.mps.is_available()
    yield {"devices": devices, "apple": apple, "threads": torch.get_num_threads()}


def llama() -> Iterator[dict[str, Any]]:
    """Say what llama-cpp-python is built for."""
    import llama_cpp

    yield {
        "version": llama_cpp.__version__,
        "system": llama_cpp.llama_print_system_info().decode("utf-8", "replace"),
        "gpu": bool(llama_cpp.llama_supports_gpu_offload()),
    }


def trial(path: str) -> Iterator[dict[str, Any]]:
    """Load a model file, compare rows alone with rows side by side, and time it."""
    from dataclasses import asdict

    from evokd.doctor.parity import compare
    from evokd.settings import SIDE_BY_SIDE, TeacherSettings
    from evokd.teacher.native import Engine
    from evokd.teacher.tuning import measure

    engine = Engine(Path(path), TeacherSettings(model=path))
    try:
        yield {"loaded": True}
        yield {"parity": asdict(compare(engine))}
        yield {"speeds": asdict(measure(engine, (1, 8, SIDE_BY_SIDE), seconds=SECONDS))}
    finally:
        engine.close()


QUESTIONS: dict[str, Callable[..., Iterator[dict[str, Any]]]] = {
    "torch": torch_,
    "llama": llama,
    "trial": trial,
}


def main(what: str, *arguments: str) -> int:
    """Answer on stdout; errors that a user can fix are an answer too."""
    try:
        for part in QUESTIONS[what](*arguments):
            sys.stdout.write(json.dumps(part) + "\n")
            sys.stdout.flush()
    except EvokdError as error:
        sys.stdout.write(json.dumps({"error": error.message, "hint": error.hint}) + "\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
