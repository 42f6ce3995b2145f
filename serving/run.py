"""Starts the service for one student folder and stays until it ends."""

from __future__ import annotations

import importlib.util
import os
import signal
import subprocess
import sys
from pathlib import Path
from types import FrameType

from evokd.errors import InputError, MissingExtra
from serving import layout
from serving.limits import api_key


def serve(student: Path, *, host: str = "127.0.0.1", port: int = 3000, workers: int = 1) -> int:
    """Serve a student over HTTP until the service ends; return its exit code.

    The folder is checked first. SIGINT and SIGTERM are passed on to the service, which then
    finishes the requests that it holds. Call it from the main thread.

    Raises:
        InputError: when the folder is no whole student, or a number is out of range.
        IntegrityError: when a file of the student was changed.
        MissingExtra: when bentoml is not installed.
    """
    _check(student, port=port, workers=workers)
    child = subprocess.Popen(
        _command(host=host, port=port),
        env=_environment(student, workers=workers),
        # In its own session a Ctrl-C reaches the service once, through us, and not twice.
        start_new_session=True,
    )

    def pass_on(number: int, _frame: FrameType | None) -> None:
        child.send_signal(number)

    before = {number: signal.signal(number, pass_on) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        return child.wait()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _check(student: Path, *, port: int, workers: int) -> None:
    if not 0 < port < 65536:
        raise InputError(f"port: {port} is not between 1 and 65535", "for example 3000")
    if workers < 1:
        raise InputError(f"workers: {workers} is less than 1", "for example 1 per core")
    api_key()
    layout.verify(student, layout.read_manifest(student))
    for package in ("bentoml", "onnxruntime", "tokenizers"):
        if importlib.util.find_spec(package) is None:
            raise MissingExtra("serve", ImportError(name=package))


def _command(*, host: str, port: int) -> list[str]:
    # Imported from where this package lies, never from a folder of the same name at hand.
    home = Path(layout.__file__).resolve().parent.parent
    return [
        *(sys.executable, "-m", "bentoml", "serve", "serving.service:Student"),
        *("--host", host, "--port", str(port), "--working-dir", str(home)),
    ]


def _environment(student: Path, *, workers: int) -> dict[str, str]:
    return {
        **os.environ,
        "EVOKD_STUDENT": str(student.resolve()),
        "EVOKD_WORKERS": str(workers),
        "BENTOML_DO_NOT_TRACK": "True",
    }
