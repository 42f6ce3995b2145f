"""Keeps the libraries that export off the terminal, without touching stdout."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def quiet() -> Iterator[None]:
    """Silence warnings, and send what the libraries log to logging's handlers alone.

    Without a handler of the user's they say nothing; with one, their lines go there.
    """
    root = logging.getLogger()
    # With no handler at all, `logging.warning` would install one that prints.
    placeholder = logging.NullHandler()
    root.addHandler(placeholder)
    loggers = [logging.getLogger(name) for name in ("transformers", "optimum")]
    before = [(logger, logger.handlers[:], logger.propagate) for logger in loggers]
    for logger in loggers:
        logger.handlers, logger.propagate = [], True
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        root.removeHandler(placeholder)
        for logger, handlers, propagate in before:
            logger.handlers, logger.propagate = handlers, propagate
