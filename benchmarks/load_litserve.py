"""The same predictor in LitServe, as its documentation starts.

python -m benchmarks.load_litserve PORT
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import litserve

from serving.predictor import Prediction, open_predictor


class Sorter(litserve.LitAPI):  # type: ignore[misc]
    """LitServe's four steps around the predictor."""

    def setup(self, device: str) -> None:
        """Open the student, once a worker."""
        self.predictor = open_predictor(Path(os.environ["EVOKD_STUDENT"]))
        self.predictor.predict(["warm up"])

    def decode_request(self, request: dict[str, str]) -> str:
        """Return the text."""
        return request["text"]

    def predict(self, x: str) -> Prediction:
        """Label it."""
        said: Prediction = self.predictor.predict([x])[0]
        return said

    def encode_response(self, output: Prediction) -> dict[str, Any]:
        """Return what is told."""
        told = {"label": output.label, "score": output.score}
        return {**told, "probabilities": output.probabilities}


if __name__ == "__main__":
    server = litserve.LitServer(
        Sorter(),
        accelerator="cpu",
        workers_per_device=int(os.environ["EVOKD_WORKERS"]),
        healthcheck_path="/readyz",
    )
    server.run(
        host="127.0.0.1",
        port=int(sys.argv[1]),
        generate_client_file=False,
        log_level="warning",
    )
