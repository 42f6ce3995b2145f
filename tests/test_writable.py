from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from evokd.errors import InputError
from evokd.writable import check_file, check_folder, write_whole


def test_a_file_is_replaced_and_nothing_is_left_beside_it(tmp_path: Path) -> None:
    file = tmp_path / "page.html"
    for text in ("old", "new \udc80 é"):
        write_whole(file, text)
    assert file.read_text(encoding="utf-8") == "new \\udc80 é"
    assert list(tmp_path.iterdir()) == [file]


def test_a_write_that_fails_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "page.html"
    write_whole(file, "old")

    def full(*_: object) -> None:
        raise OSError("No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(OSError, match="No space"):
        write_whole(file, "new")
    assert file.read_text(encoding="utf-8") == "old"
    assert list(tmp_path.iterdir()) == [file]


def test_what_is_no_file_is_written_to_and_never_replaced(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with ThreadPoolExecutor(1) as reader:
        read = reader.submit(pipe.read_text)
        write_whole(pipe, "text")
        assert read.result() == "text"
    assert pipe.is_fifo()
    link = tmp_path / "link"  # as /dev/stdout is one, to whatever file it was sent to
    link.symlink_to(tmp_path / "file")
    write_whole(link, "text")
    assert link.is_symlink()
    assert (tmp_path / "file").read_text() == "text"


def test_what_cannot_be_written_is_refused_before_the_work(tmp_path: Path) -> None:
    check_file(None)
    check_file(tmp_path / "new.json")
    check_folder(tmp_path / "new" / "below")
    for file in (tmp_path, tmp_path / "no" / "new.json"):
        with pytest.raises(InputError, match="cannot be written"):
            check_file(file)
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="file is no folder"):
        check_folder(tmp_path / "file" / "below")
