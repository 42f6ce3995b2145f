from __future__ import annotations

import random
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evokd.curate import NEAR, Known, check_apart, curate, is_near
from evokd.errors import InputError
from evokd.examples import Example, jaccard, normalise, trigrams
from evokd.task import TaskData

WORDS = """play some jazz music in the kitchen please
set an alarm for ten tomorrow rain""".split()  # noqa: SIM905
sentences = st.lists(st.sampled_from(WORDS), min_size=1, max_size=6).map(" ".join)
anything = st.one_of(sentences, st.text(max_size=20))


def known(*pairs: tuple[str, str]) -> Known:
    index = Known()
    for text, source in pairs:
        index.add(text, source)
    return index


def variants(seed: int, count: int) -> list[str]:
    """Sentences of which many are one small edit away from another."""
    rng = random.Random(seed)
    base = [" ".join(rng.choices(WORDS, k=rng.randint(4, 12))) for _ in range(count // 3)]
    edited = []
    for _ in range(count - len(base)):
        words = rng.choice(base).split()
        words[rng.randrange(len(words))] = rng.choice(["a", "now", "lamp", "jazzy"])
        edited.append(" ".join(words))
    return base + edited


@settings(max_examples=40, deadline=None)
@given(st.lists(anything, max_size=12), st.lists(anything, max_size=6))
def test_neither_invents_nor_loses(texts: list[str], old: list[str]) -> None:
    curated = curate(texts, known(*((text, "train") for text in old)))
    assert len(curated) == len(texts)
    assert {*curated} <= {"", "empty", "duplicate", "near-duplicate"}


@settings(max_examples=40, deadline=None)
@given(st.lists(anything, max_size=12), st.lists(anything, max_size=6))
def test_never_misses_an_exact_duplicate(texts: list[str], old: list[str]) -> None:
    curated = curate(texts, known(*((text, "train") for text in old)))
    kept = [normalise(text) for text, why in zip(texts, curated, strict=True) if not why]
    assert len(set(kept)) == len(kept)
    assert not set(kept) & {normalise(text) for text in old}


@settings(max_examples=30, deadline=None)
@given(st.lists(sentences, max_size=15), st.lists(sentences, max_size=8), st.randoms())
def test_the_order_of_the_known_texts_does_not_matter(
    texts: list[str], old: list[str], rng: random.Random
) -> None:
    pairs = [(text, ("train", "dev", "test")[len(text) % 3]) for text in old]
    shuffled = rng.sample(pairs, len(pairs))
    assert curate(texts, known(*pairs)) == curate(texts, known(*shuffled))


@settings(max_examples=30, deadline=None)
@given(st.lists(sentences, max_size=15))
def test_case_and_punctuation_do_not_matter(texts: list[str]) -> None:
    loud = [f"  {text.upper()}!! " for text in texts]
    assert curate(loud, Known()) == curate(texts, Known())


@settings(max_examples=5, deadline=None)
@given(st.integers(0, 10_000))
def test_every_kept_pair_is_below_the_threshold_and_every_drop_is_above_it(seed: int) -> None:
    texts = variants(seed, 240)
    curated = curate(texts, Known())
    grams = [trigrams(text) for text in texts]
    kept = [i for i, why in enumerate(curated) if not why]
    assert all(
        jaccard(grams[one], grams[other]) < NEAR
        for place, one in enumerate(kept)
        for other in kept[:place]
    )
    for dropped in (i for i, why in enumerate(curated) if why):
        earlier = [i for i in kept if i < dropped]
        assert max(jaccard(grams[dropped], grams[i]) for i in earlier) >= NEAR


def test_reasons() -> None:
    index = known(
        ("play some jazz in the kitchen", "train"),
        ("wake me up at ten tomorrow morning", "dev"),
        ("will it rain in paris this weekend", "test"),
    )
    texts = [
        "Play some jazz in the kitchen!",
        "play some jazz in the kitchens",
        "wake me up at ten tomorrow morning",
        "will it rain in paris this weekends",
        "*** ...",
        "",
        "add this song to my list",
        "add this song to my list.",
        "add this song to my lists",
    ]
    assert curate(texts, index) == [
        "duplicate",
        "near-duplicate",
        "leak: dev",
        "leak: test",
        "empty",
        "empty",
        "",
        "duplicate",
        "near-duplicate",
    ]


def test_a_leak_is_named_before_a_duplicate() -> None:
    text = "play some jazz in the kitchen"
    index = known((text, "train"), (text, "dev"), (f"{text}s", "test"))
    assert curate([text], index) == ["leak: test"]
    assert index.match(text) == "test"


def test_match_gives_the_source_or_none() -> None:
    index = known(("play some jazz in the kitchen", "seed"))
    assert index.match("Play some jazz, in the kitchen") == "seed"
    assert index.match("set an alarm") is None
    assert "PLAY some jazz in the kitchen" in index
    assert "play some jazz in the kitchens" not in index


def test_curate_leaves_the_index_as_it_was() -> None:
    index = Known()
    assert curate(["set an alarm"], index) == curate(["set an alarm"], index)


def test_texts_in_any_script_count_as_texts() -> None:
    texts = ["早上好", "שלום", "नमस्ते", "👍", "😡😡😡", "42", "10/10"]
    assert curate(texts, Known()) == [""] * len(texts)
    marks = ["", " ", "?!…", "。「」", "- – —", "===", "$$$", "\u0301"]
    assert set(curate(marks, Known())) == {"empty"}


@pytest.mark.parametrize(
    ("text", "other"),
    [
        ("मुझे दिन के बारे में बताओ", "मुझे दान के बारे में बताओ"),
        ("ฉันอยากได้ข้าว", "ฉันอยากได้ข่าว"),
        ("படி", "படு"),
        ("How do I sort a list in C++?", "How do I sort a list in C#?"),
        ("what is 5 + 3", "what is 5 - 3"),
        (
            "a really great movie for all of the family 👍",
            "A really great movie for all of the family 👎",
        ),
    ],
)
def test_one_vowel_or_sign_makes_another_text(text: str, other: str) -> None:
    assert curate([text, other, f"{text}!", other.upper()], known((other, "test"))) == [
        "",
        "leak: test",
        "duplicate",
        "leak: test",
    ]


@given(sentences, st.sampled_from("👍👎+#"), st.sampled_from("👍👎+#"))
def test_texts_with_other_signs_are_not_near(text: str, one: str, other: str) -> None:
    (reason,) = curate([f"{text} {one}"], known((f"{text} {other}", "seed")))
    assert reason == ("duplicate" if one == other else "")


def test_a_sign_or_a_currency_alone_makes_no_other_text() -> None:
    text = "how long does it take until a transfer of £20 arrives"
    for other in (text.replace("£", "$"), f"{text} 🙏"):
        assert is_near(trigrams(text), trigrams(other))


def test_five_hundred_texts_against_five_hundred_take_seconds_at_most() -> None:
    texts = variants(1, 500)
    start = time.perf_counter()
    curate(texts, known(*((text, "train") for text in variants(2, 500))))
    assert time.perf_counter() - start < 10  # under 1 s alone; machines are shared


@pytest.mark.parametrize(("one", "other"), [("seed", "test"), ("dev", "test"), ("seed", "dev")])
def test_a_text_stands_in_one_file_alone(one: str, other: str) -> None:
    texts = {name: [Example(f"a text of {name}", "x")] for name in ("seed", "dev", "test")}
    check_apart(TaskData.model_validate(texts))
    marks = {"seed": ["C++", "👍"], "dev": ["C#", "👎", "!"], "test": ["C", "!!", "?"]}
    for name, more in marks.items():
        texts[name] += [Example(text, "x") for text in more]
    check_apart(TaskData.model_validate(texts))
    texts[other].append(Example(f"A  text of {one}!", "x"))
    with pytest.raises(InputError, match=f"1 texts of data.{one} are in data.{other} too"):
        check_apart(TaskData.model_validate(texts))


def test_texts_that_differ_in_marks_alone_are_told(caplog: pytest.LogCaptureFixture) -> None:
    pair = {"seed": "Play some jazz, please", "test": "play some jazz please!"}
    texts = {name: [Example(text, "x")] for name, text in pair.items()} | {"dev": []}
    check_apart(TaskData.model_validate(texts))
    assert "1 texts of data.seed are in data.test too but for marks" in caplog.text
    caplog.clear()
    check_apart(TaskData.model_validate(texts | {"test": [Example("!!", "x")]}))
    assert not caplog.text


def test_a_text_that_is_equal_to_one_and_near_another_is_a_duplicate() -> None:
    near = known(("remind me, tomorrow, of the milk tomorrow evening", "seed"))
    text = "remind me, tomorrow, of the milk tomorrow evenings"
    assert curate([text], near) == ["near-duplicate"]
    near.add(text, "run")
    assert curate([text], near) == ["duplicate"]
    assert curate([f"{text},", text], known(("remind me", "dev"))) == ["", "duplicate"]
