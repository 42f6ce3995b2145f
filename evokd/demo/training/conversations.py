"""Conversations that teach a tiny model to do EvoKD, made from labelled texts alone.

A *tree* is one prompt head (the classes of a task, drawn at random) with many conversations that
continue it: label this text, write texts of a class, analyse a student's mistakes and write for
them. The mistakes are real ones of a *simulated weak student*: TF-IDF nearest centroid from a few
examples a label, with noise. The prompts are the product's own (`evokd.prompts`), word by word.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import sparse
from sklearn.feature_extraction.text import TfidfVectorizer

from evokd import prompts
from evokd.demo.training.corpus import Label, Row, concept_labels, fine_labels, resource
from evokd.demo.training.noise import disturb, style_of, styled, vary
from evokd.prompts import STYLES, Seen
from evokd.teacher import Message

Segment = tuple[str, bool]
"""A piece of text and whether the teacher is to learn to say it."""


@dataclass(frozen=True, slots=True)
class Tree:
    """A head and the conversations that continue it, each as segments without the head."""

    head: str
    branches: tuple[tuple[Segment, ...], ...]


@dataclass(frozen=True, slots=True)
class Drawn:
    """A task drawn for one tree: the shown names with definitions, and texts of each name."""

    domain: str
    labels: dict[str, str]
    texts: dict[str, tuple[str, ...]]


class Corpus:
    """Half-A texts by label, and their TF-IDF rows for the simulated student."""

    def __init__(self, rows: Sequence[Row], *, part: str = "A") -> None:
        fine = fine_labels(rows, part=part, unseen=False)
        self.inventories = _inventories(fine, concept_labels(rows, part=part))
        texts = sorted({row.text for row in rows if row.half == part})
        self.vectorizer = TfidfVectorizer(ngram_range=(1, 2), min_df=1, sublinear_tf=True)
        self.matrix: sparse.csr_matrix = self.vectorizer.fit_transform(texts)
        self.row_of = {text: i for i, text in enumerate(texts)}
        self.words = self.vectorizer.get_feature_names_out()


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


def trees(corpus: Corpus, seed: int) -> Iterator[Tree]:
    """Yield trees for ever; the same seed gives the same trees."""
    rng = random.Random(seed)
    while True:
        yield make_tree(corpus, rng)


def make_tree(corpus: Corpus, rng: random.Random) -> Tree:
    """Draw a task and make its conversations: labels, covers, analyses with writing."""
    task = draw_task(corpus, rng)
    branches = [label_branch(task, rng) for _ in range(rng.randint(8, 14))]
    branches += [cover_branch(task, rng) for _ in range(rng.randint(1, 3))]
    branches += [b for _ in range(rng.randint(1, 2)) if (b := feedback_branch(corpus, task, rng))]
    rng.shuffle(branches)
    head = "<|im_start|>user\n" + prompts.head(task.domain, task.labels)
    # The head's last newline opens every branch: both sides then tokenise as the whole does.
    return Tree(head[:-1], tuple((("\n" + b[0][0], b[0][1]), *b[1:]) for b in branches))


def draw_task(corpus: Corpus, rng: random.Random) -> Drawn:
    """Draw 2 to 24 labels, most often 4 to 12, some joined, some without definitions."""
    weights = [w for w, _, _ in corpus.inventories]
    _, domains, inventory = rng.choices(corpus.inventories, weights)[0]
    count = min(len(inventory), rng.choice([2, 3, 4, 5, 6, 7, 7, 8, 9, 9, 10, 11, 12, 16, 24]))
    pool = _neighbours(inventory, count, rng) if rng.random() < 0.5 else list(inventory)
    drawn = rng.sample(pool, min(count, len(pool)))
    joined = rng.random() < 0.3
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
    return Drawn(rng.choice(domains), labels, texts)


def _neighbours(inventory: Sequence[Label], count: int, rng: random.Random) -> list[Label]:
    """Return labels that share words with one drawn label: the ones a student confuses."""
    centre = rng.choice(inventory)
    words = {w for d in (*centre.definitions, *centre.names) for w in d.replace("_", " ").split()}
    common = {"wants", "asks", "a", "the", "to", "for", "of", "or", "is", "in", "on", "and", "what"}

    def closeness(label: Label) -> float:
        own = {w for d in (*label.definitions, *label.names) for w in d.replace("_", " ").split()}
        return len((own & words) - common) + rng.random()

    return sorted(inventory, key=closeness, reverse=True)[: max(2, count)]


def _ask(messages: Sequence[Message], head: str) -> str:
    """Return the last user turn's question, opened and closed as ChatML, without the head."""
    question = messages[-1].content.removeprefix(head)
    return f"{question}<|im_end|>\n<|im_start|>assistant\n"


def _say(answer: str) -> Segment:
    return (f"{answer}<|im_end|>", True)


def label_branch(task: Drawn, rng: random.Random) -> tuple[Segment, ...]:
    """P3: a text, sometimes disturbed as people type, and its label."""
    label = rng.choice(list(task.labels))
    text = vary(rng.choice(task.texts[label]), rng)
    text = disturb(text, rng) if rng.random() < 0.35 else text
    asked = prompts.ask_label(task.domain, task.labels, text)
    return ((_ask(asked, prompts.head(task.domain, task.labels)), False), _say(label))


def cover_branch(task: Drawn, rng: random.Random) -> tuple[Segment, ...]:
    """P0: texts of a class in a style, after one to three examples."""
    label = rng.choice(list(task.labels))
    style, count = rng.choice(STYLES), rng.randint(3, 6)
    pool = rng.sample(task.texts[label], min(60, len(task.texts[label])))
    examples, rest = pool[: rng.randint(1, 3)], pool[3:]
    fitting = [made for t in rest if (made := styled(t, style, rng))][:count]
    if len(fitting) < 3:
        style = style_of(rest[0])
        fitting = [t for t in rest if style_of(t) == style][:count] or rest[:count]
    asked = prompts.ask_cover(
        task.domain, task.labels, label=label, count=len(fitting), style=style, examples=examples
    )
    head = prompts.head(task.domain, task.labels)
    answer = json.dumps([vary(t, rng) for t in fitting], ensure_ascii=False)
    return ((_ask(asked, head), False), _say(answer))


def feedback_branch(corpus: Corpus, task: Drawn, rng: random.Random) -> tuple[Segment, ...] | None:
    """P1 and P2 on the mistakes of a simulated student; None when it made fewer than two."""
    right, wrong, pull = simulate(corpus, task, rng)
    if len(wrong) < 2:
        return None
    pairs = list({(s.label, s.predicted) for s in wrong})
    chosen = set(rng.sample(pairs, min(len(pairs), rng.choice([1, 1, 2, 3]))))
    pool = [s for s in wrong if (s.label, s.predicted) in chosen]
    names = {name for pair in chosen for name in pair}
    easy_pool = [s for s in right if s.label in names] or right
    shown = pool[: min(6, len(pool) // 2 + 1)]
    kept_right = easy_pool[: rng.randint(0, 4)]
    analysis = analyse(shown, pull)
    known = {s.text for s in (*shown, *kept_right)}
    # Too few real mistakes are filled up with other texts of the classes it mistook.
    spare = [t for s in shown for t in rng.sample(task.texts[s.label], 6) if t not in known]
    missed = dict.fromkeys([s.text for s in pool[len(shown) :]] + spare)
    hard = [vary(t, rng) for t in list(missed)[: rng.randint(2, 5)]]
    easy = [vary(s.text, rng) for s in easy_pool[4 : 4 + rng.randint(1, 3)]]
    head = prompts.head(task.domain, task.labels)
    asked = prompts.ask_analysis(task.domain, task.labels, kept_right, shown)
    follow = prompts.ask_texts(asked, analysis, hard=len(hard), easy=len(easy))
    second = f"\n<|im_start|>user\n{_ask(follow, '')}"
    texts = json.dumps({"hard": hard, "easy": easy}, ensure_ascii=False)
    return ((_ask(asked, head), False), _say(analysis), (second, False), _say(texts))


def simulate(
    corpus: Corpus, task: Drawn, rng: random.Random
) -> tuple[list[Seen], list[Seen], dict[str, list[str]]]:
    """Test a weak student: returns right, wrong, and per wrong text the words that misled it."""
    names = list(task.labels)
    per_label = {n: rng.sample(task.texts[n], min(len(task.texts[n]), 22)) for n in names}
    k = rng.randint(1, 4)
    noise = np.random.default_rng(rng.getrandbits(32))
    centroids = [
        np.asarray(corpus.matrix[[corpus.row_of[t] for t in per_label[n][:k]]].mean(axis=0))
        for n in names
    ]
    centre = np.vstack(centroids)
    tested = [(t, n) for n in names for t in per_label[n][k:]]
    rng.shuffle(tested)
    rows = corpus.matrix[[corpus.row_of[t] for t, _ in tested]]
    closeness = rows @ centre.T + noise.normal(0, 0.03, (len(tested), len(names)))
    guesses = closeness.argmax(axis=1)
    right: list[Seen] = []
    wrong: list[Seen] = []
    pull: dict[str, list[str]] = {}
    for i, (text, label) in enumerate(tested):
        seen = Seen(text, label, names[int(guesses[i])])
        (right if seen.right else wrong).append(seen)
        if not seen.right:
            row = rows[i]
            toward = centre[int(guesses[i]), row.indices] - centre[names.index(label), row.indices]
            order = np.argsort(-(row.data * toward))
            pull[text] = [w for w in corpus.words[row.indices[order]] if " " not in w][:2]
    return right, wrong, pull


def analyse(shown: Sequence[Seen], pull: Mapping[str, Sequence[str]]) -> str:
    """Return the analysis to learn: a line per confusion, most frequent first, with words."""
    groups: dict[tuple[str, str], list[Seen]] = {}
    for seen in shown:
        groups.setdefault((seen.label, seen.predicted), []).append(seen)
    lines = []
    for (label, predicted), members in sorted(groups.items(), key=lambda g: -len(g[1])):
        words = list(dict.fromkeys(w for s in members for w in pull[s.text]))[:3]
        where = ", ".join(f'"{w}"' for w in words)
        lines.append(
            f"- It takes {label} for {predicted}"
            + (f", for example in texts with {where}." if where else ".")
        )
    return "\n".join(lines)
