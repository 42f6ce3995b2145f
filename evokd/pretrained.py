"""A classifier on an encoder's pretrained weights, and one that was saved before; both quietly."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from transformers import AutoConfig, AutoModelForSequenceClassification, AutoTokenizer
from transformers.utils import logging as transformers_logging

from evokd.errors import InputError
from evokd.pooling import MARK, set_pooling_layer, wants_mean
from evokd.settings import StudentSettings
from evokd.weights import check_folder, find_weights

# Found and checked once in a process: a loop trains every round.
_checked_weights = lru_cache(maxsize=1)(find_weights)


def new_classifier(labels: Sequence[str], settings: StudentSettings) -> tuple[Any, Any]:
    """Return the pretrained encoder under a new random head, on the CPU, and its tokenizer.

    Raises:
        InputError: when the pretrained weights are not found or cannot be read.
        IntegrityError: when a preset's weights are not the published ones.
    """
    folder = _checked_weights(settings.model)
    with _quietly(), _user_errors(folder):
        config = AutoConfig.from_pretrained(
            folder,
            local_files_only=True,
            num_labels=len(labels),
            id2label=dict(enumerate(labels)),
            label2id={label: i for i, label in enumerate(labels)},
        )
        if mean := wants_mean(folder, config.model_type):
            config.num_hidden_layers += 1
            setattr(config, MARK, True)
        model = AutoModelForSequenceClassification.from_config(config)
        model.load_state_dict(_pretrained(folder), strict=False)
        if mean:
            set_pooling_layer(model)
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    readable = getattr(config, "max_position_embeddings", settings.max_length)
    tokenizer.model_max_length = min(settings.max_length, tokenizer.model_max_length, readable)
    return model, tokenizer


def saved_classifier(folder: Path) -> tuple[Any, Any]:
    """Return the model of a folder, on the CPU, and its tokenizer.

    Raises:
        InputError: when the folder is missing or is no sequence classifier saved as safetensors.
    """
    check_folder(folder)
    with _quietly(), _user_errors(folder):
        model = AutoModelForSequenceClassification.from_pretrained(
            folder, use_safetensors=True, local_files_only=True
        )
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    return model, tokenizer


@lru_cache(maxsize=1)
def _pretrained(folder: Path) -> dict[str, torch.Tensor]:
    """Return the encoder's weights, read once in a process; a head that they hold is left out."""
    model, report = AutoModelForSequenceClassification.from_pretrained(
        folder, use_safetensors=True, local_files_only=True, output_loading_info=True
    )
    known = f"{model.base_model_prefix}."
    missing = set(report["missing_keys"])
    state = model.state_dict()
    return {k: v for k, v in state.items() if k.startswith(known) and k not in missing}


@contextmanager
def _user_errors(folder: Path) -> Iterator[None]:
    """Turn what transformers says of a damaged folder into an error that the user can fix."""
    try:
        yield
    except (OSError, ValueError, SafetensorError) as exc:
        first = str(exc).strip().splitlines()[0] if str(exc).strip() else type(exc).__name__
        raise InputError(f"{folder}: cannot be loaded: {first}", "write the folder again") from exc


@contextmanager
def _quietly() -> Iterator[None]:
    """Keep transformers from warning that the head is new, which is the point, and from bars."""
    before, bars = (
        transformers_logging.get_verbosity(),
        transformers_logging.is_progress_bar_enabled(),
    )
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    try:
        yield
    finally:
        transformers_logging.set_verbosity(before)
        if bars:
            transformers_logging.enable_progress_bar()
