"""Starts the servers that benchmarks.load and benchmarks.fuzz ask, and ends them wholly."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

from evokd.errors import EvokdError

HOME = Path(__file__).resolve().parent.parent
SERVE = (
    "import sys; from pathlib import Path; from serving.run import Serving, serve; "
    "sys.exit(serve(Path(sys.argv[1]), Serving(port=int(sys.argv[2]), workers=int(sys.argv[3]))))"
)
OPTIONAL = ("litserve", "fastapi_optimum")
"""Servers that are left out where they do not start: their packages are no part of this one."""
LAST_WORDS = " | "


@dataclass(frozen=True, slots=True)
class Server:
    """A server that runs, where it listens, and its processes."""

    port: int
    process: subprocess.Popen[bytes]

    def rss(self) -> int:
        """Return the bytes that it and its workers hold in memory."""
        me = psutil.Process(self.process.pid)
        return sum(p.memory_info().rss for p in [me, *me.children(recursive=True)])


def commands(student: Path, workers: int) -> dict[str, list[str]]:
    """Return how each server is started; PORT stands for its port."""
    peers = "benchmarks.load_peers"
    uvicorn = ["-m", "uvicorn", "--factory", f"{peers}:plain", "--host", "127.0.0.1"]
    quiet = ["--no-access-log", "--log-level", "warning"]
    bento = ["-m", "bentoml", "serve", f"{peers}:Defaults", "--working-dir", str(HOME)]
    return {
        "service": ["-c", SERVE, str(student), "PORT", str(workers)],
        "starlette": [*uvicorn, "--port", "PORT", "--workers", str(workers), *quiet],
        "bento_default": [*bento, "--host", "127.0.0.1", "--port", "PORT"],
        "litserve": ["-m", "benchmarks.load_litserve", "PORT"],
        "fastapi_optimum": ["-m", "benchmarks.load_fastapi", "PORT"],
    }


@contextlib.contextmanager
def started(
    student: Path, workers: int, *, only: Sequence[str] = ()
) -> Iterator[tuple[dict[str, Server], dict[str, str]]]:
    """Start all servers or those named, wait until they answer, and end them afterwards.

    Yields:
        The servers by name; and of the optional ones that did not start, why.

    Raises:
        EvokdError: when another one does not start.
    """
    servers: dict[str, Server] = {}
    left_out: dict[str, str] = {}
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="evokd-load-")))
        for name, command in commands(student, workers).items():
            if only and name not in only:
                continue
            try:
                running = _running(command, student, workers, folder / name)
                servers[name] = stack.enter_context(running)
            except EvokdError as problem:
                if name not in OPTIONAL:
                    raise
                left_out[name] = problem.message.rpartition(LAST_WORDS)[2]
        yield servers, left_out


@contextlib.contextmanager
def _running(command: list[str], student: Path, workers: int, folder: Path) -> Iterator[Server]:
    folder.mkdir()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = {k: v for k, v in os.environ.items() if not k.startswith("EVOKD_")}
    environment |= {
        "EVOKD_STUDENT": str(student.resolve()),
        "EVOKD_WORKERS": str(workers),
        "BENTOML_HOME": str(folder),
        "BENTOML_DO_NOT_TRACK": "True",
        # What someone put there for a peer stays.
        "PYTHONPATH": os.pathsep.join([str(HOME), *filter(None, [os.environ.get("PYTHONPATH")])]),
    }
    words = [str(port) if word == "PORT" else word for word in command]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, *words], env=environment, stdout=log, stderr=log
        )
        try:
            _wait(process, port, folder / "log")
            yield Server(port, process)
        finally:
            _end(process)


def _wait(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    for _ in range(1200):
        with contextlib.suppress(urllib.error.URLError, OSError):
            urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=2).close()
            return
        if process.poll() is not None:
            break
        time.sleep(0.1)
    tail = LAST_WORDS.join(log.read_text(errors="replace").splitlines()[-3:])
    raise EvokdError(f"a server did not start: {tail}", "see its command in load_servers.py")


def _end(process: subprocess.Popen[bytes]) -> None:
    """Ask a server to end; end those of its processes that it left behind, as LitServe does."""
    family: list[psutil.Process] = []
    with contextlib.suppress(psutil.NoSuchProcess):
        family = psutil.Process(process.pid).children(recursive=True)
    process.terminate()
    process.wait(timeout=60)
    _, left = psutil.wait_procs(family, timeout=0.5)
    for child in left:
        with contextlib.suppress(psutil.NoSuchProcess):
            child.kill()
