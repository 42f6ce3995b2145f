"""Few examples of each label out of many: the paper's k-shot sets (arXiv 2403.06414, set-up)."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence

from evokd.examples import Example, folded
from evokd.kinds import Kind


def sample_shots(
    examples: Sequence[Example],
    kind: Kind,
    *,
    shots: int,
    seed: int,
    barred: Sequence[Example] = (),
) -> list[Example]:
    """Return few examples in which every label stands in at least `shots` texts.

    Of a classification that is exactly `shots` a label (the paper: 1, 3 and 5, seeds 1 to 5). Where
    a text may have several, texts that serve most labels still wanting come first, of equals one by
    chance, and one that turns out not to be needed is left out again; a label may stand in more
    texts than asked for. A label with too few texts has all of them. A text counts once.

    Args:
        barred: examples whose texts are not drawn, such as those of test.

    `evokd compare` draws the seeds of its runs; `benchmarks.quality` those of its tables.
    """
    rng = random.Random(seed)
    order = rng.sample(range(len(examples)), len(examples))
    labels = {i: kind.labels_in(examples[i].label) for i in order}
    have: Counter[str] = Counter()
    chosen: list[int] = []
    seen = {folded(e.text) for e in barred}
    left: list[int] = []
    for i in order:
        if labels[i] and (text := folded(examples[i].text)) not in seen:
            seen.add(text)
            left.append(i)

    def serves(number: int) -> int:
        return sum(have[label] < shots for label in labels[number])

    # What a text serves only falls, so one pass finds all that serve as many as any can.
    for most in range(max(map(len, labels.values()), default=0), 0, -1):
        rest = []
        for i in left:
            if serves(i) == most:
                chosen.append(i)
                have.update(labels[i])
            else:
                rest.append(i)
        left = rest
    return [examples[i] for i in _needed(chosen, labels, have, shots)]


def _needed(
    chosen: list[int], labels: dict[int, tuple[str, ...]], have: Counter[str], shots: int
) -> list[int]:
    """Leave out what its labels can do without, the first chosen last."""
    kept = list(chosen)
    for number in reversed(chosen):
        if all(have[label] > shots for label in labels[number]):
            kept.remove(number)
            have.subtract(labels[number])
    return kept
