"""Ways in which texts differ, asked once a task (AttrPrompt, arXiv 2306.15895)."""

from __future__ import annotations

from typing import Any

from evokd import prompts, replies
from evokd.arms.view import View
from evokd.teacher import grammar

COUNT = 6  # of topics, of styles and of kinds of speakers
LENGTHS = (
    "in a few words",
    "in one short sentence",
    "in one sentence",
    "in one long sentence",
    "in two or three sentences",
)
"""Not asked for: they fit every task, and the embedded teacher learned the question as it is."""


def ask_attributes(view: View) -> dict[str, Any]:
    """Ask for topics, styles and speakers; returns `styles` for cover, and `reject`.

    A reply that cannot be read gives no styles, so that the usual ones are taken.
    """
    task = view.task
    messages = prompts.ask_attributes(task.domain, task.labels, count=COUNT, kind=task.kind)
    asked = view.sampling(messages, "attributes", grammar=grammar.attributes(2 * COUNT))
    (said,) = view.ask("attributes", lambda _: [asked], "asking how texts differ")
    parsed = replies.parse_attributes(said.reply)
    return {"styles": styles(parsed), "reject": parsed.reject}


def styles(named: replies.Attributes) -> list[str]:
    """Return styles as `prompts.ask_cover` words them: topic, style, length and speaker each.

    Every topic comes twice, the second time with another style and another length.
    """
    if named.reject:
        return []
    made = []
    for turn in range(2):
        for n, topic in enumerate(named.topics):
            # Another step each, so that no style or speaker always has the same length.
            way = named.styles[(n + turn) % len(named.styles)]
            speaker = named.speakers[(n + 2 * turn) % len(named.speakers)]
            length = LENGTHS[(n + 3 * turn) % len(LENGTHS)]
            made.append(f"about {topic}, {way}, {length}, from {speaker}")
    return list(dict.fromkeys(made))
