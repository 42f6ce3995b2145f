"""evokd.report: hostile texts are escaped, nothing is loaded, missing parts do not break it."""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import closing
from html.parser import HTMLParser
from pathlib import Path

import pytest
from made_run import make_data, make_task, write_run

from evokd import report
from evokd.ledger import Ledger
from evokd.report import content, settings, write_report
from evokd.selection import ALONE, FINAL
from evokd.task import Task, TaskData

LABELS = {
    "play_music": "asks to hear something",
    "set_alarm": "asks to be woken",
    "get_weather": "asks about the weather",
}
HOSTILE = (
    "<script>alert(document.title)</script>",
    '" onmouseover="alert(1)" x="',
    "</title></style></td></table><img src=x onerror=alert(1)>",
    "{{ task.name }} {% raise %} '); DROP TABLE examples;--",
    "\u202eback to front\u202c & &amp; أيقظني",
    "see http://example.org/a.css and url(https://example.org)",
)
VOID = {"meta", "link", "br", "polyline"}
Make = Callable[..., str]


class Page(HTMLParser):
    """Collects tags, attributes and text, and checks that every tag is closed in its place."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.tags: set[str] = set()
        self.attributes: list[tuple[str, str, str]] = []
        self.text = ""
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] != "style":
            self.text += data

    def values(self, name: str) -> list[str]:
        return [value for _, found, value in self.attributes if found == name]


def report_of(folder: Path, task: Task, data: TaskData, **made: object) -> str:
    ledger = write_run(folder / "run.db", task, data, **made)  # type: ignore[arg-type]
    try:
        write_report(folder / "report.html", task, data, ledger)
    finally:
        ledger.close()
    return (folder / "report.html").read_text(encoding="utf-8")


@pytest.fixture
def make(tmp_path: Path) -> Make:
    def made(*, rounds: int = 2, test: int = 30, dev: int = 0, **more: object) -> str:
        task = make_task(LABELS, rounds=rounds)
        return report_of(tmp_path, task, make_data(task, test=test, dev=dev), **more)

    return made


def words(html: str) -> str:
    page = Page(html)
    assert page.open == []
    return re.sub(r"\s+", " ", page.text)


def cells(html: str, row: str) -> str:
    """Return the figures of a table's row, a space between them."""
    found = re.search(rf'<th class="t" scope="row">{row}</th>(.*?)</tr>', html)
    assert found
    return re.sub(r"[\s\u202f]+", " ", " ".join(re.findall(r"<td>(.*?)</td>", found[1])))


def test_tells_the_whole_run(make: Make, tmp_path: Path) -> None:
    html = make(rounds=2, dev=20)
    text = words(html)
    for part in (
        "assistant-intents", "Made-up 4B Q4_K_M", "texts that the teacher wrote and labelled",
        "Learning curve", "nearest centroid", "rolled back", "refused:no json",
        "Requests that name a time but want a song", "taken for", "per channel",
        "INT8 agrees on 98.1% of texts", "teacher, scores the labels", "really decoded",
        "learning_rate",
    ):  # fmt: skip
        assert part in text
    assert "22.9 MB" in text
    assert "70 ×" in text
    assert [path.name for path in tmp_path.glob("*report*")] == ["report.html"]
    page = Page(html)
    assert {"#curve", "#rounds", "#gate", "#latency"} <= set(page.values("href"))
    anchors = {value[1:] for value in page.values("href") if value.startswith("#")}
    assert anchors <= set(page.values("id"))


def test_settings_are_those_of_the_run_and_of_nobodys_folder(make: Make, tmp_path: Path) -> None:
    make()
    ledger = Ledger(tmp_path / "run.db")
    ledger.set_meta("run", {"prompts": "of then"})
    task = make_task(LABELS, rounds=2)
    own = task.student.model_copy(update={"model": "/home/me/encoders/mine"})
    task = task.model_copy(update={"student": own})
    write_report(tmp_path / "report.html", task, make_data(task, test=30), ledger)
    ledger.close()
    text = words((tmp_path / "report.html").read_text(encoding="utf-8"))
    assert "of then" in text
    assert "mine" in text
    assert "/home/me" not in text
    assert "model" not in dict(settings(task))["teacher"]


def test_forced_int8_is_told_as_what_is_served(make: Make, tmp_path: Path) -> None:
    make()
    ledger = Ledger(tmp_path / "run.db")
    ledger.finish_stage("export", ledger.stage("export") | {"passed": False, "forced": True})
    task = make_task(LABELS, rounds=2)
    write_report(tmp_path / "report.html", task, make_data(task, test=30), ledger)
    ledger.close()
    text = words((tmp_path / "report.html").read_text(encoding="utf-8"))
    assert "After: final student, INT8" in text
    assert "After: final student, full precision" not in text
    assert "Not passed, and forced." in text


def test_counts_agree_with_the_ledger(make: Make, tmp_path: Path) -> None:
    text = words(make(rounds=2, per_round=30))
    ledger = Ledger(tmp_path / "run.db")
    rows = ledger.rows()
    ledger.close()
    leaks = sum(row.reason == "leak: test" for row in rows)
    assert leaks > 0
    assert f"Leaks: of {len(rows)} texts, {leaks} equalled or nearly equalled a test text" in text
    assert any(row.reason == "round rolled back" for row in rows)


def test_how_varied_texts_are_is_told_by_round(make: Make, tmp_path: Path) -> None:
    html = make(rounds=2)
    with closing(Ledger(tmp_path / "run.db")) as ledger:
        figures = [result["diversity"] for result in ledger.results()]
    found = re.findall(r'<th class="round" scope="row">(\w+)</th>(.*?)</tr>', html)
    told = [re.findall(r"<td>(.*?)</td>", row)[1:4] for _, row in found[:4]]
    names = ("distinct_2", "self_bleu", "nearest")
    shown = [[f"{of[name]:.2f}" for name in names] for of in figures]
    assert told == [*shown, ["–"] * 3]  # of the gate's texts it is not measured
    titles = Page(html).values("title")
    for name, better in (("pairs of words", "higher"), ("repeats words", "lower")):
        assert any(name in title and f"{better} is more varied" in title for title in titles)


def test_what_was_asked_is_told_by_round_and_by_step(make: Make) -> None:
    html = make(rounds=2)
    assert cells(html, "round 1") == "1 31 000 3 100 7 750"
    # All three rounds, and the texts for the gate.
    assert cells(html, "writing hard and easy texts") == "3 93 000 9 300 23 250"
    assert cells(html, "writing texts of every label") == "1 40 000 4 000 10 000"
    assert cells(html, "in all") == "4 133 000 13 300 33 250"
    assert not re.search('scope="row">(labelling|other)<', html)


@pytest.mark.parametrize("lacks", [("self_bleu",), ("self_bleu", "distinct_2", "nearest")])
def test_a_run_of_an_earlier_version_lacks_figures(
    make: Make, tmp_path: Path, lacks: tuple[str, ...]
) -> None:
    make(rounds=1)
    task = make_task(LABELS, rounds=1)
    with closing(Ledger(tmp_path / "run.db")) as ledger:
        for result in ledger.results():
            old = {k: v for k, v in result["diversity"].items() if k not in lacks}
            ledger.finish_round(result["round"], result | {"diversity": old})
        write_report(tmp_path / "report.html", task, make_data(task, test=30), ledger)
        for result in ledger.results():
            older = {k: v for k, v in result.items() if k != "diversity"}
            ledger.finish_round(result["round"], older)
        write_report(tmp_path / "older.html", task, make_data(task, test=30), ledger)
    for name, missing in (("report.html", len(lacks)), ("older.html", 3)):
        html = (tmp_path / name).read_text(encoding="utf-8")
        first = re.search(r'<th class="round" scope="row">1</th>(.*?)</tr>', html)
        assert first
        assert re.findall(r"<td>(.*?)</td>", first[1])[1:4].count("–") == missing


def test_tells_the_scenarios_of_latency(make: Make) -> None:
    html = make()
    text = words(html)
    assert "After 8 123 requests the student has repaid the 5.0 minutes" in text
    assert "each saves 37 ms of the teacher's quicker way" in text
    assert "it takes 131 × and 123 × as long" in text
    assert cells(html, "student, INT8") == "1.20 1.56 2.40 2.04 – 3.00 1.04 k 4.80 256"
    # Too few answers to bound its p99 above, and too slow for a load.
    assert cells(html, "teacher, scores the labels") == "84 109 168 ≥ 143 14.9 – 256"
    assert html.count('class="bar-int8 tail"') == 1


def test_a_latency_of_an_earlier_version_is_told(make: Make, tmp_path: Path) -> None:
    make()
    ledger = Ledger(tmp_path / "run.db")
    row = {"p50": 5.0, "p95": 7.0, "texts": 90}
    new = ("throughput", "server", "break_even", "random_weights", "student_vs_teacher_score_cold")
    old = {key: value for key, value in ledger.stage("latency").items() if key not in new}
    ledger.finish_stage("latency", old | {"latency_ms": dict.fromkeys(old["latency_ms"], row)})
    task = make_task(LABELS, rounds=2)
    write_report(tmp_path / "report.html", task, make_data(task, test=30), ledger)
    ledger.close()
    html = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert cells(html, "student, INT8") == "5.00 – – – – – 90"
    assert "requests the student has repaid" not in words(html)


def test_hostile_texts_are_only_text(make: Make) -> None:
    html = make(texts=HOSTILE)
    page = Page(html)
    assert page.open == []
    assert not page.tags & {"script", "img", "iframe", "object", "embed", "form", "base"}
    assert not [name for _, name, _ in page.attributes if name.startswith("on")]
    for text in HOSTILE:
        assert text in page.text


def test_loads_nothing(make: Make) -> None:
    page = Page(make(texts=HOSTILE))
    links = [v for name in ("href", "src", "srcset", "data", "action") for v in page.values(name)]
    assert all(value.startswith("#") or value == "data:," for value in links)
    style = Path(report.__file__).with_name("report.css").read_text(encoding="utf-8")
    assert not re.search(r"url\(|@import|https?:", style)
    plain = [v for _, name, v in page.attributes if name not in ("title", "aria-label")]
    assert not [value for value in plain if "://" in value]
    assert any("default-src 'none'" in value for value in plain)


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"test": 0}, "no gold texts were given"),
        ({"test": 0, "dev": 12}, "Accuracy on gold dev"),
        ({"int8": False}, "No INT8 version was as good as the original"),
        ({"rounds": 0}, "No round showed the teacher a mistake"),
        ({"silent_label": "get_weather"}, "get_weather"),
        ({"per_round": 0}, "Leaks: of 0 texts"),
    ],
)
def test_missing_parts(make: Make, more: dict[str, object], said: str) -> None:
    text = words(make(**more))
    assert said in text
    assert "None" not in text
    assert "nan" not in text.split()


def test_gold_dev_that_decides_is_named(tmp_path: Path) -> None:
    task = make_task(LABELS, rounds=1)
    task = task.model_copy(update={"selection": task.selection.model_copy(update={"by": "gold"})})
    text = words(report_of(tmp_path, task, make_data(task, test=0, dev=20)))
    assert "decided on your gold dev texts" in text
    assert "flatter" in text
    assert "teacher-made dev" not in text


def test_seeds_that_decide_are_named(tmp_path: Path) -> None:
    task = make_task(LABELS, rounds=1)
    data = make_data(task, test=20, dev=0)
    report_of(tmp_path, task, data)
    with closing(Ledger(tmp_path / "run.db")) as ledger:
        ledger._db.execute("DELETE FROM examples WHERE split = 'dev'")
        ledger.finish_stage("export", ledger.stage("export") | {"calibration": {}})
        write_report(tmp_path / "report.html", task, data, ledger)
    text = words((tmp_path / "report.html").read_text(encoding="utf-8"))
    assert "decided on the seed examples, which every student was trained on" in text
    assert "teacher-made dev" not in text
    assert "texts that the teacher wrote and labelled" not in text
    assert "Nothing was calibrated: there were no held-out texts" in text


def test_a_run_that_has_only_begun(tmp_path: Path) -> None:
    task = make_task(LABELS, rounds=2)
    data = make_data(task, test=10)
    ledger = Ledger(tmp_path / "run.db")
    write_report(tmp_path / "report.html", task, data, ledger)
    ledger.close()
    text = words((tmp_path / "report.html").read_text(encoding="utf-8"))
    assert "No round is finished" in text
    assert "Not exported yet" in text
    assert "Not measured yet" in text


def test_an_arm_without_feedback_has_no_weaknesses(make: Make) -> None:
    assert "No round showed the teacher a mistake" in words(make(rounds=2, most_groups=0))


def test_a_report_that_fails_leaves_the_old_one(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = make()
    ledger = Ledger(tmp_path / "run.db")
    ledger.finish_stage("export", {"passed": True})  # lacks what the template asks for
    task = make_task(LABELS, rounds=2)
    with pytest.raises(Exception, match="parity_max_diff"):
        write_report(tmp_path / "report.html", task, make_data(task, test=30), ledger)
    ledger.close()
    assert (tmp_path / "report.html").read_text(encoding="utf-8") == before


def test_the_calibration_is_told(tmp_path: Path) -> None:
    task = make_task(LABELS, rounds=1)
    text = words(report_of(tmp_path, task, make_data(task, test=0, dev=20)))
    assert "temperature 1.31" in text


def test_how_far_the_teacher_knows_each_label_is_told(tmp_path: Path) -> None:
    task = make_task(LABELS, rounds=1)
    data = make_data(task, test=20)
    text = words(report_of(tmp_path, task, data))
    assert "Teacher agrees: F1" in text
    assert "count by the probability, after this, that their label is right" in text
    with closing(Ledger(tmp_path / "run.db")) as ledger:
        final = {k: v for k, v in ledger.stage("final").items() if k != "agreement"}
        ledger.finish_stage("final", final)
        write_report(tmp_path / "report.html", task, data, ledger)
    text = words((tmp_path / "report.html").read_text(encoding="utf-8"))
    assert "Teacher agrees: F1" not in text


def test_texts_of_rounds_behind_the_chosen_student_are_not_counted(tmp_path: Path) -> None:
    task = make_task(LABELS, rounds=2)
    report_of(tmp_path, task, make_data(task, test=20))
    with closing(Ledger(tmp_path / "run.db")) as ledger:
        kept = ledger.rows(split="train")
        final = ledger.stage("final") or {}
        counted = {}
        for chosen in (FINAL, "round 0"):
            ledger.finish_stage("final", final | {"chosen": chosen})
            labels = content(task, make_data(task, test=20), ledger)["per_label"]
            counted[chosen] = sum(label["trained"] for label in labels)
    first = sum(row.round == 0 for row in kept)
    assert counted == {FINAL: len(kept), "round 0": first}
    assert first < len(kept)


def test_a_teacher_that_taught_nothing_is_told(tmp_path: Path) -> None:
    task = make_task(LABELS, rounds=1)
    data = make_data(task, test=20)
    music = r"<bdi>play_music</bdi>"
    before = cells(report_of(tmp_path, task, data), music)
    with closing(Ledger(tmp_path / "run.db")) as ledger:
        alone = {"chosen": ALONE, "dev_macro_f1": {ALONE: 1.0}, "trained_on": 27}
        ledger.finish_stage("final", alone | {"doubt": "only 3 of 90 texts"})
        write_report(tmp_path / "report.html", task, data, ledger)
    html = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "No label of the teacher was trained on: only 3 of 90 texts." in words(html)
    seeds, trained, _ = before.rsplit(" ", 2)[-3:]  # the last one is how far the teacher agrees
    assert trained != "0"
    assert cells(html, music).endswith(f"{seeds.split()[-1]} 0")
