"""The embedded default: tasks, their hand-written texts, and tiny teachers with their cards."""

from pathlib import Path

TEACHERS = {"demo": Path(__file__).parent}
"""The teachers that ship with evokd, by name -> the folder of `teacher.gguf` and its card."""
