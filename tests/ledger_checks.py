"""What must hold in the ledger of any run, made or real."""

from __future__ import annotations

import json
import re
import sqlite3
from collections import defaultdict
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

from evokd.curate import Known
from evokd.records import Row
from evokd.task import TaskData

ASKED = "Which entities are in this text?"
ENTITY = re.compile(r'"text":\s*("(?:[^"\\]|\\.)*"),\s*"type":\s*("(?:[^"\\]|\\.)*")')


def gold_learned(data: TaskData, rows: Sequence[Row]) -> list[str]:
    """Return the texts that serve a purpose and are, nearly, texts of test or of the user's dev."""
    known = Known()
    for example in (*data.test, *data.dev):
        known.add(example.text, "test")
    return [row.example.text for row in rows if row.split and known.match(row.example.text)]


def entities_told(file: Path) -> dict[str, set[tuple[str, str]]]:
    """Return text -> (words, type) of all entities that a teacher's recorded replies name in it."""
    told: defaultdict[str, set[tuple[str, str]]] = defaultdict(set)
    with closing(sqlite3.connect(file)) as db:
        for request, reply in db.execute(
            "SELECT request, reply FROM calls WHERE kind = 'generate'"
        ):
            question = json.loads(request)["messages"][-1]["content"]
            if ASKED in question:
                text = json.loads(question.rpartition("Text: ")[2])
                named = ENTITY.findall(json.loads(reply)["text"])  # replies may be cut, or in prose
                told[text] |= {(json.loads(words), json.loads(type_)) for words, type_ in named}
    return told
