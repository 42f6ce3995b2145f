"""Seed examples with words moved, left out and put in: EDA (Wei & Zou 2019, arXiv 1901.11196).

Without EDA's fourth edit, synonyms: that needs a word list. No teacher is asked; an edited text
keeps the label of its seed. Entities move as a whole and are never cut or lost.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from evokd.answers import Span, names_in, read_spans, write_spans
from evokd.arms.view import Proposal, Proposed, View
from evokd.pieces import UNSPACED, merge, words
from evokd.seeds import derive
from evokd.task import Task

SHARE = 0.1  # of a text's words that one text differs in (EDA's alpha), one word at least
TRIES = 4  # for a text that is new


@dataclass(frozen=True, slots=True)
class Chunk:
    """A word, as `evokd.pieces.words` cuts them, or a whole entity.

    Attributes:
        gap: the white space before it; None is what its neighbours turn out to need.
    """

    words: str
    gap: str | None = " "
    label: str = ""


@dataclass(frozen=True, slots=True)
class Edit:
    """A seed example after an edit.

    Attributes:
        label: its answer, as `evokd.answers` writes it.
        source: the first of its labels; "" where it has none.
        seed: the text that was edited.
    """

    text: str
    label: str
    source: str
    seed: str


def edited(view: View) -> Proposed:
    """Return as many edited seeds as the plan's `edits` say, each seed as often as the next."""
    made = edits(view.task, view.scope, view.plan)
    return Proposed(tuple(Proposal(e.text, "edited", None, e.source, e.label) for e in made))


def edits(task: Task, scope: str, plan: Mapping[str, Any]) -> Iterator[Edit]:
    """Give the edits of a round; of the same task, scope and plan always the same ones."""
    planned = plan.get("edits", {"sources": (), "count": 0})
    kind, sources = task.kind, planned["sources"]
    rng = random.Random(derive(task.loop.seed, scope, "edits"))
    entities = kind == "ner"
    parts = [chunks(text, answer if entities else "[]") for text, answer in sources]
    names = [set(names_in(answer, kind)) for _, answer in sources]
    seen = {text for text, _ in sources}
    for n in range(planned["count"]):
        at = n % len(sources)
        alike = [p for p, given in zip(parts, names, strict=True) if given & names[at]]
        known = [c for part in alike or parts[at : at + 1] for c in part if not c.label]
        for _ in range(TRIES):
            text, spans = written(edit(parts[at], known, rng))
            if text not in seen:
                seen.add(text)
                seed, answer = sources[at]
                label = write_spans(spans) if entities else answer
                yield Edit(text, label, next(iter(sorted(names[at])), ""), seed)
                break


def chunks(text: str, answer: str) -> list[Chunk]:
    """Cut a text into words and entities; `answer` names the entities, "[]" for none."""
    made, at = [], 0
    for span in (*read_spans(answer), Span(len(text), len(text), "")):
        for match in re.finditer(r"(\s*)(\S+)", text[at : span.start]):
            first, *more = words(match[2])
            made += [Chunk(first, match[1]), *(Chunk(word, "") for word in more)]
        if span.label:
            gap = re.search(r"\s*$", text[at : span.start])
            made.append(Chunk(text[span.start : span.end], gap[0] if gap else "", span.label))
        at = span.end
    return made


def written(parts: Sequence[Chunk]) -> tuple[str, list[Span]]:
    """Return the text of chunks, and where its entities are."""
    text, spans = "", []
    for chunk in parts:
        text += (chunk.gap or "") if text else ""
        if chunk.label:
            spans.append(Span(len(text), len(text) + len(chunk.words), chunk.label))
        text += chunk.words
    return text, spans


def edit(parts: Sequence[Chunk], known: Sequence[Chunk], rng: random.Random) -> list[Chunk]:
    """Swap, leave out or put in a share of a text's words.

    Args:
        known: what may be put in: words of texts with the same label.
    """
    made = list(parts)
    for _ in range(max(1, round(SHARE * len(made)))):
        plain = [i for i, chunk in enumerate(made) if not chunk.label]
        way = rng.choice(("swap", "leave out", "put in"))
        if way == "swap" and len(made) > 1:
            i, j = rng.sample(range(len(made)), 2)
            one, other = made[i], made[j]
            made[i], made[j] = replace(other, gap=one.gap), replace(one, gap=other.gap)
        elif way == "leave out" and plain and len(made) > 1:
            left = made.pop(at := rng.choice(plain))
            _move(made, at, left.gap)
        elif known:
            at, new = rng.randint(0, len(made)), rng.choice(known).words
            made.insert(at, Chunk(new, None))
            _move(made, at + 1, None)
    pairs = zip(["", *(chunk.words for chunk in made)], made, strict=False)
    return [replace(chunk, gap=_gap(before, chunk)) for before, chunk in pairs]


def _move(parts: list[Chunk], at: int, gap: str | None) -> None:
    """Give a chunk a gap where it had none before it."""
    if at < len(parts) and parts[at].gap == "":
        parts[at] = replace(parts[at], gap=gap)


def _gap(before: str, chunk: Chunk) -> str:
    """Return what stands between a chunk and the words before it, which must not become one."""
    gap = chunk.gap
    if gap is None:
        gap = "" if re.search(UNSPACED, before + chunk.words) else " "
    return gap or (" " if before and merge(before, chunk.words) else "")
