"""The quality benchmark: its tasks, its table and its pictures, on made-up cells."""

from __future__ import annotations

import json
import random
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest

from benchmarks.quality.__main__ import _arguments, groups
from benchmarks.quality.cells import FULL, Cells
from benchmarks.quality.judge import JudgedTeacher
from benchmarks.quality.picture import picture, write_pictures
from benchmarks.quality.tasks import POOL_ROUND, Setting, make_task, rows_of, settings
from benchmarks.quality.variants import VARIANTS, arm_under, varied
from benchmarks.quality.words import in_words
from evokd.answers import Span, read_spans
from evokd.arms import ARMS
from evokd.demo.training.corpus import half
from evokd.errors import InputError
from evokd.examples import Example
from evokd.loop import VERSION
from evokd.prompts import ask_label
from evokd.task import Task, load_data
from evokd.teacher import Score, Scored
from tests.fakes import LABELS, ScriptedTeacher

TEXTS = 60


def cell(score: float, seed: int, *, tokens: int = 1000) -> dict[str, Any]:
    rng = random.Random(f"{score} {seed}")
    counts = [[2 * (rng.random() < score), 2] for _ in range(TEXTS)]
    right = sum(hits for hits, _ in counts) / (2 * TEXTS)
    return {
        "score": right,
        "counts": counts,
        "tokens": tokens,
        "curve": [[0, 0.3], [tokens // 4, right], [tokens, right]],
        "groups": {"seen": right},
        "budget": tokens,
        "teacher": "demo",
        "way": VERSION,
    }


@pytest.fixture
def cells(tmp_path: Path) -> Cells:
    made = Cells(tmp_path / "quality.json", quick=False)
    made.add("t", FULL, 0, {"score": 0.97})
    for seed in (1, 2, 3):
        made.add("t", "evokd", seed, cell(0.95, seed))
        made.add("t", "static", seed, cell(0.4, seed))
    made.add("t", "pgkd", 1, cell(0.5, 1))
    return made


def test_every_task_is_one_that_can_be_asked() -> None:
    for setting in settings().values():
        assert {*setting.unseen} <= {*setting.labels}
        assert all(name and about for name, about in setting.labels.values())
        shown = [about for _, about in setting.labels.values()]
        assert setting.kind == "ner" or len({*shown}) == len(shown)
    assert settings()["banking-12"].group("activate_my_card") == "unseen"
    assert settings()["snips-7"].group("play_music") == "seen"


def test_rows_take_the_shown_names_and_leave_the_others_out(tmp_path: Path) -> None:
    labels = {"LOC": ("place", "a place"), "TOWN": ("place", "a place")}
    setting = Setting("t", "ner", "set", "d", "", (), labels, 1000)
    (tmp_path / "set").mkdir()
    row = {"tokens": ["In", "Rome", "with", "Ann"], "tags": ["O", "B-TOWN", "O", "B-PER"]}
    (tmp_path / "set" / "test.jsonl").write_text(json.dumps(row))
    [made] = rows_of(setting, tmp_path, "test")
    assert read_spans(made.label) == (Span(3, 7, "place"),)
    seeds = [made]
    task = make_task(tmp_path, setting, seeds=seeds, test=seeds, teacher="demo", quick=True)
    assert load_data(task).test[0].label == made.label
    assert task.teacher.model == "demo-slots"


def test_a_pool_is_of_texts_that_the_teacher_has_not_seen(tmp_path: Path) -> None:
    setting = replace(settings()["snips-pool"], pool=5)
    label = setting.labels["GetWeather"][0]
    rows = [Example(f"weather in town {number}", label) for number in range(60)]
    task = make_task(tmp_path, setting, seeds=rows, test=rows, teacher="demo", quick=False)
    pool = [json.loads(line)["text"] for line in (tmp_path / "pool.jsonl").open()]
    assert len({*pool}) == 5
    assert {half(text) for text in pool} == {"B"}
    assert task.loop.pool == POOL_ROUND
    assert task.data.unlabeled is not None


def test_a_task_like_another_differs_in_what_it_names() -> None:
    like = replace(settings()["massive-18"], name="", about="", judged=True, like="massive-18")
    assert replace(settings()["massive-judged"], name="", about="") == like


class _Judge:
    """Says what stands in a table, with certainty."""

    labels = LABELS[1::-1]

    def predict(self, texts: list[str]) -> np.ndarray:
        return np.array([[text == "green", text != "green"] for text in texts], dtype=np.float32)


def test_a_judged_teacher_spends_as_the_teacher_and_says_what_the_judge_does() -> None:
    teacher, labels = ScriptedTeacher(), dict.fromkeys(LABELS[:2], "")
    asked = [
        Score(ask_label("drinks", labels, text), (*labels,)) for text in ("green", 'a "b" Text: c')
    ]
    told: dict[int, Scored] = {}
    judged = JudgedTeacher(teacher, _Judge())  # type: ignore[arg-type]
    answers = judged.score(asked, told.__setitem__)
    assert [max(range(2), key=one.logprobs.__getitem__) for one in answers] == [1, 0]
    assert [told[n] for n in range(2)] == answers
    for answer, plain in zip(answers, ScriptedTeacher().score(asked), strict=True):
        assert replace(answer, logprobs=plain.logprobs) == plain
    assert judged.fingerprint != teacher.fingerprint


@pytest.mark.parametrize("name", VARIANTS)
def test_a_variant_is_the_method_with_other_settings(name: str, tmp_path: Path) -> None:
    setting = settings()["snips-7"]
    rows = [Example(f"text {label}", label) for label in setting.shown]
    task = make_task(tmp_path, setting, seeds=rows, test=rows, teacher="demo", quick=False)
    assert arm_under(name) == ("static" if name.startswith("static-") else "evokd")
    assert name not in ARMS
    again = Task.model_validate(json.loads(varied(task, name).model_dump_json()))
    assert again.settings() != task.settings(), "nothing differs"
    assert varied(task, "evokd") == task
    assert arm_under("static") == "static"


def test_a_cell_is_measured_once(cells: Cells) -> None:
    again = Cells(cells.path, quick=False)
    assert again.cells == cells.cells
    assert not again.missing("t", "evokd", 3)
    assert again.missing("t", "pgkd", 2)


def test_a_smoke_run_and_a_measurement_never_share_a_file(cells: Cells, tmp_path: Path) -> None:
    before = cells.path.read_bytes()
    with pytest.raises(InputError, match="holds measured cells"):
        Cells(cells.path, quick=True)
    assert cells.path.read_bytes() == before
    smoke = tmp_path / "smoke.json"
    Cells(smoke, quick=True).add("t", "evokd", 1, cell(0.1, 1))
    with pytest.raises(InputError, match="holds a smoke run"):
        Cells(smoke, quick=False)
    assert Cells(smoke, quick=True).cells == {}, "a smoke run begins anew"


@pytest.mark.parametrize("name", ["json", "work"])
def test_a_smoke_run_has_places_of_its_own(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def chosen(*more: str) -> Path:
        monkeypatch.setattr("sys.argv", ["quality", "--data", "sets", *more])
        return Path(getattr(_arguments(), name))

    assert chosen() != chosen("--quick")
    assert chosen("--quick", f"--{name}", "mine") == Path("mine")


def test_the_table_has_what_the_issue_names(cells: Cells) -> None:
    stored = json.loads(cells.path.read_text())
    table = stored["tasks"]["t"]
    arm = table["arms"]["evokd"]
    assert {"mean", "std", "seeds", "tokens", "full_share"} <= {*arm}
    assert arm["full_share"] == pytest.approx(arm["mean"] / 0.97)
    gap = table["differences"]["evokd-static"]
    assert gap["low"] <= gap["diff"] <= gap["high"]
    assert gap["low"] > 0.3
    static = table["arms"]["static"]["mean"]
    assert gap["error_removed"] == pytest.approx(gap["diff"] / (0.97 - static))
    assert gap["tokens_to_reach"] == 250
    assert gap["tokens_share"] == 1, "the other had its score as soon"
    one = table["differences"]["evokd-pgkd"]
    assert one["seeds"] == 1  # the seeds that both have
    assert one["low"] > 0
    assert one["verdict"] == "cannot be told"
    assert in_words(stored["tasks"]).count(") over the texts |") == 1


def test_cells_of_other_budgets_or_teachers_are_not_set_against_each_other(cells: Cells) -> None:
    cells.add("t", "pgkd", 1, cell(0.5, 1, tokens=99))
    cells.add("t", "eda", 1, cell(0.5, 1) | {"teacher": "another"})
    assert {*cells.table()["t"]["differences"]} == {"evokd-static"}


def test_an_arm_of_an_earlier_version_is_marked(cells: Cells) -> None:
    assert "†" not in in_words(cells.table())
    old = cell(0.4, 2)
    del old["way"]
    cells.add("t", "static", 2, old)
    told = in_words(cells.table())
    assert "| static † | 3 |" in told
    assert "\n†: some cells of an earlier version.\n" in told


def test_what_an_arm_needs_is_a_share_of_what_the_other_needs_to_its_own_score(
    tmp_path: Path,
) -> None:
    made = Cells(tmp_path / "quality.json", quick=False)
    for seed, tokens in ((1, 1000), (2, 1200)):
        for arm in ("evokd", "static"):
            made.add("t", arm, seed, cell(0.8, seed, tokens=tokens) | {"budget": 1000})
    assert made.table()["t"]["differences"]["evokd-static"]["tokens_share"] == 1


def test_a_pool_counts_the_labelled_texts_to_a_share_of_full_data(tmp_path: Path) -> None:
    made = Cells(tmp_path / "pool.json", quick=False)
    made.add("t", FULL, 0, {"score": 0.9})
    made.add("t", "pool", 1, cell(0.9, 1) | {"labelled": [[0, 0.5], [60, 0.855], [120, 0.9]]})
    made.add("t", "pool-random", 1, cell(0.9, 2) | {"labelled": [[0, 0.5], [120, 0.8]]})
    arms = made.table()["t"]["arms"]
    assert arms["pool"]["labelled"] == {"95%": 60, "97%": 120, "98%": 120, "99%": 120}
    assert arms["pool-random"]["labelled"]["95%"] is None
    told = in_words(made.table())
    assert "| pool | 60 | 120 | 120 | 120 |" in told
    assert "| pool-random | never | never | never | never |" in told


def test_the_words_have_a_row_an_arm_from_best_to_worst(cells: Cells) -> None:
    text = in_words(cells.table())
    rows = [line.split(" | ")[0][2:] for line in text.splitlines() if line.startswith("| ")]
    assert rows == ["arm", "evokd", "pgkd", "static"]
    assert text.startswith("### t\n\nfull data 0.970; budget 1,000 tokens.")
    gap = cells.table()["t"]["differences"]["evokd-static"]
    assert f"{gap['diff']:+.3f} ({gap['low']:+.3f} to {gap['high']:+.3f})" in text
    assert {line.count("|") for line in text.splitlines() if line.startswith("|")} == {10}


def test_groups_split_the_score_by_what_the_teacher_knows() -> None:
    setting = settings()["clinc-20"]
    known, unknown = "timer", setting.labels["apr"][0]
    test = [Example("a", known), Example("b", known), Example("c", unknown)]
    assert groups(setting, test, [[2, 2], [0, 2], [2, 2]]) == {"seen": 0.5, "unseen": 1.0}


def test_a_picture_has_a_line_an_arm_and_the_reference(cells: Cells, tmp_path: Path) -> None:
    [path] = write_pictures(cells, tmp_path)
    tree = ElementTree.fromstring(path.read_text())
    lines = tree.findall("{http://www.w3.org/2000/svg}polyline")
    assert len(lines) == 4
    cells.add("t", "seed-only", 1, cell(0.7, 1, tokens=0))
    [path] = write_pictures(cells, tmp_path)
    lines = ElementTree.fromstring(path.read_text()).findall("{http://www.w3.org/2000/svg}polyline")
    levels = [{point.split(",")[1] for point in line.attrib["points"].split()} for line in lines]
    assert sum(len(heights) == 1 for heights in levels) == 2, "full data and what costs nothing"
    assert picture("t", {"seed-only": {1: cell(0.5, 1, tokens=0)}}, None) is None
