from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from made_entities import TYPES, tagged_texts

from evokd.answers import Span, read_spans, write_spans
from evokd.errors import InputError
from evokd.examples import Example
from evokd.formats import jsonl, read_examples, read_texts


def written(folder: Path, *records: dict[str, Any]) -> Path:
    path = folder / "seed.jsonl"
    path.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")
    return path


def spans_of(path: Path) -> list[tuple[str, str]]:
    """Return surface and type of every entity of a file."""
    read = read_examples(path, TYPES, "ner")
    return [(e.text[s.start : s.end], s.label) for e in read for s in read_spans(e.label)]


def at(start: int, end: int, label: str = "city", **more: object) -> dict[str, object]:
    return {"start": start, "end": end, "label": label, **more}


def test_offsets_are_code_points_of_the_stripped_text(tmp_path: Path) -> None:
    text = "\u00a0 \t👩‍👧 in São  on 月曜日\n"
    day = at(text.index("月"), text.index("日") + 1, "day")
    city = at(text.index("São"), text.index("São") + 5, text="São")  # with the blanks after it
    record = {"text": text, "entities": [day, city]}
    path = written(tmp_path, record)
    assert read_examples(path, TYPES, "ner") == [
        Example("👩‍👧 in São  on 月曜日", write_spans([Span(7, 10, "city"), Span(15, 18, "day")]))
    ]
    assert spans_of(path) == [("São", "city"), ("月曜日", "day")]


def test_no_entities_is_an_answer(tmp_path: Path) -> None:
    path = written(tmp_path, {"text": "hello", "entities": []})
    assert read_examples(path, TYPES, "ner") == [Example("hello", write_spans([]))]


def test_an_entity_given_twice_is_one_and_neighbours_may_touch(tmp_path: Path) -> None:
    given_twice = [at(0, 4), at(4, 7, "day"), at(0, 4), at(0, 4, text=" Rome ")]
    assert spans_of(written(tmp_path, {"text": "RomeMon", "entities": given_twice})) == [
        ("Rome", "city"),
        ("Mon", "day"),
    ]


TEXT = "to Rome on Monday"


def test_offsets_that_cut_most_entities_are_told(tmp_path: Path) -> None:
    def told(*entities: dict[str, object]) -> list[str]:
        notes: list[str] = []
        file = written(tmp_path, {"text": TEXT, "entities": list(entities)})
        read_examples(file, TYPES, "ner", note=notes.append)
        return notes

    [note] = told(at(3, 6), at(11, 16, "day"))  # their last letter's place, not the one behind it
    assert "2 of 2 entities begin or end within a word, first line 1: 'Rom' (3 to 6, city)" in note
    assert "the end exclusive" in note
    assert told(at(3, 7), at(11, 17, "day")) == []
    assert told(at(3, 7), at(11, 14, "day")) == []  # Mon|day: one may be a word in a word
    assert told() == []


def test_a_name_before_its_particle_is_whole(tmp_path: Path) -> None:
    file = written(tmp_path, {"text": "서울에서 만나요", "entities": [at(0, 2)]})
    notes: list[str] = []
    read_examples(file, TYPES, "ner", note=notes.append)
    assert notes == []


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({}, 'no "entities", so the text is unlabelled'),
        ({"entities": None}, 'no "entities", so the text is unlabelled'),
        ({"entities": "none"}, 'no "entities"'),
        ({"label": "city"}, 'no "entities"'),
        ({"entities": [at(3, 7), [3, 7, "city"]]}, "entity 2 is no object"),
        ({"entities": [{"start": 3, "label": "city"}]}, 'entity 1 has no whole numbers "start"'),
        ({"entities": [at(True, 7)]}, 'entity 1 has no whole numbers "start" and "end"'),  # type: ignore[arg-type]
        ({"entities": [{"start": 3.0, "end": 7, "label": "city"}]}, "no whole numbers"),
        ({"entities": [{"start": 3, "end": 7}]}, 'entity 1 has no "label"'),
        ({"entities": [at(3, 7, "")]}, 'entity 1 has no "label"'),
        ({"entities": [at(3, 7, "person")]}, "label 'person' is not in the task"),
        ({"entities": [at(3, 18)]}, "entity 1 is 3 to 18 in a text of 17 characters"),
        ({"entities": [at(-1, 2)]}, "entity 1 is -1 to 2 in a text of 17 characters"),
        ({"entities": [at(7, 3)]}, "entity 1 is 7 to 3 in a text of 17 characters"),
        ({"entities": [at(3, 3)]}, "entity 1 is empty (3 to 3)"),
        ({"entities": [at(2, 3)]}, "entity 1 is empty (2 to 3)"),
        ({"entities": [at(3, 7, text="Rom")]}, "is 'Rom', but the text has 'Rome' at 3 to 7"),
        ({"entities": [at(3, 7, text=7)]}, "entity 1 is 7, but the text has 'Rome' at 3 to 7"),
        (
            {"entities": [at(11, 17, "day"), at(0, 7), at(3, 10)]},
            "'to Rome' (0 to 7, city) and 'Rome on' (3 to 10, city) overlap",
        ),
        (
            {"entities": [at(3, 7), at(3, 7, "day")]},
            "'Rome' (3 to 7, city) and 'Rome' (3 to 7, day) overlap",
        ),
        ({"tags": ["O"]}, 'no "tokens"'),
        ({"tags": ["O"], "tokens": "to Rome"}, 'no "tokens"'),
        ({"tags": ["O", "O"], "tokens": ["to", 7]}, 'no "tokens"'),
        ({"tags": "O", "tokens": ["to"]}, 'no "tags"'),
        ({"tags": ["O", "B-city", "O"], "tokens": ["to", "Rome"]}, "2 tokens but 3 tags"),
        ({"ner_tags": [0, 3], "tokens": ["to", "Rome"]}, '"ner_tags" holds numbers'),
        (
            {"tags": ["O", "city"], "tokens": ["to", "Rome"]},
            "line 2, token 2 'Rome': 'city' is no tag",
        ),
        ({"tags": ["O", "B-"], "tokens": ["to", "Rome"]}, "'B-' is no tag"),
        ({"tags": ["O", None], "tokens": ["to", "Rome"]}, "None is no tag"),
        (
            {"tags": ["O", "B-city"], "tokens": ["to", "Paris"]},
            "where token 2 'Paris' is due, the text has 'Rome on Monday'",
        ),
        (
            {"tags": ["O", "B-city"], "tokens": ["to", "Rome"]},
            "where the tokens' end is due, the text has 'on Monday'",
        ),
    ],
)
def test_a_bad_record_is_named(tmp_path: Path, fields: dict[str, Any], says: str) -> None:
    path = written(tmp_path, {"text": "hi", "entities": []}, {"text": TEXT, **fields})
    with pytest.raises(InputError) as caught:
        read_examples(path, TYPES, "ner")
    assert caught.value.message.startswith(f"{path}, line 2")
    assert says in caught.value.message
    assert caught.value.hint
    assert "\n" not in caught.value.message + caught.value.hint


@pytest.mark.parametrize("field", ["tags", "ner_tags"])
def test_tokens_are_found_in_the_text(tmp_path: Path, field: str) -> None:
    tags = ["O", "B-city", "I-city", "I-city", "O", "B-day"]
    tokens = ["to", "Ann", "-", "Arbor", "", "tomorrow"]
    record = {"text": " to\u2003Ann-Arbor tomorrow ", "tokens": tokens, field: tags}
    path = written(tmp_path, record)
    assert spans_of(path) == [("Ann-Arbor", "city"), ("tomorrow", "day")]
    assert read_texts(path) == ["to\u2003Ann-Arbor tomorrow"]


def test_tokens_make_a_text_where_there_is_none(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        {"tokens": ["in", " ", "New York", "\u00a0now"], "tags": ["O", "O", "B-city", "O"]},
    )
    assert spans_of(path) == [("New York", "city")]
    assert read_texts(path) == ["in New York now"]


def test_entities_count_before_tags(tmp_path: Path) -> None:
    record = {"text": TEXT, "entities": [at(3, 7)], "tokens": [1], "tags": ["?"]}
    assert spans_of(written(tmp_path, record)) == [("Rome", "city")]


@given(st.lists(tagged_texts(), min_size=1))
@example([Example("🇩🇪 Rome", write_spans([Span(3, 7, "city")]))])
def test_entities_survive_a_file(
    tmp_path_factory: pytest.TempPathFactory, examples: list[Example]
) -> None:
    path = tmp_path_factory.getbasetemp() / "round_trip_spans.jsonl"
    path.write_text(jsonl.write(examples, "ner"), encoding="utf-8", newline="\n")
    assert read_examples(path, TYPES, "ner") == examples
