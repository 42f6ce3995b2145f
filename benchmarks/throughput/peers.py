"""The other ways to have many texts written by a GGUF: a server, a framework, another runtime.

    python -m benchmarks.throughput.peers --models DIR [--node DIR] [--distilabel PYTHON]
                                          [--threads N] [--json FILE] [--quick]

The same prompts as in `generating`, 48 new tokens each, against evokd in the same run:

    llama_cpp.server   `python -m llama_cpp.server`, eight clients at once
    distilabel         LlamaCppLLM, in the interpreter PYTHON (pip install distilabel)
    node-llama-cpp     as many sequences in one batch as evokd, in DIR (npm install node-llama-cpp)

A turn that the model ends early is shorter; tokens a second count what was really written. Those
that are not installed are null.
"""

from __future__ import annotations

import argparse
import json
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import httpx

from benchmarks.throughput.generating import CONTEXT, EMBEDDED, MAIN, QUICK, TOP_K, Work, requests
from evokd.cpus import usable_cores
from evokd.settings import TeacherSettings
from evokd.teacher.llamacpp import LlamaCppTeacher
from evokd.teacher.modelfile import find_model

CLIENTS = 8
PATIENCE = 900.0  # seconds that a peer gets
SCRIPTS = Path(__file__).parent


def measure(
    models: Path,
    *,
    threads: int = 0,
    quick: bool = False,
    node: Path | None = None,
    distilabel: Path | None = None,
) -> dict[str, Any]:
    """Return tokens a second of evokd and of each peer, for the embedded and the 0.4 B model."""
    work, used = QUICK if quick else Work(), threads or usable_cores()
    rows = {}
    for name in (EMBEDDED, MAIN):
        path = find_model(EMBEDDED) if name == EMBEDDED else models / name
        if path.exists():
            rows[name] = compare(path, work, threads=used, node=node, distilabel=distilabel)
    return {"peers": rows}


def compare(
    path: Path, work: Work, *, threads: int, node: Path | None, distilabel: Path | None
) -> dict[str, float | None]:
    """Return tokens a second of every way, None for a peer that is not installed."""
    with tempfile.TemporaryDirectory() as name:
        file = Path(name) / "work.json"
        width, speed = _evokd(path, work, file, threads=threads)
        found: dict[str, float | None] = {"evokd": speed}
        found["llama_cpp.server, 8 clients"] = (
            _server(path, file, threads=threads) if find_spec("sse_starlette") else None
        )
        found["distilabel LlamaCppLLM"] = (
            None
            if distilabel is None
            else _script(
                [
                    str(distilabel),
                    str(SCRIPTS / "peer_distilabel.py"),
                    str(path),
                    str(file),
                    str(threads),
                ]
            )
        )
        found["node-llama-cpp"] = None if node is None else _script(
            ["node", str(SCRIPTS / "peer_node.mjs"), str(node), str(path), str(file),
             str(width), str(threads)]
        )  # fmt: skip
        return found


def _evokd(path: Path, work: Work, file: Path, *, threads: int) -> tuple[int, float]:
    """Write the texts, and the file that tells the peers what to write."""
    settings = TeacherSettings(model=str(path), context=CONTEXT, threads=threads)
    with closing(LlamaCppTeacher(path, settings)) as teacher:
        engine = teacher._open()
        asked = requests(engine, work)
        prompts = [teacher._prompt(engine, request.messages) for request in asked]
        turns = [request.messages[0].content for request in asked]
        told = {"prompts": prompts, "turns": turns, "tokens": work.tokens, "context": CONTEXT}
        file.write_text(json.dumps(told), encoding="utf-8")
        teacher.generate(asked)
        start = time.perf_counter()
        written = sum(reply.tokens_out for reply in teacher.generate(asked))
        return teacher._side_by_side or 1, written / (time.perf_counter() - start)


def _server(path: Path, file: Path, *, threads: int) -> float:
    told = json.loads(file.read_text(encoding="utf-8"))
    with _serving(path, threads=threads) as url, httpx.Client(timeout=PATIENCE) as client:

        def write(prompt: str) -> int:
            body = {
                "prompt": prompt, "max_tokens": told["tokens"], "temperature": 0.9, "top_p": 0.95,
                "top_k": TOP_K,
            }  # fmt: skip
            answer = client.post(f"{url}/v1/completions", json=body).raise_for_status().json()
            return int(answer["usage"]["completion_tokens"])

        write(told["prompts"][0])
        start = time.perf_counter()
        with ThreadPoolExecutor(CLIENTS) as clients:
            written = sum(clients.map(write, told["prompts"]))
        return written / (time.perf_counter() - start)


@contextmanager
def _serving(path: Path, *, threads: int) -> Iterator[str]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [
        sys.executable, "-m", "llama_cpp.server", "--model", str(path), "--host", "127.0.0.1",
        "--port", str(port), "--n_ctx", "1024", "--n_threads", str(threads),
        "--n_threads_batch", str(threads), "--interrupt_requests", "false", "--verbose", "false",
    ]  # fmt: skip
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    url = f"http://127.0.0.1:{port}"
    try:
        _until(lambda: httpx.get(f"{url}/v1/models").is_success, server)
        yield url
    finally:
        server.terminate()
        server.wait(30)


def _until(ready: Callable[[], bool], server: subprocess.Popen[bytes]) -> None:
    for _ in range(600):
        if server.poll() is not None:
            raise RuntimeError("the server has ended")
        try:
            if ready():
                return
        except httpx.HTTPError:
            pass
        time.sleep(0.1)
    raise RuntimeError("the server does not answer")


def _script(command: list[str]) -> float:
    """Return the tokens a second that a peer's own script reports in its last line."""
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=True)
    told = json.loads(done.stdout.strip().splitlines()[-1])
    return float(told["tokens"] / told["seconds"])


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the figures, and write them as JSON."""
    parser = argparse.ArgumentParser(description="Compare with other ways to write many texts.")
    parser.add_argument("--models", type=Path, required=True, metavar="DIR")
    parser.add_argument("--threads", type=int, default=0, help="CPU threads (default all)")
    parser.add_argument(
        "--node", type=Path, metavar="DIR", help="where node-llama-cpp is installed"
    )
    parser.add_argument("--distilabel", type=Path, metavar="PYTHON", help="its interpreter")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures here")
    parser.add_argument("--quick", action="store_true", help="a smoke test")
    asked = parser.parse_args(arguments)
    made = {"quick": asked.quick} | measure(
        asked.models,
        threads=asked.threads,
        quick=asked.quick,
        node=asked.node,
        distilabel=asked.distilabel,
    )
    print(json.dumps(made, indent=2))
    if asked.json:
        asked.json.write_text(json.dumps(made, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
