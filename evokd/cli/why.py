"""The command that tells where a text came from: why."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rich.console import RenderableType

    from evokd.lineage import Lineage, Opinion, Told
    from evokd.records import Call

Tell = Callable[[str, str], str]
"""Says an answer in words; of the answer and its text."""
LISTED = 20  # texts that are listed when several fit
TAIL = 600  # characters of a prompt's end that are shown
BACK = 12  # ancestors that are shown
UNLIKELY = 0.01  # probability below which a label is not listed


def why(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="The folder of a run.")],
    text: Annotated[
        str, typer.Argument(metavar="TEXT_OR_ID", help="A text, a part of one, or an id.")
    ],
    full: Annotated[
        bool, typer.Option("--full", help="Show prompts whole, and every earlier text.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="All of it as JSON.")] = False,
) -> None:
    """Tell where a text of a run came from, and why it is trained on or not.

        evokd why runs/demo "wake me when the oven"

    The call that wrote it, with prompt and reply; the mistakes and the weakness behind a hard or
    easy text, and where those came from in turn; what the teacher said when it labelled it; the
    checks that it passed. Reads `run.db` alone, also while the run is at work.
    """
    import json

    from rich.console import Console

    from evokd.answers import in_words
    from evokd.errors import InputError
    from evokd.examples import is_unicode
    from evokd.ledger import reading
    from evokd.runfiles import RunFiles
    from evokd.why import matches
    from evokd.why import why as lineage_of

    path = RunFiles(run).begun()
    if not is_unicode(text):
        raise InputError("TEXT_OR_ID: is not Unicode", "give it in UTF-8")
    with reading(path) as ledger:
        found = matches(ledger, text)
        if len(found) == 1:
            lineage = lineage_of(ledger, found[0].text)
            tell: Tell = partial(in_words, ledger.meta("run")["settings"]["kind"])
    if len(found) != 1:
        for told in found[:LISTED]:
            typer.echo(f"{told.id}  {told.fate:<16}  {told.text}")
        says = f"{len(found)} texts fit" if found else "no text fits"
        hint = "give more of it, or one of the ids" if found else "give a part of its text"
        raise InputError(f"{run}: {says} {text!r}", hint)
    if as_json:
        typer.echo(json.dumps(lineage.to_dict(), indent=2, ensure_ascii=False))
        return
    console = Console(highlight=False)
    for part in _parts(lineage, full, tell):
        console.print(part)


def _parts(lineage: Lineage, full: bool, tell: Tell) -> Iterator[RenderableType]:
    from rich.text import Text

    told = lineage.told
    yield Text(told.text, style="bold")
    yield _lines(_facts(lineage, tell))
    if lineage.call:
        yield _title(f"written by call {lineage.call.key}")
        yield _lines(_call(lineage.call, full))
    if lineage.analysis or lineage.weakness:
        yield _title("about what the student got wrong, in the teacher's words")
        yield _lines([("", pattern) for pattern in lineage.weakness])
        if lineage.analysis:
            yield _lines([("call", _called(lineage.analysis))])
    if lineage.shown:
        yield _title("after these texts")
        yield _lines([(s.role, _shown(s.told, s.said, s.confidence, tell)) for s in lineage.shown])
    if earlier := lineage.ancestors[len(lineage.shown) :]:
        yield _title("which came from")
        shown = earlier if full else earlier[:BACK]
        yield _lines([(a.told.id[:8], f"{_where(a.told)}: {a.told.text}") for a in shown])
        if len(earlier) > len(shown):
            yield _lines([("", f"and {len(earlier) - len(shown)} more, see --full")])
    if lineage.labelling:
        yield _title("labelled by")
        yield _lines([(o.call.scope.partition("/")[2], _opinion(o)) for o in lineage.labelling])
    if lineage.checks:
        yield _title("checks")
        marks = {True: "passed", False: "failed", None: "not made"}
        yield _lines(
            [(marks[c.passed], c.name + (f" ({c.says})" if c.says else "")) for c in lineage.checks]
        )
    if lineage.also:
        yield _title("the same text again")
        yield _lines([("", f"{_where(t)}: {t.fate}") for t in lineage.also])


def _facts(lineage: Lineage, tell: Tell) -> list[tuple[str, str]]:
    told, tested = lineage.told, lineage.tested
    facts = [("id", told.id), ("label", tell(told.label, told.text)), ("serves", told.fate)]
    if told.round is not None:
        facts.append(("from", _where(told)))
    if lineage.soft:
        facts.append(("teacher", _likely(dict(lineage.soft))))
    if tested:
        right = "right" if tested.predicted == told.label else "wrong"
        facts.append(
            ("student", f"said {tell(tested.predicted, told.text)} ({tested.confidence:.2f}) before"
             f" training on it: {right}")
        )  # fmt: skip
    return facts


def _where(told: Told) -> str:
    from evokd.records import RELABELLED

    if told.round is None:
        return told.fate
    written = "for the gate" if told.round < 0 else f"round {told.round}"
    asked = "asked for " if told.origin == RELABELLED else ""
    behind = f", {asked}{told.source}" if told.source != told.origin else ""
    return f"{written}, {told.origin}{behind}"


def _call(call: Call, full: bool) -> list[tuple[str, str]]:
    asked = call.request["messages"]
    prompt = "\n".join(f"[{m['role']}] {m['content']}" for m in asked)
    if not full and len(prompt) > TAIL:
        prompt = f"... {prompt[-TAIL:]}"
    return [("call", _called(call)), ("prompt", prompt), ("reply", _reply(call))]


def _reply(call: Call) -> str:
    if call.reply is None:
        return "none yet"
    from evokd.calls import read_reply, refused

    if why := refused(read_reply(call.reply, call.tokens)):
        return "not asked: " + ("the budget was spent" if why == "budget" else why)
    return str(call.reply.get("text", ""))


def _called(call: Call) -> str:
    read, written, _ = call.tokens
    seed = f", seed {call.request['seed']}" if "seed" in call.request else ""
    return f"{call.scope}, {read} tokens read, {written} written{seed}"


def _shown(told: Told, said: str, confidence: float | None, tell: Tell) -> str:
    words = f"{told.id[:8]}  {told.text}  [{tell(told.label, told.text)}"
    words += f", it said {tell(said, told.text)}" if said and said != told.label else ""
    words += f" {confidence:.2f}" if confidence is not None else ""
    return f"{words}; {_where(told)}]"


def _opinion(opinion: Opinion) -> str:
    if not opinion.probabilities:
        return _reply(opinion.call)
    # Where a text is asked about label by label, the question's end says which is meant.
    last = str(opinion.call.request["messages"][-1]["content"]).splitlines()[-1]
    question = "" if last.startswith("Text: ") else f"{last} "
    return question + _likely(dict(opinion.probabilities))


def _likely(probabilities: dict[str, float]) -> str:
    ranked = sorted(probabilities.items(), key=lambda pair: -pair[1])
    listed = [pair for pair in ranked if pair[1] >= UNLIKELY] or ranked[:1]
    return ", ".join(f"{name} {value:.2f}" for name, value in listed)


def _title(words: str) -> RenderableType:
    from rich.text import Text

    return Text(f"\n{words}", style="bold")


def _lines(facts: list[tuple[str, str]]) -> RenderableType:
    from rich.table import Table
    from rich.text import Text

    table = Table.grid(padding=(0, 2))
    table.add_column(min_width=9, no_wrap=True)
    table.add_column(overflow="fold")
    for name, says in facts:
        table.add_row(Text(f"  {name}", style="dim"), Text(says))
    return table


def register(app: typer.Typer) -> None:
    """Add this file's commands."""
    app.command()(why)
