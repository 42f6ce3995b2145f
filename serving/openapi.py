"""The description of the service that /docs.json gives (OpenAPI 3.1), made from the messages."""

from __future__ import annotations

from functools import cache
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from evokd.answers import KindName
from serving.messages import (
    Answer,
    Answers,
    Complaint,
    EntitiesAnswer,
    Info,
    LabelsAnswer,
    Question,
    Refusal,
)

MODELS = (Question, Answers, Info, Complaint, Refusal)
OF_ONE_TEXT: dict[KindName, type[BaseModel]] = {
    "classification": Answer,
    "multilabel": LabelsAnswer,
    "ner": EntitiesAnswer,
}
WORK: dict[KindName, str] = {
    "classification": "Sorts texts into labels.",
    "multilabel": "Says which labels apply to a text.",
    "ner": "Finds entities in texts.",
}
SCHEMA = "#/components/schemas/{model}"
REFUSALS = {
    "401": "the API key is missing or wrong",
    "403": "no API key is set, so only the machine itself may ask",
    "408": "the body took too long to come",
    "413": "the body is too large",
    "415": "the Content-Type is not JSON",
    "429": "too many requests are waiting; ask again",
    "503": "the answer took too long",
}
QUESTIONS: dict[str, Any] = {
    "one text": {"text": "wake me at six"},
    "several": {
        "texts": ["wake me at six", "two pizzas, please"],
        "top_k": 3,
        "threshold": 0.5,
        "explain_time": True,
    },
}
PREDICTIONS: dict[KindName, dict[str, Any]] = {
    "classification": {
        "label": "set_alarm",
        "score": 0.97,
        "probabilities": {"set_alarm": 0.97, "play_music": 0.03},
    },
    "multilabel": {
        "labels": ["refund", "complaint"],
        "probabilities": {"refund": 0.91, "complaint": 0.84, "praise": 0.02},
    },
    "ner": {
        "entities": [{"start": 11, "end": 14, "label": "time", "text": "six", "score": 0.98}],
    },
}
COMPLAINTS: dict[str, Any] = {
    "no text": {
        "error": "text: Input should be a valid string",
        "detail": [
            {"loc": ["text"], "msg": "Input should be a valid string", "type": "string_type"}
        ],
    }
}
GUARDS = ("401", "403")


@cache
def describe(kind: KindName) -> dict[str, Any]:
    """Return the OpenAPI document of a service whose student is of a kind."""
    models: tuple[type[BaseModel], ...] = (*MODELS, OF_ONE_TEXT[kind])
    _, schemas = models_json_schema([(m, "validation") for m in models], ref_template=SCHEMA)
    parts = schemas["$defs"]
    # One service has one student, and so one kind of answer.
    mine = {"$ref": SCHEMA.format(model=OF_ONE_TEXT[kind].__name__)}
    parts["Answers"]["properties"]["predictions"]["items"] = mine
    for other in OF_ONE_TEXT.keys() - {kind}:
        del parts[OF_ONE_TEXT[other].__name__]
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "A student of evokd",
            "description": f"{WORK[kind]} GET / is a page to try it.",
            "version": "1",
        },
        "paths": {
            "/predict": {"post": _predict(kind)},
            "/info": {"get": _get("What this student is, and the limits", "info", _json("Info"))},
            "/metrics": {"get": _get("Metrics for Prometheus", "metrics", _plain())},
            "/livez": {"get": _get("Whether the process lives", "livez", _plain(), ())},
            "/readyz": {"get": _get("Whether it answers", "readyz", _plain(), ())},
        },
        "components": {
            "schemas": parts,
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer"},
                "header": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
            },
        },
        "security": [{}, {"bearer": []}, {"header": []}],
    }


def _predict(kind: KindName) -> dict[str, Any]:
    told = {"model": "a-student", "predictions": [PREDICTIONS[kind] | {"windows": 1}]}
    return {
        "operationId": "predict",
        "summary": "Answer for one text, or several",
        "requestBody": {"required": True, "content": _json("Question", QUESTIONS)},
        "responses": {
            "200": {
                "description": "what the student says, in the order of the texts",
                "content": _json("Answers", {"one text": told}),
                "headers": {
                    "Server-Timing": {
                        "description": "milliseconds of wait, tokenize, model and total",
                        "schema": {"type": "string"},
                    }
                },
            },
            "400": {
                "description": "a field is wrong; it is named",
                "content": _json("Complaint", COMPLAINTS),
            },
            **_refusals(tuple(REFUSALS)),
        },
    }


def _get(
    summary: str, name: str, content: dict[str, Any], refusals: tuple[str, ...] = GUARDS
) -> dict[str, Any]:
    return {
        "operationId": name,
        "summary": summary,
        "responses": {"200": {"description": summary, "content": content}, **_refusals(refusals)},
    }


def _refusals(statuses: tuple[str, ...]) -> dict[str, Any]:
    return {
        status: {"description": REFUSALS[status], "content": _json("Refusal")}
        for status in statuses
    }


def _json(model: str, examples: dict[str, Any] | None = None) -> dict[str, Any]:
    content: dict[str, Any] = {"schema": {"$ref": SCHEMA.format(model=model)}}
    if examples:
        content["examples"] = {name: {"value": value} for name, value in examples.items()}
    return {"application/json": content}


def _plain() -> dict[str, Any]:
    return {"text/plain": {"schema": {"type": "string"}}}
