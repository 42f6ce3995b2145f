"""The students of a run's rounds, each in a folder of its own as long as a later step may ask."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

from evokd.ledger import Ledger
from evokd.lessons import Fitted

SEED = -1
"""In place of a round: the student that is trained on the seed examples alone."""


class Students:
    """The folders of students, whose rounds are in the ledger.

    Args:
        load: reads a student from its folder.
    """

    def __init__(self, ledger: Ledger, root: Path, load: Callable[[Path], Fitted]) -> None:
        self.ledger, self.root, self._load = ledger, root, load

    def folder(self, number: int) -> Path:
        """Return where a round's student is, or SEED's."""
        return self.root / ("seed" if number == SEED else f"{number:02d}")

    def of(self, number: int) -> Fitted:
        """Return the student of exactly this round."""
        return self._load(self.folder(number))

    def behind(self, number: int) -> Fitted:
        """Return the student as it is behind a round; one that was rolled back does not count."""
        while number != SEED and self.ledger.result(number)["rolled_back"]:
            number -= 1
        return self.of(number)

    def latest(self) -> Fitted:
        """Return the student so far."""
        return self.behind(len(self.ledger.results()) - 1)

    def forget(self, *, but: int) -> None:
        """Remove those that no later step can ask for: all but one round's, and the latest.

        Each is as large as the encoder.
        """
        finished = [int(r["round"]) for r in self.ledger.results()]
        usable = [n for n in finished if not self.ledger.result(n)["rolled_back"]]
        for number in finished:
            if number not in (*usable[-1:], but):
                shutil.rmtree(self.folder(number), ignore_errors=True)
