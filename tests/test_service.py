from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient
from tiny_student import make_texts

from evokd.errors import InputError, IntegrityError
from serving import layout
from serving.limits import API_KEY, LIMITS
from serving.predictor import open_predictor
from serving.run import serve

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

        with TestClient(Student.to_asgi(), raise_server_exceptions=False) as client:
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
    assert not short[0]["truncated"]
    (long,) = client.post("/predict", json={"text": "rain " * 200}).json()["predictions"]
    assert long["truncated"]


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
    subprocess.run([sys.executable, "-c", BLOCKED], check=True, cwd=root, env=environment)


def test_serve_checks_before_it_starts(tiny_sealed: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"evokd\.json"):
        serve(tmp_path / "nowhere")
    with pytest.raises(InputError, match="port"):
        serve(tiny_sealed, port=0)
    with pytest.raises(InputError, match="workers"):
        serve(tiny_sealed, workers=0)
    changed = Path(shutil.copytree(tiny_sealed, tmp_path / "student"))
    (changed / layout.WEIGHTS).write_bytes(b"other")
    with pytest.raises(IntegrityError, match=layout.WEIGHTS):
        serve(changed)


def ask(url: str, question: object = None, *, key: str = "") -> tuple[int, str]:
    """Return status and text; (0, reason) when nobody listens."""
    data = None if question is None else json.dumps(question).encode()
    headers = {"content-type": "application/json", "x-api-key": key}
    request = urllib.request.Request(url, data, headers)
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()
    except OSError as error:
        return 0, str(error)


@pytest.fixture
def running(tiny_sealed: Path, tmp_path: Path) -> Iterator[tuple[str, subprocess.Popen[Any]]]:
    """The real service, started as a user starts it, from a folder that is not the repository."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = "import sys; from pathlib import Path; from serving.run import serve; "
    command += "sys.exit(serve(Path(sys.argv[1]), port=int(sys.argv[2])))"
    home = str(Path(layout.__file__).parent.parent)
    log = (tmp_path / "log").open("wb")
    process = subprocess.Popen(
        [sys.executable, "-c", command, str(tiny_sealed), str(port)],
        cwd=tmp_path,
        env={
            **os.environ,
            "PYTHONPATH": home,
            "BENTOML_HOME": str(tmp_path / "bentoml"),
            API_KEY: "sesame",
        },
        stdout=log,
        stderr=log,
    )
    url = f"http://127.0.0.1:{port}"
    try:
        for _ in range(900):
            if process.poll() is not None or ask(f"{url}/readyz")[0] == 200:
                break
            time.sleep(0.1)
        assert ask(f"{url}/readyz")[0] == 200, (tmp_path / "log").read_text()
        yield url, process
    finally:
        process.terminate()
        process.wait(timeout=30)
        log.close()


def test_the_real_service_answers_and_ends(running: tuple[str, subprocess.Popen[Any]]) -> None:
    url, process = running
    question = {"texts": ["play a song", "rain storm"]}
    assert ask(f"{url}/predict", question)[0] == 401
    assert ask(f"{url}/metrics")[0] == 401
    status, text = ask(f"{url}/predict", question, key="sesame")
    assert status == 200
    labels = [answer["label"] for answer in json.loads(text)["predictions"]]
    assert labels == ["play_music", "get_weather"]
    status, metrics = ask(f"{url}/metrics", key="sesame")
    assert status == 200
    assert 'endpoint="/predict"' in metrics
    assert ask(f"{url}/docs.json", key="sesame")[0] == 200
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=30) == 0
    assert ask(f"{url}/livez")[0] == 0, "nothing is left behind"
