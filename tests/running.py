"""A real server for a test: started as a user starts it, asked over HTTP, ended by its own id."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from serving import layout

HOME = Path(layout.__file__).parent.parent
SERVE = """
import sys
from pathlib import Path
from serving.run import Serving, serve
sys.exit(serve(Path(sys.argv[1]), Serving(port=int(sys.argv[2]), workers=int(sys.argv[3]))))
"""


@dataclass(frozen=True, slots=True)
class Running:
    """A server that answers."""

    url: str
    process: subprocess.Popen[Any]
    log: Path

    def ask(self, path: str, question: object = None, *, key: str = "") -> tuple[int, str]:
        """Return status and text; (0, reason) when nobody listens."""
        data = None if question is None else json.dumps(question).encode()
        headers = {"content-type": "application/json", "x-api-key": key}
        request = urllib.request.Request(self.url + path, data, headers)
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()
        except OSError as error:
            return 0, str(error)

    def end(self) -> int:
        """Ask it to end; return its exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=40)


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port


@contextlib.contextmanager
def run(
    command: Sequence[str], port: int, folder: Path, environment: Mapping[str, str]
) -> Iterator[Running]:
    """Run a server in a folder until it is ready, and end it afterwards."""
    log = folder / f"log-{port}"
    with log.open("wb") as file:
        process = subprocess.Popen(
            command,
            cwd=folder,
            env={**os.environ, "BENTOML_DO_NOT_TRACK": "True", **environment},
            stdout=file,
            stderr=file,
        )
        server = Running(f"http://127.0.0.1:{port}", process, log)
        try:
            for _ in range(600):
                if process.poll() is not None or server.ask("/readyz")[0] == 200:
                    break
                time.sleep(0.1)
            assert server.ask("/readyz")[0] == 200, log.read_text()
            yield server
        finally:
            process.terminate()
            process.wait(timeout=40)


@contextlib.contextmanager
def serving(
    student: Path, folder: Path, *, workers: int = 1, environment: Mapping[str, str] | None = None
) -> Iterator[Running]:
    """Serve a student, from a folder that is not the repository."""
    port = free_port()
    command = [sys.executable, "-c", SERVE, str(student), str(port), str(workers)]
    with run(command, port, folder, {"PYTHONPATH": str(HOME), **(environment or {})}) as server:
        yield server
