from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fake_run import Run, make_task, tables, write_jsonl
from fakes import KEYWORDS, LABELS, FakeLearner, ScriptedTeacher, digest, sentence, texts_of
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from evokd.cli import app
from evokd.errors import TeacherError
from evokd.examples import Example
from evokd.fitness import judge
from evokd.forecast import Forecast, forecast
from evokd.ledger import Ledger, reading
from evokd.measured import Cost, Fit, Measured, Share, Trial
from evokd.pilot import MOST_DEV, Counted, Pilot
from evokd.prior import recorded
from evokd.settings import BudgetSettings, MethodSettings
from evokd.task import Task, TaskData, load_data, load_task
from evokd.teacher import Generate, Score, Scored
from evokd.watch import Silent


class Knows(ScriptedTeacher):
    """Labels every text by its words, and nothing but them."""

    def _score(self, request: Score) -> Scored:
        text = json.loads(request.messages[-1].content.rpartition("Text: ")[2])
        hits = [sum(w in KEYWORDS[c] for w in text.casefold().split()) for c in request.choices]
        points = np.array(hits, dtype=float)
        said = points - np.log(np.exp(points).sum())
        return Scored(tuple(said.tolist()), 10, 3, 5)


class SaysTheFirst(Knows):
    """Takes the label that stands first, whatever the text."""

    def _score(self, request: Score) -> Scored:
        return Scored((-0.1, *[-3.0] * (len(request.choices) - 1)), 10, 3, 5)


class Mumbles(Knows):
    """Writes nothing that can be read."""

    def _text(self, asked: str, rng: Any, number: int) -> str:
        return ""


class KnowsKinds(Knows):
    """Knows which labels apply to a text, and which of its words are entities."""

    def _score(self, request: Score) -> Scored:
        asked = request.messages[-1].content
        text = json.loads(asked.rpartition("Text: ")[2].splitlines()[0])
        named = re.search(r"Does the class (.+) apply", asked)
        applies = named and any(w in KEYWORDS[named[1]] for w in text.split())
        best = request.choices[0 if applies or not named else 1]
        return Scored(tuple(0.0 if c == best else -5.0 for c in request.choices), 10, 3, 5)

    def _text(self, asked: str, rng: Any, number: int) -> str:
        if "Which entities are in this text?" in asked:
            text = json.loads(asked.rpartition("Text: ")[2])
            found = ((w, n) for w in text.split() for n in KEYWORDS if w in KEYWORDS[n])
            return json.dumps([{"text": w, "type": n} for w, n in found])
        if found := re.search(r"Write (\d+) new texts .*the (?:class|type) (\w+)", asked):
            return json.dumps([sentence(rng, found[2]) for _ in range(int(found[1]))])
        return super()._text(asked, rng, number)


def ticks(step: float = 1.0) -> Any:
    """Return a clock on which every look takes a step."""
    return (step * n for n in range(10**6)).__next__


def pilot(
    folder: Path, task: Task, teacher: ScriptedTeacher | None, learner: FakeLearner | None = None
) -> Measured:
    """Measure with a teacher, or with what the folder's ledger has."""
    ledger = Ledger(folder / "plan.db")
    calls = Counted(ledger, None if teacher is None else lambda: teacher)
    try:
        made = Pilot(task, load_data(task), calls, Silent(), ticks())
        return made.measure(learner)
    finally:
        calls.close()
        ledger.close()


def test_a_teacher_that_knows_is_right_on_all_gold_texts(tmp_path: Path) -> None:
    task = make_task(tmp_path, dev=4)
    measured = pilot(tmp_path, task, Knows(faulty=0))
    assert measured.gold == Share(15, 15)  # one seed and four dev texts a label
    assert measured.confused == ()
    assert measured.parsed.value == 1
    assert measured.teacher == "scripted"
    assert measured.sure.value > 0.7
    assert measured.fit is None
    states = {f.topic: f.state for f in judge(task, measured)}
    assert states["labels"] == states["replies"] == states["texts"] == "good"
    assert states["own texts"] == "good"  # a text in four is of another label, and it sees that
    assert measured.own.of == measured.cover.labelled
    assert measured.own.hits == measured.cover.kept


def test_labels_that_fill_the_context_are_refused_and_one_long_text_is_not(tmp_path: Path) -> None:
    task = make_task(tmp_path)
    with pytest.raises(TeacherError, match="20 words"):
        pilot(tmp_path, task, Knows(context=20))
    rows = [{"text": " ".join([e.text] * (1 + 99 * first)), "label": e.label}
            for e, first in zip(texts_of(1, 1), (True, False, False), strict=True)]  # fmt: skip
    write_jsonl(tmp_path / "seed.jsonl", rows)
    measured = pilot(tmp_path, task, Knows(faulty=0, context=300))
    assert measured.gold == Share(2, 3)


def test_a_teacher_that_reads_only_the_order_is_found_out(tmp_path: Path) -> None:
    task = make_task(tmp_path, dev=8)
    measured = pilot(tmp_path, task, SaysTheFirst(faulty=0))
    assert measured.sure.hits == 0
    assert measured.gold == Share(9, 27)
    assert {right for right, _, _ in measured.confused} < {*LABELS}
    found = {f.topic: f for f in judge(task, measured)}
    assert found["labels"].state == "wrong"
    assert found["agreement"].state == "warning"
    assert found["texts"].state == "warning"


def test_a_teacher_that_cannot_write_is_of_no_use(tmp_path: Path) -> None:
    task = make_task(tmp_path)
    measured = pilot(tmp_path, task, Mumbles(faulty=0))
    assert measured.cover.texts == measured.feedback.texts == 0
    assert measured.parsed.value == 0
    replies = next(f for f in judge(task, measured) if f.topic == "replies")
    assert replies.state == "wrong"
    assert forecast(task, load_data(task), measured).parts[0].kept == 0


def several(text: str) -> dict[str, Any]:
    return {"labels": [n for n, words in KEYWORDS.items() if {*words} & {*text.split()}]}


def tagged(text: str) -> dict[str, Any]:
    found = [(m.start(), m.end(), m[0]) for m in re.finditer(r"\S+", text)]
    return {
        "entities": [
            {"start": start, "end": end, "label": n}
            for start, end, word in found
            for n in KEYWORDS
            if word in KEYWORDS[n]
        ]
    }


def of_kind(folder: Path, kind: str, answer: Any) -> Task:
    """Return a small task of another kind, with the same texts."""
    make_task(folder)
    for name in ("seed", "test"):
        path = folder / f"{name}.jsonl"
        texts = [json.loads(line)["text"] for line in path.read_text().splitlines()]
        write_jsonl(path, [{"text": text, **answer(text)} for text in texts])
    settings = json.loads((folder / "task.yaml").read_text())
    (folder / "task.yaml").write_text(json.dumps({**settings, "kind": kind}))
    return load_task(folder / "task.yaml")


@pytest.mark.parametrize(("kind", "answer"), [("multilabel", several), ("ner", tagged)])
def test_other_kinds_are_tried_alike(tmp_path: Path, kind: str, answer: Any) -> None:
    task = of_kind(tmp_path, kind, answer)
    measured = pilot(tmp_path, task, KnowsKinds(faulty=0))
    assert measured.gold == Share(3, 3)
    assert measured.sure.value == 1
    assert measured.feedback.conversations > 0
    assert measured.feedback.kept > 0
    labels, *others = judge(task, measured)
    assert (labels.topic, labels.state) == ("labels", "warning"), "three texts tell little"
    assert all(finding.state == "good" for finding in others)
    many = replace(measured, gold=Share(10, 10))
    assert next(iter(judge(task, many))).state == "good"
    assert forecast(task, load_data(task), measured).total.calls > 50


class ReadsHalf(KnowsKinds):
    """Tags every second text, and says of the others what cannot be read."""

    def _text(self, asked: str, rng: Any, number: int) -> str:
        if "Which entities are in this text?" in asked and digest(_text_in(asked)) % 2:
            return "I see none."
        return super()._text(asked, rng, number)


def _text_in(asked: str) -> str:
    text: str = json.loads(asked.rpartition("Text: ")[2])
    return text


def test_entities_that_cannot_be_read_count_against_a_teacher_alike(tmp_path: Path) -> None:
    """Of written texts as of gold ones."""
    task = of_kind(tmp_path, "ner", tagged)
    measured = pilot(tmp_path, task, ReadsHalf(faulty=0))
    written = measured.cover.labelled + measured.feedback.labelled
    assert measured.sure.of == measured.gold.of + written
    assert written > 0.9 * (measured.cover.texts + measured.feedback.texts)
    assert 0.3 < measured.sure.value < 0.7


def test_faulty_replies_are_counted(tmp_path: Path) -> None:
    task = make_task(tmp_path, loop={"cover": 60, "conversations": 8})
    measured = pilot(tmp_path, task, ScriptedTeacher(faulty=2))
    assert 0.3 < measured.parsed.value < 0.9
    assert measured.cover.parsed.of == measured.cover.conversations == 32
    # An analysis and the texts after it are two replies.
    assert measured.feedback.parsed.of == 2 * measured.feedback.conversations


def test_single_texts_that_are_left_out_do_not_spoil_their_reply(tmp_path: Path) -> None:
    class Careless(ScriptedTeacher):
        def _flawed(self, texts: list[str], number: int) -> list[str]:
            return ["", *super()._flawed(texts, number)]

    assert pilot(tmp_path, make_task(tmp_path), Careless(faulty=0)).parsed.value == 1


def test_no_test_text_is_asked_about_and_no_dev_text_is_shown_to_a_writer(tmp_path: Path) -> None:
    task = make_task(tmp_path, dev=5, test=5)
    data, teacher = load_data(task), ScriptedTeacher()
    pilot(tmp_path, task, teacher)
    said: dict[type, str] = {Generate: "", Score: ""}
    for request in teacher.asked:
        said[type(request)] += "\n".join(m.content for m in request.messages)
    for example in data.test:
        assert example.text not in said[Generate] + said[Score]
    for example in data.dev:
        assert example.text in said[Score]
        assert example.text not in said[Generate]


def test_much_gold_is_sampled(tmp_path: Path) -> None:
    task = make_task(tmp_path, dev=40)
    measured = pilot(tmp_path, task, Knows(faulty=0))
    assert measured.gold.of == MOST_DEV + 3


def test_a_second_pilot_asks_nothing_and_finds_the_same(tmp_path: Path) -> None:
    task = make_task(tmp_path, dev=2)
    first = pilot(tmp_path, task, ScriptedTeacher(), FakeLearner(task.names))
    again = pilot(tmp_path, task, None, FakeLearner(task.names, fail_at=0))
    assert again == first
    longer = make_task(tmp_path, dev=2, loop={"rounds": 9})
    assert pilot(tmp_path, longer, None, FakeLearner(task.names, fail_at=0)) == first


def test_every_label_is_tried_however_few_conversations_are_side_by_side(tmp_path: Path) -> None:
    """Else the run takes the teacher's favourites out of its labels, and the pilot does not."""
    task = make_task(tmp_path, teacher={"sequences": 2})
    measured = pilot(tmp_path, task, Knows(faulty=0))
    assert measured.cover.conversations == 3
    with reading(tmp_path / "plan.db") as ledger:
        asked = "".join(str(c.request["messages"]) for c in ledger.calls("pilot cover/cover"))
        assert recorded(ledger) is not None
    assert all(f"new texts of the class {name}" in asked for name in LABELS)
    # The run's 2 conversations a label, and one for its dev texts.
    calls = (measured.cover.writing + measured.cover.labelling).calls
    assert forecast(task, load_data(task), measured).parts[0].cost.calls == 3 * calls


def test_labels_that_nothing_was_written_of_are_told(tmp_path: Path) -> None:
    class Skips(Knows):
        """Writes nothing of one label."""

        def _text(self, asked: str, rng: Any, number: int) -> str:
            return "" if "of the class alarm" in asked else super()._text(asked, rng, number)

    class Notes(Silent):
        """Keeps what it is told."""

        def __init__(self) -> None:
            self.told: list[str] = []

        def note(self, text: str) -> None:
            self.told.append(text)

    task = make_task(tmp_path)
    for teacher, count in ((Knows(faulty=0), 0), (Skips(faulty=0), 1)):
        watch, ledger = Notes(), Ledger(tmp_path / f"{count}.db")
        calls = Counted(ledger, lambda it=teacher: it)
        Pilot(task, load_data(task), calls, watch, ticks()).measure()
        ledger.close()
        assert len(watch.told) == count, watch.told
    assert "written of alarm:" in watch.told[0]


@pytest.mark.parametrize(
    "change",
    [
        {"labels": {name: "texts of this sort" for name in LABELS}},
        {"labels": {name: "" for name in LABELS if name != "alarm"}},
        {"domain": "letters"},
        {"method": MethodSettings(second_opinion=False)},
    ],
)
def test_a_pilot_of_a_changed_task_finds_what_a_new_one_would(
    change: dict[str, Any], tmp_path: Path
) -> None:
    task = make_task(tmp_path, dev=4)
    other = task.model_copy(update=change)
    all_, kept = load_data(task), {}
    for part in ("seed", "dev"):
        kept[part] = tuple(e for e in getattr(all_, part) if e.label in other.labels)
    mine = all_.model_copy(update=kept)

    def found(name: str, *pilots: tuple[Task, TaskData]) -> Measured:
        ledger = Ledger(tmp_path / name)
        for one, data in pilots:
            calls = Counted(ledger, lambda: ScriptedTeacher(faulty=0))
            measured = Pilot(one, data, calls, Silent(), ticks()).measure()
        ledger.close()
        return replace(measured, cover=FINE.cover, feedback=FINE.feedback, labelling=Cost())

    assert found("used.db", (task, all_), (other, mine)) == found("new.db", (other, mine))


def test_a_pilot_of_another_teacher_is_refused_although_no_call_is_lacking(tmp_path: Path) -> None:
    pilot(tmp_path, make_task(tmp_path), ScriptedTeacher())
    moved = make_task(tmp_path, teacher={"model": "http://127.0.0.1:1/v1"})
    with pytest.raises(TeacherError, match="another model"):
        pilot(tmp_path, moved, ScriptedTeacher(fingerprint="another"))
    # The same model under another name goes on.
    assert pilot(tmp_path, moved, ScriptedTeacher()) == pilot(tmp_path, moved, None)


def test_a_training_is_timed_anew_for_other_labels(tmp_path: Path) -> None:
    task, learner = make_task(tmp_path), Slow(LABELS)
    for domain in ("a", "a", "b"):
        pilot(tmp_path, task.model_copy(update={"domain": domain}), ScriptedTeacher(), learner)
    assert len(learner.log) == 2


def test_what_a_step_took_is_whole_where_only_a_part_was_made_anew(tmp_path: Path) -> None:
    task = make_task(tmp_path)
    first = pilot(tmp_path, task, ScriptedTeacher(faulty=0))
    more = make_task(tmp_path, loop={"cover": 16})
    teacher = ScriptedTeacher(faulty=0)
    second = pilot(tmp_path, more, teacher)
    asked = [r for r in teacher.asked if isinstance(r, Generate) and "the class" in str(r)]
    assert first.cover.writing.calls == 6
    assert second.cover.writing.calls == 12
    assert len([r for r in asked if len(r.messages) == 1 and "Write" in str(r)]) == 6
    assert second.cover.writing.tokens_out > first.cover.writing.tokens_out


def test_a_training_is_timed_and_not_finished(tmp_path: Path) -> None:
    task, learner = make_task(tmp_path), Slow(LABELS)
    measured = pilot(tmp_path, task, ScriptedTeacher(), learner)
    # A look at the clock a step, a second each; the first step and the start have one together.
    assert measured.fit == Fit(0.0, 1.0, 1 / 48)
    assert len(learner.log) == 1
    assert learner.fits == 0


class Slow(FakeLearner):
    """Takes a hundred steps."""

    def fit(self, examples: Sequence[Example], **how: Any) -> Any:
        return super().fit(examples, **{**how, "epochs": 100})


def test_a_training_that_is_short_counts_the_least_steps_of_its_kind(tmp_path: Path) -> None:
    few = changed(cover=replace(TRIAL, kept=0), feedback=replace(TRIAL, kept=0))
    few = replace(few, fit=Fit(start=0.0, step=1.0, answer=0.0))
    seconds = {}
    for kind in ("classification", "ner"):
        task = make_task(tmp_path)
        data = load_data(task)
        task = task.model_copy(update={"kind": kind})
        seconds[kind] = forecast(task, data, few).parts[-1].cost.seconds
    trainings = 2 + 1 + task.loop.rounds  # of the seeds, of round 0, of each round, and the final
    assert seconds == {"classification": trainings * 60, "ner": trainings * 150}


@pytest.fixture(scope="module")
def ended(tmp_path_factory: pytest.TempPathFactory) -> tuple[Run, Forecast]:
    """A run, and what was expected of it."""
    folder = tmp_path_factory.mktemp("forecast")
    loop = {"rounds": 2, "cover": 40, "conversations": 4, "quota": 4}
    task = make_task(folder, loop=loop, export={"gate_texts": 60}, pool=10)
    (folder / "pilot").mkdir()
    measured = pilot(folder / "pilot", task, ScriptedTeacher(faulty=0))
    expected = forecast(task, load_data(task), measured)
    return Run(folder / "run", task, teacher=ScriptedTeacher(faulty=0)), expected


def test_the_forecast_comes_true(ended: tuple[Run, Forecast]) -> None:
    run, expected = ended
    took = {"round 0": Cost(), "round": Cost(), "gate": Cost()}
    for _, scope, _, _, _, *tokens in tables(run.file)["calls"]:
        name = scope.partition("/")[0]
        took[name if name == "round 0" else name.split()[0]] += Cost(1, *tokens)
    for part, real in zip(expected.parts, took.values(), strict=True):
        assert part.cost.calls == pytest.approx(real.calls, rel=0.25), part.name
        assert part.cost.tokens_in == pytest.approx(real.tokens_in, rel=0.3), part.name
    assert expected.total.calls == sum(part.cost.calls for part in expected.parts)
    kept = sum(row.split is not None for row in run.rows(round=0))
    assert expected.parts[0].kept == pytest.approx(kept, rel=0.25)


def test_a_gate_whose_texts_are_hardly_kept_is_not_asked_for_on_and_on(tmp_path: Path) -> None:
    task = make_task(tmp_path, export={"gate_texts": 500})
    hardly = Trial(8, Share(8, 8), 40, 40, 30, 1, Cost(8, 9000, 900, 900, 2), Cost(80, 80_000, 80))
    first, rounds, gate, _ = forecast(task, load_data(task), changed(cover=hardly)).parts
    assert gate.cost.tokens_in > first.cost.tokens_in + rounds.cost.tokens_in, "of one batch"
    assert gate.cost.calls == 150 * 88 / 8
    assert gate.kept == round(150 / 8)


def test_an_arm_of_no_texts_has_no_rounds(tmp_path: Path) -> None:
    task = make_task(tmp_path, loop={"arm": "seed-only"})
    made = forecast(task, load_data(task), replace(FINE, fit=Fit(0.0, 1.0, 0.0)))
    assert made.parts[1].name.startswith("0 rounds")
    assert made.parts[-1].cost.seconds == 3 * 60, "of the seeds, of round 0, and the final one"


def test_feedback_that_could_not_be_tried_is_not_free(tmp_path: Path) -> None:
    none = Trial(0, Share(0, 0), 0, 0, 0, 0, Cost(), Cost())
    task = make_task(tmp_path, loop={"quota": 0})
    assert forecast(task, load_data(task), changed(feedback=none)).parts[1].cost.tokens > 0


def test_texts_that_are_relabelled_are_kept_and_not_for_the_gate(tmp_path: Path) -> None:
    measured = {}
    for relabel in (False, True):
        (tmp_path / str(relabel)).mkdir()
        task = make_task(tmp_path, method={"relabel": relabel})
        measured[relabel] = pilot(tmp_path / str(relabel), task, ScriptedTeacher(faulty=0))
    usual, more = measured[False].cover, measured[True].cover
    assert more.kept > more.agreed == usual.kept == usual.agreed
    assert measured[True].own == measured[False].own
    gates = [forecast(task, load_data(task), m).parts[2] for m in measured.values()]
    assert gates[0] == gates[1]


def test_one_opinion_is_no_agreement(tmp_path: Path) -> None:
    task = make_task(tmp_path, method={"second_opinion": False})
    [found] = [f for f in judge(task, FINE) if f.topic == "agreement"]
    assert "both orders" not in found.says


TRIAL = Trial(8, Share(8, 8), 40, 40, 30, 30, Cost(8, 800, 400, 900, 2), Cost(80, 8000, 80, 900, 4))
FINE = Measured("a teacher", Share(45, 50), Share(95, 100), (("music", "alarm", 3),), TRIAL, TRIAL,
                Cost(100, 9000, 100, 1000, 5), Fit(2.0, 0.1, 0.001))  # fmt: skip


def changed(**parts: Any) -> Measured:
    values = {name: getattr(FINE, name) for name in Measured.__dataclass_fields__}
    return Measured(**values | parts)


@pytest.mark.parametrize(
    ("measured", "topic", "state", "says", "hint"),
    [
        (FINE, "labels", "good", "45 of 50 (0.90)", ""),
        (changed(gold=Share(35, 50)), "labels", "warning", "0.56 to 0.81", "music and alarm"),
        (changed(gold=Share(2, 2)), "labels", "warning", "0.34 to 1.00", "too few"),
        (changed(gold=Share(0, 3)), "labels", "warning", "0.00 to 0.56", "too few"),
        (changed(gold=Share(0, 12)), "labels", "wrong", "0.00 to 0.24", "larger model"),
        (changed(gold=Share(10, 50)), "labels", "wrong", "0.11 to 0.33", "larger model"),
        (changed(sure=Share(80, 100)), "agreement", "warning", "80 of 100", "position"),
        (changed(sure=Share(85, 100)), "agreement", "good", "85 of 100", ""),
        (changed(own=Share(15, 20), kappa=0.7), "own texts", "good", "15 of 20 (0.75)", ""),
        (changed(own=Share(9, 20), kappa=0.36), "own texts", "warning", "kappa 0.36", "noisy"),
        (changed(own=Share(2, 20), kappa=0.05), "own texts", "wrong", "2 of 20", "none of them"),
        (
            changed(cover=Trial(9, Share(2, 9), 6, 6, 6, 6, Cost(), Cost())),
            "replies", "warning", "10 of 17", "max_tokens",
        ),
        (
            changed(cover=Trial(9, Share(9, 9), 99, 99, 1, 1, Cost(), Cost())),
            "texts", "warning", "31 of 139", "definitions",
        ),
        (changed(teacher="big"), "speed", "good", "big: 200 tokens/s", ""),
        (
            changed(cover=Trial(9, Share(9, 9), 9, 9, 9, 9, Cost(9, 9, 9, 9, 99), Cost())),
            "speed", "warning", "4 tokens/s", "smaller model",
        ),
    ],
)  # fmt: skip
def test_the_judgement(
    tmp_path: Path, measured: Measured, topic: str, state: str, says: str, hint: str
) -> None:
    task = make_task(tmp_path)
    found = next(f for f in judge(task, measured) if f.topic == topic)
    assert found.state == state
    assert says in found.says
    assert hint in found.hint
    assert bool(found.hint) == (state != "good")


def test_a_label_without_a_definition_is_told(tmp_path: Path) -> None:
    task = make_task(tmp_path)
    assert all(f.topic != "definitions" for f in judge(task, changed()))
    name = task.names[0]
    bare = task.model_copy(update={"labels": task.labels | {name: ""}})
    found = next(f for f in judge(bare, changed()) if f.topic == "definitions")
    assert found.state == "warning"
    assert f"none for {name}:" in found.says


def test_more_rounds_cost_more_and_static_asks_as_much(tmp_path: Path) -> None:
    def total(**loop: Any) -> Cost:
        task = make_task(tmp_path, loop={"conversations": 4, **loop})
        return forecast(task, load_data(task), FINE).total

    few, many = total(rounds=1), total(rounds=5)
    assert many.calls > few.calls
    assert many.seconds > few.seconds
    assert total(rounds=5, arm="static") == many  # here both trials cost the same


@pytest.mark.parametrize("share", [0.2, 0.7, 2.0])
def test_a_budget_of_tokens_cuts_what_is_forecast(tmp_path: Path, share: float) -> None:
    task = make_task(tmp_path, loop={"rounds": 5})
    data = load_data(task)

    def loop(of: Forecast) -> Cost:
        return of.parts[0].cost + of.parts[1].cost

    whole = forecast(task, data, FINE)
    cap = round(loop(whole).tokens * share)
    cut = forecast(task.model_copy(update={"budget": BudgetSettings(tokens=cap)}), data, FINE)
    if share > 1:
        assert loop(cut) == loop(whole)
        return
    assert loop(cut).tokens == pytest.approx(cap, rel=0.01)
    assert cut.parts[2].cost.tokens <= 2 * cap
    assert cut.total.seconds < whole.total.seconds
    assert all(one.kept <= of.kept for one, of in zip(cut.parts, whole.parts, strict=True))
    assert "of 5 rounds are begun before the budget is spent" in " ".join(cut.assumptions)


def test_the_texts_of_a_pool_are_labelled_once(tmp_path: Path) -> None:
    bare, pool = make_task(tmp_path / "a", loop={"pool": 2}), make_task(tmp_path / "b", pool=5)
    without, with_ = (forecast(t, load_data(t), FINE).total.calls for t in (bare, pool))
    assert with_ - without == 2 * 8  # four a round of fifteen, two calls each


@pytest.mark.parametrize(("rounds", "later"), [(0, 0), (2, 8), (5, 11)])
@pytest.mark.parametrize("arm", ["pool", "pool-random"])
def test_an_arm_of_the_pool_labels_from_its_first_round_on(
    tmp_path: Path, arm: str, rounds: int, later: int
) -> None:
    """Four a round of fifteen, two calls each; there is nothing else that it asks."""
    task = make_task(tmp_path, pool=5, dev=1, loop={"arm": arm, "rounds": rounds})
    parts = forecast(task, load_data(task), FINE).parts
    assert [part.cost.calls for part in parts[:2]] == [2 * 4, 2 * later]
    assert [part.kept for part in parts[:2]] == [round(0.95 * 4), round(0.95 * later)]


@given(st.integers(0, 300), st.integers(0, 300))
def test_an_interval_holds_the_share(hits: int, misses: int) -> None:
    share = Share(hits, hits + misses)
    low, high = share.interval
    assert 0 <= low <= high <= 1
    if share.of:
        assert low - 1e-9 <= share.value <= high + 1e-9
        wider = Share(2 * hits, 2 * share.of).interval
        assert wider[1] - wider[0] < high - low


def test_intervals_are_wilsons() -> None:
    # Newcombe 1998, table I: 81 of 263, and 0 of 20.
    assert Share(81, 263).interval == pytest.approx((0.2553, 0.3662), abs=1e-4)
    assert Share(0, 20).interval == pytest.approx((0.0, 0.1611), abs=1e-4)


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    """Put the fakes in the place of models."""
    monkeypatch.setattr("evokd.run.check_models", lambda task: None)
    monkeypatch.setattr("evokd.teacher.open_teacher", lambda settings: Knows(faulty=0))
    monkeypatch.setattr("evokd.learner.EncoderLearner", lambda task: FakeLearner(task.names))


@pytest.mark.usefixtures("offline")
def test_the_command_prints_judgement_and_costs(tmp_path: Path) -> None:
    make_task(tmp_path, dev=8)
    file = tmp_path / "plan.json"
    arguments = ["plan", str(tmp_path / "task.yaml"), "--json", str(file)]
    told = CliRunner().invoke(app, [*arguments, "--set", "loop.rounds=3"])
    assert told.exit_code == 0, told.exception
    for part in ("labels", "agreement", "replies", "speed", "3 rounds of feedback", "minutes"):
        assert part in told.output
    record = json.loads(file.read_text())
    assert record["measured"]["gold"] == {"hits": 27, "of": 27}
    assert record["forecast"]["total"]["calls"] > 0
    assert not (tmp_path / "plan.db").exists()


def test_the_command_keeps_a_pilot_and_fails_for_a_useless_teacher(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, offline: None
) -> None:
    make_task(tmp_path, dev=8)
    monkeypatch.setattr("evokd.teacher.open_teacher", lambda settings: SaysTheFirst(faulty=0))
    arguments = ["plan", str(tmp_path / "task.yaml"), "--out", str(tmp_path / "pilot")]
    assert CliRunner().invoke(app, arguments).exit_code == 1
    monkeypatch.setattr("evokd.teacher.open_teacher", lambda settings: 1 / 0)
    assert CliRunner().invoke(app, arguments).exit_code == 1
    assert (tmp_path / "pilot" / "plan.db").is_file()
