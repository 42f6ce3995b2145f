"""What differs between the kinds of task; the loop, the ledger and the report are the same for all.

A kind knows how an answer is written (see `evokd.answers`), how a teacher is asked for it, how a
student's outputs are read, and how good they are.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from evokd.examples import Example
from evokd.kinds.classification import Classification
from evokd.kinds.entities import EntityTagging
from evokd.kinds.multilabel import Multilabel
from evokd.labelling import Labelled
from evokd.likeness import Demonstrations
from evokd.records import Prediction
from evokd.scores import Scores
from evokd.task import Task
from evokd.teacher import Generate, Score
from evokd.watch import Progress
from evokd.wording import Seen

if TYPE_CHECKING:
    from evokd.calls import Calls


class Kind(Protocol):
    """One kind of task, made for one task."""

    def labels_in(self, answer: str) -> tuple[str, ...]:
        """Return the labels that an answer gives, each once; none for an empty answer."""
        ...

    def definitions(self) -> list[Example]:
        """Return the labels' definitions as examples, where a definition is such a text."""
        ...

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
        """Have the teacher label texts (P3).

        Args:
            like: for every text, like texts with their answers to label it by; () for none. Of
                use where one question asks for the whole answer: not where each label has its own.
            asked_for: for every text the label that it was written for, or None; () for none. Of
                use where the labels compete: they tell which of them the teacher favours.
        """
        ...

    def questions(self, text: str) -> Sequence[Generate | Score]:
        """Return what a teacher is asked first about a text, with no like texts."""
        ...

    def confusion(self, seen: Seen) -> tuple[str, str]:
        """Return the pair of labels that a mistake is about: the right one and the one given."""
        ...

    def predictions(self, outputs: Any) -> list[Prediction]:
        """Return what a student's outputs for some texts say."""
        ...

    def score(self, gold: Sequence[str], outputs: Any) -> Scores:
        """Compare a student's outputs with the right answers."""
        ...


KINDS: dict[str, Callable[[Task], Kind]] = {
    "classification": Classification,
    "multilabel": Multilabel,
    "ner": EntityTagging,
}


def kind_of(task: Task) -> Kind:
    """Return the task's kind."""
    return KINDS[task.kind](task)
