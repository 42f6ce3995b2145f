"""The BentoML service. BentoML starts and watches the workers, probes them and packs them.

The environment says what it serves: EVOKD_STUDENT (a student folder; in a Bento its own),
EVOKD_WORKERS (processes; one for each usable processor), EVOKD_API_KEY and EVOKD_WITHOUT_KEY (see
`serving.limits`), EVOKD_HARVEST (see `serving.harvest`). The student is opened when a worker
starts, not at import.
"""

from __future__ import annotations

import logging
import os
from pathlib import Path

import bentoml

from evokd.errors import InputError
from serving import harvest
from serving.desk import Desk
from serving.layout import PACKED, read_manifest
from serving.limits import BODY_SECONDS, BodyMiddleware, KeyMiddleware, api_key
from serving.messages import Answers, Question, about
from serving.predictor import open_predictor
from serving.routes import Routes, Watched
from serving.run import STUDENT, workers
from serving.turns import Turns

BUNDLED = Path(__file__).resolve().parent.parent / PACKED
REQUESTS_PER_WORKER = 64
"""Requests that a worker holds at once; more are answered 429 at once."""
PATIENCE_S = 20.0
"""A request that could not be answered in that time is answered 503."""

log = logging.getLogger("bentoml.student")


def open_desk() -> Desk:
    """Open the student that the environment names, and let it answer once to warm up.

    Raises:
        InputError: when EVOKD_STUDENT is not set or names no whole student.
        IntegrityError: when a file of the student was changed.
    """
    folder = os.environ.get(STUDENT) or (str(BUNDLED) if BUNDLED.is_dir() else "")
    if not folder:
        raise InputError(f"{STUDENT}: is not set", "set it to the folder of a finished student")
    predictor = open_predictor(Path(folder))
    predictor.predict(["warm up"])
    return Desk(
        predictor=predictor,
        turns=Turns(REQUESTS_PER_WORKER, PATIENCE_S),
        info=about(read_manifest(Path(folder))),
        harvest=_harvest(),
    )


def _harvest() -> harvest.Harvest | None:
    """Open the file that the environment asks for; without it, rather than not at all, go on."""
    try:
        wanted = harvest.settings()
        return None if wanted is None else harvest.Harvest(wanted)
    except InputError as error:
        log.warning("%s: no texts are kept; %s", error.message, error.hint)
        return None


@bentoml.service(
    name="student",
    workers=workers(),
    http={"host": "127.0.0.1"},
    # Never reached, for the body and patience have their ends before it; BentoML's own leaves a
    # timer of a minute a request.
    traffic={"timeout": BODY_SECONDS + PATIENCE_S + 10},
    # Counted, timed, logged and shed by serving.routes and serving.turns, for less than a tenth of
    # the time; spans are kept off the way because nothing exports them.
    metrics={"enabled": False},
    logging={"access": {"enabled": False}},
    tracing={"excluded_urls": [".*"]},
)
class Student:
    """Answers for texts with one student."""

    def __init__(self) -> None:
        api_key()  # a blank key must stop the start, not open the door
        self.desk = open_desk()

    def __is_ready__(self) -> bool:
        return True  # it exists only once the student is open and has answered

    @bentoml.api(route="/predict")  # type: ignore[untyped-decorator]
    async def predict(self, question: Question, /) -> Answers:
        """Answer for one `text` or several `texts`."""
        answers, _ = await self.desk.answer(question)
        return answers


# The first one added is the outer one: strangers are refused before their body is read.
for middleware in (Watched, KeyMiddleware, BodyMiddleware, Routes):
    Student.add_asgi_middleware(middleware)  # type: ignore[attr-defined]
