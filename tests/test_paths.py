"""Paths as a user names them."""

from __future__ import annotations

from pathlib import Path

import pytest

from evokd.paths import expanded


def test_a_home_folder_is_expanded_and_an_unknown_users_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert expanded("~/a.gguf") == tmp_path / "a.gguf"
    assert expanded("a~b") == Path("a~b")
    assert expanded("~nobody-of-this-name/x") == Path("~nobody-of-this-name/x")
