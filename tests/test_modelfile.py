from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiny_gguf import write_gguf

from evokd.errors import TeacherError
from evokd.teacher import modelfile
from evokd.teacher.modelfile import find_model, parts, sha256


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_gguf(tmp_path_factory.mktemp("gguf") / "tiny.gguf")


def test_a_whole_file_is_found(whole: Path) -> None:
    assert find_model(str(whole)) == whole
    assert sha256(whole) == hashlib.sha256(whole.read_bytes()).hexdigest()


def test_demo_is_the_packaged_file(whole: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    packaged = shutil.copy(whole, whole.with_name("teacher.gguf"))
    monkeypatch.setitem(modelfile.TEACHERS, "demo", whole.parent)
    assert find_model("demo") == Path(packaged)
    Path(packaged).unlink()
    with pytest.raises(TeacherError, match=r"teacher\.gguf") as caught:
        find_model("demo")
    assert "demo-teacher" in caught.value.hint


def test_missing_and_folder(tmp_path: Path) -> None:
    with pytest.raises(TeacherError, match="no such model file"):
        find_model(str(tmp_path / "gone.gguf"))
    with pytest.raises(TeacherError, match="is not a file"):
        find_model(str(tmp_path))
    with pytest.raises(TeacherError, match="no such model file"):
        find_model("~nobody-of-this-name/x.gguf")


@pytest.mark.parametrize("data", [b"", b"GG", b"PK\x03\x04" + bytes(100)])
def test_not_a_gguf(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "model.gguf"
    path.write_bytes(data)
    with pytest.raises(TeacherError, match="is not a GGUF file"):
        find_model(str(path))


@given(share=st.floats(0, 1, exclude_max=True))
def test_a_cut_file_is_refused_wherever_it_is_cut(whole: Path, share: float) -> None:
    data = whole.read_bytes()
    path = whole.with_name("cut.gguf")
    path.write_bytes(data[: max(4, int(share * len(data)))])
    with pytest.raises(TeacherError, match="cut off") as caught:
        find_model(str(path))
    assert caught.value.hint


def test_one_missing_byte_is_seen(whole: Path, tmp_path: Path) -> None:
    path = tmp_path / "cut.gguf"
    path.write_bytes(whole.read_bytes()[:-1])
    with pytest.raises(TeacherError, match="cut off"):
        find_model(str(path))


@given(at=st.integers(4, 400), byte=st.integers(0, 255))
def test_a_damaged_header_never_ends_in_another_error(whole: Path, at: int, byte: int) -> None:
    data = bytearray(whole.read_bytes())
    data[at] = byte
    path = whole.with_name("damaged.gguf")
    path.write_bytes(data)
    try:
        assert find_model(str(path)) == path
    except TeacherError as problem:
        assert str(path) in problem.message  # noqa: PT017 - either outcome is right


# -- split models -----------------------------------------------------------------------------


@pytest.fixture
def split(whole: Path, tmp_path: Path) -> list[Path]:
    names = [tmp_path / f"model-{i:05}-of-00003.gguf" for i in (1, 2, 3)]
    for i, path in enumerate(names):
        path.write_bytes(whole.read_bytes() + bytes(i))
    return names


def test_parts() -> None:
    assert parts("a/b.gguf") == ["a/b.gguf"]
    assert parts("a/b-00002-of-00002.gguf") == [
        "a/b-00001-of-00002.gguf",
        "a/b-00002-of-00002.gguf",
    ]
    for name in ("b-1-of-2.gguf", "b-00001-of-00000.gguf"):
        assert parts(name) == [name]


def test_a_split_model_is_found_by_its_first_part(split: list[Path]) -> None:
    assert find_model(str(split[0])) == split[0]
    together = b"".join(path.read_bytes() for path in split)
    assert sha256(split[0]) == hashlib.sha256(together).hexdigest()
    with pytest.raises(TeacherError, match="one part") as caught:
        find_model(str(split[1]))
    assert str(split[0]) in caught.value.hint


def test_a_split_model_must_be_there_and_whole(split: list[Path]) -> None:
    data = split[2].read_bytes()
    split[2].write_bytes(data[:1000])
    with pytest.raises(TeacherError, match=r"00003-of-00003.* cut off"):
        find_model(str(split[0]))
    split[2].unlink()
    with pytest.raises(TeacherError, match="00003-of-00003") as caught:
        find_model(str(split[0]))
    assert "one folder" in caught.value.hint
