"""What is said over HTTP: the question, the answer and the facts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic_core import ErrorDetails

from serving.layout import Manifest
from serving.limits import LIMITS, api_key
from serving.predictor import Prediction

Text = Annotated[str, Field(max_length=LIMITS.characters)]
Texts = Annotated[list[Text], Field(min_length=1, max_length=LIMITS.texts)]


class Question(BaseModel):
    """One `text` or several `texts`, and how the answer should look."""

    model_config = ConfigDict(extra="forbid")

    text: Text | None = None
    texts: Texts | None = None
    top_k: int | None = Field(None, ge=1, strict=True, description="only the k likeliest labels")
    threshold: float | None = Field(
        None, ge=0, le=1, strict=True, description="a text whose best score is lower has no label"
    )
    explain_time: bool = Field(False, strict=True, description="say how long each stage took")

    @model_validator(mode="after")
    def _either(self) -> Question:
        if (self.text is None) == (self.texts is None):
            raise ValueError("give either text or texts")
        if sum(map(len, self.texts or ())) > LIMITS.characters_in_all:
            raise ValueError(f"texts: more than {LIMITS.characters_in_all} characters in all")
        return self

    def asked(self) -> list[str]:
        """Return the texts, however many there are."""
        return self.texts if self.texts is not None else [self.text or ""]


class Answer(BaseModel):
    """What the student says of one text."""

    label: str | None = Field(description="null when the best score is below the threshold")
    score: float = Field(description="the probability of the likeliest label")
    probabilities: dict[str, float] = Field(
        description="label -> probability, in the order of the labels; with top_k the likeliest "
        "first. All of them sum to 1"
    )
    windows: int = Field(description="parts that the text was read in; 1 unless it is long")


class Times(BaseModel):
    """Milliseconds that a request spent in each stage."""

    wait: float = Field(description="for its turns: other requests were answered")
    tokenize: float
    model: float
    total: float


class Answers(BaseModel):
    """What the student says of the texts, in their order."""

    model: str
    predictions: list[Answer]
    time_ms: Times | None = Field(None, description="there when explain_time was asked for")


class Info(BaseModel):
    """The facts of the student's card, and what one request may hold."""

    name: str
    kind: str
    domain: str
    labels: dict[str, str] = Field(description="label -> definition")
    examples: list[str] = Field(description="texts of the task to try")
    max_length: int = Field(description="tokens of a window; longer texts are read in several")
    base_model: str
    teacher: str
    scores: dict[str, dict[str, float]]
    training: dict[str, Any]
    serves: str = Field(description="the file that answers")
    sha256: dict[str, str]
    limits: dict[str, int]
    needs_key: bool = Field(description="whether callers must show a key")


class Fault(BaseModel):
    """One thing that is wrong with a question."""

    loc: list[str | int] = Field(description="the field at fault; empty for the whole body")
    msg: str
    type: str


class Refusal(BaseModel):
    """Why there is no answer."""

    error: str


class Complaint(Refusal):
    """What is wrong with a question: the first fault in words, and all of them."""

    detail: list[Fault]


def about(manifest: Manifest) -> Info:
    """Return the facts of a student."""
    return Info(
        name=manifest.name,
        kind=manifest.kind,
        domain=manifest.domain,
        labels=manifest.labels,
        examples=manifest.examples,
        max_length=manifest.max_length,
        base_model=manifest.base_model,
        teacher=manifest.teacher,
        scores=manifest.scores,
        training=manifest.training,
        serves=manifest.serve,
        sha256=manifest.sha256,
        limits=asdict(LIMITS),
        needs_key=api_key() is not None,
    )


def shape(prediction: Prediction, question: Question) -> Answer:
    """Return a prediction as the question wants it."""
    probabilities = prediction.probabilities
    if question.top_k is not None:
        ranked = sorted(probabilities.items(), key=lambda pair: -pair[1])
        probabilities = dict(ranked[: question.top_k])
    unsure = question.threshold is not None and prediction.score < question.threshold
    return Answer(
        label=None if unsure else prediction.label,
        score=prediction.score,
        probabilities=probabilities,
        windows=prediction.windows,
    )


def complaint(errors: Sequence[ErrorDetails]) -> Complaint:
    """Return the body of a 400: every fault with its field, and never the value that was sent."""
    faults = [Fault(loc=list(e["loc"]), msg=e["msg"], type=e["type"]) for e in errors]
    where = ".".join(str(part) for part in faults[0].loc) or "the body"
    return Complaint(error=f"{where}: {faults[0].msg}", detail=faults)
