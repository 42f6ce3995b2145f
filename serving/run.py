"""Starts the service for one student folder and stays until it ends."""

from __future__ import annotations

import importlib.util
import ipaddress
import os
import signal
import socket
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from evokd.cpus import usable_cpus
from evokd.errors import InputError, MissingExtra
from serving import harvest, layout
from serving.harvest import HarvestSettings
from serving.limits import API_KEY, WITHOUT_KEY, api_key, is_local

STUDENT = "EVOKD_STUDENT"
WORKERS = "EVOKD_WORKERS"
ADDRESSES = {"localhost": "127.0.0.1"}
"""Names that are understood; BentoML takes addresses only."""


@dataclass(frozen=True, slots=True)
class Serving:
    """How to serve.

    Attributes:
        host: the address to bind to.
        port: 1 to 65535.
        workers: processes; one for each usable processor when None.
        without_key: let everyone ask who can reach an address that is not only this machine's.
        harvest: keep the texts that the student is unsure of.
    """

    host: str = "127.0.0.1"
    port: int = 3000
    workers: int | None = None
    without_key: bool = False
    harvest: HarvestSettings | None = None


def serve(student: Path, how: Serving | None = None) -> int:
    """Serve a student over HTTP until the service ends; return its exit code.

    The folder is checked first. SIGINT and SIGTERM are passed on to the service, which then
    finishes the requests that it holds; so it does when the terminal is closed, but under nohup.
    Call it from the main thread.

    Raises:
        InputError: when the folder is no whole student, a number is out of range, or strangers
            could ask without a key.
        IntegrityError: when a file of the student was changed.
        MissingExtra: when bentoml is not installed.
    """
    how = how or Serving()
    _check(student, how)
    # Metrics of the workers meet in a folder; each service needs its own.
    with tempfile.TemporaryDirectory(prefix="evokd-serve-") as scratch:
        return _watch(_command(how), _environment(student, how, Path(scratch)))


def workers() -> int:
    """Return how many workers there are: what EVOKD_WORKERS asks for, else one a processor.

    Raises:
        InputError: when the environment asks for what is not a positive whole number.
    """
    asked = os.environ.get(WORKERS) or str(usable_cpus())
    if not asked.isdecimal() or int(asked) < 1:
        raise InputError(f"{WORKERS}: {asked!r} is not a number of processes", "for example 2")
    return int(asked)


def _watch(command: list[str], environment: dict[str, str]) -> int:
    child = subprocess.Popen(
        command,
        env=environment,
        # In its own session a Ctrl-C reaches the service once, through us, and not twice.
        start_new_session=True,
    )

    def pass_on(number: int, _frame: FrameType | None) -> None:
        child.send_signal(signal.SIGTERM if number == signal.SIGHUP else number)

    numbers = [signal.SIGINT, signal.SIGTERM]
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        numbers.append(signal.SIGHUP)  # in its own session the service would outlive the terminal
    before = {number: signal.signal(number, pass_on) for number in numbers}
    try:
        return child.wait()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _check(student: Path, how: Serving) -> None:
    if not 0 < how.port < 65536:
        raise InputError(f"port: {how.port} is not between 1 and 65535", "for example 3000")
    if how.workers is None:
        workers()
    elif how.workers < 1:
        raise InputError(f"workers: {how.workers} is less than 1", "for example 1 per processor")
    host = ADDRESSES.get(how.host, how.host)
    try:
        ipaddress.ip_address(host)
    except ValueError as error:
        raise InputError(f"host: {host!r} is no address", "for example 127.0.0.1") from error
    if api_key() is None and not how.without_key and not is_local(host):
        raise InputError(
            f"host: strangers can reach {host} and there is no key",
            f"set {API_KEY}, or say --without-key when something else keeps them out",
        )
    layout.verify(student, layout.read_manifest(student))
    for package in ("bentoml", "onnxruntime", "tokenizers"):
        if importlib.util.find_spec(package) is None:
            raise MissingExtra("serve", ImportError(name=package))
    _check_free(host, how.port)
    if wanted := how.harvest or harvest.settings():
        harvest.Harvest(wanted)  # a worker that cannot open it would be started again for ever


def _check_free(host: str, port: int) -> None:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # a port that was just closed
        try:
            probe.bind((host, port))
        except OSError as error:
            raise InputError(
                f"{host}:{port}: {error.strerror}", "give another --port, or --host"
            ) from error


def _command(how: Serving) -> list[str]:
    # Imported from where this package lies, never from a folder of the same name at hand.
    home = Path(layout.__file__).resolve().parent.parent
    return [
        *(sys.executable, "-m", "bentoml", "serve", "serving.service:Student"),
        *("--host", ADDRESSES.get(how.host, how.host), "--port", str(how.port)),
        *("--working-dir", str(home)),
    ]


def _environment(student: Path, how: Serving, scratch: Path) -> dict[str, str]:
    return {
        **os.environ,
        STUDENT: str(student.resolve()),
        "BENTOML_DO_NOT_TRACK": "True",
        "BENTOML_HOME": str(scratch),
        **({} if how.workers is None else {WORKERS: str(how.workers)}),
        **({WITHOUT_KEY: "1"} if how.without_key else {}),
        **(wanted.environment() if (wanted := how.harvest or harvest.settings()) else {}),
    }
