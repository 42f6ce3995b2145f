"""The texts of the demo's second task keep their own rules. They are never edited."""

from __future__ import annotations

import json
import re
from collections import Counter, defaultdict
from itertools import combinations, pairwise, product
from pathlib import Path

import numpy as np
import pytest
import yaml
from test_demo_texts import NEAR, TEACHER_TEXTS, short_hash

from evokd.answers import Span
from evokd.demo import TEACHERS
from evokd.demo import __file__ as demo
from evokd.examples import jaccard, normalise, trigrams

FOLDER = Path(demo).parent
PARTS = ("seed", "dev", "test")
# One text and its entities, in the order of the file.
Row = tuple[str, tuple[Span, ...]]


def rows_of(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


@pytest.fixture(scope="module")
def parts() -> dict[str, list[Row]]:
    read = {part: rows_of(FOLDER / "slots" / f"{part}.jsonl") for part in PARTS}
    assert all(row.keys() == {"text", "entities"} for rows in read.values() for row in rows)
    return {
        part: [(row["text"], tuple(Span(**span) for span in row["entities"])) for row in rows]
        for part, rows in read.items()
    }


@pytest.fixture(scope="module")
def types() -> list[str]:
    task = yaml.safe_load((FOLDER / "slots" / "task.yaml").read_text(encoding="utf-8"))
    assert all(task["labels"].values())
    return list(task["labels"])


def everything(parts: dict[str, list[Row]]) -> list[str]:
    return [text for part in PARTS for text, _ in parts[part]]


def counted(rows: list[Row]) -> Counter[str]:
    return Counter(span.label for _, spans in rows for span in spans)


def test_there_are_as_many_as_promised(parts: dict[str, list[Row]], types: list[str]) -> None:
    assert len(types) == 8
    assert counted(parts["seed"]) == dict.fromkeys(types, 1)
    for part, texts, entities in (("dev", 150, 15), ("test", 400, 40)):
        assert len(parts[part]) >= texts
        counts = counted(parts[part])
        assert set(counts) == set(types)
        assert min(counts.values()) >= entities
        assert sum(not spans for _, spans in parts[part]) >= texts / 20


def test_every_entity_is_a_clean_piece_of_its_text(parts: dict[str, list[Row]]) -> None:
    for text, spans in (row for part in PARTS for row in parts[part]):
        assert text == text.strip()
        assert list(spans) == sorted(spans)
        assert all(one.end <= after.start for one, after in pairwise(spans))
        for span in spans:
            surface = text[span.start : span.end]
            assert 0 <= span.start < span.end <= len(text)
            assert surface == surface.strip(" ,;:!?")
            # A word is never cut in two.
            assert not re.search(r"\w\Z", text[: span.start]), (text, surface)
            assert not re.match(r"\w", text[span.end :]), (text, surface)


def test_edges_keep_the_conventions(parts: dict[str, list[Row]]) -> None:
    """Articles, prepositions and possessives are out, but where they belong to a name."""
    for text, spans in (row for part in PARTS for row in parts[part]):
        for span in spans:
            words = text[span.start : span.end].casefold().split()
            assert not words[-1].endswith("'s"), text
            if span.label in {"title", "artist", "playlist"}:
                continue
            assert words[0] not in {"the", "in", "at", "on", "for", "by", "from", "until"}, text
            assert words[0] not in {"a", "an"} or span.label == "time", text


def test_no_text_nearly_equals_another(parts: dict[str, list[Row]]) -> None:
    own = [(text, trigrams(text)) for text in everything(parts)]
    texts = [str(row["text"]) for part in PARTS for row in rows_of(FOLDER / f"{part}.jsonl")]
    first_demo = [(text, trigrams(text)) for text in texts]
    near = [
        (one, other)
        for (one, a), (other, b) in (*combinations(own, 2), *product(own, first_demo))
        # Sets of unlike sizes cannot be near; that spares most of the pairs.
        if NEAR * max(len(a), len(b)) <= min(len(a), len(b)) and jaccard(a, b) >= NEAR
    ]
    assert near == []


def test_texts_are_as_unlike_as_what_people_say(parts: dict[str, list[Row]]) -> None:
    texts = everything(parts)
    openings = Counter(
        tuple(words[:4]) for text in texts if len(words := normalise(text).split()) >= 4
    )
    assert max(openings.values()) <= len(texts) / 50
    lengths = [len(text.split()) for text, _ in parts["test"]]
    assert sum(n <= 5 for n in lengths) >= 20
    assert sum(n >= 15 for n in lengths) >= 20


def remembered(rows: list[Row]) -> dict[str, str]:
    """Return the type that every surface form has most often in these rows."""
    seen: dict[str, Counter[str]] = defaultdict(Counter)
    for text, spans in rows:
        for span in spans:
            seen[text[span.start : span.end].casefold()][span.label] += 1
    return {surface: labels.most_common(1)[0][0] for surface, labels in seen.items()}


def f1_of_memory(known: dict[str, str], rows: list[Row]) -> float:
    """Return the strict F1 of marking every known surface wherever it stands, longest first."""
    surfaces = "|".join(re.escape(s) for s in sorted(known, key=len, reverse=True))
    pattern = re.compile(rf"(?<!\w)(?:{surfaces})(?!\w)", re.IGNORECASE)
    marked = gold = right = 0
    for text, spans in rows:
        found = {Span(*m.span(), known[m[0].casefold()]) for m in pattern.finditer(text)}
        marked, gold = marked + len(found), gold + len(spans)
        right += len(found & set(spans))
    return 2 * right / (marked + gold)


def test_remembering_surfaces_does_not_solve_it(parts: dict[str, list[Row]]) -> None:
    assert f1_of_memory(remembered(parts["test"]), parts["test"]) > 0.7, "the tagger tags"
    assert f1_of_memory(remembered(parts["seed"]), parts["test"]) < 0.35
    assert 0 < f1_of_memory(remembered(parts["seed"] + parts["dev"]), parts["test"]) < 0.35
    assert f1_of_memory(remembered(parts["seed"]), parts["dev"]) < 0.35


@pytest.mark.parametrize("file", TEACHER_TEXTS, ids=[*TEACHERS])
def test_no_embedded_teacher_read_one_of_them(parts: dict[str, list[Row]], file: Path) -> None:
    read = np.fromfile(file, dtype="<u4")
    assert len(read) > 10_000
    own = np.array([short_hash(text) for text in everything(parts)], dtype="<u4")
    assert not np.isin(own, read).any()
