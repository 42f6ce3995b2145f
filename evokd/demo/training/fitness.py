"""How good a teacher is, measured on half B, which it never saw: seen labels, unseen labels, and
the unseen set (banking77) apart.

    python -m evokd.demo.training.fitness --data DIR --model FILE [--json FILE] [--tasks 12]

Agreement with gold and self-agreement under label order come from scoring; parseable replies,
duplicates and verbatim repeats from writing. Entities and yes-or-no labels: `fitness_kinds`.
"""

from __future__ import annotations

import argparse
import json
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evokd import prompts
from evokd.curate import Known, curate
from evokd.demo.training.conversations import MAKERS
from evokd.demo.training.corpus import Label, Row, fine_labels, plain, read_rows, resource
from evokd.demo.training.drawing import Corpus
from evokd.demo.training.fitness_kinds import applies_figures, entity_figures
from evokd.demo.training.tagged import read_tagged
from evokd.feedback import SHOW_WRONG
from evokd.labelling import distribution
from evokd.prompts import STYLES
from evokd.replies import parse_hard_easy, parse_list
from evokd.settings import TeacherSettings
from evokd.teacher import Generate, Score, Teacher
from evokd.wording import Seen

LABELS, TEXTS, COVERS = 10, 4, 2


@dataclass(frozen=True, slots=True)
class Drawn:
    """A task of LABELS labels drawn from one set: shown definitions, and texts with gold."""

    domain: str
    labels: dict[str, str]
    texts: dict[str, tuple[str, ...]]


def main() -> None:
    """Print the fitness, and write it as JSON."""
    parser = argparse.ArgumentParser(description="Measure a teacher on half B.")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--model", required=True, help="a GGUF file, or 'demo'")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--tasks", type=int, default=12, help="tasks drawn for each group")
    parser.add_argument("--texts", type=int, default=120, help="texts of each tagged set")
    parser.add_argument("--kinds", nargs="+", choices=sorted(MAKERS), default=sorted(MAKERS))
    args = parser.parse_args()
    from evokd.teacher.llamacpp import LlamaCppTeacher, find_model

    rows, removed = read_rows(args.data)
    tagged, more = read_tagged(args.data)
    checked = Corpus(rows, tagged, part="B")
    settings = TeacherSettings(model=args.model)
    with LlamaCppTeacher(find_model(args.model), settings) as teacher:
        measured: dict[str, Any] = {}
        if "classification" in args.kinds:
            measured |= measure(teacher, rows, args.tasks)
        if "ner" in args.kinds:
            measured["entities"] = entity_figures(teacher, checked, args.texts)
        if "multilabel" in args.kinds:
            measured["multilabel"] = applies_figures(teacher, checked, args.tasks)
    measured["rows"] = {"used": len(rows) + len(tagged), "removed": removed + more}
    text = json.dumps(measured, indent=2)
    print(text)
    if args.json:
        args.json.write_text(text + "\n")


def measure(teacher: Teacher, rows: Sequence[Row], tasks: int) -> dict[str, Any]:
    """Return the figures of each group of labels, and the speed of writing and scoring."""
    taught = {plain(row.text) for row in rows if row.half == "A"}
    seen = fine_labels(rows, part="B", unseen=False)
    unseen = fine_labels(rows, part="B", unseen=True)
    groups = {
        "seen labels": [(s, seen[s]) for s in ("snips_raw", "clinc150", "massive_en")],
        "unseen labels": [(s, unseen[s]) for s in ("clinc150", "massive_en")],
        "unseen set": [("banking77", unseen["banking77"])],
    }
    made: dict[str, Any] = {}
    for name, sources in groups.items():
        rng = random.Random(name)
        drawn = [draw(*sources[i % len(sources)], rng) for i in range(tasks)]
        made[name] = {**label_figures(teacher, drawn), **writing_figures(teacher, drawn, taught)}
    return {"groups": made}


def draw(source: str, labels: dict[str, Label], rng: random.Random) -> Drawn:
    """Draw a task of at most LABELS labels."""
    chosen = rng.sample(sorted(labels), min(LABELS, len(labels)))
    domains: list[str] = resource("definitions.json")[source]["domains"]  # type: ignore[index, call-overload]
    shown = {labels[k].names[0]: labels[k].definitions[0] for k in chosen}
    texts = {
        labels[k].names[0]: tuple(rng.sample(labels[k].texts, min(8, len(labels[k].texts))))
        for k in chosen
    }
    return Drawn(domains[0], shown, texts)


def label_figures(teacher: Teacher, drawn: Sequence[Drawn]) -> dict[str, float]:
    """Return agreement with gold, agreement of two orders, and both together; and texts/s."""
    right = same = right_where_same = texts = 0
    began = time.monotonic()
    for task in drawn:
        names = list(task.labels)
        gold = [(t, n) for n in names for t in task.texts[n][:TEXTS]]
        both = []
        for order in (names, names[::-1]):
            shown = {n: task.labels[n] for n in order}
            asked = [
                Score(prompts.ask_label(task.domain, shown, text), tuple(order)) for text, _ in gold
            ]
            both.append([distribution(s, order, names) for s in teacher.score(asked)])
        for (_, label), one, other in zip(gold, *both, strict=True):
            agreed = one.argmax() == other.argmax()
            hit = names[int((one + other).argmax())] == label
            right += hit
            same += agreed
            right_where_same += hit and agreed
            texts += 1
    return {
        "label_agreement": right / texts,
        "self_agreement": same / texts,
        "label_agreement_where_orders_agree": right_where_same / max(1, same),
        "labelled_texts": texts,
        "labels_per_second": 2 * texts / (time.monotonic() - began),
    }


def writing_figures(teacher: Teacher, drawn: Sequence[Drawn], taught: set[str]) -> dict[str, float]:
    """Return parseable replies, duplicates, repeats of training texts, and tokens/s."""
    asked = [
        Generate(
            prompts.ask_cover(
                task.domain,
                task.labels,
                label=name,
                count=5,
                style=STYLES[(i + n) % len(STYLES)],
                examples=task.texts[name][:2],
            ),
            seed=1000 * i + n,
        )
        for i, task in enumerate(drawn)
        for name in task.labels
        for n in range(COVERS)
    ]
    began = time.monotonic()
    replies = teacher.generate(asked)
    seconds = time.monotonic() - began
    parsed = [parse_list(reply) for reply in replies]
    texts = [text for p in parsed for _, text in p.texts]
    dropped = sum(map(bool, curate(texts, Known())))
    pairs = feedback_pairs(teacher, drawn)
    return {
        "parseable_cover": sum(p.reject is None for p in parsed) / len(parsed),
        "parseable_hard_easy": pairs,
        "written_texts": len(texts),
        "duplicates": dropped / max(1, len(texts)),
        "verbatim_repeats": sum(plain(t) in taught for t in texts) / max(1, len(texts)),
        "tokens_per_second": sum(r.tokens_out for r in replies) / seconds,
    }


def feedback_pairs(teacher: Teacher, drawn: Sequence[Drawn]) -> float:
    """Return the share of parseable hard-and-easy replies after an analysis."""
    first = []
    for i, task in enumerate(drawn):
        names = list(task.labels)
        rng = random.Random(i)
        right_label, wrong_label = rng.sample(names, 2)
        wrong = [Seen(t, right_label, wrong_label) for t in task.texts[right_label][:SHOW_WRONG]]
        right = [Seen(t, wrong_label, wrong_label) for t in task.texts[wrong_label][:2]]
        asked = prompts.ask_analysis(task.domain, task.labels, right, wrong)
        first.append(Generate(asked, seed=i))
    analyses = teacher.generate(first)
    follow = [
        Generate(prompts.ask_texts(f.messages, a.text.strip(), hard=4, easy=2), seed=f.seed)
        for f, a in zip(first, analyses, strict=True)
    ]
    replies = teacher.generate(follow)
    return sum(parse_hard_easy(r).reject is None for r in replies) / max(1, len(replies))


if __name__ == "__main__":
    main()
