"""evokd.figures: every mark stands inside its box."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from evokd.figures import Mark, chart, heat, log_bars, short

SCORES = st.floats(0, 1)


@given(st.lists(st.tuples(st.integers(0, 10**9), SCORES), max_size=8), st.none() | SCORES)
def test_marks_stand_inside(rounds: list[tuple[int, float]], final: float | None) -> None:
    marks = [Mark(tokens, value, "round") for tokens, value in sorted(rounds)]
    marks += [] if final is None else [Mark(None, final, "final")]
    made = chart({("test", "test"): marks, ("dev", "made"): []})
    if not marks:
        assert made is None
        return
    assert made is not None
    (line,) = made.lines
    for place in line.points:
        assert 0 <= place.x <= 100
        assert -1e-6 <= place.y <= 100
    assert [p.x for p in line.points] == sorted(p.x for p in line.points)
    assert all(0 <= tick.at <= 100.01 for tick in (*made.across, *made.up))
    assert 1 <= len(made.across) <= 10


def test_higher_is_better_and_hollow_marks_are_off_the_line() -> None:
    marks = [Mark(0, 0.5, "a"), Mark(10, 0.4, "b", hollow=True), Mark(20, 0.9, "c")]
    made = chart({("test", "test"): marks})
    assert made is not None
    a, b, c = made.lines[0].points
    assert c.y < a.y < b.y
    assert made.lines[0].path == f"{a.x:.2f},{a.y:.2f} {c.x:.2f},{c.y:.2f}"


@given(st.dictionaries(st.text(), st.floats(1e-6, 1e6), max_size=6))
def test_log_bars_keep_the_order(values: dict[str, float]) -> None:
    bars = log_bars(values)
    assert bars.keys() == values.keys()
    assert all(0 <= bar <= 100.01 for bar in bars.values())
    ranked = sorted(values, key=lambda name: values[name])
    assert [bars[n] for n in ranked] == sorted(bars.values())


def test_ten_times_as_long_is_the_same_step() -> None:
    bars = log_bars({"a": 2.0, "b": 20.0, "c": 200.0, "none": 0.0})
    assert abs((bars["b"] - bars["a"]) - (bars["c"] - bars["b"])) < 0.02
    assert bars["none"] == 0


def test_heat_is_by_the_share_of_the_row() -> None:
    assert heat([[0, 0], [1, 99], [6, 4]]) == [
        [(0, 0), (0, 0)],
        [(1, 1), (99, 5)],
        [(6, 5), (4, 4)],
    ]


def test_short_numbers() -> None:
    told = {0: "0", 950: "950", 999.7: "1 k", 1500: "1.5 k", 999_600: "1 M", 2_340_000: "2.34 M"}
    assert {number: short(number).replace("\u202f", " ") for number in told} == told
