"""Entities in a text. The student gives a list of found spans for every text.

The teacher copies entities from the text, held to it by a grammar, with the types listed in two
orders. What both replies have is sure; what only one has is asked again (ProgGen, arXiv
2403.11103): right, wrong boundary, wrong type, or not an entity.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any, get_args

from evokd import prompts, shorter
from evokd.answers import Span, marked, names_in, read_spans, write_spans
from evokd.calls import Calls
from evokd.examples import Example
from evokd.labelling import NO_ANSWER, Labelled, likest, opinions, unanswered
from evokd.likeness import Demonstrations
from evokd.prompts import VERDICTS
from evokd.records import Prediction
from evokd.replies import Entities, occurrences, parse_entities
from evokd.scores import Scores, score_spans
from evokd.task import Task
from evokd.teacher import Generate, Refusal, Score, Written, grammar
from evokd.watch import Progress
from evokd.wording import Seen
from serving.spans import without_overlaps

MOST = 40  # entities of one text
REFUSALS = (*get_args(Refusal), NO_ANSWER)
UNCERTAIN = "uncertain entity"
UNREAD = "entities: "  # opens why a text has no answer though the teacher gave one
OVERLAP = "overlapping entity"
NOTHING = "nothing"
UNSURE = (
    0.5  # confidence in an answer without entities, whose probability the student does not give
)


class EntityTagging:
    """The kind `ner`; see `evokd.kinds.Kind`."""

    def __init__(self, task: Task) -> None:
        self.task = task

    def labels_in(self, answer: str) -> tuple[str, ...]:
        """Return the types of the entities, each once."""
        return names_in(answer, "ner")

    def definitions(self) -> list[Example]:
        """Return nothing: a definition has no entities in it."""
        return []

    def label(
        self,
        calls: Calls,
        scope: str,
        texts: Sequence[str],
        progress: Progress,
        *,
        like: Sequence[Demonstrations] = (),
        asked_for: Sequence[str | None] = (),
    ) -> list[Labelled]:
        """Have entities copied out twice, and ask again about those that only one reply has.

        Without a second opinion they are copied out once, and nothing is asked again.
        """
        said = self._copied(calls, scope, texts, progress, like)
        count = len(opinions(self.task))
        one, other = said[::count], said[count - 1 :: count]
        doubted = [
            (number, span)
            for number, (a, b) in enumerate(zip(one, other, strict=True))
            if not (a.reject or b.reject)
            for span in sorted({*a.spans} ^ {*b.spans})
        ]
        verdicts: dict[int, dict[Span, str]] = defaultdict(dict)
        tick = progress("asking again", len(doubted))
        doubts = [self._doubt(texts[number], span) for number, span in doubted]
        for (number, span), scored in zip(
            doubted, calls.score(f"{scope}/verdicts", doubts, tick), strict=True
        ):
            if why := unanswered(scored):
                one[number] = Entities(reject=why)
                continue
            best = max(range(len(VERDICTS)), key=lambda i, s=scored: s.logprobs[i])  # type: ignore[misc]
            verdicts[number][span] = VERDICTS[best]
        return [
            joined(a, b, verdicts[number])
            for number, (a, b) in enumerate(zip(one, other, strict=True))
        ]

    def questions(self, text: str) -> list[Generate]:
        """Return the requests to copy entities out, with the types in one order and the other."""
        return [self._request(text, order, ()) for order in opinions(self.task)]

    def confusion(self, seen: Seen) -> tuple[str, str]:
        """Return the type of the first entity that is wrong, and what it was taken for.

        Both are the same where only the boundary is wrong.
        """
        gold, given = read_spans(seen.label), read_spans(seen.predicted)
        for span in sorted({*gold} ^ {*given}):
            others = given if span in gold else gold
            beside = _beside(span, others)
            label = beside.label if beside else NOTHING
            return (span.label, label) if span in gold else (label, span.label)
        return NOTHING, NOTHING

    def predictions(self, outputs: Any) -> list[Prediction]:
        """Return the entities of each text, and the probability of the least sure one."""
        made = []
        for found in outputs:
            sure = min((one.score for one in found), default=UNSURE)
            answer = write_spans(one.span for one in found)
            made.append(Prediction(answer, float(sure), float(sure)))
        return made

    def score(self, gold: Sequence[str], outputs: Any) -> Scores:
        """Compare entities strictly: words and type must both be right."""
        given = [write_spans(one.span for one in found) for found in outputs]
        return score_spans(gold, given, self.task.names)

    def _copied(
        self,
        calls: Calls,
        scope: str,
        texts: Sequence[str],
        progress: Progress,
        like: Sequence[Demonstrations],
    ) -> list[Entities]:
        """Have the entities of every text copied out, in each order of the types in turn."""
        both = opinions(self.task)
        tick = progress("labelling", len(both) * len(texts))
        # Text by text: what a budget cuts off is a few texts, not the second reply of all of them.
        scopes = [f"{scope}/label {n}" for n in range(1, len(both) + 1)] * len(texts)

        def requests(level: int) -> list[Generate]:
            return [
                self._request(text, order, likest(shown, level))
                for text, shown in zip(texts, like or [()] * len(texts), strict=True)
                for order in both
            ]

        def put(numbers: Sequence[int], asked: Sequence[Generate]) -> list[Written]:
            return calls.generate([scopes[i] for i in numbers], asked, tick)

        _, replies = shorter.ask(put, requests)
        of_texts = (text for text in texts for _ in both)
        return [
            parse_entities(reply, text, self.task.names)
            for reply, text in zip(replies, of_texts, strict=True)
        ]

    def _request(self, text: str, order: Sequence[str], like: Demonstrations) -> Generate:
        shown = {name: self.task.labels[name] for name in order}
        structure = self.task.teacher.structure
        return Generate(
            prompts.ask_entities(self.task.domain, shown, text, examples=like),
            temperature=0.0,
            max_tokens=self.task.teacher.max_tokens,
            grammar=grammar.spans_of(text, order, MOST) if structure else "",
        )

    def _doubt(self, text: str, span: Span) -> Score:
        words = text[span.start : span.end]
        if len(occurrences(text, words)) > 1:  # which of them is meant has to be seen
            text = marked(text, [span])
        asked = prompts.ask_verdict(
            self.task.domain, self.task.labels, text, words=words, label=span.label
        )
        return Score(asked, VERDICTS)


def joined(one: Entities, other: Entities, verdicts: dict[Span, str]) -> Labelled:
    """Return the answer that two replies and the verdicts on their differences give.

    A wrong boundary or type leaves a text in doubt, unless an entity that is kept stands there; so
    do two types for the same words that are both called right.
    Entities that are not in the answer are told by reason: the verdict on them, or OVERLAP.
    """
    if reject := one.reject or other.reject:
        return Labelled("", reason=reject if reject in REFUSALS else f"{UNREAD}{reject}")
    kept = {*one.spans} & {*other.spans}
    kept |= {span for span, verdict in verdicts.items() if verdict == "right"}
    answer = without_overlaps(sorted(kept))
    doubted = any(
        verdict in ("wrong boundary", "wrong type") and not _beside(span, answer)
        for span, verdict in verdicts.items()
    )
    if doubted or len({(span.start, span.end) for span in kept}) < len(kept):
        return Labelled(write_spans(answer), reason=UNCERTAIN)
    said = dict.fromkeys((*one.overlaps, *other.overlaps, *kept), OVERLAP)
    said |= {span: verdict for span, verdict in verdicts.items() if verdict != "right"}
    left_out = sorted(why for span, why in said.items() if span not in answer)
    return Labelled(write_spans(answer), left_out=tuple(left_out))


def _beside(span: Span, others: Iterable[Span]) -> Span | None:
    """Return the first of the others that overlaps a span."""
    return next((o for o in others if o.start < span.end and span.start < o.end), None)
