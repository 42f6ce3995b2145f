"""The service with students of other kinds: entities, and any number of labels."""

from __future__ import annotations

import asyncio
import json
import re
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from running import Running, serving
from tiny_kinds import TOPICS, TYPES, tagged

from evokd.formats import read_texts
from serving.desk import JOINED_AT_ONCE, Desk
from serving.layout import read_manifest
from serving.messages import Question, about
from serving.predictor import open_predictor
from serving.turns import Turns

TEXT = "🎵🎶 play jazz, 天気は rain 👨‍👩‍👧 storm song"


@pytest.fixture(scope="module")
def tagger(tagger_sealed: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("tagger")
    kept = {"EVOKD_HARVEST": str(folder / "unsure.jsonl"), "EVOKD_HARVEST_BELOW": "1"}
    with serving(tagger_sealed, folder, environment=kept) as server:
        yield server


def answered(server: Running, question: dict[str, Any]) -> list[dict[str, Any]]:
    status, told = server.ask("/predict", question)
    assert status == 200, told
    predictions: list[dict[str, Any]] = json.loads(told)["predictions"]
    return predictions


def test_entities_come_with_offsets_that_give_back_their_words(
    tagger: Running, tagger_sealed: Path
) -> None:
    (said,) = answered(tagger, {"text": TEXT})
    (wanted,) = open_predictor(tagger_sealed).predict([TEXT])
    assert set(said) == {"entities", "windows"}
    assert [(e["start"], e["end"], e["label"]) for e in said["entities"]] == list(wanted.given)
    for entity, one in zip(said["entities"], wanted.entities, strict=True):
        assert entity["text"] == TEXT[entity["start"] : entity["end"]]
        assert entity["score"] == one.score
    assert "rain" in {entity["text"] for entity in said["entities"]}


def test_a_long_text_and_none_at_all(tagger: Running) -> None:
    row = tagged([*["please"] * 200, "rain"])
    long, empty = answered(tagger, {"texts": [row.text, ""]})
    assert [entity["text"] for entity in long["entities"]] == ["rain"]
    assert long["windows"] > 6
    assert empty == {"entities": [], "windows": 1}


def test_a_threshold_leaves_unsure_entities_out(tagger: Running) -> None:
    (every,) = answered(tagger, {"text": TEXT})
    highest = max(entity["score"] for entity in every["entities"])
    (some,) = answered(tagger, {"text": TEXT, "threshold": highest})
    assert some["entities"] == [e for e in every["entities"] if e["score"] >= highest]


def test_documents_info_metrics_and_harvest_are_those_of_its_kind(tagger: Running) -> None:
    documents = json.loads(tagger.ask("/docs.json")[1])
    schemas = documents["components"]["schemas"]
    items = schemas["Answers"]["properties"]["predictions"]["items"]
    assert items == {"$ref": "#/components/schemas/EntitiesAnswer"}
    assert "LabelsAnswer" not in schemas
    named = set(re.findall(r'"#/components/schemas/(\w+)"', json.dumps(documents)))
    assert named <= schemas.keys()
    info = json.loads(tagger.ask("/info")[1])
    assert (info["kind"], info["labels"]) == ("ner", TYPES)
    answered(tagger, {"texts": ["play rain", "please"]})
    counted = tagger.ask("/metrics")[1]
    assert re.search(r'evokd_labels_total\{label="sky"\} [1-9]', counted)
    assert re.search(r'evokd_labels_total\{label="\(none\)"\} [1-9]', counted)
    file = tagger.log.parent / "unsure.jsonl"
    assert "play rain" in read_texts(file)
    lines = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    (kept,) = [line for line in lines if line["text"] == "play rain"]
    assert [5, 9, "sky"] in kept["guess"]


@pytest.fixture(scope="module")
def labeller(labeller_sealed: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with serving(labeller_sealed, tmp_path_factory.mktemp("labeller")) as server:
        yield server


def test_labels_that_apply_come_with_all_probabilities(
    labeller: Running, labeller_sealed: Path
) -> None:
    texts = ["play a song in the rain", "please now", "rain " * 100]
    said = answered(labeller, {"texts": texts})
    for one, wanted in zip(said, open_predictor(labeller_sealed).predict(texts), strict=True):
        assert set(one) == {"labels", "probabilities", "windows"}
        assert one["labels"] == list(wanted.labels)
        assert one["probabilities"] == wanted.probabilities
        assert one["windows"] == wanted.windows
    assert said[0]["labels"] == ["music", "sky"]
    assert said[1]["labels"] == []


def test_a_threshold_stands_in_for_the_students_own(labeller: Running) -> None:
    (every,) = answered(labeller, {"text": "play rain", "threshold": 0})
    assert every["labels"] == list(TOPICS)
    (none,) = answered(labeller, {"text": "play rain", "threshold": 1, "top_k": 2})
    assert none["labels"] == []
    ranked = sorted(every["probabilities"].items(), key=lambda pair: -pair[1])
    assert list(none["probabilities"].items()) == ranked[:2]


def test_its_facts_name_the_thresholds(labeller: Running) -> None:
    info = json.loads(labeller.ask("/info")[1])
    assert info["kind"] == "multilabel"
    assert list(info["thresholds"]) == list(TOPICS)
    answered(labeller, {"text": "play a song in the rain"})
    counted = labeller.ask("/metrics")[1]
    for label in ("music", "sky"):
        assert re.search(rf'evokd_labels_total\{{label="{label}"\}} [1-9]', counted)


def test_a_long_text_never_holds_the_loop_for_more_than_a_window(tagger_sealed: Path) -> None:
    """Every window has a turn of its own, and the entities of many are put together elsewhere."""
    predictor = open_predictor(tagger_sealed)
    read: list[str] = []
    joined: list[bool] = []
    at_once, join = predictor.read, predictor.prediction

    def noted(window: list[int]) -> Any:
        read.append("short" if len(window) < 10 else "long")
        return at_once(window)

    def noted_join(*parts: Any) -> Any:
        joined.append(threading.current_thread() is threading.main_thread())
        return join(*parts)

    predictor.read, predictor.prediction = noted, noted_join  # type: ignore[method-assign]
    desk = Desk(predictor, Turns(8, 10.0), about(read_manifest(tagger_sealed)))

    async def both() -> list[Any]:
        long = Question(text="please rain " * 100)
        return await asyncio.gather(desk.answer(long), desk.answer(Question(text="rain song")))

    (long, _), (short, _) = asyncio.run(both())
    assert len(read) - 1 > JOINED_AT_ONCE
    assert read.index("short") <= 1, "it waits for one window of the other, not for all"
    assert joined == [True, False]
    assert len(long.predictions[0].entities) == 100
    assert [e.text for e in short.predictions[0].entities] == [
        one.text for one in open_predictor(tagger_sealed).predict(["rain song"])[0].entities
    ]
