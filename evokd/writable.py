"""Writing files: whether it can be done, asked before the work; and whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path

from evokd.errors import InputError


def check_file(path: Path | None) -> None:
    """Refuse a file that cannot be written; its folder must be there. None is no file."""
    if path is None:
        return
    there = path if path.exists() else path.absolute().parent
    if path.is_dir() or not path.absolute().parent.is_dir() or not os.access(there, os.W_OK):
        raise InputError(f"{path}: cannot be written", "give a file in a folder that is there")


def write_whole(path: Path, text: str) -> None:
    """Write a file so that whoever reads it, or is killed, has the old one or the new one whole.

    A lone surrogate is no character that a file can hold; it is written as its number. A pipe, a
    device or a link, as /dev/stdout, is written to, never replaced.
    """
    if path.is_symlink() or (path.exists() and not path.is_file()):
        path.write_text(text, encoding="utf-8", errors="backslashreplace")
        return
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        aside.write_text(text, encoding="utf-8", errors="backslashreplace")
        os.replace(aside, path)
    finally:
        aside.unlink(missing_ok=True)


def check_folder(path: Path | None) -> None:
    """Refuse a folder that cannot be written or made, with those above it. None is no folder."""
    if path is None:
        return
    whole = path.absolute()
    there = next(part for part in (whole, *whole.parents) if os.path.lexists(part))
    if not there.is_dir() or not os.access(there, os.W_OK):
        raise InputError(f"{path}: {there} is no folder that can be written", "give another folder")
