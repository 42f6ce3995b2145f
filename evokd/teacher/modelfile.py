"""Find a teacher's GGUF file and see that it is one, and whole, before C code reads it.

llama.cpp may abort the process on a broken file. Reading the header here takes milliseconds and
ends in an error that names the file.
"""

from __future__ import annotations

import hashlib
import mmap
import re
import struct
from math import prod
from pathlib import Path

from gguf.constants import GGML_QUANT_SIZES, GGUF_DEFAULT_ALIGNMENT

from evokd.demo import TEACHERS
from evokd.errors import TeacherError
from evokd.paths import expanded

AGAIN = "copy or download the file again"
SPLIT = re.compile(r"(.+)-(\d{5})-of-(?!0{5})(\d{5})\.gguf")
SCALARS = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}  # type -> bytes
STRING, ARRAY = 8, 9


def find_model(name: str) -> Path:
    """Return the path of a model file that is a GGUF and whole; of a split one, the first part.

    Args:
        name: of a teacher that ships with evokd (`evokd.demo.TEACHERS`),
            hf:owner/repo:pattern.gguf for one from the hub, or else a path.

    Raises:
        TeacherError: when there is no such file, it is not a GGUF file, or it is cut off.
    """
    if name.startswith("hf:"):
        from evokd.teacher.hub import fetch

        path = fetch(name)
        again = "delete {} and run it again"
    else:
        path = _located(name)
        again = AGAIN
    for part in map(Path, parts(str(path))):
        _check(part, again.format(part.resolve()))
    return path


def parts(file: str) -> list[str]:
    """Return the names of all parts of a split model ("x-00001-of-00003.gguf"), else the name."""
    found = SPLIT.fullmatch(file)
    if not found:
        return [file]
    stem, _, count = found.groups()
    return [f"{stem}-{i:05}-of-{count}.gguf" for i in range(1, int(count) + 1)]


def sha256(path: Path) -> str:
    """Return the SHA-256 of a model's bytes, in hex; the parts of a split one in their order."""
    digest = hashlib.sha256()
    for part in parts(str(path)):
        with open(part, "rb") as file:
            while block := file.read(2**20):
                digest.update(block)
    return digest.hexdigest()


def _located(name: str) -> Path:
    path = TEACHERS[name] / "teacher.gguf" if name in TEACHERS else expanded(name)
    if not path.exists():
        hint = "install evokd from a wheel, or make it: make demo-teacher"
        if name not in TEACHERS:
            hint = (
                "teacher.model is demo, demo-slots, the path of a GGUF file,"
                " hf:owner/repo:pattern.gguf or a server's http://address/v1"
            )
        raise TeacherError(f"{path}: no such model file", hint)
    if not path.is_file():
        raise TeacherError(f"{path} is not a file", "name the GGUF file itself, not its folder")
    first, *more = parts(str(path))
    if more and first != str(path):
        raise TeacherError(f"{path} is one part of a split model", f"name the first: {first}")
    gone = [part for part in more if not Path(part).is_file()]
    if gone:
        hint = "put all its parts into one folder"
        raise TeacherError(f"{path}: {len(gone)} parts are missing, as {gone[0]}", hint)
    return path


def _check(path: Path, again: str) -> None:
    try:
        with path.open("rb") as file:
            if file.read(4) != b"GGUF":
                raise TeacherError(f"{path} is not a GGUF file", "teacher.model must be a GGUF")
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
                _check_whole(path, data, again)
    except OSError as problem:
        raise TeacherError(f"{path} cannot be read: {problem.strerror}", again) from problem


def _check_whole(path: Path, data: mmap.mmap, again: str) -> None:
    try:
        needed = _Header(data).end
    except (struct.error, OverflowError) as problem:
        raise TeacherError(f"{path} is cut off inside its header", again) from problem
    except ValueError as problem:
        raise TeacherError(f"{path} is damaged: {problem}", again) from problem
    if len(data) < needed:
        raise TeacherError(f"{path} is cut off: {len(data):,} of {needed:,} bytes", again)


class _Header:
    """A walk over the header; `end` is the size that the file must at least have, in bytes."""

    def __init__(self, data: mmap.mmap) -> None:
        self.data = data
        self.at = 4
        (version,) = self.take("I")
        if not 2 <= version < 65536:
            raise ValueError(f"GGUF version {version}")
        tensors, fields = self.take("QQ")
        alignment = GGUF_DEFAULT_ALIGNMENT
        for _ in range(fields):
            key = self.text()
            (kind,) = self.take("I")
            start = self.at
            self.skip(kind)
            if key == b"general.alignment" and kind == 4:
                (alignment,) = struct.unpack_from("<I", data, start)
        if not alignment:
            raise ValueError("alignment 0")
        ends = [self.tensor_end() for _ in range(tensors)]
        start = -(-self.at // alignment) * alignment
        self.end = start + max(ends, default=0)

    def take(self, form: str) -> tuple[int, ...]:
        """Read numbers and go on behind them."""
        form = "<" + form
        numbers = struct.unpack_from(form, self.data, self.at)
        self.at += struct.calcsize(form)
        return numbers

    def text(self) -> bytes:
        """Read a string."""
        (length,) = self.take("Q")
        self.at += length
        return self.data[self.at - length : self.at]

    def skip(self, kind: int) -> None:
        """Go on behind a value."""
        if kind == STRING:
            (length,) = self.take("Q")
            self.at += length
        elif kind == ARRAY:
            (inner,) = self.take("I")
            (count,) = self.take("Q")
            if inner in SCALARS:
                self.at += count * SCALARS[inner]
            else:
                for _ in range(count):
                    self.skip(inner)
        elif kind in SCALARS:
            self.at += SCALARS[kind]
        else:
            raise ValueError(f"value type {kind}")

    def tensor_end(self) -> int:
        """Read a tensor's entry; return where its data end, from the start of all data."""
        self.text()
        (dims,) = self.take("I")
        if dims > 8:
            raise ValueError(f"a tensor of {dims} dimensions")
        shape = self.take(f"{dims}Q")
        kind, offset = self.take("IQ")
        # A type newer than the gguf package is left for llama.cpp to judge.
        block, size = GGML_QUANT_SIZES.get(kind, (1, 0))
        return int(offset + prod(shape) // block * size)
