"""The file behind a ledger: its tables, its lock, and how it is opened."""

from __future__ import annotations

import fcntl
import sqlite3
from pathlib import Path
from typing import Any

from evokd.errors import InputError

TABLES = """
CREATE TABLE IF NOT EXISTS meta (key TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS calls (
    key TEXT PRIMARY KEY, scope TEXT NOT NULL, kind TEXT NOT NULL, request TEXT NOT NULL,
    reply TEXT, tokens_in INTEGER, tokens_out INTEGER, decoded INTEGER);
CREATE INDEX IF NOT EXISTS calls_by_scope ON calls (scope);
CREATE TABLE IF NOT EXISTS examples (
    number INTEGER PRIMARY KEY, round INTEGER NOT NULL, text TEXT NOT NULL, label TEXT,
    soft TEXT NOT NULL, origin TEXT NOT NULL, split TEXT, reason TEXT, call TEXT, source TEXT);
CREATE INDEX IF NOT EXISTS examples_by_round ON examples (round);
CREATE TABLE IF NOT EXISTS predictions (
    example INTEGER PRIMARY KEY REFERENCES examples (number), predicted TEXT NOT NULL,
    confidence REAL NOT NULL, margin REAL NOT NULL);
CREATE TABLE IF NOT EXISTS rounds (number INTEGER PRIMARY KEY, plan TEXT NOT NULL, result TEXT);
CREATE TABLE IF NOT EXISTS stages (name TEXT PRIMARY KEY, result TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS attempts (number INTEGER PRIMARY KEY, began REAL, seen REAL);
"""


def connect(path: Path) -> sqlite3.Connection:
    """Open a run's database to write, and make what tables it lacks.

    Raises:
        InputError: when the file is something else.
    """
    db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    try:
        db.execute("PRAGMA journal_mode=WAL")
        db.execute("PRAGMA synchronous=NORMAL")
        db.executescript(TABLES)
    except sqlite3.DatabaseError as broken:
        db.close()
        raise InputError(
            f"{path}: not a ledger ({broken})", "start again in another folder"
        ) from broken
    return db


def open_read_only(path: Path) -> sqlite3.Connection:
    """Open a database without its lock and without making a file."""
    # Reading a database in WAL mode makes files beside it; without a log nothing needs them.
    mode = "mode=ro" if path.with_name(f"{path.name}-wal").exists() else "immutable=1"
    return sqlite3.connect(f"{path.resolve().as_uri()}?{mode}", uri=True, isolation_level=None)


def lock(path: Path) -> Any:
    """Hold the run for this process; two at once would interleave their rounds."""
    handle = path.with_suffix(".lock").open("w")
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        handle.close()
        raise InputError(
            f"{path.parent}: another evokd is at work here", "wait for it, or use another --out"
        ) from None
    return handle
