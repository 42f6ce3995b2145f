"""Keeps the texts that the student was unsure of, for `evokd run` to take as `data.unlabeled`.

Only where the owner asked for it, in a file that only its owner can read. Its size is bounded: when
it is full it becomes the old file, and the old one before it is forgotten.
"""

from __future__ import annotations

import fcntl
import json
import math
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from evokd.errors import InputError
from serving.said import Said

HARVEST = "EVOKD_HARVEST"
BELOW = "EVOKD_HARVEST_BELOW"
MEGABYTES = "EVOKD_HARVEST_MB"
REMEMBERED = 4096
"""Texts that a worker remembers having kept, so that it keeps them once."""


@dataclass(frozen=True, slots=True)
class HarvestSettings:
    """What to keep, and where.

    Attributes:
        file: JSON lines; ends in .jsonl.
        below: a text is kept when the student's score of it (see `serving.said`) is lower.
        megabytes: most that the file and the old one may hold together.
    """

    file: Path
    below: float = 0.6
    megabytes: float = 64.0

    def __post_init__(self) -> None:
        if self.file.suffix != ".jsonl":
            raise InputError(f"harvest: {self.file} does not end in .jsonl", "call it x.jsonl")
        if not self.file.absolute().parent.is_dir():
            raise InputError(f"harvest: {self.file.parent} is no folder", "make the folder first")
        if not 0 < self.below <= 1:
            raise InputError(f"harvest: below {self.below} keeps no text", "for example 0.6")
        if not 0 < self.megabytes < math.inf:
            raise InputError(f"harvest: {self.megabytes} MB is no room", "for example 64")

    def environment(self) -> dict[str, str]:
        """Return the variables that hand these settings to the workers."""
        return {
            HARVEST: str(self.file.absolute()),
            BELOW: str(self.below),
            MEGABYTES: str(self.megabytes),
        }


def settings() -> HarvestSettings | None:
    """Return what the environment asks to keep; None when it asks for nothing.

    Raises:
        InputError: when a variable cannot be used.
    """
    file = os.environ.get(HARVEST)
    if not file:
        return None
    numbers = {}
    for name, usual in ((BELOW, "0.6"), (MEGABYTES, "64")):
        try:
            numbers[name] = float(os.environ.get(name, usual))
        except ValueError as error:
            raise InputError(f"{name}: not a number", f"for example {usual}") from error
    return HarvestSettings(Path(file), numbers[BELOW], numbers[MEGABYTES])


class Harvest:
    """The file of unsure texts; several workers may write to the same one."""

    def __init__(self, wanted: HarvestSettings) -> None:
        self.old = wanted.file.with_suffix(".old.jsonl")
        self._wanted = wanted
        self._kept: dict[int, None] = {}
        try:
            os.close(self._open())
        except OSError as error:
            raise InputError(
                f"harvest: {wanted.file}: {error.strerror}", "give a file that can be written"
            ) from error

    def add(self, pairs: Iterable[tuple[str, Said]]) -> int:
        """Keep the texts that were unsure and not kept before; return how many.

        Raises:
            OSError: when the disk refuses.
        """
        lines = [self._line(text, said) for text, said in pairs if self._wants(text, said)]
        if lines:
            self._append("".join(lines).encode("utf-8"))
        return len(lines)

    def _wants(self, text: str, said: Said) -> bool:
        key = hash(text)
        if said.score >= self._wanted.below or not text.strip() or key in self._kept:
            return False
        self._kept[key] = None
        if len(self._kept) > REMEMBERED:
            del self._kept[next(iter(self._kept))]
        return True

    def _line(self, text: str, said: Said) -> str:
        # Not "label": a guess must never be read as gold.
        record = {"text": text, "guess": said.guess, "score": round(said.score, 4)}
        return json.dumps(record, ensure_ascii=False) + "\n"

    def _append(self, lines: bytes) -> None:
        handle = self._locked()
        try:
            size = os.fstat(handle).st_size
            if size and size + len(lines) > self._wanted.megabytes * 1e6 / 2:
                os.replace(self._wanted.file, self.old)
                fresh = self._locked()
                os.close(handle)
                handle, size = fresh, 0
            if os.write(handle, lines) < len(lines):
                os.ftruncate(handle, size)  # the disk is full: rather no line than half of one
        finally:
            os.close(handle)

    def _locked(self) -> int:
        """Open the file for this worker alone; another may have put it away meanwhile."""
        while True:
            handle = self._open()
            fcntl.flock(handle, fcntl.LOCK_EX)
            try:
                if os.path.samestat(os.fstat(handle), os.stat(self._wanted.file)):
                    return handle
            except FileNotFoundError:
                pass
            os.close(handle)

    def _open(self) -> int:
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        handle = os.open(self._wanted.file, flags, 0o600)
        os.fchmod(handle, 0o600)
        return handle
