from __future__ import annotations

import logging
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from made_entities import TYPES, tagged_texts

from evokd.answers import Span, read_spans, write_spans
from evokd.errors import InputError
from evokd.examples import Example
from evokd.formats import conll, read_examples, read_texts
from evokd.formats.tags import SCHEMES, Chunk, decode, encode, repairs

ROME = Example("to New York on Monday", write_spans([Span(3, 11, "city"), Span(15, 21, "day")]))
SCHEMED = {
    "IOB2": "O B-city I-city O B-day",
    "IOB1": "O I-city I-city O I-day",
    "BIOES": "O B-city E-city O S-day",
    "BILOU": "O B-city L-city O U-day",
    "BMEWO": "O B-city E-city O W-day",
}


def refused(path: Path, content: str) -> str:
    path.write_text(content, encoding="utf-8")
    with pytest.raises(InputError) as caught:
        read_examples(path, TYPES, "ner")
    assert str(path) in caught.value.message
    assert caught.value.hint
    return caught.value.message


@pytest.mark.parametrize("ending", [".conll", ".iob", ".BIO"])
@pytest.mark.parametrize("gap", [" ", "\t", " NNP  - ", "\t-X-\t"])
@pytest.mark.parametrize("scheme", SCHEMED)
def test_a_sentence_is_read(tmp_path: Path, ending: str, gap: str, scheme: str) -> None:
    path = tmp_path / f"seed{ending}"
    rows = zip(ROME.text.split(), SCHEMED[scheme].split(), strict=True)
    lines = "".join(f"{token}{gap}{tag}\r\n" for token, tag in rows)
    path.write_text(
        f"\ufeff-DOCSTART- -X- O O\n\n# id = 1\n{lines}\n \t\n{lines}", encoding="utf-8"
    )
    heard: list[str] = []
    assert read_examples(path, TYPES, "ner", note=heard.append) == [ROME, ROME]
    assert read_texts(path) == [ROME.text, ROME.text]
    assert heard == []


@pytest.mark.parametrize(
    ("content", "texts"),
    [
        ("# sent 1\n#\tO\n#jazz\tO\n", ["# #jazz"]),
        ("# text = blood group O\na\tO\n", ["a"]),
        ("# alone\n\na\tO\n", ["a"]),
        ("# a O\nb O\n", ["b"]),
        ("a NN O O\n#jazz NN O B-x\n# end\n", ["a #jazz"]),
        ("good evening all\n#x O\n#y O\n", ["good #x #y"]),
        ("a\tO\n#jazz\tO\n# a\tb\tc\tO\n", ["a #jazz"]),
        ("\tO\na\tO\n\u00a0\tO\n\n\tO\n\nb\u00a0c\tO\n", ["a", "b\u00a0c"]),
        ("a\nb\n\nc\n", ["a b", "c"]),
        ("a\tO\n-DOCSTART-\nb\tO\n", ["a", "b"]),
    ],
)
def test_comments_and_tokens_of_nothing(tmp_path: Path, content: str, texts: list[str]) -> None:
    path = tmp_path / "pool.conll"
    path.write_text(content, encoding="utf-8")
    assert read_texts(path) == texts


def test_a_bad_line_is_named(tmp_path: Path) -> None:
    path = tmp_path / "seed.conll"
    assert "line 4: no tag" in refused(path, "a\tO\n\nb\tO\nc\n")
    assert "line 3, token 2 'c': 'city' is no tag" in refused(path, "a\tO\n\nb\tO\nc\tcity\n")
    assert "line 1: label 'place' is not in the task" in refused(path, "a\tB-place\n")
    assert 'line 1: no "entities", so the text is unlabelled' in refused(path, "a\nb\n")
    assert "holds no examples" in refused(path, "-DOCSTART- -X- O O\n\n# none\n")


def test_broken_tags_are_repaired_and_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "seed.conll"
    path.write_text("a B-day\nb I-day\n\nc B-city\n\nto O\nNew I-city\nYork I-city\nMay I-day\n")
    with caplog.at_level(logging.WARNING):
        *_, last = read_examples(path, TYPES, "ner")
    assert last == Example(
        "to New York May", write_spans([Span(3, 11, "city"), Span(12, 15, "day")])
    )
    assert caplog.messages == [
        f"{path}: 2 of 7 tags break IOB2, first line 6, token 2 'New': 'I-city'; "
        "entities were taken to begin and end where their types do"
    ]


@pytest.mark.parametrize(
    ("tags", "chunks"),
    [
        ("I-a I-a O I-a", [(0, 2, "a"), (3, 4, "a")]),
        ("I-a B-a I-b", [(0, 1, "a"), (1, 2, "a"), (2, 3, "b")]),
        ("B-a B-a E-a I-a", [(0, 1, "a"), (1, 3, "a"), (3, 4, "a")]),
        ("E-a E-a S-a S-b L-b", [(0, 1, "a"), (1, 2, "a"), (2, 3, "a"), (3, 4, "b"), (4, 5, "b")]),
        ("B-a I-b E-a O", [(0, 1, "a"), (1, 2, "b"), (2, 3, "a")]),
        ("B-a-b I-a-b I-a", [(0, 2, "a-b"), (2, 3, "a")]),
    ],
)
def test_any_tags_are_entities_by_one_rule(tags: str, chunks: list[Chunk]) -> None:
    assert decode(tags.split()) == chunks


def test_the_scheme_is_the_whole_files() -> None:
    iob1 = [["I-a", "O"], ["I-a", "B-a"], ["B-a", "O"]]
    assert repairs(iob1) == ("IOB1", [(2, 0)])
    assert repairs([*iob1, ["B-a", "B-b"], ["B-a"]])[0] == "IOB2"
    assert repairs([["B-a", "I-a"], ["B-a", "B-a"], ["S-a"]]) == ("IOB2", [(2, 0)])
    assert repairs([["B-a", "E-a"], ["B-a"], ["U-a"]]) == ("BIOES", [(1, 0)])
    assert repairs([["O"], []]) == ("IOB2", [])


chunk_lists = st.lists(st.tuples(st.integers(0, 2), st.integers(1, 3), st.sampled_from("ab")))


@given(st.lists(chunk_lists), st.sampled_from(SCHEMES))
def test_what_a_scheme_writes_is_read_without_repairs(
    drawn: list[list[tuple[int, int, str]]], scheme: str
) -> None:
    sentences = []
    for pieces in drawn:
        chunks, end = [], 0
        for gap, length, label in pieces:
            chunks.append((end + gap, end + gap + length, label))
            end += gap + length
        sentences.append(encode(chunks, end + 1, scheme=scheme))
        assert decode(sentences[-1]) == chunks
    assert repairs(sentences)[1] == []


@given(st.lists(st.sampled_from(["O", *(f"{p}-{t}" for p in "BIESLU" for t in "ab")])))
def test_repaired_tags_need_no_repair(tags: list[str]) -> None:
    chunks = decode(tags)
    scheme, broken = repairs([tags])
    mended = encode(chunks, len(tags), scheme=scheme)
    assert decode(mended) == chunks
    assert len(broken) <= len(tags)
    assert repairs([mended])[1] == []
    assert {at for at, tag in enumerate(tags) if tag == "O"}.isdisjoint(at for _, at in broken)


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("Play Drake's jazz_1, now!", "Play Drake ' s jazz_1 , now !"),
        ("ab cafe\u0301 noe\u0308l", "a b cafe\u0301 noe\u0308l"),
        ("हिन्दी में", "हिन्दी में"),
        ("می\u200cخواهم برم", "می\u200cخواهم برم"),
        ("我在Rome工作", "我 在 Rome 工 作"),
        ("hi 👩‍👧👍", "hi 👩‍👧 👍"),
        ("a\u00a0b\u2028c", "a b c"),
    ],
)
def test_texts_are_cut_into_tokens(text: str, tokens: str) -> None:
    spans = [Span(0, 1, "city")] if text.startswith("ab") else []
    written = conll.write([Example(text, write_spans(spans))])
    assert [line.split("\t")[0] for line in written.splitlines()] == tokens.split(" ")


def surfaces(text: str, answer: str) -> list[tuple[str, str]]:
    """Return the entities without the white space in them."""
    return [("".join(text[s.start : s.end].split()), s.label) for s in read_spans(answer)]


# A mark of byte order that begins a file is no part of its text.
@given(st.lists(tagged_texts().filter(lambda e: e.text[0] != "\ufeff"), min_size=1))
@example([Example("#1 in Rome: # -DOCSTART- O", write_spans([Span(6, 10, "city")]))])
@example([Example("# O", write_spans([])), Example("#", write_spans([]))])
@example([Example("e\u0301a", write_spans([Span(0, 1, "city"), Span(1, 3, "day")]))])
def test_entities_survive_conll(
    tmp_path_factory: pytest.TempPathFactory, examples: list[Example]
) -> None:
    path = tmp_path_factory.getbasetemp() / "round_trip.conll"
    written = conll.write(examples)
    path.write_text(written, encoding="utf-8", newline="\n")
    read = read_examples(path, TYPES, "ner")
    assert [surfaces(e.text, e.label) for e in read] == [
        surfaces(e.text, e.label) for e in examples
    ]
    assert ["".join(e.text.split()) for e in read] == ["".join(e.text.split()) for e in examples]
    assert conll.write(read) == written


def test_a_column_that_counts_is_told(tmp_path: Path) -> None:
    path = tmp_path / "counted.conll"
    said = refused(path, "1\tIn\tO\n2\tRome\tB-city\n\n1\tNow\tO\n")
    assert "the first column counts the tokens" in said
    path.write_text("1 CD O\n2 CD O\n\nIn IN O\nRome NN B-city\n", encoding="utf-8")
    assert [e.text for e in read_examples(path, TYPES, "ner")] == ["1 2", "In Rome"]
