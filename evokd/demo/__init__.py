"""The embedded default: a task, its hand-written texts, and a tiny teacher with its card."""
