"""The questions, byte for byte. EVOKD_WRITE_GOLDEN=1 writes the golden files of a new version."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from evokd import prompts
from evokd.answers import Span, write_labels, write_spans
from evokd.demo import TEACHERS
from evokd.prompts import (
    ask_analysis,
    ask_applies,
    ask_attributes,
    ask_cover,
    ask_entities,
    ask_label,
    ask_paraphrases,
    ask_texts,
    ask_texts_at_once,
    ask_verdict,
    head,
)
from evokd.teacher import Message
from evokd.wording import WORDINGS, Seen, quote, report_line

GOLDEN = Path(__file__).parent / "golden" / f"prompts_v{prompts.VERSION}"
DOMAIN = "requests to a voice assistant"
LABELS = {
    "play_music": "wants to hear a song, an artist or a genre now",
    "set_alarm": "wants to be woken at a certain time",
    "other": "",
}
RIGHT = [Seen("Wake me at six.", "set_alarm", "set_alarm")]
WRONG = [
    Seen('play "Wake Me Up"\nby Avicii', "play_music", "set_alarm"),
    Seen("müsli & café ☕ \\ 早上好", "other", "play_music"),
]
ANALYSIS = ask_analysis(DOMAIN, LABELS, RIGHT, WRONG)
TYPES = {"artist": "who plays", "title": "what is played"}
BLUE = write_spans([Span(5, 9, "title")])
TAGGED = [
    Seen("play Blue", BLUE, BLUE),
    Seen("play Blue", BLUE, write_spans([Span(5, 9, "artist")])),
    Seen("play Blue", BLUE, write_spans([])),
]
SEVERAL = (
    [Seen("wake me with jazz", ALL, ALL) for ALL in [write_labels(["set_alarm", "play_music"])]],
    [Seen("hm", write_labels([]), write_labels(["other"])), Seen("six", '["set_alarm"]', "[]")],
)
SAID = "- It takes songs about waking for alarms."
PROMPTS: dict[str, tuple[Message, ...]] = {
    "head": (Message("user", head(DOMAIN, LABELS)),),
    "label": ask_label(DOMAIN, LABELS, 'she said "wake me\tat 6"'),
    "cover": tuple(
        message
        for style in prompts.STYLES
        for message in ask_cover(
            DOMAIN,
            LABELS,
            label="play_music",
            count=5,
            style=style,
            examples=["Play some jazz.", 'put on "Hey Jude"'],
        )
    ),
    "analysis": ANALYSIS,
    "analysis_wrong_only": ask_analysis(DOMAIN, LABELS, [], WRONG),
    "texts": ask_texts(ANALYSIS, SAID, hard=4, easy=2),
    "label_by_examples": ask_label(
        DOMAIN, LABELS, "wake me", examples=[("up at six", "set_alarm"), ("jazz now", "play_music")]
    ),
    "cover_without_examples": ask_cover(
        DOMAIN, LABELS, label="other", count=3, style="short", examples=[]
    ),
    "paraphrases": ask_paraphrases(DOMAIN, LABELS, "Wake me at six.", count=4),
    "attributes": ask_attributes(DOMAIN, LABELS, count=5),
    "analysis_with_report": ask_analysis(
        DOMAIN, LABELS, RIGHT, WRONG, report=[report_line("other", 0.5, "set_alarm")]
    ),
    "texts_at_once": ask_texts_at_once(DOMAIN, LABELS, RIGHT, WRONG, hard=4, easy=2),
    "texts_with_labels": ask_texts(ANALYSIS, SAID, hard=4, easy=2, labelled=True),
    "applies": ask_applies(DOMAIN, LABELS, "wake me with jazz", label="play_music"),
    "several_cover": ask_cover(
        DOMAIN, LABELS, label="other", count=3, style="polite", examples=["hm"], kind="multilabel"
    ),
    "several_analysis": ask_analysis(DOMAIN, LABELS, *SEVERAL, kind="multilabel"),
    "entities": ask_entities(DOMAIN, TYPES, "play Blue by Joni at six"),
    "entities_said_twice": ask_entities(DOMAIN, TYPES, "play Blue by Blue"),
    "entities_by_examples": ask_entities(DOMAIN, TYPES, "Blue", examples=[(TAGGED[0].text, BLUE)]),
    "verdict": ask_verdict(DOMAIN, TYPES, "play Blue by Joni", words="Blue", label="title"),
    "entities_cover": ask_cover(
        DOMAIN, TYPES, label="title", count=3, style="short", examples=["play Blue"], kind="ner"
    ),
    "entities_analysis": ask_analysis(DOMAIN, TYPES, TAGGED[:1], TAGGED[1:], kind="ner"),
    "entities_texts": ask_texts(ANALYSIS, SAID, hard=1, easy=1, kind="ner"),
}


def shown(messages: tuple[Message, ...]) -> bytes:
    """Return a conversation as a golden file holds it."""
    return "".join(f"<{m.role}>\n{m.content}\n</{m.role}>\n" for m in messages).encode()


@pytest.mark.parametrize("name", PROMPTS)
def test_prompts_are_the_golden_ones(name: str) -> None:
    path = GOLDEN / f"{name}.txt"
    if os.environ.get("EVOKD_WRITE_GOLDEN") == "1":
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(shown(PROMPTS[name]))
    assert shown(PROMPTS[name]) == path.read_bytes(), "new words need a new VERSION and teacher"


def test_there_is_no_other_golden_file() -> None:
    assert {path.stem for path in GOLDEN.iterdir()} == set(PROMPTS)


@pytest.mark.parametrize("name", TEACHERS)
def test_the_embedded_teachers_were_trained_on_these_words(name: str) -> None:
    card = json.loads((TEACHERS[name] / "teacher.json").read_text(encoding="utf-8"))
    assert card["prompt_version"] == prompts.VERSION


def test_every_prompt_of_a_task_starts_with_the_same_head() -> None:
    heads = tuple(head(DOMAIN, about, kind) for about in (LABELS, TYPES) for kind in WORDINGS)
    for name, messages in PROMPTS.items():
        first = messages if name == "cover" else messages[:1]
        assert all(m.role == "user" and m.content.startswith(heads) for m in first)


def test_writing_goes_on_in_the_conversation_of_the_analysis() -> None:
    made = PROMPTS["texts"]
    assert made[:-2] == ANALYSIS
    assert made[-2] == Message("assistant", SAID)
    assert [m.role for m in made] == ["user", "assistant", "user"]


def test_labels_without_definitions_stand_alone() -> None:
    lines = head("mails", {"spam": "", "work": "from a colleague"}).splitlines()
    assert lines == [
        "A small text classifier sorts mails into these classes:",
        "- spam",
        "- work: from a colleague",
        "",
    ]


def test_the_order_of_the_labels_is_the_given_one() -> None:
    turned = dict(reversed(LABELS.items()))
    lines = [line for line in head(DOMAIN, turned).splitlines() if line.startswith("- ")]
    assert [line[2:].partition(":")[0] for line in lines] == list(turned)


lines_of = st.text(min_size=1, max_size=40)


@given(lines_of)
@example('two\nlines, "quoted"\\')
@example("\u2028\u2029\x85\x0b\x0c\x1c\x1d\x1e\r\x00\x7f")
def test_a_quoted_text_is_one_line_that_gives_it_back(text: str) -> None:
    quoted = quote(text)
    assert len(quoted.splitlines()) == 1
    assert json.loads(quoted) == " ".join(text.split())


@given(lines_of, lines_of)
@example("a\nb", "- c\n\nd")
def test_texts_never_add_lines_to_a_prompt(one: str, other: str) -> None:
    def lines(text: str, more: str) -> list[int]:
        seen = [Seen(text, "set_alarm", "play_music"), Seen(more, "other", "play_music")]
        asked = [
            ask_label(DOMAIN, LABELS, text),
            ask_cover(DOMAIN, LABELS, label="other", count=1, style="short", examples=[text, more]),
            ask_analysis(DOMAIN, LABELS, [Seen(text, "other", "other")], seen),
        ]
        return [len(messages[-1].content.splitlines()) for messages in asked]

    assert lines(one, other) == lines("x", "y")


def test_styles_differ() -> None:
    assert len(set(prompts.STYLES)) == len(prompts.STYLES) >= 4
