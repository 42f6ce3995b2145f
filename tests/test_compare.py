"""evokd compare: every arm the same seeds, a folder a run, nothing run twice, plain words."""

from __future__ import annotations

import json
import re
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from commands import Evokd, evokd_, home, is_refused, model
from fake_kinds import KIND_NAMES, AnyLearner, AnyTeacher, make_kind_task
from fake_run import Notes, make_task, prompts_of, replies
from fakes import LABELS, FakeLearner, ScriptedTeacher, Stopped, texts_of

from evokd.cli.compare import _show
from evokd.compare import Contest, cell_task, compare
from evokd.comparison import asked, averaged, compared, reached, sentence, whole_curve, write_page
from evokd.errors import InputError, TeacherError
from evokd.ledger import reading
from evokd.paired import Difference
from evokd.task import Task, load_data

__all__ = ["evokd_", "home", "model"]  # fixtures
ARMS = ("evokd", "static")


class Stage(Notes):
    """Keeps the titles of the cells too."""

    def __init__(self) -> None:
        super().__init__()
        self.titles: list[str] = []

    def stage(self, title: str) -> None:
        self.titles.append(title)


def held(
    task: Task, out: Path, contest: Contest, *, fail_after: int | None = None
) -> tuple[dict[str, Any] | None, Stage, int]:
    """Compare; return the record, what was shown, and how many calls reached a teacher.

    The record is None when a teacher stopped: each run's is told to after so many calls.
    """
    teachers: list[ScriptedTeacher] = []

    def opened() -> ScriptedTeacher:
        teachers.append(ScriptedTeacher(fail_after=fail_after))
        return teachers[-1]

    record, watch, learner = None, Stage(), FakeLearner(task.names)
    given: Any = learner
    with suppress(Stopped):
        record = compare(task, contest, out, watch=watch, open_model=opened, learner=given)
    return record, watch, sum(one.answered for one in teachers)


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> tuple[Task, Path, dict[str, Any], int]:
    folder = tmp_path_factory.mktemp("compare")
    task = make_task(folder / "task")
    record, _, calls = held(task, folder / "out", Contest(ARMS, seeds=2))
    assert record is not None
    return task, folder / "out", record, calls


def test_every_cell_is_a_run_of_its_own(done: tuple[Task, Path, dict[str, Any], int]) -> None:
    _, out, record, _ = done
    folders = {path.name for path in out.iterdir() if path.is_dir()}
    assert folders == {"evokd-1", "evokd-2", "static-1", "static-2"}
    for name in folders:
        with reading(out / name / "run.db") as ledger:
            settings = ledger.meta("run")["settings"]["loop"]
            cell = ledger.stage("compared")
        assert f"{settings['arm']}-{settings['seed']}" == name
        assert record["arms"][settings["arm"]]["scores"][settings["seed"] - 1] == cell["score"]
        assert (out / name / "student").is_dir()
        assert not (out / name / "rounds").exists()


def test_the_record_has_what_the_runs_came_to(done: tuple[Task, Path, dict[str, Any], int]) -> None:
    task, out, record, _ = done
    assert json.loads((out / "compare.json").read_text()) == {"task": "tiny", **record}
    assert (record["on"], record["texts"]) == ("test", len(load_data(task).test))
    assert record["measure"] == "accuracy"
    for arm in record["arms"].values():
        assert arm["mean"] == pytest.approx(sum(arm["scores"]) / 2)
        assert arm["curve"][0][0] == 0
        assert arm["curve"][-1][0] == pytest.approx(arm["tokens"], rel=0.5)
        assert arm["tokens"] > 0
    pair = record["differences"]["evokd-static"]
    means = [record["arms"][arm]["mean"] for arm in ARMS]
    assert pair["diff"] == pytest.approx(means[0] - means[1])
    assert pair["low"] <= pair["diff"] <= pair["high"]
    assert record["says"] == pair["says"]


@pytest.mark.parametrize("kind", KIND_NAMES)
def test_a_line_a_round_says_what_is_compared(kind: str, tmp_path: Path) -> None:
    class WithoutCentroids(AnyLearner):
        def nearest(self, *_: Any) -> None:
            return None

    task = make_kind_task(tmp_path / "task", kind, loop={"rounds": 1})
    watch, learner = Notes(), WithoutCentroids(task)
    made: dict[str, Any] = compare(
        task, Contest(ARMS, seeds=1), tmp_path / "out",
        watch=watch, open_model=lambda: AnyTeacher(), learner=learner,  # type: ignore[arg-type]
    )  # fmt: skip
    lines = [note for note in watch.said if note.startswith("round 0: ")]
    assert len(lines) == 2
    for line, arm in zip(lines, ARMS, strict=True):
        with reading(tmp_path / "out" / f"{arm}-1" / "run.db") as ledger:
            score = ledger.result(0)["test"]["accuracy" if kind == KIND_NAMES[0] else "micro_f1"]
        assert f" so far, {made['measure']} {score:.3f}" in line


def test_the_page_is_whole_and_asks_for_nothing(
    done: tuple[Task, Path, dict[str, Any], int],
) -> None:
    _, out, record, _ = done
    html = (out / "compare.html").read_text(encoding="utf-8")
    assert record["says"].replace("'", "&#39;") in html
    assert not re.search(r"(src|href)=\"(?!data:|#)", html)
    assert html.count("<polygon") == html.count("<polyline") == 2
    corners = re.findall(r"<polygon[^>]*points=\"([^\"]+)\"", html)
    values = [float(n) for part in corners for n in re.split("[ ,]", part)]
    assert all(-0.01 <= value <= 100.01 for value in values)


def test_the_same_command_again_asks_nothing(
    done: tuple[Task, Path, dict[str, Any], int],
) -> None:
    task, out, record, _ = done
    again, watch, calls = held(task, out, Contest(ARMS, seeds=2))
    assert (again, watch.titles, calls) == (record, [], 0)


def test_a_stopped_comparison_goes_on_and_ends_the_same(
    done: tuple[Task, Path, dict[str, Any], int], tmp_path: Path
) -> None:
    task, _, record, calls = done
    asked, made, attempts = 0, None, 0
    while made is None:
        made, _, answered = held(task, tmp_path / "out", Contest(ARMS, seeds=2), fail_after=50)
        asked, attempts = asked + answered, attempts + 1
    assert made == record
    assert attempts > 4
    assert asked == calls


def test_more_seeds_run_only_what_is_missing(
    done: tuple[Task, Path, dict[str, Any], int], tmp_path: Path
) -> None:
    task, _, whole, _ = done
    held(task, tmp_path / "out", Contest(ARMS, seeds=1))
    record, watch, _ = held(task, tmp_path / "out", Contest(ARMS, seeds=2))
    assert watch.titles == ["evokd, seed 2 (3 of 4)", "static, seed 2 (4 of 4)"]
    assert record == whole


def test_the_first_round_is_asked_once_a_seed(
    done: tuple[Task, Path, dict[str, Any], int],
) -> None:
    _, out, _, calls = done
    rounds: dict[str, dict[str, str | None]] = {}
    for name in ("evokd-1", "static-1", "evokd-2", "static-2"):
        with reading(out / name / "run.db") as ledger:
            rounds[name] = {call.key: str(call.reply) for call in ledger.calls("round 0/")}
    assert rounds["evokd-1"] == rounds["static-1"] != rounds["evokd-2"]
    every = sum(len(replies(out / name / "run.db")) for name in rounds)
    shared = len(rounds["static-1"]) + len(rounds["static-2"])
    assert calls == every - shared > 0


def test_another_model_for_the_next_cell_is_refused(tmp_path: Path) -> None:
    models = iter(["scripted-1", "scripted-2"])
    learner: Any = FakeLearner()
    with pytest.raises(TeacherError, match="evokd-1 was run with scripted, another model"):
        compare(
            make_task(tmp_path / "task"),
            Contest(ARMS, seeds=1),
            tmp_path / "out",
            watch=Stage(),
            open_model=lambda: ScriptedTeacher(fingerprint=next(models)),
            learner=learner,
        )


def test_what_makes_a_comparison_unfair_is_said(tmp_path: Path) -> None:
    task = make_task(tmp_path / "task")
    record, _, _ = held(task, tmp_path / "one", Contest(ARMS, seeds=1, tokens=4000))
    assert record is not None
    assert record["warnings"] == [
        "in 1 of 1 runs of evokd no text came of feedback (the budget is spent)"
    ]
    assert record["says"].endswith("; in 1 of 1 runs of evokd no text came of feedback")
    assert record["arms"]["evokd"]["scores"] == record["arms"]["static"]["scores"]
    assert record["says"].startswith("whether feedback paid cannot be told")
    record, _, _ = held(task, tmp_path / "two", Contest(ARMS, seeds=1, tokens=30_000))
    assert record is not None
    assert record["warnings"] == []
    tokens = [arm["tokens"] for arm in record["arms"].values()]
    assert min(tokens) >= 30_000
    assert max(tokens) < 31_000


def test_the_budget_of_the_task_is_one_too(tmp_path: Path) -> None:
    task = make_task(tmp_path / "task", budget={"tokens": 9000})
    record, _, _ = held(task, tmp_path / "out", Contest(ARMS, seeds=1))
    assert record is not None
    assert record["budget_tokens"] == 9000
    assert all(arm["tokens"] >= 9000 for arm in record["arms"].values())


def test_no_test_text_stands_in_any_request(done: tuple[Task, Path, dict[str, Any], int]) -> None:
    task, out, _, _ = done
    for cell in ("evokd-1", "static-2"):
        shown = "\n".join(prompts_of(out / cell / "run.db"))
        assert not [e.text for e in load_data(task).test if e.text in shown]


def test_dev_that_scores_decides_nothing(tmp_path: Path) -> None:
    task = make_task(tmp_path / "task", test=0, dev=4)
    record, _, _ = held(task, tmp_path / "out", Contest(ARMS, seeds=1))
    assert record is not None
    assert record["on"] == "gold dev"
    with reading(tmp_path / "out" / "evokd-1" / "run.db") as ledger:
        assert ledger.meta("run")["settings"]["selection"]["by"] == "teacher"


@pytest.mark.parametrize(
    ("contest", "says"),
    [
        (Contest(("evokd", "magic")), "there is no arm 'magic'"),
        (Contest(("evokd",)), "one arm is no comparison"),
        (Contest(("evokd", "evokd")), "one arm is no comparison"),
    ],
)
def test_what_cannot_be_compared(tmp_path: Path, contest: Contest, says: str) -> None:
    with pytest.raises(InputError, match=says):
        held(make_task(tmp_path / "task"), tmp_path / "out", contest)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("settings", "arms", "says"),
    [
        ({}, ("evokd", "pool"), r"loop\.arm is pool, but data\.unlabeled is missing"),
        ({}, ("evokd", "pool-random"), r"loop\.arm is pool-random, but data\.unlabeled is missing"),
        (
            {"arm": "static", "hard": 0, "easy": 0},
            ("static", "evokd"),
            r"tiny: loop\.hard and loop\.easy: 0 does not fit loop\.arm: evokd",
        ),
    ],
)
def test_an_arm_that_cannot_be_run_is_refused_before_the_first_cell(
    tmp_path: Path, settings: dict[str, Any], arms: tuple[str, ...], says: str
) -> None:
    task = make_task(tmp_path / "task", loop=settings)
    for shots in (None, 1):
        with pytest.raises(InputError, match=says):
            held(task, tmp_path / "out", Contest(arms, shots=shots))
        assert not (tmp_path / "out").exists()


def test_a_folder_in_the_way_of_the_last_cell_is_found_before_the_first(tmp_path: Path) -> None:
    other = tmp_path / "out" / "static-2" / "notes.txt"
    other.parent.mkdir(parents=True)
    other.write_text("mine")
    with pytest.raises(InputError, match="static-2: is not empty and holds no run"):
        held(make_task(tmp_path / "task"), tmp_path / "out", Contest(ARMS, seeds=2, shots=1))
    assert [path for path in (tmp_path / "out").rglob("*") if path.is_file()] == [other]


def test_another_comparison_in_the_folder_is_refused(
    done: tuple[Task, Path, dict[str, Any], int],
) -> None:
    task, out, _, _ = done
    with pytest.raises(InputError, match=r"was begun with other budget\.tokens"):
        held(task, out, Contest(ARMS, seeds=2, tokens=5000))


def test_the_command_needs_gold_texts(home: Path, evokd_: Evokd) -> None:
    is_refused(evokd_("compare", "task.yaml"), "no gold texts to score on")
    assert not (home / "runs").exists()


# -- shots ----------------------------------------------------------------------------------------


def test_the_drawn_seeds_lie_beside_the_runs_and_in_them(tmp_path: Path) -> None:
    task = make_task(tmp_path / "task")
    lines = "".join(json.dumps({"text": e.text, "label": e.label}) + "\n" for e in texts_of(8, 6))
    (tmp_path / "task" / "seed.jsonl").write_text(lines)
    held(task, tmp_path / "out", Contest(ARMS, seeds=2, shots=2))
    shown = []
    for name in ("evokd-1", "static-1", "evokd-2"):
        with reading(tmp_path / "out" / name / "run.db") as ledger:
            shown.append(ledger.meta("data")["seed"])
    assert len(shown[0]) == 2 * len(LABELS)
    assert shown[0] == shown[1] != shown[2]
    beside = (tmp_path / "out" / "seed-1.jsonl").read_text().splitlines()
    assert [json.loads(line)["text"] for line in beside] == [text for text, *_ in shown[0]]


def test_seeds_drawn_otherwise_are_refused_and_left(tmp_path: Path) -> None:
    task = make_task(tmp_path / "task")
    lines = "".join(json.dumps({"text": e.text, "label": e.label}) + "\n" for e in texts_of(8, 6))
    (tmp_path / "task" / "seed.jsonl").write_text(lines)
    out = tmp_path / "out"
    record, _, calls = held(task, out, Contest(ARMS, seeds=1, shots=2))
    before = (out / "seed-1.jsonl").read_bytes()
    with pytest.raises(InputError, match=r"seed-1\.jsonl: holds other seed examples"):
        held(task, out, Contest(ARMS, seeds=2, shots=3))
    assert (out / "seed-1.jsonl").read_bytes() == before
    assert not (out / "seed-2.jsonl").exists()
    assert calls > 0
    assert held(task, out, Contest(ARMS, seeds=1, shots=2))[::2] == (record, 0)


# -- what is said ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("low", "high", "says"),
    [
        (0.01, 0.03, "feedback paid: "),
        (-0.03, -0.01, "feedback did not pay: "),
        (-0.01, 0.03, "whether feedback paid cannot be told: "),
        (0.0, 0.03, "whether feedback paid cannot be told: "),
    ],
)
def test_one_sentence(low: float, high: float, says: str) -> None:
    found = Difference((low + high) / 2, low, high, 5)
    made = sentence("evokd", "static", found, "accuracy")
    assert made.startswith(says)
    assert f"{abs(50 * (low + high)):.1f} points of accuracy " in made
    assert ("more than static" if low + high > 0 else "less than static") in made
    assert f"(interval {100 * low:+.1f} to {100 * high:+.1f})" in made
    other = sentence("eda", "static", found, "accuracy")
    assert other == made.replace("feedback", "eda").replace("evokd has", "eda has")


@pytest.mark.parametrize(
    ("first", "other", "what"),
    [
        ("evokd", "static", "feedback"),
        ("pgkd", "static", "feedback"),
        ("evokd", "pgkd", "evokd"),
        ("evokd", "seed-only", "evokd"),
        ("pool", "static", "pool"),
    ],
)
def test_feedback_is_what_paid_only_where_nothing_else_differs(
    first: str, other: str, what: str
) -> None:
    found = Difference(0.02, 0.01, 0.03, 5)
    says = f"{what} paid: {first} has 2.0 points of accuracy more than {other} "
    assert sentence(first, other, found, "accuracy").startswith(says)
    assert asked({first: 0.5, other: 0.4}) == (first, other)
    doubtful = Difference(0.02, -0.01, 0.03, 5)
    says = f"whether {what} paid cannot be told: {first} has "
    assert sentence(first, other, doubtful, "accuracy").startswith(says)


def test_one_run_an_arm_tells_nothing_and_says_why() -> None:
    found = Difference(0.02, 0.01, 0.03, 1)
    assert sentence("evokd", "static", found, "accuracy") == (
        "whether feedback paid cannot be told from one run an arm: evokd has 2.0 points of accuracy"
        " more than static (interval over the texts +1.0 to +3.0)"
    )
    alone = compared(made_up({"evokd": [0.9], "static": [0.1]}), tokens=99, shots=None)
    pair = alone["differences"]["evokd-static"]
    assert pair["verdict"] == "cannot be told"
    assert pair["low"] > 0.5, "the figures stay"
    assert alone["says"].startswith("whether feedback paid cannot be told from one run an arm: ")
    twice = compared(made_up({"evokd": [0.9] * 2, "static": [0.1] * 2}), tokens=99, shots=None)
    assert twice["says"].startswith("feedback paid: ")


def test_the_interval_of_one_run_is_named_for_what_it_is(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shown = []
    for runs in (1, 2):
        record = compared(
            made_up({"evokd": [0.9] * runs, "static": [0.6] * runs}), tokens=99, shots=None
        )
        write_page(tmp_path / "page.html", make_task(tmp_path / "task"), record)
        _show(record, tmp_path)
        page = (tmp_path / "page.html").read_text(encoding="utf-8")
        shown.append(("over texts" in capsys.readouterr().out, "<br>over the texts" in page))
    assert shown == [(True, True), (False, False)]


def made_up(arms: dict[str, list[float]], **more: Any) -> dict[str, list[dict[str, Any]]]:
    """Return cells of 100 texts with these scores, an arm's in the order of the seeds."""
    return {
        arm: [
            {"on": "test", "measure": "accuracy", "score": score, "tokens": 9, "kept": 3,
             "counts": [[2 * (n < 100 * score), 2] for n in range(100)],
             "curve": [[0, 0.1]], "rounds": 1, "fed": 1,
             "ended": "all rounds are run", **more}
            for score in scores
        ]
        for arm, scores in arms.items()
    }  # fmt: skip


@pytest.mark.parametrize(
    ("arms", "says"),
    [
        (("evokd", "static"), "feedback paid: evokd has 40.0 points of accuracy more than static"),
        (("static", "evokd"), "feedback paid: evokd has 40.0 points of accuracy more than static"),
        (("eda", "static", "evokd"), "feedback paid: evokd has 40.0 points of accuracy more than"),
        (("eda", "static", "pgkd"), "feedback did not pay: pgkd has 20.0 points of accuracy less"),
        (
            ("pgkd", "evokd", "static"),
            "feedback did not pay: pgkd has 20.0 points of accuracy less",
        ),
        (("static", "pgkd", "evokd"), "feedback paid: evokd has 40.0 points of accuracy more than"),
        (("evokd", "eda", "zerogen"), "evokd did not pay: evokd has 10.0 points of accuracy less"),
        (("static", "eda"), "static paid: static has 10.0 points of accuracy more than eda"),
    ],
)
def test_the_sentence_is_on_feedback_in_any_order_else_on_the_best_of_the_others(
    arms: tuple[str, ...], says: str
) -> None:
    scores = {"evokd": 0.8, "static": 0.4, "pgkd": 0.2, "eda": 0.3, "zerogen": 0.9}
    record = compared(
        made_up({arm: [scores[arm]] * 3 for arm in arms}), tokens=99, shots=None
    )  # fmt: skip
    assert record["says"].startswith(says)
    assert record["says"].endswith("; zerogen is the best of the others") == ("zerogen" in arms)
    assert {*record["differences"]} == {f"{arms[0]}-{other}" for other in arms[1:]}


def test_the_sentence_has_the_figures_of_the_pair_that_it_is_about() -> None:
    shown = {"evokd": [0.9, 0.7, 0.8], "static": [0.5, 0.6, 0.5], "eda": [0.4, 0.4, 0.2]}
    orders = (("evokd", "static", "eda"), ("static", "evokd", "eda"), ("eda", "static", "evokd"))
    said = {
        compared(made_up({arm: shown[arm] for arm in order}), tokens=99, shots=None)["says"]
        for order in orders
    }
    assert len(said) == 1


def test_feedback_that_never_had_its_turn_is_told_wherever_it_stands() -> None:
    cells = made_up({"static": [0.5] * 2, "evokd": [0.5] * 2}, fed=0)
    for cell, why in zip(cells["evokd"], ("b", "a"), strict=True):
        cell["ended"] = why
    told = compared(cells, tokens=99, shots=None)
    assert told["warnings"] == ["in 2 of 2 runs of evokd no text came of feedback (a or b)"]
    assert told["says"].endswith("; in 2 of 2 runs of evokd no text came of feedback")


def test_costs_are_set_against_the_arm_that_the_sentence_is_about() -> None:
    cells = made_up({"seed-only": [0.4], "evokd": [0.9], "static": [0.5]})
    for arm, tokens in (("seed-only", 0), ("evokd", 3000), ("static", 1000)):
        cells[arm][0]["tokens"] = tokens
    assert compared(cells, tokens=None, shots=None)["warnings"] == [
        "not at the same cost: static spent 1,000 tokens, evokd 3,000"
    ]


def test_an_arm_that_is_added_hears_the_first_round_of_one_that_is_there(tmp_path: Path) -> None:
    task = make_task(tmp_path / "task")
    held(task, tmp_path / "out", Contest(ARMS, seeds=1, tokens=9000))
    _, _, asked = held(task, tmp_path / "out", Contest(("pgkd", "static"), seeds=1, tokens=9000))
    with reading(tmp_path / "out" / "pgkd-1" / "run.db") as ledger:
        first = len(ledger.calls("round 0/"))
    assert asked == len(replies(tmp_path / "out" / "pgkd-1" / "run.db")) - first > 0


def test_texts_that_the_budget_left_without_a_label_are_no_feedback(tmp_path: Path) -> None:
    task = make_task(tmp_path / "task", pool=9)
    for tokens in range(5000, 9000, 250):
        out = tmp_path / str(tokens)
        held(task, out, Contest(ARMS, seeds=1, tokens=tokens))
        with reading(out / "evokd-1" / "run.db") as ledger:
            rows = [r for r in ledger.rows() if r.example.origin in ("hard", "easy", "pool")]
            fed = ledger.stage("compared")["fed"]
        assert fed == len({row.round for row in rows if row.example.label})
        if rows and not fed:
            return
    raise AssertionError("no budget ended before the labels")


def test_the_table_fits_a_terminal(
    done: tuple[Task, Path, dict[str, Any], int], capsys: pytest.CaptureFixture[str]
) -> None:
    _, out, record, _ = done
    _show(record, out)
    said = capsys.readouterr().out
    assert all(len(line) <= 80 for line in said.splitlines()[:8])
    assert "…" not in said
    for arm in ARMS:
        mean = f"{100 * record['arms'][arm]['mean']:.1f}"
        assert re.search(rf"{arm} +{re.escape(mean)} ", said)
    assert record["says"] in said


def test_curves_hold_a_score_until_the_next_student_and_past_their_ends() -> None:
    curve = averaged([[[0, 0.2], [100, 0.6]], [[0, 0.4], [50, 0.8]]])
    assert curve == [[0, 0.3, 0.2, 0.4], [50, 0.5, 0.2, 0.8], [100, 0.7, 0.6, 0.8]]
    assert reached(curve, 0.5) == 50
    assert reached(curve, 0.51) == 100, "between two students there is no third"
    assert reached(curve, 0.71) is None


def test_the_final_student_ends_a_curve() -> None:
    cell = {"curve": [[0, 0.2], [40, 0.5]], "tokens": 40, "score": 0.9}
    assert averaged([whole_curve(cell)]) == [[0, 0.2, 0.2, 0.2], [40, 0.9, 0.9, 0.9]]
    assert averaged([whole_curve({"curve": [[0, 0.2]], "tokens": 0, "score": 0.4})]) == [
        [0, 0.4, 0.4, 0.4]
    ]


def test_a_distrusted_teacher_is_told_of() -> None:
    cell = {"on": "test", "measure": "accuracy", "score": 0.5, "counts": [[1, 1], [0, 1]],
            "tokens": 9, "curve": [[0, 0.1]], "kept": 3, "rounds": 0, "fed": 0,
            "ended": ""}  # fmt: skip
    told = compared({"evokd": [cell | {"doubted": True}], "static": [cell]}, tokens=99, shots=None)[
        "warnings"
    ]
    assert told == [
        "in 1 of 1 runs of evokd the teacher hardly knew the labels: its student is that of seeds"
        " and definitions there, whatever the arm"
    ]


def test_a_cell_differs_in_arm_and_seed_alone(tmp_path: Path) -> None:
    task = make_task(tmp_path / "task")
    contest, data = Contest(ARMS, tokens=900), load_data(task)
    one, other = (
        cell_task(task, contest, arm=arm, seed=seed, data=data, out=tmp_path).settings()
        for arm, seed in (("evokd", 1), ("static", 2))
    )
    assert one["budget"]["tokens"] == 900
    for settings in (one, other):
        del settings["loop"]["arm"], settings["loop"]["seed"]
    assert one == other


def test_an_arm_without_checked_labels_spends_a_budget_in_large_rounds(tmp_path: Path) -> None:
    task = make_task(tmp_path / "task", loop={"cover": 40, "conversations": 8})
    data = load_data(task)

    def loop_of(arm: str, tokens: int | None) -> tuple[int, int]:
        contest = Contest((arm,), tokens=tokens)
        made = cell_task(task, contest, arm=arm, seed=1, data=data, out=tmp_path).loop
        return made.cover, made.conversations

    labels = len(task.names)
    assert loop_of("auggpt", 900) == loop_of("sungen", 900) == (320, 80 * labels)
    tagging = task.model_copy(update={"kind": "ner"})
    made = cell_task(tagging, Contest(("zerogen",), tokens=9), arm="zerogen", seed=1, data=data,
                     out=tmp_path)  # fmt: skip
    assert made.loop.cover == 40, "its entities are asked for"
    assert loop_of("auggpt", None) == loop_of("evokd", 900) == loop_of("eda", 900) == (40, 8)
