"""The student in a `transformers` pipeline behind FastAPI: python -m benchmarks.load_fastapi PORT.

The same ONNX file, opened by optimum; one thread a worker, as the other servers have it.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import uvicorn
from fastapi import FastAPI
from onnxruntime import SessionOptions
from optimum.onnxruntime import ORTModelForSequenceClassification
from pydantic import BaseModel
from transformers import AutoTokenizer, pipeline

from serving.layout import read_manifest


class Question(BaseModel):
    """A text."""

    text: str


def app() -> FastAPI:
    """Return the app."""
    student = Path(os.environ["EVOKD_STUDENT"])
    file = Path(read_manifest(student).serve)
    options = SessionOptions()
    options.intra_op_num_threads = 1
    model = ORTModelForSequenceClassification.from_pretrained(
        student, subfolder=str(file.parent), file_name=file.name, session_options=options
    )
    tokenizer = AutoTokenizer.from_pretrained(student)
    sort = pipeline(
        "text-classification", model=model, tokenizer=tokenizer, top_k=None, truncation=True
    )
    sort("warm up")
    made = FastAPI()

    @made.post("/predict")
    def predict(question: Question) -> list[dict[str, str | float]]:
        said: list[list[dict[str, str | float]]] = sort([question.text])
        return said[0]

    @made.get("/readyz")
    def ready() -> dict[str, str]:
        return {}

    return made


if __name__ == "__main__":
    app()  # what cannot be opened ends this process, and not one worker after the other
    uvicorn.run(
        "benchmarks.load_fastapi:app",
        factory=True,
        host="127.0.0.1",
        port=int(sys.argv[1]),
        workers=int(os.environ["EVOKD_WORKERS"]),
        access_log=False,
        log_level="warning",
        timeout_worker_healthcheck=60,  # torch takes longer to import than the 5 s of the default
    )
