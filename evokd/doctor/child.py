"""Ask a process of its own, so that a crash in C is an answer too."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from dataclasses import dataclass
from typing import Any

PROBE = (sys.executable, "-P", "-m", "evokd.doctor.probe")
REBUILD = (
    "build it for this processor: CMAKE_ARGS=-DGGML_NATIVE=ON pip install --force-reinstall"
    " --no-cache-dir --no-binary llama-cpp-python llama-cpp-python"
)
OTHER = "try another version of llama-cpp-python"
ENDS = {  # exit code -> what it means and what to do about it
    -signal.SIGILL: ("it uses instructions that this processor lacks (SIGILL)", REBUILD),
    0xC000001D: ("it uses instructions that this processor lacks", REBUILD),
    -signal.SIGSEGV: ("it read memory that is not its own (SIGSEGV)", OTHER),
    0xC0000005: ("it read memory that is not its own", OTHER),
    -signal.SIGABRT: ("it gave up (SIGABRT)", OTHER),
    -9: ("it was killed, most likely because memory ran out (SIGKILL)", "take a smaller model"),
}


@dataclass(frozen=True, slots=True)
class Answer:
    """What a child said.

    Attributes:
        parts: its records, in their order; those before a crash are kept.
        death: how it ended, in one line; empty when it came to its end.
        hint: what to do about that.
    """

    parts: list[dict[str, Any]]
    death: str
    hint: str

    def get(self, key: str, default: Any = None) -> Any:
        """Return a value that one of the parts holds."""
        return next((part[key] for part in self.parts if key in part), default)


def ask(what: str, *arguments: str, seconds: float | None = None) -> Answer:
    """Run `evokd.doctor.probe` in a process of its own and return what it says.

    Args:
        what: the question that the probe knows.
        arguments: what it needs besides.
        seconds: after which it is ended; None waits.
    """
    command = [*PROBE, what, *arguments]
    try:
        done = subprocess.run(command, capture_output=True, timeout=seconds, check=False)
    except subprocess.TimeoutExpired as late:
        return Answer(_records(late.stdout or b""), f"it did not end within {seconds} s", OTHER)
    parts = _records(done.stdout)
    if done.returncode == 0:
        return Answer(parts, "", "")
    refused = next((part for part in parts if "error" in part), None)
    if refused:
        return Answer(parts, refused["error"], refused["hint"])
    means, hint = ENDS.get(done.returncode, (f"it ended with code {done.returncode}", OTHER))
    last = _last_words(done.stderr.decode("utf-8", "replace"))
    return Answer(parts, f"{means}: {last}" if last else means, hint)


def _records(out: bytes) -> list[dict[str, Any]]:
    """Read the lines that are records; whatever else a library prints is not for us."""
    lines = out.decode("utf-8", "replace").splitlines()
    return [json.loads(line) for line in lines if line.startswith("{") and line.endswith("}")]


def _last_words(said: str) -> str:
    """Return the line that tells most: the assertion that failed, else the last one."""
    lines = [" ".join(line.split()) for line in said.splitlines() if line.strip()]
    failed = [line for line in lines if "GGML_ASSERT" in line or "error:" in line.lower()]
    return (failed or lines or [""])[-1][:300]
