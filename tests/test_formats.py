from __future__ import annotations

import contextlib
import json
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from evokd.answers import KindName, names_in, write_labels
from evokd.errors import InputError
from evokd.examples import Example
from evokd.formats import csv, jsonl, read_examples, read_texts

LABELS = ["music", "alarm"]
GOOD = '{"text": "play jazz", "label": "music"}\n'


def refused(path: Path, content: str | bytes) -> InputError:
    """Write the file and return the error that reading it gives."""
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(InputError) as caught:
        read_examples(path, LABELS)
    assert str(path) in caught.value.message
    assert caught.value.hint
    assert "\n" not in caught.value.message + caught.value.hint
    return caught.value


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("{'text': 'wake me'}", "not JSON"),
        ('{"text": "wake me"', "not JSON"),
        ("[" * 100_000, "not JSON"),
        ('["wake me", "alarm"]', "not an object"),
        ("null", "not an object"),
        ('{"label": "alarm"}', 'no "text"'),
        ('{"text": " \\n ", "label": "alarm"}', 'no "text"'),
        ('{"text": 7, "label": "alarm"}', 'no "text"'),
        ('{"text": "wake me"}', 'no "label"'),
        ('{"text": "wake me", "label": ["alarm"]}', '"label" is ["alarm"]'),
        ('{"text": "wake me", "label": 1}', '"label" is 1'),
        ('{"text": "wake me", "labels": ["alarm"]}', 'no "label", but "labels"'),
        ('{"text": "wake me", "label": ""}', 'no "label"'),
        ('{"text": "\\ud83d", "label": "alarm"}', "half of a character"),
    ],
)
def test_a_bad_line_is_named(tmp_path: Path, line: str, says: str) -> None:
    error = refused(tmp_path / "seed.jsonl", f"{GOOD}\n{line}\n{GOOD}")
    assert "line 3: " in error.message
    assert says in error.message


def test_an_unknown_label_names_the_known_ones(tmp_path: Path) -> None:
    error = refused(tmp_path / "seed.jsonl", GOOD + '{"text": "hi", "label": "Music"}\n')
    assert "line 2: label 'Music' is not in the task" in error.message
    assert error.hint == "the task's labels are: music, alarm"


@pytest.mark.parametrize("name", ["seed.jsonl", "seed.csv", "seed.tsv"])
def test_a_line_that_is_not_utf8_is_named(tmp_path: Path, name: str) -> None:
    rows = GOOD if name == "seed.jsonl" else "text\tlabel\n" if "tsv" in name else "text,label\n"
    # Far behind the reader's first buffer, where its own position would say nothing.
    filler = "\n" * 20_000 if name == "seed.jsonl" else ""
    line = 2 + len(filler)
    error = refused(tmp_path / name, (rows + filler).encode() + "café\n".encode("latin-1"))
    assert error.message.endswith(f"line {line}: not UTF-8 text")


@pytest.mark.parametrize("content", ["", "\n \n", "\ufeff"])
def test_a_file_without_records_is_refused(tmp_path: Path, content: str) -> None:
    assert "holds no examples" in refused(tmp_path / "seed.jsonl", content).message


def test_a_header_alone_is_no_examples(tmp_path: Path) -> None:
    assert "holds no examples" in refused(tmp_path / "seed.csv", "text,label\n").message


@pytest.mark.parametrize("read", [lambda path: read_examples(path, LABELS), read_texts])
def test_a_missing_file_and_an_unknown_ending(tmp_path: Path, read: object) -> None:
    assert callable(read)
    with pytest.raises(InputError, match=r"gone\.jsonl: no such file"):
        read(tmp_path / "gone.jsonl")
    (tmp_path / "folder.jsonl").mkdir()
    with pytest.raises(InputError, match=r"folder\.jsonl: no such file"):
        read(tmp_path / "folder.jsonl")
    with pytest.raises(InputError, match=r"unknown format '\.xlsx'") as caught:
        read(tmp_path / "seed.xlsx")
    assert caught.value.hint == "known endings: .jsonl, .csv, .tsv, .conll, .iob, .bio"


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.jsonl", GOOD + '\n{"text": " wake, me ", "label": "alarm", "id": 4}\n'),
        ("a.JSONL", GOOD + '{"text": "wake, me", "label": "alarm"}'),
        ("a.csv", 'text,label\nplay jazz,music\n"wake, me",alarm\n'),
        ("a.csv", '"label","id","text"\r\nmusic,1,play jazz\r\nalarm,2,"wake, me"\r\n'),
        ("a.tsv", "label\ttext\nmusic\tplay jazz\nalarm\twake, me\n"),
    ],
)
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_good_files_are_read(tmp_path: Path, name: str, content: str, mark: str) -> None:
    path = tmp_path / name
    path.write_bytes((mark + content).encode())
    assert read_examples(path, LABELS) == [
        Example("play jazz", "music"),
        Example("wake, me", "alarm"),
    ]
    assert read_texts(path) == ["play jazz", "wake, me"]


def test_blanks_around_names_and_labels_of_a_csv_do_not_count(tmp_path: Path) -> None:
    path = tmp_path / "seed.csv"
    path.write_text("text, label\nplay jazz, music\n")
    [(_, record)] = csv.read(path)
    assert record == {"text": "play jazz", "label": "music"}


def test_a_long_text_of_a_csv_is_read(tmp_path: Path) -> None:
    (tmp_path / "long.csv").write_text(f"text,label\n{'wake me ' * 20_000},alarm\n")
    assert len(read_examples(tmp_path / "long.csv", LABELS)[0].text) > 131_072


def test_semicolons_are_named(tmp_path: Path) -> None:
    path = tmp_path / "seed.csv"
    path.write_text("text;label\nplay jazz;music\n")
    with pytest.raises(InputError) as refused:
        list(csv.read(path))
    assert "semicolons" in str(refused.value.hint)


def test_texts_need_no_labels(tmp_path: Path) -> None:
    path = tmp_path / "pool.jsonl"
    path.write_text('{"text": "hm"}\n{"text": "ah", "label": "unheard of"}\n')
    assert read_texts(path) == ["hm", "ah"]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("sentence,label\nplay jazz,music\n", 'line 1: no column "text"'),
        ("", 'line 1: no column "text"'),
        ("text;label\nplay jazz;music\n", 'line 1: no column "text"'),
        ("text,label\nplay jazz,music\nwake, me,alarm\n", "line 3: more fields than the header"),
        ("text,label\nplay jazz\n", 'line 2: no "label"'),
        ("text,label\n,music\n", 'line 2: no "text"'),
        ('text,label\nplay jazz,music\n"wake me,alarm\n', "line 3: "),
        ('text,label\n"wake" me,alarm\n', "line 2: "),
        ("text,label\nplay jazz,rock\n", "line 2: label 'rock'"),
    ],
)
def test_a_bad_csv_row_is_named(tmp_path: Path, content: str, says: str) -> None:
    assert says in refused(tmp_path / "seed.csv", content).message


@given(st.lists(st.tuples(st.text(min_size=1, max_size=30), st.sampled_from(LABELS)), min_size=1))
@example([('say "hi"\\', "music"), ("🎵🇩🇪👩‍👩‍👧", "alarm"), ("שלום ‏עולם‎", "music")])
@example([("two\u2028lines\u0085and\r\nmore\x00", "music"), ("\ufeffmark", "alarm")])
def test_what_is_written_is_read_back(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, str]]
) -> None:
    examples = [Example(text, label) for text, label in rows if text.strip()]
    path = tmp_path_factory.getbasetemp() / "round_trip.jsonl"
    path.write_text(jsonl.write(examples), encoding="utf-8", newline="\n")
    assert all("text" in json.loads(line) for line in path.read_bytes().splitlines() if line)
    if examples:
        read = read_examples(path, LABELS)
        assert read == [Example(e.text.strip(), e.label) for e in examples]


MANY = Example("wake me with jazz", write_labels(LABELS))
NONE = Example("hello", write_labels([]))


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.jsonl", '{"text": "wake me with jazz", "labels": ["music", "alarm", "music"]}\n'),
        ("a.csv", "labels,text\nmusic|alarm,wake me with jazz\n,hello\n"),
        ("a.tsv", "text\tlabels\nwake me with jazz\t alarm | music |\nhello\t\n"),
    ],
)
def test_several_labels_are_read(tmp_path: Path, name: str, content: str) -> None:
    path = tmp_path / name
    path.write_text(content + ('{"text": " hello", "labels": []}' if name == "a.jsonl" else ""))
    assert read_examples(path, LABELS, "multilabel") == [MANY, NONE]


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("a.jsonl", '{"text": "hm"}', 'line 1: no "labels"'),
        ("a.jsonl", '{"text": "hm", "labels": null}', 'line 1: no "labels"'),
        ("a.jsonl", '{"text": "hm", "labels": "music|alarm"}', 'line 1: "labels" is "music|alarm"'),
        ("a.jsonl", '{"text": "hm", "labels": ["music", 7]}', 'line 1: "labels" is ["music", 7]'),
        ("a.jsonl", '{"text": "hm", "label": "music"}', 'line 1: no "labels", but "label"'),
        ("a.jsonl", '{"text": "hm", "labels": ["music", "rock"]}', "line 1: label 'rock' is not"),
        ("a.csv", "text,label\nhm,music\n", 'line 2: no "labels"'),
        ("a.csv", "text,labels\nhm\n", 'line 2: no "labels"'),
        ("a.csv", "text,labels\nhm,music;alarm\n", "line 2: label 'music;alarm' is not"),
    ],
)
def test_a_text_without_its_labels_is_named(
    tmp_path: Path, name: str, content: str, says: str
) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(InputError) as caught:
        read_examples(tmp_path / name, LABELS, "multilabel")
    assert says in caught.value.message
    assert caught.value.hint


@given(st.lists(st.tuples(st.text(min_size=1), st.sets(st.sampled_from(LABELS))), min_size=1))
def test_several_labels_survive_a_file(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, set[str]]]
) -> None:
    examples = [Example(t.strip(), write_labels(labels)) for t, labels in rows if t.strip()]
    path = tmp_path_factory.getbasetemp() / "round_trip_many.jsonl"
    path.write_text(jsonl.write(examples, "multilabel"), encoding="utf-8", newline="\n")
    if examples:
        assert read_examples(path, LABELS, "multilabel") == examples


KINDS: list[KindName] = ["classification", "multilabel", "ner"]
ENDINGS = [".jsonl", ".csv", ".tsv", ".conll"]


@given(st.binary(max_size=60), st.sampled_from(ENDINGS), st.sampled_from(KINDS))
@example(b"a,B-music\nb\tI-music\n\n\xc2\xa0\tO\n# x\tE-alarm\n", ".conll", "ner")
def test_any_bytes_are_read_or_refused(
    tmp_path_factory: pytest.TempPathFactory, content: bytes, ending: str, kind: KindName
) -> None:
    path = tmp_path_factory.getbasetemp() / f"any{ending}"
    path.write_bytes((b"text,label\n" if ending == ".csv" else b"") + content)
    with contextlib.suppress(InputError):
        texts = read_texts(path)
        assert texts
        assert all(text == text.strip() != "" for text in texts)
        assert [e.text for e in read_examples(path, LABELS, kind)] == texts


def entity(inner: st.SearchStrategy[object]) -> st.SearchStrategy[object]:
    return st.fixed_dictionaries(
        {}, optional=dict.fromkeys(("start", "end", "label", "text"), inner)
    )


FIELDS = ("label", "labels", "entities", "tokens", "tags", "ner_tags")
words = st.sampled_from(["", " ", "a", "jazz", "O", "B-music", *LABELS])
anything = st.recursive(
    st.none() | st.booleans() | st.integers(-1, 12) | st.integers() | st.floats() | words,
    lambda inner: st.lists(inner, max_size=4) | entity(inner),
    max_leaves=6,
)


@given(
    st.fixed_dictionaries(
        {"text": st.just("a jazz tune") | anything},
        optional=dict.fromkeys(FIELDS, anything),
    ),
    st.sampled_from(KINDS),
)
def test_any_record_is_read_or_refused(
    tmp_path_factory: pytest.TempPathFactory, record: dict[str, object], kind: KindName
) -> None:
    path = tmp_path_factory.getbasetemp() / "any_record.jsonl"
    path.write_text(json.dumps(record))
    with contextlib.suppress(InputError):
        (read,) = read_examples(path, LABELS, kind)
        assert read.text == read.text.strip() != ""
        assert set(names_in(read.label, kind)) <= set(LABELS)
