"""How good a teacher is at entities and at yes-or-no labels, on half B, which it never saw."""

from __future__ import annotations

import random
from collections.abc import Sequence

from evokd import prompts
from evokd.answers import write_labels, write_spans
from evokd.demo.training.applying import compose
from evokd.demo.training.corpus import resource
from evokd.demo.training.drawing import Corpus, draw_task
from evokd.demo.training.marked import Marked, Source, open_source
from evokd.demo.training.marking import judged
from evokd.demo.training.tagged import SETS, inventories
from evokd.prompts import VERDICTS, YES_NO
from evokd.replies import Entities, parse_entities
from evokd.scores import score_spans
from evokd.teacher import Generate, Score, Teacher, grammar

MOST_TOKENS, MOST_ENTITIES = 240, 20
TEXTS_A_TASK = 8


def entity_figures(teacher: Teacher, corpus: Corpus, texts: int) -> dict[str, dict[str, float]]:
    """Return the figures of each tagged set; for snips, of the types that the demo has too.

    Args:
        texts: how many of each set.
    """
    made = {}
    for name in SETS:
        source = whole_task(corpus, name)
        rng = random.Random(name)
        rows = rng.sample(source.any, min(texts, len(source.any)))
        gold = [source.marked(row.pieces) for row in rows]
        made[name.removesuffix("_raw")] = {
            **_marking(teacher, source, gold),
            "verdict_accuracy": _verdicts(teacher, source, gold, rng),
            "texts": len(gold),
        }
    return made


def whole_task(corpus: Corpus, name: str) -> Source:
    """Return the task of a set with its types' first names and definitions."""
    about: dict[str, list[str]] = resource("entities.json")[name]  # type: ignore[assignment]
    kinds = {kind.names[0]: (kind, kind.definitions[0]) for kind in inventories()[name]}
    shown = {label: kinds[label] for label in about.get("demo", kinds)}
    return open_source(corpus, name, about["domains"][0], shown)


def _marking(teacher: Teacher, source: Source, gold: Sequence[Marked]) -> dict[str, float]:
    """Return strict F1 of greedy answers held to the grammar, and what free ones are worth."""
    names = list(source.labels)
    asked = [prompts.ask_entities(source.domain, source.labels, one.text) for one in gold]
    replies = {}
    for how in ("held", "free"):
        requests = [
            Generate(
                messages,
                temperature=0.0,
                max_tokens=MOST_TOKENS,
                grammar=grammar.spans_of(one.text, names, MOST_ENTITIES) if how == "held" else "",
            )
            for messages, one in zip(asked, gold, strict=True)
        ]
        answers = teacher.generate(requests)
        replies[how] = [
            parse_entities(reply, one.text, names) for reply, one in zip(answers, gold, strict=True)
        ]
    answers_due = [one.answer for one in gold]
    held = score_spans(answers_due, _answers(replies["held"]), names)
    free = score_spans(answers_due, _answers(replies["free"]), names)
    return {
        "entity_f1": held.micro_f1,
        "entity_macro_f1": held.macro_f1,
        "whole_text_right": held.accuracy,
        "entity_f1_without_grammar": free.micro_f1,
        "parseable": sum(r.reject is None for r in replies["held"]) / len(gold),
        "parseable_without_grammar": sum(r.reject is None for r in replies["free"]) / len(gold),
    }


def _answers(replies: Sequence[Entities]) -> list[str]:
    return [write_spans(() if reply.reject else reply.spans) for reply in replies]


def _verdicts(
    teacher: Teacher, source: Source, gold: Sequence[Marked], rng: random.Random
) -> float:
    names = list(source.labels)
    asked, due = [], []
    for one in gold:
        if one.spans:
            words, label, verdict = judged(one, names, rng)
            messages = prompts.ask_verdict(
                source.domain, source.labels, one.text, words=words, label=label
            )
            asked.append(Score(messages, VERDICTS))
            due.append(VERDICTS.index(verdict))
    said = [max(range(len(VERDICTS)), key=s.logprobs.__getitem__) for s in teacher.score(asked)]
    return sum(a == b for a, b in zip(said, due, strict=True)) / max(1, len(due))


def applies_figures(teacher: Teacher, corpus: Corpus, tasks: int) -> dict[str, float]:
    """Return how well yes and no are told on texts of one to three classes.

    Args:
        tasks: how many are drawn, with TEXTS_A_TASK texts each.
    """
    rng = random.Random("applies")
    gold: list[str] = []
    given: list[str] = []
    right = {name: [0, 0] for name in YES_NO}
    for _ in range(tasks):
        task = draw_task(corpus, rng, kind="multilabel")
        names = list(task.labels)
        made = [compose(task, rng) for _ in range(TEXTS_A_TASK)]
        asked = [
            Score(prompts.ask_applies(task.domain, task.labels, one.text, label=name), YES_NO)
            for one in made
            for name in names
        ]
        said = [YES_NO[s.logprobs[1] > s.logprobs[0]] for s in teacher.score(asked)]
        for number, one in enumerate(made):
            answers = said[number * len(names) : (number + 1) * len(names)]
            for name, answer in zip(names, answers, strict=True):
                due = YES_NO[name not in one.labels]
                right[due][0] += answer == due
                right[due][1] += 1
            gold.append(write_labels(one.labels))
            given.append(
                write_labels(n for n, a in zip(names, answers, strict=True) if a == YES_NO[0])
            )
    shares = [hit / max(1, asked) for hit, asked in right.values()]
    whole = sum(a == b for a, b in zip(gold, given, strict=True)) / len(gold)
    return {
        "yes_no_accuracy": sum(shares) / 2,
        "yes_right": shares[0],
        "no_right": shares[1],
        "whole_text_right": whole,
        "texts": len(gold),
    }
