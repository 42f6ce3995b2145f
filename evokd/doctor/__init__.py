"""Look at this machine, the installation and a teacher, and say what is wrong and what to do.

`examine` makes the findings. What runs in C is tried in a process of its own (`child`), so that
a crash there becomes a finding. Knows how to look, not how to show it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

State = Literal["good", "warning", "wrong"]
IMPORT = 300  # seconds after which an import counts as hung; a slow disk may need one of them
STATES: tuple[State, ...] = ("good", "warning", "wrong")


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        state: "warning" costs speed or leaves a part unused; "wrong" must be put right.
        says: what was found, in a sentence.
        hint: what to do about it; empty when all is good.
        facts: the same in figures, for programs.
    """

    topic: str
    state: State
    says: str
    hint: str = ""
    facts: Mapping[str, Any] = field(default_factory=dict)


def good(topic: str, says: str, **facts: Any) -> Finding:
    """Return a finding that asks for nothing."""
    return Finding(topic, "good", says, facts=facts)


def warning(topic: str, says: str, hint: str, **facts: Any) -> Finding:
    """Return a finding that one can live with."""
    return Finding(topic, "warning", says, hint, facts)


def wrong(topic: str, says: str, hint: str, **facts: Any) -> Finding:
    """Return a finding that stands in the way."""
    return Finding(topic, "wrong", says, hint, facts)


def worst(findings: Sequence[Finding]) -> State:
    """Return the worst state among the findings."""
    return STATES[max((STATES.index(finding.state) for finding in findings), default=0)]


def examine(teacher: str = "demo") -> Iterator[Finding]:
    """Give the findings one by one, as they are made; the slow ones come last.

    Args:
        teacher: as `teacher.model` of a task: "demo", a file, hf:... or a server's address.
    """
    from evokd.doctor import engine, machine, model, packages
    from evokd.doctor.child import Answer, ask
    from evokd.settings import TeacherSettings

    settings = TeacherSettings(model=teacher)
    yield from machine.findings()
    yield from packages.findings(remote=settings.remote)
    nothing = Answer([], "", "")
    torch = ask("torch", seconds=IMPORT) if packages.installed("torch") else nothing
    llama = ask("llama", seconds=IMPORT) if packages.installed("llama_cpp") else nothing
    yield machine.graphics(torch, llama)
    yield from engine.torch(torch)
    yield from engine.build(llama)
    if settings.remote:
        yield model.server(settings)
    elif not packages.installed("llama_cpp") or not packages.installed("gguf"):
        yield wrong("teacher", "not tried: llama.cpp is missing", "pip install 'evokd[teacher]'")
    else:
        free = machine.room_for_model(torch, llama)
        yield from model.findings(settings, free=free, tried=not llama.death)
