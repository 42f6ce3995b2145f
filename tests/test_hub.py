from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from fake_hub import FakeHub, serving
from huggingface_hub import constants, file_download
from huggingface_hub.utils import disable_progress_bars, enable_progress_bars
from huggingface_hub.utils._http import reset_sessions
from tiny_gguf import write_gguf

from evokd.errors import TeacherError
from evokd.teacher import hub as hub_module
from evokd.teacher.hub import HubFile, fetch, parse
from evokd.teacher.modelfile import find_model, sha256

Q4, Q8 = "model-Q4_K_M.gguf", "model-Q8_0.gguf"
PARTS = [f"big/model-{i:05}-of-00003.gguf" for i in (1, 2, 3)]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return write_gguf(tmp_path_factory.mktemp("gguf") / "tiny.gguf").read_bytes()


@pytest.fixture
def hub(model: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHub]:
    """A hub with two models and a split one, and an empty cache."""
    fake = FakeHub()
    split = {name: model + bytes(i) for i, name in enumerate(PARTS)}
    fake.put(**{Q4: model, Q8: model + b"8", "README.md": b"# hello", **split})
    with serving(fake):
        monkeypatch.setattr(constants, "ENDPOINT", fake.url)
        template = f"{fake.url}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        monkeypatch.setattr(file_download, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        disable_progress_bars()
        reset_sessions()
        yield fake
        monkeypatch.undo()
        reset_sessions()
        enable_progress_bars()


def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    reset_sessions()


def downloads(hub: FakeHub) -> list[str]:
    asked = [path.partition("/resolve/")[2] for verb, path, _ in hub.asked if verb == "GET"]
    return [file for file in asked if file]


# -- names ------------------------------------------------------------------------------------


def test_names_are_taken_apart() -> None:
    assert parse("hf:o.x/r-1.5:*q4*.gguf") == HubFile("o.x/r-1.5", "main", "*q4*.gguf")
    named = parse("hf:o/r@refs/pr/1:sub/x.gguf")
    assert named == HubFile("o/r", "refs/pr/1", "sub/x.gguf")
    assert str(named) == "hf:o/r@refs/pr/1:sub/x.gguf"
    assert str(parse("hf:o/r:x.gguf")) == "hf:o/r:x.gguf"


@pytest.mark.parametrize("name", ["hf:", "hf:model.gguf", "hf:o/r", "hf:o/r:", "hf:a/b/c:x.gguf"])
def test_another_form_is_refused(name: str) -> None:
    with pytest.raises(TeacherError, match="names no file") as caught:
        parse(name)
    assert "hf:owner/repo:pattern.gguf" in caught.value.hint


@pytest.mark.parametrize("name", ["hf:../..:x.gguf", "hf:-o/r:x.gguf", "hf:o--o/r:x.gguf"])
def test_an_impossible_repository_is_refused(name: str, hub: FakeHub) -> None:
    with pytest.raises(TeacherError) as caught:
        fetch(name)
    assert "\n" not in caught.value.message
    assert caught.value.hint
    assert not downloads(hub)


# -- finding and downloading ------------------------------------------------------------------


@pytest.mark.parametrize("pattern", [Q4, "*q4_k_m*.gguf", "MODEL-Q4*", "*Q4*"])
def test_a_file_is_downloaded_once(hub: FakeHub, model: bytes, pattern: str) -> None:
    path = find_model(f"hf:owner/repo:{pattern}")
    assert path.name == Q4
    assert path.read_bytes() == model
    assert downloads(hub) == [f"main/{Q4}"]
    asked = len(hub.asked)
    assert find_model(f"hf:owner/repo:{pattern}") == path
    assert len(hub.asked) == asked, "the cache is enough"


def test_what_was_downloaded_is_found_offline(
    hub: FakeHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = find_model(f"hf:owner/repo:{Q4}")
    offline(monkeypatch)
    assert find_model("hf:owner/repo:*Q4*") == path


def test_a_revision_is_another_file(hub: FakeHub, model: bytes) -> None:
    hub.put("v2", **{Q4: model + b"2"})
    assert find_model(f"hf:owner/repo@v2:{Q4}").read_bytes() == model + b"2"
    assert find_model(f"hf:owner/repo:{Q4}").read_bytes() == model


def test_all_parts_of_a_split_model_are_fetched(hub: FakeHub) -> None:
    path = find_model("hf:owner/repo:big/*.gguf")
    assert path.as_posix().endswith(PARTS[0])
    assert downloads(hub) == [f"main/{part}" for part in PARTS]
    assert [p.name for p in sorted(path.parent.iterdir())] == [Path(p).name for p in PARTS]
    assert sha256(path) != sha256(find_model(f"hf:owner/repo:{Q4}"))


def test_a_part_that_the_cache_lacks_is_fetched(hub: FakeHub) -> None:
    path = find_model(f"hf:owner/repo:{PARTS[0]}")
    path.with_name(Path(PARTS[1]).name).resolve().unlink()
    hub.asked.clear()
    assert find_model(f"hf:owner/repo:{PARTS[0]}") == path
    assert downloads(hub) == [f"main/{PARTS[1]}"]


def test_a_download_that_breaks_off_goes_on_where_it_stopped(
    hub: FakeHub, model: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(constants, "DOWNLOAD_CHUNK_SIZE", 1000)
    hub.cut = 2
    assert find_model(f"hf:owner/repo:{Q4}").read_bytes() == model
    spans = [span for verb, path, span in hub.asked if verb == "GET" and path.endswith(Q4)]
    starts = [int(span.strip("bytes=-") or 0) for span in spans]
    assert starts == sorted(starts)
    assert [start // (len(model) // 4 - 1000) for start in starts] == [0, 2, 3]


def test_a_download_that_always_breaks_off_ends(hub: FakeHub) -> None:
    hub.cut = 1000
    problem = refused(f"hf:owner/repo:{Q4}")
    assert "cannot be downloaded" in problem.message
    assert problem.retryable
    assert len(downloads(hub)) == hub_module.TRIES


def test_a_killed_download_goes_on_in_the_next_run(
    hub: FakeHub, model: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, calls = file_download.http_get, []

    def killed(url: str, file: object, **options: object) -> None:
        calls.append(options.get("resume_size"))
        if len(calls) == 1:
            file.write(model[:100])  # type: ignore[attr-defined]
            raise KeyboardInterrupt
        real(url, file, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(file_download, "http_get", killed)
    with pytest.raises(KeyboardInterrupt):
        find_model(f"hf:owner/repo:{Q4}")
    assert find_model(f"hf:owner/repo:{Q4}").read_bytes() == model
    assert calls == [0, 100]
    assert hub.asked[-1][2] == "bytes=100-"


# -- what goes wrong --------------------------------------------------------------------------


def refused(name: str) -> TeacherError:
    with pytest.raises(TeacherError) as caught:
        find_model(name)
    assert "\n" not in caught.value.message
    assert "\n" not in caught.value.hint
    return caught.value


def test_no_file_fits(hub: FakeHub) -> None:
    problem = refused("hf:owner/repo:*Q2*.gguf")
    assert "fits no file" in problem.message
    assert Q4 in problem.hint
    hub.files["main"] = {"README.md": b""}
    assert "no GGUF" in refused("hf:owner/repo:*.gguf").hint


def test_several_files_fit(hub: FakeHub) -> None:
    problem = refused("hf:owner/repo:*.gguf")
    assert "3 models" in problem.message
    assert Q4 in problem.message
    assert "hf:owner/repo:big/model-00001-of-00003.gguf" in problem.hint
    assert not downloads(hub)


def test_a_part_that_the_repository_lacks(hub: FakeHub) -> None:
    del hub.files["main"][PARTS[2]]
    assert f"lacks {PARTS[2]}" in refused("hf:owner/repo:big/*").message
    assert not downloads(hub)


def test_no_such_repository_or_revision(hub: FakeHub) -> None:
    assert "no owner/gone" in refused("hf:owner/gone:x.gguf").message
    assert "no revision v9" in refused("hf:owner/repo@v9:x.gguf").message


def test_a_gated_repository(hub: FakeHub) -> None:
    hub.refuse = "GatedRepo"
    problem = refused(f"hf:owner/repo:{Q4}")
    assert "terms" in problem.message
    assert "hf auth login" in problem.hint


def test_offline_says_what_to_download_and_where_to_put_it(
    hub: FakeHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    offline(monkeypatch)
    problem = refused("hf:owner/repo@v2:*Q4*.gguf")
    assert constants.HF_HUB_CACHE in problem.message
    assert "hf download owner/repo --revision v2 --include '*Q4*.gguf'" in problem.hint
    assert "teacher.model" in problem.hint
    assert problem.retryable
    assert not hub.asked
    # The command's patterns, unlike ours, must match the whole path.
    assert "--include '*a.gguf'" in refused("hf:owner/repo:a.gguf").hint


def test_a_hub_that_is_down(hub: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    problem = refused(f"hf:owner/repo:{Q4}")
    assert "cannot be downloaded" in problem.message
    assert "hf download" in problem.hint


def test_a_full_disk(hub: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*args: object, **options: object) -> str:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(hub_module, "hf_hub_download", full)
    problem = refused(f"hf:owner/repo:{Q4}")
    assert "no room" in problem.message
    assert "HF_HOME" in problem.hint


def test_a_damaged_file_in_the_cache(hub: FakeHub, model: bytes) -> None:
    path = find_model(f"hf:owner/repo:{Q4}")
    path.resolve().write_bytes(model[:-1])
    problem = refused(f"hf:owner/repo:{Q4}")
    assert "cut off" in problem.message
    assert str(path.resolve()) in problem.hint
    path.resolve().unlink()
    assert find_model(f"hf:owner/repo:{Q4}").read_bytes() == model


# -- as a user sets it ------------------------------------------------------------------------


def test_the_environment_names_the_hub_and_the_cache(hub: FakeHub, tmp_path: Path) -> None:
    code = (
        "import sys; from evokd.teacher.modelfile import find_model; print(find_model(sys.argv[1]))"
    )
    home = tmp_path / "home"

    def run(**settings: str) -> Path:
        done = subprocess.run(
            [sys.executable, "-c", code, f"hf:owner/repo:{Q4}"],
            env={**os.environ, "HF_HOME": str(home), "HF_HUB_CACHE": str(home / "hub"), **settings},
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )
        return Path(done.stdout.strip())

    path = run(HF_ENDPOINT=hub.url)
    assert path.is_relative_to(home / "hub" / "models--owner--repo")
    assert run(HF_ENDPOINT="http://127.0.0.1:9", HF_HUB_OFFLINE="1") == path
