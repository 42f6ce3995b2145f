"""From the corpus to a task drawn for one tree: which labels, under which names, which texts."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence

import numpy as np
from scipy import sparse
from sklearn.feature_extraction.text import TfidfVectorizer

from evokd.demo.training.corpus import Label, Row, concept_labels, fine_labels, resource
from evokd.demo.training.tagged import Names, Tagged
from evokd.demo.training.turns import Drawn


class Corpus:
    """The texts of one half by label, their TF-IDF rows, and those with entities by type."""

    def __init__(
        self, rows: Sequence[Row], tagged: Sequence[Tagged] = (), *, part: str = "A"
    ) -> None:
        fine = fine_labels(rows, part=part, unseen=False)
        self.inventories = _inventories(fine, concept_labels(rows, part=part))
        self.all = texts = sorted({row.text for row in rows if row.half == part})
        self.vectorizer = TfidfVectorizer(ngram_range=(1, 2), min_df=1, sublinear_tf=True)
        self.matrix: sparse.csr_matrix = self.vectorizer.fit_transform(texts)
        self.row_of = {text: i for i, text in enumerate(texts)}
        self.words = self.vectorizer.get_feature_names_out()
        self.tagged = [row for row in tagged if row.half == part]
        self.names = Names(self.tagged)
        self.with_type: dict[tuple[str, str], list[Tagged]] = {}
        for row in self.tagged:
            for label in sorted(row.types):
                self.with_type.setdefault((row.source, label), []).append(row)

    def nearest(self, text: str, others: Sequence[str]) -> list[str]:
        """Return other texts of the corpus, those most like this one first; never itself."""
        known = [t for t in others if t != text]
        rows = self.matrix[[self.row_of[t] for t in known]]
        closeness = np.asarray((rows @ self.matrix[self.row_of[text]].T).todense()).ravel()
        return [known[i] for i in np.argsort(-closeness, kind="stable")]

    def telling(self, text: str, count: int) -> list[str]:
        """Return the words of a text of the corpus that say most about it."""
        row = self.matrix[self.row_of[text]]
        ordered = self.words[row.indices[np.argsort(-row.data)]]
        return [w for w in ordered if " " not in w][:count]


def _inventories(
    fine: Mapping[str, Mapping[str, Label]], concepts: Mapping[str, Label]
) -> list[tuple[float, tuple[str, ...], list[Label]]]:
    """Return (weight, domains, labels): what a task may be drawn from."""
    about = resource("definitions.json")
    made: list[tuple[float, tuple[str, ...], list[Label]]] = []
    for source, weight in (("snips_raw", 0.15), ("clinc150", 0.27), ("massive_en", 0.18)):
        domains = tuple(about[source]["domains"])  # type: ignore[index, call-overload]
        made.append((weight, domains, list(fine[source].values())))
    for source, groups in about["coarse"].items():  # type: ignore[attr-defined]
        domains = tuple(about[source]["domains"])  # type: ignore[index, call-overload]
        labels = []
        for entry in groups.values():
            members = [fine[source][m] for m in entry["members"] if m in fine[source]]
            texts = tuple(t for member in members for t in member.texts)
            if len(texts) >= 8:
                labels.append(Label(tuple(entry["names"]), tuple(entry["definitions"]), texts))
        made.append((0.05, domains, labels))
    voice = resource("concepts.json")["domains"]
    made.append((0.30, tuple(voice), list(concepts.values())))  # type: ignore[arg-type]
    return made


def draw_task(corpus: Corpus, rng: random.Random, *, kind: str = "classification") -> Drawn:
    """Draw 2 to 24 labels, most often 4 to 12, some joined, some without definitions."""
    weights = [w for w, _, _ in corpus.inventories]
    _, domains, inventory = rng.choices(corpus.inventories, weights)[0]
    sizes = [2, 3, 4, 5, 6, 7, 7, 8, 9, 9, 10, 11, 12]
    count = rng.choice([*sizes, 16, 24] if kind == "classification" else sizes)
    pool = _neighbours(inventory, count, rng) if rng.random() < 0.5 else list(inventory)
    drawn = rng.sample(pool, min(count, len(pool)))
    left = [label for label in inventory if label not in drawn]
    outside = tuple(rng.choice(label.texts) for label in left[:20])
    joined = kind == "classification" and rng.random() < 0.3
    bare = rng.random() < 0.08
    labels: dict[str, str] = {}
    texts: dict[str, tuple[str, ...]] = {}
    while drawn:
        parts = [drawn.pop()]
        if joined and drawn and rng.random() < 0.3:
            parts.append(drawn.pop())
        name = rng.choice(parts[0].names)
        if len(parts) > 1 and rng.random() < 0.5:
            name = f"{name}_or_{rng.choice(parts[1].names)}"
        if name in labels:
            continue
        about = [rng.choice(p.definitions) for p in parts]
        labels[name] = "" if bare else ", or ".join(about)
        texts[name] = tuple(t for p in parts for t in p.texts)
    return Drawn(rng.choice(domains), labels, texts, kind, outside)


def _neighbours(inventory: Sequence[Label], count: int, rng: random.Random) -> list[Label]:
    """Return labels that share words with one drawn label: the ones a student confuses."""
    centre = rng.choice(inventory)
    words = {w for d in (*centre.definitions, *centre.names) for w in d.replace("_", " ").split()}
    common = {"wants", "asks", "a", "the", "to", "for", "of", "or", "is", "in", "on", "and", "what"}

    def closeness(label: Label) -> float:
        own = {w for d in (*label.definitions, *label.names) for w in d.replace("_", " ").split()}
        return len((own & words) - common) + rng.random()

    return sorted(inventory, key=closeness, reverse=True)[: max(2, count)]
