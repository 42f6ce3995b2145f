"""Packs a student into a Bento: this package's sources, the student, and what to install.

A Bento holds no torch and no transformers. It is built without a network, and bound to no registry:
`bentoml containerize` makes an image of it, `bentoml serve` runs it as it is.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from evokd.errors import EvokdError, InputError, MissingExtra
from serving import layout
from serving.layout import PACKED, Manifest

# BentoML names itself.
PACKAGES = (
    "onnxruntime",
    "tokenizers",
    "numpy",
    "pydantic",
    "prometheus-client",
    "uvloop",
    "httptools",
)
SOURCES = (
    "evokd/__init__.py",
    "evokd/answers.py",
    "evokd/errors.py",
    "evokd/cpus.py",
    "serving",
)
UNWANTED = shutil.ignore_patterns("__pycache__", "*.pyc")
WORK = {
    "classification": "sorts {} into labels",
    "multilabel": "says which labels apply to {}",
    "ner": "finds entities in {}",
}
SERVICE = "serving.service:Student"


@dataclass(frozen=True, slots=True)
class Built:
    """A Bento that was made: its tag in the store, its folder, and the file if it was exported."""

    tag: str
    path: Path
    file: Path | None = None


def build(student: Path, *, version: str | None = None, out: Path | None = None) -> Built:
    """Make a Bento of a student, in BentoML's own store.

    Args:
        version: of the Bento; a digest of the student when None, so that one student is one Bento.
        out: also write the Bento to this file (.bento).

    Raises:
        InputError: when the folder is no whole student, or `out` is there already.
        IntegrityError: when a file of the student was changed.
        MissingExtra: when bentoml is not installed.
    """
    manifest = layout.read_manifest(student)
    layout.verify(student, manifest)
    if out is not None:
        out = _new_file(out)
    if importlib.util.find_spec("bentoml") is None:
        raise MissingExtra("serve", ImportError(name="bentoml"))
    name, number = _name(manifest.name), version or _digest(student)
    tag = f"{name}:{number}"
    with tempfile.TemporaryDirectory(prefix="evokd-bento-") as folder:
        _lay_out(Path(folder), student, manifest)
        _bentoml("build", folder, "--name", name, "--version", number, "--output", "tag")
    if out is not None:
        _bentoml("export", tag, str(out.absolute()))
    return Built(tag, Path(_bentoml("get", tag, "--output", "path")), out)


def _digest(student: Path) -> str:
    """Return a digest of the manifest, which has every file's: it tells students apart."""
    return hashlib.sha256((student / layout.MANIFEST).read_bytes()).hexdigest()[:12]


def _new_file(out: Path) -> Path:
    """Return the file as BentoML will call it; `InputError` when it cannot be a new one."""
    named = out if out.suffix == ".bento" else out.parent / f"{out.name}.bento"
    if out.is_dir() or named.exists() or not named.absolute().parent.is_dir():
        raise InputError(f"{named}: exists, or its folder does not", "give a new file's name")
    return named


def _lay_out(folder: Path, student: Path, manifest: Manifest) -> None:
    """Put together what the Bento is to hold, with the recipe of its image."""
    home = Path(layout.__file__).resolve().parent.parent
    for name in SOURCES:
        if (home / name).is_dir():
            shutil.copytree(home / name, folder / name, ignore=UNWANTED)
        else:
            _copy(home / name, folder / name)
    for name in (layout.MANIFEST, layout.CARD, layout.CONFIG, layout.TOKENIZER, manifest.serve):
        if (student / name).is_file():
            _copy(student / name, folder / PACKED / name)
    work = WORK[manifest.kind].format(manifest.domain)
    recipe = {
        "service": SERVICE,
        "description": f"{manifest.name}: {work}. Made with evokd.",
        "labels": {"made-with": "evokd"},
        "include": ["*"],
        # What is installed here is what was tested here; locking would ask an index.
        "python": {"packages": _pinned(), "lock_packages": False},
        "docker": {"python_version": ".".join(map(str, sys.version_info[:2]))},
        # In a container 127.0.0.1 would be nobody; there the key keeps strangers out.
        "envs": [{"name": "BENTOML_HOST", "value": "0.0.0.0"}],
    }
    (folder / "bentofile.yaml").write_text(json.dumps(recipe, indent=2), encoding="utf-8")


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)


def _pinned() -> list[str]:
    """Return the packages that the service needs, in the versions that are installed."""
    found = []
    for name in PACKAGES:
        with contextlib.suppress(metadata.PackageNotFoundError):  # uvloop is not on every system
            found.append(f"{name}=={metadata.version(name)}")
    return found


def _bentoml(*arguments: str) -> str:
    """Run BentoML in a process of its own, for it imports the service; return its last line."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("EVOKD_")}
    done = subprocess.run(
        [sys.executable, "-m", "bentoml", *arguments],
        # Elsewhere a folder called serving could be imported in the place of the packed one.
        cwd=tempfile.gettempdir(),
        env={**environment, "BENTOML_DO_NOT_TRACK": "True", "COLUMNS": "4096"},  # paths unbroken
        capture_output=True,
        text=True,
        check=False,
    )
    told = (done.stderr if done.returncode else done.stdout).strip().splitlines()
    last = told[-1].strip() if told else ""
    if done.returncode:
        raise EvokdError(
            f"bentoml {arguments[0]}: {last}",
            "if it is there already: give another --version, or `bentoml delete` it",
        )
    return last


def _name(name: str) -> str:
    """Return a name that BentoML takes: small letters, digits, dash, underscore, full stop."""
    clean = re.sub(r"[^a-z0-9._-]+", "-", name.lower()).strip("-._")
    return clean or "student"
