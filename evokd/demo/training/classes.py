"""Conversations about one class a text: labels, paraphrases, and a student's mistakes.

The mistakes are real ones of a *simulated weak student*: TF-IDF nearest centroid from a few
examples a label, with noise.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np

from evokd import prompts
from evokd.demo.training.drawing import Corpus, draw_task
from evokd.demo.training.noise import disturb, styled, vary
from evokd.demo.training.turns import (
    Branch,
    Drawn,
    Lesson,
    Tree,
    attributes_branch,
    branch,
    cover_branch,
    feedback_branch,
    grow,
    report,
    said,
)
from evokd.wording import Seen


def class_tree(corpus: Corpus, rng: random.Random) -> Tree:
    """Draw a task and make its conversations: labels, covers, analyses with writing."""
    task = draw_task(corpus, rng)
    branches = [label_branch(corpus, task, rng) for _ in range(rng.randint(8, 14))]
    branches += [cover_branch(task, rng) for _ in range(rng.randint(0, 1))]
    if rng.random() < 0.35 and (lesson := mistakes(corpus, task, rng)):
        branches.append(feedback_branch(task, lesson, rng))
    if rng.random() < 0.2:
        branches.append(paraphrase_branch(corpus, task, rng))
    if rng.random() < 0.03:
        branches.append(attributes_branch(task, rng))
    return grow(task, branches, rng)


def label_branch(corpus: Corpus, task: Drawn, rng: random.Random) -> Branch:
    """P3: a text, sometimes disturbed as people type, sometimes after like texts; its label."""
    label = rng.choice(list(task.labels))
    real = rng.choice(task.texts[label])
    text = vary(real, rng)
    text = disturb(text, rng) if rng.random() < 0.35 else text
    examples = like_texts(corpus, task, real, rng) if rng.random() < 0.15 else []
    asked = prompts.ask_label(task.domain, task.labels, text, examples=examples)
    return branch(task, (asked, label))


def like_texts(corpus: Corpus, task: Drawn, text: str, rng: random.Random) -> list[tuple[str, str]]:
    """Return 2 to 4 texts most like this one among some of every label, with their labels."""
    of = {t: n for n, texts in task.texts.items() for t in rng.sample(texts, min(8, len(texts)))}
    return [(t, of[t]) for t in corpus.nearest(text, list(of))[: rng.randint(2, 4)]]


def paraphrase_branch(corpus: Corpus, task: Drawn, rng: random.Random) -> Branch:
    """Other ways to say a text: near texts of its label, and the text itself in another style."""
    label = rng.choice(list(task.labels))
    pool = rng.sample(task.texts[label], min(80, len(task.texts[label])))
    text, count = pool[0], rng.randint(2, 4)
    polite = styled(text, "polite", rng)
    own = [t for t in (polite, disturb(text, rng, strong=True)) if t and t != text]
    near = corpus.nearest(text, pool[1:])[:count]
    ways = list(dict.fromkeys([*rng.sample(own, min(len(own), 1)), *near]))[:count]
    asked = prompts.ask_paraphrases(task.domain, task.labels, text, count=len(ways))
    return branch(task, (asked, said(ways)))


def mistakes(corpus: Corpus, task: Drawn, rng: random.Random) -> Lesson | None:
    """Return a lesson on a simulated student; None when it made fewer than two mistakes."""
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
    known = {s.text for s in (*shown, *kept_right)}
    # Too few real mistakes are filled up with other texts of the classes it mistook.
    missed = {s.text: s.label for s in pool[len(shown) :]}
    for s in shown:
        missed |= {t: s.label for t in rng.sample(task.texts[s.label], 6) if t not in known}
    lines: list[str] = []
    if rng.random() < 0.3:
        taken = Counter((s.label, s.predicted) for s in wrong)
        lines = report(list(task.labels), [*right, *wrong], lambda a: {"": a}, taken)
    return Lesson(
        kept_right,
        shown,
        analyse(shown, pull),
        [(vary(t, rng), n) for t, n in list(missed.items())[: rng.randint(2, 5)]],
        [(vary(s.text, rng), s.label) for s in easy_pool[4 : 4 + rng.randint(1, 3)]],
        lines,
    )


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
