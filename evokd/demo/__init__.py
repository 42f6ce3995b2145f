"""The embedded default: tasks, their hand-written texts, and tiny teachers with their cards."""

import json
from pathlib import Path

TEACHERS = {"demo": Path(__file__).parent, "demo-slots": Path(__file__).parent / "slots"}
"""The teachers that ship with evokd, by name -> the folder of `teacher.gguf` and its card."""


def embedded_kinds(teacher: str) -> list[str]:
    """Return the kinds of task that a teacher of TEACHERS was trained for, as its card says."""
    card = json.loads((TEACHERS[teacher] / "teacher.json").read_text("utf-8"))
    kinds: list[str] = card.get("kinds", ["classification"])
    return kinds
