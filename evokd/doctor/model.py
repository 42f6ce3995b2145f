"""The teacher: what its file says, whether it fits, whether it is right, and how fast it is."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evokd.doctor import Finding, good, warning, wrong
from evokd.doctor.child import ask
from evokd.doctor.machine import GIGA
from evokd.errors import EvokdError
from evokd.settings import TeacherSettings

if TYPE_CHECKING:
    from evokd.doctor.header import Header

SHORT = 1024  # tokens of training below which questions with many labels do not fit
TIGHT = 0.8  # share of the free memory from which it is tight
SLOW = 5.0  # tokens a second, side by side, below which a run takes days


def findings(settings: TeacherSettings, *, free: int | None, tried: bool) -> Iterator[Finding]:
    """Give what there is to say of a model file.

    Args:
        settings: the model, and the context that it would be opened with.
        free: bytes of memory that it may take, None where the system does not tell.
        tried: whether llama.cpp works at all; otherwise the file is only read.
    """
    try:
        from evokd.doctor.header import read_header
        from evokd.teacher.modelfile import find_model

        path = find_model(settings.model)
    except EvokdError as error:
        yield wrong("teacher", error.message, error.hint)
        return
    try:
        header = read_header(path)
    except EvokdError as error:  # the file is whole: it may be newer than the package that reads it
        yield warning("teacher", error.message, "try a newer one: pip install -U gguf")
        if tried:
            yield from trial(path)
        return
    yield from described(header)
    room = fits(header, settings.context, free)
    yield room
    if room.state == "wrong" or not tried:
        yield warning("trial", "not tried", "see above for what is in its way")
        return
    yield from trial(path)


def described(header: Header) -> Iterator[Finding]:
    """Say what the file is, and what it lacks."""
    says = (
        f"{header.name}: {header.architecture}, {_count(header.parameters)} parameters,"
        f" {header.quantisation}, {_size(header.bytes)}, trained on {header.context:,} tokens,"
        f" licence {header.licence or 'not named'},"
        f" {'with' if header.template else 'no'} chat template"
    )
    yield good("teacher", says, **header.facts())
    if not header.template:
        hint = "take an instruct model; ChatML is used, which may not suit it"
        yield warning("chat template", "the file has none: it may be a base model", hint)
    if header.context < SHORT:
        hint = "use few labels and short texts, or another model"
        yield warning("context", f"it was trained on only {header.context:,} tokens", hint)
    if not header.licence:
        hint = "look it up where the model came from, before you publish texts or a student"
        yield warning("licence", "the file does not name its licence", hint)


def fits(header: Header, context: int, free: int | None) -> Finding:
    """Say whether weights, context and working space fit into the memory that is free."""
    needed = header.bytes + context * header.cell + header.work
    says = (
        f"about {_size(needed)}: {_size(header.bytes)} weights, {_size(context * header.cell)} for"
        f" {context:,} tokens of context, {_size(header.work)} to work in"
    )
    facts = {"needed": needed, "free": free, "bytes_a_token": header.cell}
    if free is None:
        return good("room", says, **facts)
    says += f"; {_size(free)} are free"
    hint = "take a smaller model or a stronger quantisation, or lower teacher.context"
    if needed > free:
        return wrong("room", says, hint, **facts)
    return (
        warning("room", says, hint, **facts)
        if needed > TIGHT * free
        else good("room", says, **facts)
    )


def trial(path: Path) -> Iterator[Finding]:
    """Load the model in a process of its own, check what it says, and time it."""
    answer = ask("trial", str(path))
    stages = {"loaded": "loading", "parity": "checking", "speeds": "timing"}
    parity, speeds = answer.get("parity"), answer.get("speeds")
    if parity:
        yield judge_parity(parity)
    if speeds:
        yield judge_speeds(speeds)
    if answer.death:
        at = next((doing for key, doing in stages.items() if not answer.get(key)), "closing")
        yield wrong("trial", f"llama.cpp failed while {at} the model: {answer.death}", answer.hint)


def judge_parity(parity: dict[str, Any]) -> Finding:
    """Say whether texts get the same probabilities alone and side by side."""
    from evokd.doctor.parity import Parity

    found = Parity(**parity)
    says = (
        f"{found.tokens} tokens alone and side by side: log-probabilities at most"
        f" {found.worst:.3f} nats apart ({found.limit:.2f} can be rounding),"
        f" {found.flips} likeliest tokens differ"
    )
    if found.holds:
        return good("parity", says, **parity)
    hint = "this build computes wrongly: try teacher.gpu_layers=0, or another llama-cpp-python"
    return wrong("parity", says, hint, **parity)


def judge_speeds(speeds: dict[str, Any]) -> Finding:
    """Say how many tokens a second go through the model."""
    generation = {int(width): speed for width, speed in speeds["generation"].items()}
    width = max(generation)
    says = (
        f"{speeds['prefill']:,.0f} tokens/s read; written {generation[1]:,.0f} in one"
        f" conversation, {generation[width]:,.0f} in {width} side by side"
    )
    if generation[width] < SLOW:
        hint = "a run asks for some 100,000 tokens: take a smaller model, a GPU or a server"
        return warning("speed", says, hint, **speeds)
    return good("speed", says, **speeds)


def server(settings: TeacherSettings) -> Finding:
    """Ask a server who it is, and for a word."""
    try:
        from evokd.teacher import Generate, Message, open_teacher

        teacher = open_teacher(settings)
    except EvokdError as error:
        return wrong("teacher", error.message, error.hint)
    try:
        # Who it is many tell without a key.
        teacher.generate([Generate((Message("user", "Say hello."),), seed=0, max_tokens=16)])
        says = f"{settings.model} answers: {teacher.name}"
        return good("teacher", says, name=teacher.name, fingerprint=teacher.fingerprint)
    except EvokdError as error:
        return wrong("teacher", error.message, error.hint)
    finally:
        teacher.close()


def _size(count: int) -> str:
    return f"{count / GIGA:.1f} GB" if count >= GIGA else f"{count / 1e6:.0f} MB"


def _count(parameters: int) -> str:
    if parameters >= 1e9:
        return f"{parameters / 1e9:.1f} B"
    return f"{parameters / 1e6:.1f} M" if parameters >= 1e6 else f"{parameters:,}"
