"""Tasks of entity tagging drawn from the tagged sets, and their texts with entities."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass

from evokd.answers import Span, write_spans
from evokd.demo.training.corpus import resource
from evokd.demo.training.drawing import Corpus
from evokd.demo.training.tagged import (
    Pieces,
    Tagged,
    Type,
    fitted,
    inventories,
    shown,
    spans_of,
    typed,
    varied,
)
from evokd.demo.training.turns import Drawn

SETS = (("snips_raw", "types", 0.72), ("snips_raw", "fine", 0.08), ("wikigold", "types", 0.10),
        ("wnut17", "types", 0.10))  # fmt: skip


@dataclass(frozen=True, slots=True)
class Marked:
    """A text of the task with its entities, those of the shown types alone."""

    text: str
    spans: tuple[Span, ...]

    @property
    def answer(self) -> str:
        """The entities as one line."""
        return write_spans(self.spans)


@dataclass(frozen=True, slots=True)
class Source:
    """Where the texts of one task come from: rows by shown type, and what the types are called."""

    corpus: Corpus
    domain: str
    labels: dict[str, str]
    types: dict[str, Type]
    rows: dict[str, list[Tagged]]
    any: list[Tagged]

    def marked(self, pieces: Pieces) -> Marked:
        """Return the text of pieces with the entities of the task's types."""
        names = {member: name for name, kind in self.types.items() for member in kind.members}
        text, spans = spans_of(shown(pieces, names))
        return Marked(text, tuple(fitted(spans, text, self.types)))

    def text(
        self, rng: random.Random, *, label: str = "", plain: bool = False, short: bool = False
    ) -> Marked:
        """Draw a text, with an entity of the type if one is named.

        `plain` leaves it as it is, but for other names; `short` prefers shorter ones.
        """
        if not label and rng.random() < 0.9:
            label = rng.choice(list(self.labels))
        rows = self.rows[label] if label else self.any
        row = min(rng.choices(rows, k=2 if short else 1), key=lambda r: len(r.text))
        pieces = self.corpus.names.swap(row, rng, mixed=not plain)
        if not plain:
            pieces = varied(pieces, rng)
            pieces = typed(pieces, rng) if rng.random() < 0.4 else pieces
        return self.marked(pieces)


def open_source(
    corpus: Corpus, source: str, domain: str, shown: Mapping[str, tuple[Type, str]]
) -> Source:
    """Return where a task of one set takes its texts from: name -> type and shown definition."""
    rows: dict[str, list[Tagged]] = {}
    for name, (kind, _) in shown.items():
        known = [corpus.with_type.get((source, m), []) for m in sorted(kind.members)]
        rows[name] = [row for some in known for row in some]
    return Source(
        corpus,
        domain,
        {name: about for name, (_, about) in shown.items()},
        {name: kind for name, (kind, _) in shown.items()},
        rows,
        [row for row in corpus.tagged if row.source == source],
    )


def draw_source(corpus: Corpus, rng: random.Random) -> Source:
    """Draw a set and 2 to 10 of its types; now and then those of the demo's task."""
    source, about, _ = rng.choices(SETS, [w for *_, w in SETS])[0]
    entry: dict[str, list[str]] = resource("entities.json")[source]  # type: ignore[assignment]
    types = [
        t
        for t in inventories(about)[source]
        if any((source, m) in corpus.with_type for m in t.members)
    ]
    demo = entry.get("demo", []) if about == "types" and rng.random() < 0.6 else []
    chosen = [t for t in types if t.names[0] in demo]
    if not chosen:
        chosen = rng.sample(types, min(len(types), rng.randint(2, 10)))
    rng.shuffle(chosen)
    bare = rng.random() < 0.08
    domain = rng.choice(entry["domains"])
    taken: dict[str, tuple[Type, str]] = {}
    for t in chosen:
        name = t.names[0] if demo else rng.choice(t.names)
        taken.setdefault(name, (t, "" if bare else rng.choice(t.definitions)))
    return open_source(corpus, source, domain, taken)


def drawn_from(source: Source, rng: random.Random) -> Drawn:
    """Return the task of a source, with some texts of every type."""
    texts = {
        name: tuple({source.text(rng, label=name, plain=True).text: None for _ in range(30)})
        for name in source.labels
    }
    return Drawn(source.domain, source.labels, texts, "ner")
