"""Ctrl-C while C calls back into Python, where ctypes would drop the exception."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any


@dataclass(slots=True)
class Interrupted:
    """Whether Ctrl-C came. A signal's handler may take no lock: the next signal may come in it."""

    so: bool = False


@contextmanager
def held_back() -> Iterator[Interrupted]:
    """Hold Ctrl-C back until the block ends, and give what tells whether it came.

    Only where it would raise KeyboardInterrupt: an own handler of the program is left alone.

    Raises:
        KeyboardInterrupt: at the end, when it came meanwhile and the block did not fail.
    """
    came, usual = Interrupted(), signal.getsignal(signal.SIGINT)
    main = threading.current_thread() is threading.main_thread()
    if not main or usual is not signal.default_int_handler:
        yield came
        return

    def note(_number: int, _frame: Any) -> None:
        came.so = True

    signal.signal(signal.SIGINT, note)
    try:
        yield came
    finally:
        signal.signal(signal.SIGINT, usual)
    if came.so:
        raise KeyboardInterrupt
