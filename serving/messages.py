"""What is said over HTTP: the question, the answer and the facts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator
from pydantic_core import ErrorDetails

from evokd.answers import KindName
from serving.layout import Manifest
from serving.limits import LIMITS, api_key
from serving.said import Entities, LabelSet, Prediction, Said

Text = Annotated[str, Field(max_length=LIMITS.characters)]
Texts = Annotated[list[Text], Field(min_length=1, max_length=LIMITS.texts)]
EITHER: dict[str, Any] = {
    "oneOf": [
        {"required": ["text"], "properties": {"text": {"type": "string"}}},
        {"required": ["texts"], "properties": {"texts": {"type": "array"}}},
    ]
}
"""What `Question._either` wants, for those who read the description; null counts as not given."""


def _whole(value: object) -> object:
    """Return 3 for 3.0: JSON has one kind of number, and some languages write all with a point."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


class Question(BaseModel):
    """One `text` or several `texts`, and how the answer should look."""

    model_config = ConfigDict(extra="forbid", json_schema_extra=EITHER)

    text: Text | None = None
    texts: Texts | None = None
    top_k: Annotated[int | None, BeforeValidator(_whole)] = Field(
        None,
        ge=1,
        strict=True,
        description="only the k likeliest labels; changes nothing where entities are found",
    )
    threshold: float | None = Field(
        None,
        ge=0,
        le=1,
        strict=True,
        description="in place of the student's own: a text whose best score is lower has no label; "
        "of several labels those apply, and of entities those are told, that score no lower",
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


WINDOWS = Field(description="parts that the text was read in; 1 unless it is long")


class Answer(BaseModel):
    """What a student that gives one label says of one text."""

    label: str | None = Field(
        description="null when the best score is below the threshold, or below the student's own"
    )
    score: float = Field(description="the probability of the likeliest label")
    probabilities: dict[str, float] = Field(
        description="label -> probability, in the order of the labels; with top_k the likeliest "
        "first. All of them sum to 1"
    )
    windows: int = WINDOWS


class LabelsAnswer(BaseModel):
    """What a student that gives any number of labels says of one text."""

    labels: list[str] = Field(description="those that apply; none is an answer too")
    probabilities: dict[str, float] = Field(
        description="label -> the probability that it applies, in the order of the labels; with "
        "top_k the likeliest first"
    )
    windows: int = WINDOWS


class FoundEntity(BaseModel):
    """An entity in a text."""

    start: int = Field(description="where it begins: characters (Unicode code points) before it")
    end: int = Field(description="the character before which it ends")
    label: str
    text: str = Field(description="its words, as they stand in the text")
    score: float = Field(description="the probability of its least sure part")


class EntitiesAnswer(BaseModel):
    """What a student that finds entities says of one text."""

    entities: list[FoundEntity] = Field(
        description="in the order of the text; they never overlap; none is an answer too"
    )
    windows: int = WINDOWS


OfOneText = Answer | LabelsAnswer | EntitiesAnswer


class Times(BaseModel):
    """Milliseconds that a request spent in each stage."""

    wait: float = Field(description="for its turns: other requests were answered")
    tokenize: float
    model: float
    total: float


class Answers(BaseModel):
    """What the student says of the texts, in their order."""

    model: str
    predictions: list[OfOneText]
    time_ms: Times | None = Field(None, description="there when explain_time was asked for")


class Info(BaseModel):
    """The facts of the student's card, and what one request may hold."""

    name: str
    kind: KindName
    domain: str
    labels: dict[str, str] = Field(description="label, or type of entities -> definition")
    thresholds: dict[str, float] = Field(
        description="label -> the probability from which it applies; empty where one label does, "
        "or where it is a half"
    )
    reject: float = Field(
        description="a text whose best score before the temperature is lower has no label"
    )
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
        thresholds=manifest.thresholds,
        reject=manifest.reject,
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


def shape(said: Said, question: Question) -> OfOneText:
    """Return what was said as the question wants it."""
    if isinstance(said, Entities):
        least = question.threshold or 0
        kept = [FoundEntity(**asdict(one)) for one in said.entities if one.score >= least]
        return EntitiesAnswer(entities=kept, windows=said.windows)
    assert isinstance(said, Prediction | LabelSet)
    probabilities, threshold = said.probabilities, question.threshold
    if question.top_k is not None:
        ranked = sorted(probabilities.items(), key=lambda pair: -pair[1])
        probabilities = dict(ranked[: question.top_k])
    if isinstance(said, LabelSet):
        labels = said.labels
        if threshold is not None:
            labels = tuple(name for name, p in said.probabilities.items() if p >= threshold)
        return LabelsAnswer(labels=labels, probabilities=probabilities, windows=said.windows)
    label = said.label
    if threshold is not None:
        label = said.guess if said.score >= threshold else None
    return Answer(label=label, score=said.score, probabilities=probabilities, windows=said.windows)


def complaint(errors: Sequence[ErrorDetails]) -> Complaint:
    """Return the body of a 400: every fault with its field, and never the value that was sent."""
    faults = [Fault(loc=list(e["loc"]), msg=e["msg"], type=e["type"]) for e in errors]
    where = ".".join(str(part) for part in faults[0].loc) or "the body"
    return Complaint(error=f"{where}: {faults[0].msg}", detail=faults)
