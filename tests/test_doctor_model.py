from __future__ import annotations

import signal
from dataclasses import asdict
from pathlib import Path

import gguf
import pytest
from test_doctor import NOTHING, has_a_hint_unless_good, llama, probe
from tiny_gguf import HEADS, LAYERS, WIDTH, write_gguf
from tiny_teacher import opened

from evokd.doctor import engine, model
from evokd.doctor.child import Answer
from evokd.doctor.header import Header, read_header
from evokd.doctor.parity import MOST, TOLERANCE, Parity, Place, compare, judge
from evokd.errors import TeacherError
from evokd.settings import TeacherSettings


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_gguf(tmp_path_factory.mktemp("doctor") / "tiny.gguf")


# -- builds -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("uses", "flags", "state", "says"),
    [
        (["AVX2"], {"avx2"}, "good", "all that this processor has"),
        (["AVX2"], {"avx2", "avx512f"}, "warning", "AVX512 lie idle"),
        (["AVX2", "AVX512"], {"avx2"}, "wrong", "lacks AVX512"),
        (["DOTPROD"], {"asimddp", "i8mm"}, "warning", "MATMUL_INT8 lie idle"),
        (["AVX2"], set(), "good", "AVX2"),
    ],
)
def test_a_build_is_held_against_the_processor(
    uses: list[str], flags: set[str], state: str, says: str
) -> None:
    (finding,) = engine.build(llama(*uses), frozenset(flags))
    assert finding.state == state
    assert says in finding.says
    has_a_hint_unless_good(finding)


def test_what_cannot_be_imported_is_wrong_and_what_is_missing_is_left_to_the_packages() -> None:
    dead = Answer([], "OSError: libcudart.so.12", "another version")
    for findings in (engine.build(dead), engine.torch(dead)):
        (finding,) = findings
        assert finding.state == "wrong"
        assert "libcudart.so.12" in finding.says
        has_a_hint_unless_good(finding)
    assert [*engine.build(NOTHING), *engine.torch(NOTHING)] == []


# -- the model --------------------------------------------------------------------------------


def test_a_header_is_read(path: Path) -> None:
    header = read_header(path)
    assert (header.name, header.architecture, header.context) == ("tiny", "llama", 1024)
    assert (header.quantisation, header.licence, header.template) == ("F32", "", True)
    assert header.bytes == path.stat().st_size
    assert header.cell == 2 * LAYERS * HEADS * (WIDTH // HEADS) * 2
    reader = gguf.GGUFReader(path)
    assert header.parameters == sum(t.n_elements for t in reader.tensors)


def test_what_a_file_lacks_is_said(tmp_path: Path) -> None:
    bare = write_gguf(tmp_path / "bare.gguf", template="", context=512)
    findings = list(model.described(read_header(bare)))
    assert {f.topic: f.state for f in findings} == {
        "teacher": "good",
        "chat template": "warning",
        "context": "warning",
        "licence": "warning",
    }
    for finding in findings:
        has_a_hint_unless_good(finding)


def test_a_header_that_is_no_header_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "x.gguf").write_bytes(b"PK" + bytes(100))
    with pytest.raises(TeacherError, match="cannot be read"):
        read_header(tmp_path / "x.gguf")


@pytest.mark.parametrize(
    ("free", "state"), [(10**9, "good"), (6 * 10**8, "warning"), (10**8, "wrong"), (None, "good")]
)
def test_memory_is_compared_with_what_is_free(free: int | None, state: str) -> None:
    facts = {"name": "m", "architecture": "llama", "quantisation": "F32", "licence": "mit"}
    sizes = {"parameters": 9, "context": 4096, "template": True}
    header = Header(**facts, **sizes, bytes=4 * 10**8, cell=10_000, work=10**8)  # type: ignore[arg-type]
    finding = model.fits(header, 4096, free)
    assert finding.state == state
    assert finding.facts["needed"] == 4 * 10**8 + 4096 * 10_000 + 10**8
    has_a_hint_unless_good(finding)


def test_a_model_is_tried_out(path: Path) -> None:
    findings = list(model.findings(TeacherSettings(model=str(path)), free=10**9, tried=True))
    assert [f.topic for f in findings] == ["teacher", "licence", "room", "parity", "speed"]
    assert [f.state for f in findings] == ["good", "warning", "good", "good", "good"]
    assert findings[-1].facts["generation"].keys() == {"1", "8", "32"}


def test_without_llama_cpp_a_model_is_only_read(path: Path) -> None:
    findings = list(model.findings(TeacherSettings(model=str(path)), free=10**9, tried=False))
    assert findings[0].facts["name"] == "tiny"
    assert (findings[-1].topic, findings[-1].state) == ("trial", "warning")


def test_a_header_that_only_llama_cpp_can_read_is_no_reason_not_to_try(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def newer(path: Path) -> Header:
        raise TeacherError(f"{path}: its header cannot be read: 99 is no type", "again")

    monkeypatch.setattr("evokd.doctor.header.read_header", newer)
    findings = list(model.findings(TeacherSettings(model=str(path)), free=10**9, tried=True))
    assert [f.topic for f in findings] == ["teacher", "parity", "speed"]
    assert [f.state for f in findings] == ["warning", "good", "good"]
    has_a_hint_unless_good(findings[0])


def test_a_missing_model_is_wrong() -> None:
    (finding,) = model.findings(TeacherSettings(model="gone.gguf"), free=10**9, tried=True)
    assert finding.state == "wrong"
    has_a_hint_unless_good(finding)


def test_a_server_that_is_not_there_is_wrong() -> None:
    finding = model.server(TeacherSettings(model="http://127.0.0.1:9/v1"))
    assert finding.state == "wrong"
    has_a_hint_unless_good(finding)


@pytest.mark.parametrize(("speed", "state"), [(1.0, "warning"), (100.0, "good")])
def test_speed_is_judged_side_by_side(speed: float, state: str) -> None:
    speeds = {"prefill": 1.0, "generation": {"1": 0.5, "32": speed}, "complete": True}
    finding = model.judge_speeds(speeds)
    assert finding.state == state
    has_a_hint_unless_good(finding)


def test_a_model_that_crashes_is_a_finding(monkeypatch: pytest.MonkeyPatch, path: Path) -> None:
    code = "import os, signal; print('{\"loaded\": true}', flush=True); os.abort()"
    probe(monkeypatch, code)
    (finding,) = model.trial(path)
    assert finding.state == "wrong"
    assert "failed while checking the model" in finding.says
    assert signal.SIGABRT.name in finding.says
    has_a_hint_unless_good(finding)


# -- parity -----------------------------------------------------------------------------------


def test_a_sound_build_keeps_parity(path: Path) -> None:
    with opened(path) as teacher:
        found = compare(teacher._open())
    assert found.holds
    assert found.tokens == 90


def test_a_build_that_mixes_rows_up_is_caught(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The row beside the prompt's chunk reads its neighbour's logits."""
    with opened(path) as teacher:
        sick = teacher._open()
        healthy = sick.logits
        monkeypatch.setattr(sick, "logits", lambda row: healthy(4 if row == 5 else row))
        found = compare(sick)
    assert not found.holds
    assert found.worst > 1
    assert model.judge_parity(asdict(found)).state == "wrong"


def test_only_clear_differences_count() -> None:
    def places(shift: float, likeliest: int, margin: float) -> list[Place]:
        return [Place(-1.0, 3, margin), Place(-2.0 + shift, likeliest, margin)]

    def judged(shift: float, likeliest: int, *, margin: float = 0.01, noise: float = 0) -> Parity:
        base = places(0, 3, margin)
        elsewhere = places(noise, 3, margin)
        return judge(base, elsewhere=elsewhere, beside=places(shift, likeliest, margin))

    assert judged(0.04, 4) == Parity(2, pytest.approx(0.04), 0, 0)
    assert judged(0.04, 4).holds
    assert not judged(2 * TOLERANCE, 3).holds
    assert not judged(0, 4, margin=1.0).holds
    assert not judged(float("nan"), 3).holds
    assert judged(2 * TOLERANCE, 4, margin=0.1, noise=0.09).holds  # it is as unsteady alone
    assert not judged(2 * MOST, 3, noise=MOST).holds
