"""How good found entities are: strictly, where only the right type in the right place counts.

The same as seqeval's strict mode, but for offsets: they need no tokens, and a type that occurs
nowhere still counts in the mean, as everywhere in evokd.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from evokd.answers import read_spans
from evokd.errors import InputError
from evokd.scores import Scores, label_scores


def score_spans(gold: Sequence[str], predicted: Sequence[str], types: Sequence[str]) -> Scores:
    """Compare the entities of texts with the right ones.

    Args:
        gold: the answer for each text, as `evokd.answers.write_spans` writes it.
        predicted: what was answered, in the order of `gold`.
        types: all entity types of the task.

    Returns:
        Accuracy is the share of texts whose whole answer is right, support counts entities, and
        there is neither confusion nor calibration error. A type without an entity, found or
        right, has an F1 of 0.

    Raises:
        InputError: when there are no texts, or an entity's type is not one of the task's.
    """
    if not gold:
        raise InputError("there are no texts to score", "give a file with at least one text")
    right, found, hit = Counter[str](), Counter[str](), Counter[str]()
    whole = 0
    for answer, said in zip(gold, predicted, strict=True):
        wanted, given = set(read_spans(answer)), set(read_spans(said))
        right.update(span.label for span in wanted)
        found.update(span.label for span in given)
        hit.update(span.label for span in wanted & given)
        whole += wanted == given
    unknown = sorted({*right, *found} - set(types))
    if unknown:
        raise InputError(f"unknown type '{unknown[0]}'; known types: {', '.join(types)}")
    per_type = {name: label_scores(hit[name], right[name], found[name]) for name in types}
    return Scores(
        accuracy=whole / len(gold),
        macro_f1=sum(scores["f1"] for scores in per_type.values()) / len(types),
        micro_f1=label_scores(hit.total(), right.total(), found.total())["f1"],
        per_label=per_type,
        confusion=(),
        ece=None,
        n=len(gold),
    )
