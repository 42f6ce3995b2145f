"""Scores from one reply of a server of which nothing is known."""

from __future__ import annotations

import math
import random

import pytest
from fakes import user
from faulty_server import Asked, Pauses, Reply, Serve, pauses, serve, teacher
from hypothesis import given
from hypothesis import strategies as st
from toy_servers import chat, plain, telling, vllm

from evokd.errors import TeacherError
from evokd.labelling import NO_ANSWER, unanswered
from evokd.teacher import Generate, Score
from evokd.teacher.one_reply import FLOOR, by_reply, chosen, one_hot

__all__ = ["pauses", "serve"]

LABELS = ("set_alarm", "set_timer", "get_news", "get_weather", "play", "play_music")
BEGIN = {"set": -0.4, "get": -2.0, "play": -2.5, "I": -4.0}
MIDDLE = {"_": -0.1, "s": -4.0}
PLACES = [BEGIN, MIDDLE, {"alarm": -0.3, "timer": -1.6, "x": -6.0}, {"": -0.1, ".": -3.0}]


def test_the_other_choices_are_read_where_they_part(serve: Serve, pauses: Pauses) -> None:
    server = serve(telling(PLACES))
    with teacher(server.url, pauses) as opened:
        assert opened.fingerprint == "toy openai reply"
        (scored,) = opened.score([Score(user("wake me"), LABELS, search="all")])
    alarm, timer, news, weather, play, music = scored.logprobs
    assert alarm == pytest.approx(-0.4 - 0.1 - 0.3)
    assert timer == pytest.approx(-0.4 - 0.1 - 1.6)
    assert news == weather == pytest.approx(-2.0)
    assert play == music == pytest.approx(-2.5)
    assert scored.bounded == (2, 3, 4, 5)
    (asked,) = server.questions()
    assert asked.body["top_logprobs"] == 20
    assert asked.body["messages"] == [{"role": "user", "content": "wake me"}]
    assert "response_format" not in asked.body
    assert scored.per_token == ()  # it does not tell of the choices' tokens


def test_yes_or_no_are_both_exact(serve: Serve, pauses: Pauses) -> None:
    place = {" yes": -0.3, "no": -1.9, " no": -2.9, "yes": -4.0, "n": -9.0}
    with teacher(serve(telling([place])).url, pauses) as opened:
        (scored,) = opened.score([Score(user("?"), ("yes", "no"))])
    yes, no = (math.log(math.exp(a) + math.exp(b)) for a, b in ((-0.3, -4.0), (-1.9, -2.9)))
    assert scored.logprobs == pytest.approx((yes, no))
    assert scored.bounded == ()


def test_fewer_tokens_are_asked_for_where_twenty_are_refused(serve: Serve, pauses: Pauses) -> None:
    server = serve(telling(PLACES, most=5))
    with teacher(server.url, pauses) as opened:
        (scored,) = opened.score([Score(user("wake me"), LABELS)])
    assert server.questions()[0].body["top_logprobs"] == 5
    assert scored.logprobs[0] == pytest.approx(-0.8)


def test_what_a_server_tells_is_tried_out_once_and_again_when_it_is_busy(
    serve: Serve, pauses: Pauses
) -> None:
    busy = [Reply({"error": "busy"}, 429)]

    def later(asked: Asked) -> Reply | None:
        return busy.pop() if asked.tries and busy else telling(PLACES)(asked)

    server = serve(later)
    with teacher(server.url, pauses) as opened:
        assert opened.fingerprint == "toy openai reply"
        opened.score([Score(user("wake me"), LABELS)] * 3)
    assert len([asked for asked in server.asked if asked.tries]) == 2


# The last is what some hosts say of models that may not tell, whoever asks.
@pytest.mark.parametrize("status", [400, 404, 500, 403])
def test_a_server_that_refuses_to_tell_is_asked_for_answers(
    serve: Serve, pauses: Pauses, status: int
) -> None:
    def mute(asked: Asked) -> Reply | None:
        return Reply({"error": "no logprobs"}, status) if asked.tries else plain(asked)

    with teacher(serve(mute).url, pauses) as opened:
        assert opened.fingerprint == "toy openai answer"


def test_a_vllm_without_its_own_paths_tells_in_a_chat(serve: Serve, pauses: Pauses) -> None:
    def bare(asked: Asked) -> Reply | None:
        if asked.path == "/tokenize":
            return None
        return telling(PLACES)(asked) if asked.path.endswith("chat/completions") else vllm(asked)

    with teacher(serve(bare).url, pauses) as opened:
        assert opened.fingerprint == "toy vllm 0.11.2 reply"


@pytest.mark.parametrize(
    "places",
    [
        [{"I": -0.1, "music": -3.0}, {" think": -0.2}],
        [{"<think>": -0.1, "music": -3.0}, {"\n": -0.1}],
    ],
)
def test_a_reply_that_is_no_choice_is_asked_for_again_by_a_schema(
    serve: Serve, pauses: Pauses, places: list[dict[str, float]]
) -> None:
    server = serve(telling(places))
    with teacher(server.url, pauses) as opened:
        (scored,) = opened.score([Score(user("about music"), ("alarm", "music"))])
    assert scored.logprobs == (FLOOR, 0.0)
    free, held = server.questions()
    assert "response_format" not in free.body
    assert "logprobs" not in held.body
    assert (scored.tokens_in, scored.tokens_out, scored.decoded) == (10, 6, 26)


@pytest.mark.parametrize("status", [401, 403, 429])
def test_what_hinders_all_questions_is_no_word_on_what_a_server_tells(
    serve: Serve, pauses: Pauses, status: int
) -> None:
    def closed(asked: Asked) -> Reply | None:
        return Reply({"error": "no"}, status) if asked.tries else plain(asked)

    with pytest.raises(TeacherError, match=str(status)):
        teacher(serve(closed).url, pauses)


def test_a_reply_without_an_answer_leaves_all_at_a_bound(serve: Serve, pauses: Pauses) -> None:
    mute = {"choices": [{"message": {"content": None}, "finish_reason": "content_filter"}]}
    with teacher(serve(plain, Reply(mute)).url, pauses) as opened:
        (scored,) = opened.score([Score(user("wake me"), LABELS)])
    assert unanswered(scored) == NO_ANSWER


def test_thoughts_that_count_as_the_reply_get_room_of_their_own(
    serve: Serve, pauses: Pauses
) -> None:
    """An endpoint may count a model's thoughts in max_tokens, and send none of them."""

    def thinks(asked: Asked) -> Reply | None:
        if not (asked.body or {}).get("messages"):
            return plain(asked)
        if asked.body["max_tokens"] < 500:
            return Reply(chat("", finish="length"), pause=0.05)
        return Reply(chat("set_timer"))

    server = serve(thinks)
    with teacher(server.url, pauses) as opened:
        scored = opened.score([Score(user(f"wake me {n}"), LABELS) for n in range(8)])
        assert [one.logprobs[1] for one in scored] == [0.0] * 8  # also those asked meanwhile
        # A whole request is what the server counts, thoughts that were thrown away and all.
        asked = len(server.questions())
        assert asked > 8
        assert sum(one.tokens_out for one in scored) == 3 * asked
        assert sum(one.decoded for one in scored) == 13 * asked
        before = len(server.questions())
        opened.score([Score(user("wake me"), LABELS)])
        assert len(server.questions()) == before + 1  # it is known now
        assert opened.generate([Generate(user("hi"), seed=0, max_tokens=16)])[0].text


def test_choices_are_not_read_from_the_thoughts_before_a_reply(
    serve: Serve, pauses: Pauses
) -> None:
    places = [{"Okay": -0.1, "yes": -4.0, "no": -5.0}, {"</think>": -0.1}, {"no": -0.1}]
    with teacher(serve(telling(places)).url, pauses) as opened:
        (scored,) = opened.score([Score(user("?"), ("yes", "no"))])
    assert scored.logprobs == (FLOOR, 0.0)


def test_a_baseline_is_not_taken_off_bounds(serve: Serve, pauses: Pauses) -> None:
    server = serve(telling(PLACES))
    with teacher(server.url, pauses) as opened:
        request = Score(user("wake me"), LABELS, baseline=user("nothing"))
        (scored,) = opened.score([request])
    assert scored.logprobs[0] == pytest.approx(-0.8)
    assert len(server.questions()) == 1


@pytest.mark.parametrize("told", [None, [], [1], [{"token": "a"}], [{"token": "a", "logprob": 0}]])
def test_odd_logprobs_leave_the_reply_itself(serve: Serve, pauses: Pauses, told: object) -> None:
    odd = chat("music")
    odd["choices"][0]["logprobs"] = {"content": told}
    with teacher(serve(telling(PLACES), Reply(odd)).url, pauses) as opened:
        (scored,) = opened.score([Score(user("hm"), ("alarm", "music"))])
    assert scored.logprobs == (FLOOR, 0.0)


# -- the reading alone ----------------------------------------------------------------------------


def coded(places: list[dict[str, float]]) -> list[tuple[bytes, dict[bytes, float]]]:
    told = [{t.encode(): v for t, v in place.items()} for place in places]
    return [(next(iter(place)), place) for place in told]


def test_choices_that_are_not_told_apart_leave_the_reply_itself() -> None:
    first = {"set": -0.7, "get": -0.8}
    places = coded([first, {"_": -0.1}, {"alarm": -0.7, "timer": -0.8}])
    values = by_reply(LABELS, "set_alarm", places)
    assert values == one_hot(LABELS, "set_alarm")  # either of "get_..." might be likelier


def test_a_shorter_choice_does_not_count_the_longer_ones_replies() -> None:
    places = coded([{"play": -0.1, "set": -3.0}, {"_": -0.2, "": -1.8}, {"music": -0.1}])
    values = by_reply(("play", "play_music", "set"), "play_music", places)
    assert values is not None
    assert values.logprobs[1] == pytest.approx(-0.4)
    assert values.logprobs[0] == pytest.approx(-0.1 + math.log(1 - math.exp(-0.2)))
    assert values.bounded == ()
    ended = by_reply(("play", "play_music"), "play", coded([{"play": -0.1}]))
    assert ended is not None  # no word of the end, which was likelier than any other token
    assert ended.logprobs == pytest.approx((-0.1, -0.1 + math.log(0.5)))
    assert ended.bounded == (1,)


def test_letters_in_several_tokens_and_odd_numbers() -> None:
    one, two = "é".encode()
    places = [
        (bytes([one]), {bytes([one]): 0.0, b"a": -9999.0, b"b": math.nan}),
        (bytes([two]), {bytes([two]): 1e-9}),
    ]
    values = by_reply(("é", "a", "b", "c"), "é", places)
    assert values is not None
    assert values.logprobs[0] == pytest.approx(0.0)
    assert max(values.logprobs[1:]) == pytest.approx(-100.0)


@pytest.mark.parametrize(
    ("reply", "choice"),
    [("music", "music"), (" music.\n", "music"), ('"music"', "music"), ("**C#**", "C#"),
     ("Music", None), ("music and more", None), ("", None), ("no.", "no."), ("no", "no")],
)  # fmt: skip
def test_a_reply_is_a_choice_or_none(reply: str, choice: str | None) -> None:
    assert chosen(("alarm", "music", "C#", "no", "no."), reply) == choice


def test_a_bare_answer_is_one_hot(serve: Serve, pauses: Pauses) -> None:
    choices = ("alarm", "music", "weather", "music")
    server = serve(plain)
    with teacher(server.url, pauses) as opened:
        (scored,) = opened.score([Score(user("about music"), choices)])
        server.faults.append(Reply(chat("music")))  # a server that ignores response_format
        (bare,) = opened.score([Score(user("about music"), choices)])
        server.faults.append(Reply(chat("something else")))
        (unknown,) = opened.score([Score(user("about music"), choices)])
        with pytest.raises(ValueError, match="at least one"):
            opened.score([Score(user("x"), ())])
    assert scored.logprobs == bare.logprobs == (FLOOR, 0.0, FLOOR, 0.0)
    assert scored.bounded == (0, 2)
    assert unknown.logprobs == (FLOOR,) * 4
    schema = server.questions()[0].body["response_format"]["json_schema"]["schema"]
    assert schema["properties"]["answer"]["enum"] == ["alarm", "music", "weather"]
    assert server.questions()[0].body["temperature"] == 0


class Letters:
    """A model that writes one of some texts, letter by letter, or a "~" and nonsense."""

    def __init__(self, texts: list[str], seed: int) -> None:
        self.texts, self.seed = texts, seed

    def after(self, at: str) -> dict[str, float]:
        """Return the probabilities of what follows, the likeliest first; "" is the end."""
        following = {t[len(at) : len(at) + 1] for t in self.texts if t.startswith(at)}
        rng = random.Random(f"{self.seed} {at}")
        weights = {letter: rng.random() ** 4 + 1e-3 for letter in sorted(following)}
        weights["~"] = min(weights.values()) / 2
        total = sum(weights.values())
        shares = {letter: weight / total for letter, weight in weights.items()}
        return dict(sorted(shares.items(), key=lambda pair: -pair[1]))

    def share(self, text: str) -> float:
        """Return the probability that a reply begins with a text and goes on into no other."""
        steps = [self.after(text[:i])[letter] for i, letter in enumerate(text)]
        others = {t[len(text)] for t in self.texts if t != text and t.startswith(text)}
        return math.prod(steps) * (1 - sum(self.after(text)[letter] for letter in others))

    def written(self, top: int) -> tuple[str, list[tuple[bytes, dict[bytes, float]]]]:
        """Return the likeliest reply, and what a server tells of it."""
        at, places = "", []
        while not places or places[-1][0]:
            shares = self.after(at)
            letter = next(iter(shares))
            told = list(shares.items())[:top]
            places.append((letter.encode(), {p.encode(): math.log(v) for p, v in told}))
            at += letter
        return at, places


@given(
    st.lists(st.text("abc", min_size=1, max_size=4), min_size=1, max_size=7, unique=True),
    st.integers(0, 10**6),
    st.integers(2, 5),
)
def test_the_best_is_exact_and_no_bound_is_too_low(texts: list[str], seed: int, top: int) -> None:
    model = Letters(texts, seed)
    reply, places = model.written(top)
    values = by_reply(texts, reply, places)
    assert values is not None
    if values == one_hot(texts, reply) and len(texts) > 1:
        return
    best = max(values.logprobs)
    for number, text in enumerate(texts):
        true, value = math.log(model.share(text)), values.logprobs[number]
        if number in values.bounded:
            assert value >= true - 1e-9
            assert value < best
        else:
            assert value >= true - 1e-9
            assert top < 5 or value == pytest.approx(true)
