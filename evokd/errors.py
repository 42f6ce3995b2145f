"""Errors that a user can fix. Everything else is a bug and keeps its traceback.

EvokdError
├── InputError       a file, a field or a value that the user gave
├── MissingExtra     a package that an optional part needs
├── TeacherError     the language model: its file, its context, its replies
├── IntegrityError   a file whose bytes are not the recorded ones
└── ReplayMiss       a call that the ledger does not hold, when no model may be asked
"""

from __future__ import annotations


class EvokdError(Exception):
    """A problem that the user can fix.

    Args:
        message: one line that names the file, line or field at fault.
        hint: one line that says what to do about it.
        retryable: whether the same call may succeed when it is made again.
    """

    def __init__(self, message: str, hint: str = "", *, retryable: bool = False) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.retryable = retryable


class InputError(EvokdError):
    """A file, a field or a value that the user gave cannot be used."""


class TeacherError(EvokdError):
    """The language model cannot be loaded or cannot answer."""


class IntegrityError(EvokdError):
    """A file's bytes are not the ones its record names."""


class ReplayMiss(EvokdError):
    """The ledger lacks a call and no model may be asked."""


class MissingExtra(EvokdError):
    """A package of an optional part is not installed."""

    def __init__(self, extra: str, missing: ImportError) -> None:
        super().__init__(
            f"{missing.name or missing} is not installed", f"pip install 'evokd[{extra}]'"
        )
