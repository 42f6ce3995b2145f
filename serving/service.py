"""The BentoML service: POST /predict, with BentoML's own health, metrics and OpenAPI.

The environment says what it serves: EVOKD_STUDENT (a student folder), EVOKD_WORKERS (processes,
default 1) and EVOKD_API_KEY. The student is opened when the service starts, not at import.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import bentoml
from pydantic import BaseModel, ConfigDict, Field, model_validator

from evokd.errors import InputError
from serving.limits import LIMITS, BodyMiddleware, KeyMiddleware, api_key
from serving.predictor import Predictor, open_predictor

STUDENT = "EVOKD_STUDENT"
WORKERS = "EVOKD_WORKERS"
REQUESTS_PER_WORKER = 64
"""Requests that a worker holds at once; more are answered 429 at once."""
TIMEOUT_S = 30

Text = Annotated[str, Field(max_length=LIMITS.characters)]
Texts = Annotated[list[Text], Field(min_length=1, max_length=LIMITS.texts)]


class Question(BaseModel):
    """One `text` or several `texts`; the fields that it may have are these two."""

    model_config = ConfigDict(extra="forbid")

    text: Text | None = None
    texts: Texts | None = None

    @model_validator(mode="after")
    def _either(self) -> Question:
        if (self.text is None) == (self.texts is None):
            raise ValueError("give either text or texts")
        return self


class Answer(BaseModel):
    """What the student says of one text."""

    label: str
    score: float = Field(description="the probability of the label")
    probabilities: dict[str, float]
    truncated: bool = Field(description="the text's end was beyond what the student reads")


class Answers(BaseModel):
    """What the student says of the texts, in their order."""

    model: str
    predictions: list[Answer]


def workers() -> int:
    """Return the number of worker processes that the environment asks for.

    Raises:
        InputError: when it is not a positive whole number.
    """
    asked = os.environ.get(WORKERS, "1")
    if not asked.isdecimal() or int(asked) < 1:
        raise InputError(f"{WORKERS}: {asked!r} is not a number of processes", "for example 2")
    return int(asked)


def open_student() -> Predictor:
    """Open the student that the environment names, and let it answer once to warm up.

    Raises:
        InputError: when EVOKD_STUDENT is not set or names no whole student.
        IntegrityError: when a file of the student was changed.
    """
    folder = os.environ.get(STUDENT)
    if not folder:
        raise InputError(f"{STUDENT}: is not set", "set it to the folder of a finished student")
    predictor = open_predictor(Path(folder))
    predictor.predict(["warm up"])
    return predictor


@bentoml.service(
    name="student",
    workers=workers(),
    # One thread a worker: a request waits its turn while the event loop still answers probes.
    threads=1,
    # BentoML divides the limit among the workers.
    traffic={"timeout": TIMEOUT_S, "max_concurrency": REQUESTS_PER_WORKER * workers()},
)
class Student:
    """Sorts texts into the student's labels."""

    def __init__(self) -> None:
        api_key()  # a blank key must stop the start, not open the door
        self.predictor = open_student()

    def __is_ready__(self) -> bool:
        return True  # it exists only once the student is open and has answered

    @bentoml.api(route="/predict")  # type: ignore[untyped-decorator]
    def predict(self, question: Question, /) -> Answers:
        """Answer one `text` or several `texts`."""
        asked = question.texts if question.texts is not None else [question.text or ""]
        answers = self.predictor.predict(asked)
        return Answers(
            model=self.predictor.name,
            predictions=[
                Answer(
                    label=answer.label,
                    score=answer.score,
                    probabilities=answer.probabilities,
                    truncated=answer.truncated,
                )
                for answer in answers
            ],
        )


# The first one added is the outer one: strangers are refused before their body is read.
for middleware in (KeyMiddleware, BodyMiddleware):
    Student.add_asgi_middleware(middleware)  # type: ignore[attr-defined]
