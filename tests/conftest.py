"""Fixtures that several test files share."""

from __future__ import annotations

import shutil
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest
from hypothesis import settings

ROOT = Path(__file__).parent.parent

# The same inputs every time, so that nobody's change fails by another's luck. `make test-search`
# draws new ones.
settings.register_profile("fixed", derandomize=True)
settings.load_profile("fixed")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the longest file: two workers then end at about the same time."""
    items.sort(key=lambda item: item.path.name != "test_demo_run.py")


@pytest.fixture(scope="session")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bin folder of an environment that has the wheel, and shares this one's dependencies."""
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder)]
    subprocess.run([*build, str(ROOT)], check=True, capture_output=True)
    (wheel,) = folder.glob("evokd-*.whl")
    home = folder / "env"
    venv.create(home, with_pip=True)
    python = home / "bin" / "python"
    subprocess.run(
        [python, "-m", "pip", "install", "-q", "--no-deps", "--no-index", wheel], check=True
    )
    (packages,) = (home / "lib").glob("python3*/site-packages")
    (packages / "shared.pth").write_text(sysconfig.get_paths()["purelib"] + "\n")
    return home / "bin"


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


@pytest.fixture(scope="session")
def tagger_sealed(tiny_saved: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny student that finds entities, sealed. Copy it before changing it."""
    from tiny_kinds import export_as, save_tiny_tagger, tagged_examples

    root = tmp_path_factory.mktemp("tagger") / "student"
    export_as(root, save_tiny_tagger(tiny_saved, root), "ner", tagged_examples(200, seed=7))
    return root


@pytest.fixture(scope="session")
def labeller_sealed(tiny_saved: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny student that gives any number of labels, sealed. Copy it before changing it."""
    from tiny_kinds import TOPICS, export_as, save_tiny_labeller, topical_examples

    root = tmp_path_factory.mktemp("labeller") / "student"
    student = save_tiny_labeller(tiny_saved, root)
    thresholds = dict(zip(TOPICS, (0.4, 0.5, 0.6), strict=True))
    gate = topical_examples(200, seed=7)
    export_as(root, student, "multilabel", gate, thresholds=thresholds, temperature=1.5)
    return root
