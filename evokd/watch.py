"""What a run tells whoever watches it. The command line draws it; tests and scripts stay silent."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

Tick = Callable[[], None]
"""Called as each part of a step ends."""
Progress = Callable[[str, int], Tick]
"""Called with a step and how often it will tick; returns what ticks."""
OnStep = Callable[[int, int], None]
"""Called with the steps of a training that are done, and all of them."""


class Watch(Protocol):
    """Somebody who watches a run."""

    def stage(self, title: str) -> None:
        """A stage or a round begins."""
        ...

    def progress(self, what: str, total: int) -> Tick:
        """A step of `total` parts begins; the returned function is called as each part ends."""
        ...

    def weaknesses(self, named: Sequence[Sequence[str]]) -> None:
        """The teacher has named what the student gets wrong, conversation by conversation."""
        ...

    def round(self, result: Mapping[str, Any]) -> None:
        """A round is whole; see `evokd.outcomes` for the result."""
        ...

    def note(self, text: str) -> None:
        """Something worth a line."""
        ...


class Silent:
    """Watches without a word."""

    def stage(self, title: str) -> None:
        """See `Watch`."""

    def progress(self, what: str, total: int) -> Tick:
        """See `Watch`."""
        return lambda: None

    def weaknesses(self, named: Sequence[Sequence[str]]) -> None:
        """See `Watch`."""

    def round(self, result: Mapping[str, Any]) -> None:
        """See `Watch`."""

    def note(self, text: str) -> None:
        """See `Watch`."""


def steps(watch: Watch, what: str) -> OnStep:
    """Return an `on_step(done, total)` that shows as one progress of the watch."""
    tick: list[Tick] = []

    def on_step(done: int, total: int) -> None:
        if not tick:
            tick.append(watch.progress(what, total))
        tick[0]()

    return on_step
