"""The description of the service that /docs.json gives (OpenAPI 3.1), made from the messages."""

from __future__ import annotations

from typing import Any

from pydantic.json_schema import models_json_schema

from serving.messages import Answers, Complaint, Info, Question, Refusal

MODELS = (Question, Answers, Info, Complaint, Refusal)
SCHEMA = "#/components/schemas/{model}"
REFUSALS = {
    "401": "the API key is missing or wrong",
    "403": "no API key is set, so only the machine itself may ask",
    "408": "the body took too long to come",
    "413": "the body is too large",
    "415": "the body is not JSON",
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
ANSWERS: dict[str, Any] = {
    "one text": {
        "model": "assistant-intents",
        "predictions": [
            {
                "label": "set_alarm",
                "score": 0.97,
                "probabilities": {"set_alarm": 0.97, "play_music": 0.03},
                "windows": 1,
            }
        ],
    }
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


def describe() -> dict[str, Any]:
    """Return the OpenAPI document."""
    _, schemas = models_json_schema([(m, "validation") for m in MODELS], ref_template=SCHEMA)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "A student of evokd",
            "description": "Sorts texts into labels. GET / is a page to try it.",
            "version": "1",
        },
        "paths": {
            "/predict": {"post": _predict()},
            "/info": {"get": _get("What this student is, and the limits", "info", _json("Info"))},
            "/metrics": {"get": _get("Metrics for Prometheus", "metrics", _plain())},
            "/livez": {"get": _get("Whether the process lives", "livez", _plain(), ())},
            "/readyz": {"get": _get("Whether it answers", "readyz", _plain(), ())},
        },
        "components": {
            "schemas": schemas["$defs"],
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer"},
                "header": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
            },
        },
        "security": [{}, {"bearer": []}, {"header": []}],
    }


def _predict() -> dict[str, Any]:
    return {
        "operationId": "predict",
        "summary": "Label one text, or several",
        "requestBody": {"required": True, "content": _json("Question", QUESTIONS)},
        "responses": {
            "200": {
                "description": "the labels, in the order of the texts",
                "content": _json("Answers", ANSWERS),
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
