"""Every question asked of a teacher, as pure functions. Versioned; tests hold golden copies.

All prompts about one task open with the same head, its labels with their definitions, so that a
teacher decodes it once. The three questions are EvoKD's (arXiv 2403.06414, figure 2): analyse,
then write in the same conversation, then label in a fresh one. `ask_cover` is the start that the
paper calls +Init, with new texts in place of paraphrases; `ask_paraphrases` is the paper's own.
What is worded otherwise for another kind of task stands in `evokd.wording`.

The embedded teachers were trained on exactly these words: changing one means a new VERSION and a
new training (a test compares VERSION with their cards). The one of the slots knows the questions
about entities; neither knows those about several labels, nor those that a setting turns on.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from evokd.pieces import says_twice
from evokd.teacher import Message
from evokd.wording import WORDINGS, Seen, like_texts, quote, told

VERSION = "1"

STYLES = (
    "short",
    "long and detailed",
    "phrased as a question",
    "polite",
    "casual, with typing mistakes",
    "in plain words",
)
YES_NO = ("yes", "no")
VERDICTS = ("right", "wrong boundary", "wrong type", "not an entity")
"""What a teacher may say of a marked entity (ProgGen, arXiv 2403.11103)."""


def head(domain: str, labels: Mapping[str, str], kind: str = "classification") -> str:
    """Return the opening of every prompt: the labels in the given order, with definitions."""
    lines = [f"- {name}: {about}" if about else f"- {name}" for name, about in labels.items()]
    return "\n".join([WORDINGS[kind].opening.format(domain=domain), *lines, "", ""])


# -- P3: labelling ----------------------------------------------------------------------------


def ask_label(
    domain: str, labels: Mapping[str, str], text: str, *, examples: Sequence[tuple[str, str]] = ()
) -> tuple[Message, ...]:
    """P3: the class of one text. The choices are the names of the labels.

    Args:
        examples: like texts with their labels (LLMaAA, arXiv 2310.19596).
    """
    question = (
        "To which class does this text belong? Answer with the name of the class only.\n"
        f"Text: {quote(text)}"
    )
    like = like_texts("classification", examples)
    return (Message("user", head(domain, labels) + like + question),)


def ask_applies(
    domain: str, labels: Mapping[str, str], text: str, *, label: str
) -> tuple[Message, ...]:
    """P3 of a multilabel task: whether one class applies. The choices are YES_NO.

    The text stands before the class, so that the questions about all classes share it.
    """
    question = f"Text: {quote(text)}\nDoes the class {label} apply? Answer with yes or no only."
    return (Message("user", head(domain, labels, "multilabel") + question),)


def ask_entities(
    domain: str, labels: Mapping[str, str], text: str, *, examples: Sequence[tuple[str, str]] = ()
) -> tuple[Message, ...]:
    """P3 of entity tagging: a JSON list of {"text", "type"}, in the order of the text.

    Where a word stands twice, "nth" may say which of several equal entities is meant.
    """
    nth = ""
    if says_twice(text):
        nth = ' Add "nth": 2 to the second of equal words if only that one is meant.'
    question = (
        "Which entities are in this text? Copy them from it in their order. Answer with a JSON"
        f' list only: [{{"text": ..., "type": ...}}], or [] if there are none.{nth}\n'
        f"Text: {quote(text)}"
    )
    return (Message("user", head(domain, labels, "ner") + like_texts("ner", examples) + question),)


def ask_verdict(
    domain: str, labels: Mapping[str, str], text: str, *, words: str, label: str
) -> tuple[Message, ...]:
    """Ask again about an uncertain entity. The choices are VERDICTS."""
    question = (
        f"Text: {quote(text)}\nIs {quote(words)} an entity of the type {label}? Answer with one of:"
        f" {', '.join(VERDICTS)}."
    )
    return (Message("user", head(domain, labels, "ner") + question),)


# -- P0: texts of a label ---------------------------------------------------------------------


def ask_cover(
    domain: str,
    labels: Mapping[str, str],
    *,
    label: str,
    count: int,
    style: str,
    examples: Sequence[str],
    kind: str = "classification",
) -> tuple[Message, ...]:
    """P0: new texts of one label in one style. The reply is a JSON list of strings."""
    words = WORDINGS[kind]
    question = f"Write {count} new texts {words.of.format(label=label)}, {style}."
    if examples:
        question += f" {words.examples}: {', '.join(map(quote, examples))}"
    question += f"\n{words.fits} Answer with a JSON list of strings only."
    return (Message("user", head(domain, labels, kind) + question),)


def ask_paraphrases(
    domain: str, labels: Mapping[str, str], text: str, *, count: int, kind: str = "classification"
) -> tuple[Message, ...]:
    """Other texts of the same meaning (AugGPT, arXiv 2302.13007). A JSON list of strings."""
    question = (
        f"Say this text in {count} other ways that mean the same. Answer with a JSON list of"
        f" strings only.\nText: {quote(text)}"
    )
    return (Message("user", head(domain, labels, kind) + question),)


def ask_attributes(
    domain: str, labels: Mapping[str, str], *, count: int, kind: str = "classification"
) -> tuple[Message, ...]:
    """Ways in which texts differ, asked once a task (AttrPrompt, arXiv 2306.15895)."""
    question = (
        f"Name ways in which such texts differ: {count} topics, {count} styles and {count} kinds of"
        ' speakers, a few words each. Answer with JSON only: {"topics": [...], "styles": [...],'
        ' "speakers": [...]}'
    )
    return (Message("user", head(domain, labels, kind) + question),)


# -- P1 and P2: feedback ----------------------------------------------------------------------


def ask_analysis(
    domain: str,
    labels: Mapping[str, str],
    right: Sequence[Seen],
    wrong: Sequence[Seen],
    *,
    kind: str = "classification",
    report: Sequence[str] = (),
) -> tuple[Message, ...]:
    """P1: what the student gets wrong. The reply is one pattern a line, each after a dash.

    Args:
        report: a line a label of how well it does (PGKD, arXiv 2411.05045).
    """
    question = (
        "Which kinds of text does it get wrong? Name one pattern a line, each line starting with"
        ' "- ", the most frequent first.'
    )
    known = told(kind, right, wrong, report)
    return (Message("user", head(domain, labels, kind) + known + question),)


def ask_texts(
    analysis: Sequence[Message],
    reply: str,
    *,
    hard: int,
    easy: int,
    kind: str = "classification",
    labelled: bool = False,
) -> tuple[Message, ...]:
    """P2: hard and easy texts, in the conversation of the analysis and its reply.

    Args:
        labelled: ask for the labels in the same reply (the paper's ablation "w/o separation").
    """
    question = (
        f"Write {hard} new texts that it would get wrong because of these patterns and {easy} that"
        f" it would get right. {WORDINGS[kind].clear} {_form(labelled)}"
    )
    return (*analysis, Message("assistant", reply), Message("user", question))


def ask_texts_at_once(
    domain: str,
    labels: Mapping[str, str],
    right: Sequence[Seen],
    wrong: Sequence[Seen],
    *,
    hard: int,
    easy: int,
    kind: str = "classification",
    report: Sequence[str] = (),
    labelled: bool = False,
) -> tuple[Message, ...]:
    """P2 without P1: hard and easy texts after the mistakes alone (ablation "no analysis")."""
    question = (
        f"Write {hard} new texts that it would get wrong for like reasons and {easy} that it would"
        f" get right. {WORDINGS[kind].clear} {_form(labelled)}"
    )
    known = told(kind, right, wrong, report)
    return (Message("user", head(domain, labels, kind) + known + question),)


def _form(labelled: bool) -> str:
    if labelled:
        return (
            'Answer with JSON only: {"hard": [{"text": ..., "class": ...}, ...],'
            ' "easy": [{"text": ..., "class": ...}, ...]}'
        )
    return 'Answer with JSON only: {"hard": [...], "easy": [...]}'
