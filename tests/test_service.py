from __future__ import annotations

import asyncio
import json
import logging
import os
import re
import shutil
import signal
import socket
import stat
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import bentoml
import numpy as np
import pytest
from running import Running, free_port, serving
from starlette.testclient import TestClient
from tiny_student import LABELS, make_texts

from benchmarks.load_client import Connection, connect, requests_of
from benchmarks.load_faults import workers_of
from evokd.errors import InputError, IntegrityError
from evokd.formats import read_texts
from serving import layout, routes, service
from serving.harvest import HarvestSettings
from serving.limits import API_KEY, LIMITS
from serving.messages import Answers
from serving.predictor import open_predictor
from serving.run import Serving, serve

HERE = "http://127.0.0.1:3000"
BLOCKED = """
import sys
class Block:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {"torch", "transformers", "llama_cpp", "optimum"}:
            raise ImportError(name)
sys.meta_path.insert(0, Block())
import serving.service
import serving.run
"""


@pytest.fixture(scope="module")
def client(tiny_sealed: Path) -> Iterator[TestClient]:
    """The service in this process. One for the file: its metrics register once a process."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EVOKD_STUDENT", str(tiny_sealed))
        patch.delenv(API_KEY, raising=False)
        from serving.service import Student

        app = Student.to_asgi()
        with TestClient(app, HERE, raise_server_exceptions=False) as client:
            yield client


def test_it_answers_as_the_predictor_does(client: TestClient, tiny_sealed: Path) -> None:
    texts, _ = make_texts(12, seed=21)
    answer = client.post("/predict", json={"texts": texts}).json()
    expected = open_predictor(tiny_sealed).predict(texts)
    assert answer["model"] == "tiny"
    assert [given["label"] for given in answer["predictions"]] == [e.label for e in expected]
    for given, wanted in zip(answer["predictions"], expected, strict=True):
        assert given["probabilities"] == wanted.probabilities
        assert given["score"] == wanted.score


def test_one_text_and_a_long_text(client: TestClient) -> None:
    short = client.post("/predict", json={"text": "play a song"}).json()["predictions"]
    assert [answer["label"] for answer in short] == ["play_music"]
    assert short[0]["windows"] == 1
    long = "please " * 100 + "rain storm umbrella " * 100
    (answer,) = client.post("/predict", json={"text": long}).json()["predictions"]
    assert answer["label"] == "get_weather"
    assert answer["windows"] > 10


def test_top_k_threshold_and_time(client: TestClient) -> None:
    plain = client.post("/predict", json={"text": "play a song"}).json()["predictions"][0]
    assert list(plain["probabilities"]) == list(LABELS)
    asked = {"text": "play a song", "top_k": 2, "threshold": plain["score"]}
    answer = client.post("/predict", json={**asked, "explain_time": True})
    (given,) = answer.json()["predictions"]
    assert given["label"] == "play_music", "a score at the threshold is not below it"
    best = sorted(plain["probabilities"].items(), key=lambda pair: -pair[1])[:2]
    assert list(given["probabilities"].items()) == best
    time_ms = answer.json()["time_ms"]
    assert list(time_ms) == ["wait", "tokenize", "model", "total"]
    assert 0 < time_ms["model"] < time_ms["total"]
    assert f"total;dur={time_ms['total']}" in answer.headers["server-timing"]
    unsure = {"texts": ["play a song", "the the"], "threshold": 1.0}
    told = client.post("/predict", json=unsure).json()
    assert [given["label"] for given in told["predictions"]] == [None, None]
    assert "time_ms" not in told


def test_a_request_may_hold_only_so_much_in_all(client: TestClient) -> None:
    each = LIMITS.characters_in_all // LIMITS.texts
    full = ["a" * each] * LIMITS.texts
    assert client.post("/predict", json={"texts": full}).status_code == 200
    answer = client.post("/predict", json={"texts": [*full[1:], "a" * (each + 1)]})
    assert answer.status_code == 400
    assert "texts" in answer.json()["error"]


def test_info_tells_the_cards_facts(client: TestClient, tiny_sealed: Path) -> None:
    info = client.get("/info").json()
    manifest = layout.read_manifest(tiny_sealed)
    assert info["labels"] == LABELS
    assert info["base_model"] == manifest.base_model
    assert info["teacher"] == manifest.teacher
    assert info["scores"] == manifest.scores
    assert info["sha256"] == manifest.sha256
    assert info["limits"]["texts"] == LIMITS.texts
    assert info["needs_key"] is False


def test_the_documents_describe_what_happens(client: TestClient) -> None:
    documents = client.get("/docs.json").json()
    assert documents["openapi"] == "3.1.0"
    named = set(re.findall(r'"#/components/schemas/(\w+)"', json.dumps(documents)))
    assert named <= set(documents["components"]["schemas"])
    post = documents["paths"]["/predict"]["post"]
    for example in _examples(post["requestBody"]):
        assert client.post("/predict", json=example).status_code == 200, example
    for example in _examples(post["responses"]["200"]):
        Answers.model_validate(example)
    for path, methods in documents["paths"].items():
        if "get" in methods:
            assert client.get(path).status_code == 200


def _examples(part: dict[str, Any]) -> list[Any]:
    examples = part["content"]["application/json"]["examples"]
    assert examples
    return [example["value"] for example in examples.values()]


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/predict", 405), ("POST", "/info", 405), ("GET", "/gone", 404), ("PUT", "/", 405)],
)
def test_a_wrong_path_or_method(client: TestClient, method: str, path: str, status: int) -> None:
    body = {"json": {}} if method in ("POST", "PUT") else {}
    assert client.request(method, path, **body).status_code == status


def test_a_fault_of_ours_says_nothing_to_the_caller(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("secret")

    monkeypatch.setattr("serving.desk.shape", broken)
    answer = client.post("/predict", json={"text": "a"})
    assert answer.status_code == 500
    assert set(answer.json()) == {"error"}
    assert "secret" not in answer.text


def test_metrics_count_and_the_log_has_no_text(
    client: TestClient, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PROMETHEUS_MULTIPROC_DIR", raising=False)
    monkeypatch.setattr(logging.getLogger("bentoml"), "propagate", True)

    def count(line: str) -> float:
        page = client.get("/metrics").text
        found = re.search(rf"^{re.escape(line)} (\S+)$", page, re.MULTILINE)
        return float(found[1]) if found else 0.0

    counted = (
        'evokd_requests_total{path="/predict",status="200"}',
        'evokd_labels_total{label="play_music"}',
        'evokd_stage_seconds_count{stage="model"}',
        'evokd_confidence_bucket{le="+Inf"}',
    )
    before = [count(line) for line in counted]
    with caplog.at_level(logging.INFO, "bentoml.access"):
        client.post("/predict", json={"texts": ["play a song", "play a tune"]})
    assert [count(line) for line in counted] == [
        *(before[0] + 1, before[1] + 2, before[2] + 1, before[3] + 2)
    ]
    assert "POST /predict 200" in caplog.text
    assert "song" not in caplog.text


@pytest.mark.parametrize(
    ("question", "field"),
    [
        ({}, []),
        ({"text": "a", "texts": ["b"]}, []),
        ({"texts": []}, ["texts"]),
        ({"texts": ["a"] * (LIMITS.texts + 1)}, ["texts"]),
        ({"text": "a" * (LIMITS.characters + 1)}, ["text"]),
        ({"texts": ["a", "a" * (LIMITS.characters + 1)]}, ["texts", 1]),
        ({"texts": ["a", None]}, ["texts", 1]),
        ({"text": 5}, ["text"]),
        ({"text": "a", "top": 1}, ["top"]),
        ({"text": "a", "top_k": 0}, ["top_k"]),
        ({"text": "a", "top_k": "2"}, ["top_k"]),
        ({"text": "a", "threshold": 1.1}, ["threshold"]),
        ({"text": "a", "explain_time": 1}, ["explain_time"]),
        (["a"], []),
    ],
)
def test_a_wrong_question_names_its_field(
    client: TestClient, question: object, field: list[object]
) -> None:
    answer = client.post("/predict", json=question)
    assert answer.status_code == 400
    assert [detail["loc"] for detail in answer.json()["detail"]] == [field]


@pytest.mark.parametrize(
    "body", [b"", b"{", b"\xff\xfe", b'{"text": "\\ud800"}', b"[" * 5000, b'{"text": NaN}']
)
def test_a_broken_body_is_refused(client: TestClient, body: bytes) -> None:
    answer = client.post("/predict", content=body, headers={"content-type": "application/json"})
    assert answer.status_code == 400
    assert "Traceback" not in answer.text


def test_a_pickle_and_a_huge_body_are_refused(client: TestClient) -> None:
    media = {"content-type": "application/vnd.bentoml+pickle"}
    assert client.post("/predict", content=b"x", headers=media).status_code == 415
    huge = {"text": "x" * LIMITS.body_bytes}
    assert client.post("/predict", json=huge).status_code == 413


def test_it_imports_without_torch_and_without_a_student() -> None:
    environment = {k: v for k, v in os.environ.items() if k != "EVOKD_STUDENT"}
    root = Path(layout.__file__).parent.parent
    command = [sys.executable, "-c", BLOCKED]
    done = subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_serve_checks_before_it_starts(tiny_sealed: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"evokd\.json"):
        serve(tmp_path / "nowhere")
    with pytest.raises(InputError, match="port"):
        serve(tiny_sealed, Serving(port=0))
    with pytest.raises(InputError, match="workers"):
        serve(tiny_sealed, Serving(workers=0))
    with pytest.raises(InputError, match="host"):
        serve(tiny_sealed, Serving(host="example"))
    changed = Path(shutil.copytree(tiny_sealed, tmp_path / "student"))
    (changed / layout.WEIGHTS).write_bytes(b"other")
    with pytest.raises(IntegrityError, match=layout.WEIGHTS):
        serve(changed)


def test_what_the_workers_would_die_of_is_said_before_they_start(
    tiny_sealed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "folder.jsonl"
    folder.mkdir()
    port = free_port()
    with pytest.raises(InputError, match="harvest"):
        serve(tiny_sealed, Serving(port=port, harvest=HarvestSettings(folder)))
    monkeypatch.setenv("EVOKD_HARVEST", str(folder))
    with pytest.raises(InputError, match="harvest"):
        serve(tiny_sealed, Serving(port=port))
    assert service._harvest() is None  # in a container: rather no harvest than no answers
    monkeypatch.delenv("EVOKD_HARVEST")
    monkeypatch.setenv("EVOKD_WORKERS", "many")
    with pytest.raises(InputError, match="EVOKD_WORKERS"):
        serve(tiny_sealed, Serving(port=port))


WATCHED = """
import signal, sys
from serving.run import _watch
signal.signal(signal.SIGHUP, signal.SIG_DFL)  # the tests may run under nohup, which is heeded
child = "import pathlib, sys, time; pathlib.Path(sys.argv[1]).write_text('on'); time.sleep(60)"
sys.exit(_watch([sys.executable, "-c", child, sys.argv[1]], {}))
"""


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGTERM])
def test_nothing_outlives_a_terminal_that_is_closed(tmp_path: Path, number: int) -> None:
    root = Path(layout.__file__).parent.parent
    mark = tmp_path / "on"
    with subprocess.Popen([sys.executable, "-c", WATCHED, str(mark)], cwd=root) as parent:
        for _ in range(300):
            if mark.exists():
                break
            time.sleep(0.05)
        parent.send_signal(number)
        assert parent.wait(timeout=20) == 256 - signal.SIGTERM  # as the child ended


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.1.2.3"])
def test_strangers_need_a_key(host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(API_KEY, raising=False)
    with pytest.raises(InputError, match="no key"):
        serve(Path("gone"), Serving(host=host))
    for how in (Serving(host=host, without_key=True), Serving()):
        with pytest.raises(InputError, match=r"evokd\.json"):
            serve(Path("gone"), how)
    monkeypatch.setenv(API_KEY, "sesame")
    with pytest.raises(InputError, match=r"evokd\.json"):
        serve(Path("gone"), Serving(host=host))


def test_a_port_in_use_is_a_user_error(tiny_sealed: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(InputError, match=f"127.0.0.1:{port}: Address already in use"):
            serve(tiny_sealed, Serving(port=port))


@pytest.fixture(scope="module")
def server(tiny_sealed: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """The real service with two workers, a key and a harvest."""
    folder = tmp_path_factory.mktemp("service")
    wanted = HarvestSettings(folder / "unsure.jsonl", below=0.999)
    environment = {API_KEY: "sesame", **wanted.environment()}
    with serving(tiny_sealed, folder, workers=2, environment=environment) as server:
        yield server


def test_the_real_service_answers(server: Running) -> None:
    question = {"texts": ["play a song", "rain storm"]}
    for path in ("/predict", "/metrics", "/", "/info", "/docs.json"):
        assert server.ask(path, question if path == "/predict" else None)[0] == 401
        assert server.ask(path, question if path == "/predict" else None, key="wrong")[0] == 401
    assert server.ask("/livez")[0] == 200
    status, text = server.ask("/predict", question, key="sesame")
    assert status == 200
    labels = [answer["label"] for answer in json.loads(text)["predictions"]]
    assert labels == ["play_music", "get_weather"]
    assert json.loads(server.ask("/info", key="sesame")[1])["needs_key"] is True


def test_the_answer_is_what_evaluate_computes_also_under_load(
    server: Running, tiny_sealed: Path
) -> None:
    texts, _ = make_texts(96, seed=31)
    texts += ["", "¿ñ 🎵\x00 مرحبا", "play rain wake table " * 60]
    expected = open_predictor(tiny_sealed).probabilities(texts)

    def ask(number: int) -> bytes:
        # Alone or among neighbours, short or long beside it: it must not matter.
        asked = {"texts": [texts[number], *texts[: number % 3]]}
        status, told = server.ask("/predict", asked, key="sesame")
        assert status == 200, told
        said = json.loads(told)["predictions"][0]["probabilities"]
        return np.array(list(said.values()), np.float32).tobytes()

    with ThreadPoolExecutor(16) as pool:
        said = list(pool.map(ask, range(len(texts))))
    assert said == [row.tobytes() for row in expected]


def test_the_client_of_bentoml_is_understood(server: Running) -> None:
    with bentoml.SyncHTTPClient(server.url, token="sesame") as client:
        answers = client.predict({"texts": ["play a song", "rain storm"], "top_k": 1})
    assert [said["label"] for said in answers["predictions"]] == ["play_music", "get_weather"]


def test_workers_add_up_and_the_harvest_is_one_file(server: Running) -> None:
    asked = {"texts": ["the a to my", "some of the"]}
    for _ in range(20):
        assert server.ask("/predict", asked, key="sesame")[0] == 200
    page = server.ask("/metrics", key="sesame")[1]
    (count,) = re.findall(r'evokd_requests_total{path="/predict",status="200"} (\S+)', page)
    assert float(count) >= 20
    kept = server.log.parent / "unsure.jsonl"
    assert {"the a to my", "some of the"} <= set(read_texts(kept))
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600


def test_too_much_is_shed_at_once_and_then_it_recovers(server: Running) -> None:
    port = int(server.url.rpartition(":")[2])
    (asked,) = requests_of(["play a song " * 700], key="sesame")

    async def crowd() -> dict[int, list[float]]:
        connections = [c for c in [await connect(port) for _ in range(400)] if c]
        begun = time.perf_counter()
        told: dict[int, list[float]] = defaultdict(list)

        async def one(connection: Connection) -> None:
            told[await connection.ask(asked)].append(time.perf_counter() - begun)

        await asyncio.gather(*map(one, connections))
        for connection in connections:
            connection.close()
        return told

    told = asyncio.run(crowd())
    assert set(told) == {200, 429}
    assert len(told[200]) >= 64
    assert max(told[429]) < max(told[200]), "who is refused is told at once"
    assert server.ask("/predict", {"text": "play a song"}, key="sesame")[0] == 200


def test_a_killed_worker_comes_back(server: Running) -> None:
    before = workers_of(server.process.pid)
    assert len(before) == 2
    victim = min(before)
    os.kill(victim, signal.SIGKILL)
    for _ in range(100):
        time.sleep(0.1)
        now = workers_of(server.process.pid)
        if len(now) == 2 and victim not in now:
            break
    assert len(now) == 2
    assert victim not in now
    for _ in range(10):
        assert server.ask("/predict", {"text": "play a song"}, key="sesame")[0] == 200


def test_on_sigterm_requests_in_flight_are_answered(server: Running) -> None:
    long = {"texts": ["play a song " * 80] * 60}
    with ThreadPoolExecutor(4) as pool:
        asked = [pool.submit(server.ask, "/predict", long, key="sesame") for _ in range(4)]
        time.sleep(0.1)
        assert server.end() == 0
        assert [answer.result()[0] for answer in asked] == [200] * 4
    assert server.ask("/livez")[0] == 0, "nothing is left behind"


@pytest.mark.parametrize(("inside", "ended"), [(0, 0), (routes.CROWDED, 5)])
def test_a_crowded_worker_ends_some_connections(
    monkeypatch: pytest.MonkeyPatch, inside: int, ended: int
) -> None:
    desk = SimpleNamespace(turns=SimpleNamespace(inside=inside))
    monkeypatch.setattr(routes, "_desk", lambda: desk)
    made = routes.Routes(None)  # type: ignore[arg-type]
    assert sum(bool(made._parting()) for _ in range(5 * routes.ONE_IN)) == ended
