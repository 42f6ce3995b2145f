"""A simulated weak tagger with a few bad habits, such as taking one type for another."""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from evokd import wording
from evokd.answers import Span, read_spans, write_spans
from evokd.demo.training.marked import Marked, Source
from evokd.demo.training.turns import Drawn, Lesson, report
from evokd.wording import Seen


def misplaced(made: Marked, span: Span, rng: random.Random) -> Span | None:
    """Return the span with a word more or less at one end; None where neither can be."""
    words = [(m.start(), m.end()) for m in re.finditer(r"\S+", made.text)]
    inside = [w for w in words if w[0] >= span.start and w[1] <= span.end]
    ways = []
    if len(inside) > 1:
        ways += [(inside[1][0], span.end), (span.start, inside[-2][1])]
    before = [w for w in words if w[1] <= span.start]
    after = [w for w in words if w[0] >= span.end]
    ways += [(before[-1][0], span.end)] if before else []
    ways += [(span.start, after[0][1])] if after else []
    taken = {(s.start, s.end) for s in made.spans}
    ways = [way for way in ways if way not in taken]
    return Span(*rng.choice(ways), span.label) if ways else None


def nothing(made: Marked, rng: random.Random) -> Span | None:
    """Return one to three words that touch no entity; None where there are none."""
    words = [(m.start(), m.end()) for m in re.finditer(r"\w[\w'-]*", made.text)]
    free = [w for w in words if all(w[1] <= s.start or w[0] >= s.end for s in made.spans)]
    if not free:
        return None
    at = rng.randrange(len(free))
    last = at
    for _ in range(rng.choice((0, 0, 1, 2))):
        if last + 1 < len(free) and free[last + 1][0] - free[last][1] == 1:
            last += 1
    return Span(free[at][0], free[last][1], "")


@dataclass(frozen=True, slots=True)
class Habit:
    """What a simulated tagger does wrong with the entities of one type."""

    how: str
    label: str
    other: str

    def told(self, cases: Sequence[tuple[str, str]]) -> str:
        """Return the line of an analysis that names this habit, with (marked, right) cases."""
        say = {
            "misses": f"misses {self.label}",
            "takes": f"takes {self.label} for {self.other}",
            "clips": f"marks too little of {self.label}",
            "widens": f"marks too much of {self.label}",
            "invents": f"marks {self.label} where there is none",
        }[self.how]
        whole = self.how in ("clips", "widens")
        words = [f"{wording.quote(a)} for {wording.quote(b)}" if whole else wording.quote(a or b)
                 for a, b in dict.fromkeys(cases)]  # fmt: skip
        return f"- It {say}, for example {' and '.join(words[:2])}."


def tagger(
    made: Marked, habits: Sequence[Habit], rng: random.Random
) -> tuple[list[Span], list[tuple[Habit, str, str]]]:
    """Return what a tagger with these habits marks, and each mistake: habit, marked, right."""
    marked: list[Span] = []
    errors: list[tuple[Habit, str, str]] = []
    for span in made.spans:
        fitting = [h for h in habits if h.label == span.label and h.how != "invents"]
        habit = rng.choice(fitting) if fitting and rng.random() < 0.75 else None
        done: Span | None = span
        if habit:
            done = _spoilt(made, span, habit, rng)
            right = made.text[span.start : span.end]
            errors.append((habit, made.text[done.start : done.end] if done else "", right))
        marked += [done] if done else []
    for habit in habits:
        if habit.how == "invents" and rng.random() < 0.4 and (more := nothing(made, rng)):
            marked.append(Span(more.start, more.end, habit.label))
            errors.append((habit, made.text[more.start : more.end], ""))
    kept: list[Span] = []
    for span in sorted(marked):
        if not kept or span.start >= kept[-1].end:
            kept.append(span)
    return kept, errors if kept != list(made.spans) else []


def _spoilt(made: Marked, span: Span, habit: Habit, rng: random.Random) -> Span | None:
    if habit.how == "misses":
        return None
    if habit.how == "takes":
        return Span(span.start, span.end, habit.other)
    wider = habit.how == "widens"
    for _ in range(6):
        other = misplaced(made, span, rng)
        if other and (other.end - other.start > span.end - span.start) == wider:
            return other
    return None


def mistakes(source: Source, task: Drawn, rng: random.Random) -> Lesson | None:
    """Return a lesson on a tagger with some bad habits; None when they did not show."""
    habits = []
    for _ in range(rng.randint(1, 3)):
        label, other = rng.sample(list(task.labels), 2)
        how = rng.choice(("misses", "misses", "takes", "takes", "clips", "widens", "invents"))
        habits.append(Habit(how, label, other))
    right: list[Seen] = []
    wrong: list[tuple[Seen, list[tuple[Habit, str, str]]]] = []
    for i in range(24):
        label = rng.choice(habits).label if i % 2 else ""
        made = source.text(rng, label=label, plain=rng.random() < 0.6, short=True)
        marked, errors = tagger(made, habits, rng)
        answer = made.answer
        if errors:
            wrong.append((Seen(made.text, answer, write_spans(marked)), errors))
        elif made.spans:
            right.append(Seen(made.text, answer, answer))
    if len(wrong) < 3 or len(right) < 4:
        return None
    few = wrong[: min(5, len(wrong) - 1)]
    cases: dict[Habit, list[tuple[str, str]]] = {}
    for _, errors in few:
        for habit, one, other in errors:
            # A type whose spans cannot be clipped is missed: the line says what really happened.
            shown_as = habit if one or habit.how == "misses" else _missed(habit)
            cases.setdefault(shown_as, []).append((one, other))
    ordered = sorted(cases, key=lambda h: -len(cases[h]))
    kept = rng.randint(0, 3)
    rest = [s for s, _ in wrong[len(few) :]]
    return Lesson(
        right[:kept],
        [s for s, _ in few],
        "\n".join(h.told(cases[h]) for h in ordered),
        [(s.text, s.label) for s in rest[: rng.randint(2, 4)]],
        [(s.text, s.label) for s in right[kept:][: rng.randint(1, 2)]],
        _report(task, [*right, *(s for s, _ in wrong)], wrong) if rng.random() < 0.3 else [],
    )


def _missed(habit: Habit) -> Habit:
    return Habit("misses", habit.label, habit.other)


def _report(
    task: Drawn,
    tested: Sequence[Seen],
    wrong: Sequence[tuple[Seen, list[tuple[Habit, str, str]]]],
) -> list[str]:
    taken = Counter((h.label, h.other) for _, e in wrong for h, *_ in e if h.how == "takes")
    names = list(task.labels)
    return report(
        names, tested, lambda a: {(s.start, s.end): s.label for s in read_spans(a)}, taken
    )
