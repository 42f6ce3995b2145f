"""What lies in a run's folder: every path, spelt once."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from evokd.errors import InputError


@dataclass(frozen=True, slots=True)
class RunFiles:
    """Every path in a run's folder."""

    root: Path

    def begun(self) -> Path:
        """Return the database of a run that is there; InputError where there is none."""
        if self.ledger.is_file():
            return self.ledger
        above = RunFiles(self.root.parent)  # of a student, say
        hint = f", here {above.root}" if above.ledger.is_file() else ""
        raise InputError(f"{self.ledger}: no such file", f"give the folder of a run{hint}")

    @property
    def ledger(self) -> Path:
        """The database of the run."""
        return self.root / "run.db"

    @property
    def student(self) -> Path:
        """The folder that serves."""
        return self.root / "student"

    @property
    def whole(self) -> Path:
        """The final student before it was made smaller, while that is under way."""
        return self.root / "rounds" / "whole"

    @property
    def nano(self) -> Path:
        """The folder of the nano student, which serves too."""
        return self.root / "nano"

    @property
    def report(self) -> Path:
        """The report, one self-contained file."""
        return self.root / "report.html"

    @property
    def summary(self) -> Path:
        """The figures; written last."""
        return self.root / "summary.json"
