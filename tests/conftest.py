"""Fixtures that several test files share."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def tiny_saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny trained BERT as a Hugging Face folder, not exported. Copy it before changing it."""
    from tiny_student import save_tiny_student

    return save_tiny_student(tmp_path_factory.mktemp("tiny_saved"))


@pytest.fixture(scope="session")
def tiny_sealed(tiny_saved: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny student exported, quantised and sealed. Copy it before changing it."""
    from tiny_student import export_tiny

    root = tmp_path_factory.mktemp("tiny_sealed") / "student"
    shutil.copytree(tiny_saved, root)
    export_tiny(root)
    return root
