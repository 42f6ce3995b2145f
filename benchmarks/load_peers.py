"""The servers that benchmarks.load compares with: the same predictor, with less around it.

`plain` is what one would write by hand: Starlette and uvicorn, no checks, limits, metrics or log.
`Defaults` is BentoML as its documentation starts: a sync method and nothing set but the workers.
Both open the student that EVOKD_STUDENT names.
"""

from __future__ import annotations

import os
from pathlib import Path

import bentoml
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from serving.predictor import Prediction, Predictor, open_predictor

STUDENT = "EVOKD_STUDENT"
WORKERS = int(os.environ.get("EVOKD_WORKERS", "2"))


def plain() -> Starlette:
    """Return the plain app."""
    predictor = _open()

    async def predict(request: Request) -> JSONResponse:
        asked = await request.json()
        return JSONResponse(_told(predictor.predict([asked["text"]])[0]))

    async def ready(_: Request) -> JSONResponse:
        return JSONResponse({})

    return Starlette(routes=[Route("/predict", predict, methods=["POST"]), Route("/readyz", ready)])


@bentoml.service(name="defaults", workers=WORKERS)
class Defaults:
    """BentoML with its defaults."""

    def __init__(self) -> None:
        self.predictor = _open()

    @bentoml.api  # type: ignore[untyped-decorator]
    def predict(self, text: str) -> dict[str, object]:
        """Label a text."""
        return _told(self.predictor.predict([text])[0])


def _open() -> Predictor[Prediction]:
    predictor = open_predictor(Path(os.environ[STUDENT]))
    predictor.predict(["warm up"])
    return predictor


def _told(said: Prediction) -> dict[str, object]:
    return {"label": said.label, "score": said.score, "probabilities": said.probabilities}
