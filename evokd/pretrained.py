"""A classifier or tagger on pretrained weights, and one that was saved before; all quietly."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from tokenizers import Regex, pre_tokenizers
from transformers import (
    AutoConfig,
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
    AutoTokenizer,
    PreTrainedTokenizerFast,
)
from transformers.utils import logging as transformers_logging

from evokd.errors import InputError
from evokd.pieces import UNSPACED
from evokd.pooling import MARK, freeze_pooling_layer, set_pooling_layer, wants_mean
from evokd.settings import StudentSettings
from evokd.weights import check_folder, find_weights

# Found and checked once in a process: a loop trains every round.
_checked_weights = lru_cache(maxsize=1)(find_weights)


LOCALLY = {"local_files_only": True, "trust_remote_code": False}
"""Of every load: nothing is fetched, and a folder's own Python is neither run nor asked about."""
SEVERAL = "multi_label_classification"  # problem_type of a model whose labels are yes or no each
# Emoji in a row, with what modifies and joins them, are one piece; any other symbol is one alone.
# Rust and JavaScript both read it.
SYMBOLS = r"\p{So}[\p{So}\p{Sk}\p{M}\u200d]*|\p{S}\p{M}*"
LETTERS = rf"{UNSPACED}\p{{M}}*"
"""One of a script without blanks between words, where an entity may begin at any."""


def new_classifier(
    labels: Sequence[str], settings: StudentSettings, *, several: bool = False
) -> tuple[Any, Any]:
    """Return the pretrained encoder under a new random head, on the CPU, and its tokenizer.

    Args:
        several: whether a text may have several labels.

    Raises:
        InputError: when the pretrained weights are not found or cannot be read.
        IntegrityError: when a preset's weights are not the published ones.
    """
    folder = _checked_weights(settings.model)
    with _quietly(), _user_errors(folder):
        config = _config(folder, labels)
        config.problem_type = SEVERAL if several else "single_label_classification"
        if mean := wants_mean(folder, config.model_type):
            config.num_hidden_layers += 1
            setattr(config, MARK, True)
        model = AutoModelForSequenceClassification.from_config(config).float()
        model.load_state_dict(_pretrained(folder), strict=False)
        if mean:
            set_pooling_layer(model)
        return model, _tokenizer(folder, config, settings)


def new_tagger(tags: Sequence[str], settings: StudentSettings) -> tuple[Any, Any]:
    """Return the pretrained encoder under a new random head for tokens, and its tokenizer.

    Raises:
        InputError, IntegrityError: as `new_classifier`.
    """
    folder = _checked_weights(settings.model)
    with _quietly(), _user_errors(folder):
        config = _config(folder, tags)
        if getattr(config, MARK, False):  # tokens have no use for a classifier's pooling layer
            config.num_hidden_layers -= 1
            setattr(config, MARK, False)
        model = AutoModelForTokenClassification.from_config(config).float()
        model.load_state_dict(_pretrained(folder), strict=False)
        return model, _tokenizer(folder, config, settings, apart=f"{SYMBOLS}|{LETTERS}")


def saved_classifier(folder: Path) -> tuple[Any, Any]:
    """Return the model of a folder, on the CPU, and its tokenizer.

    Raises:
        InputError: when the folder is missing or is no sequence classifier saved as safetensors.
    """
    model, tokenizer = _saved(folder, AutoModelForSequenceClassification)
    if getattr(model.config, MARK, False):
        freeze_pooling_layer(model)
    return model, tokenizer


def saved_tagger(folder: Path) -> tuple[Any, Any]:
    """Return the model of a folder, on the CPU, and its tokenizer.

    Raises:
        InputError: when the folder is missing or is no token classifier saved as safetensors.
    """
    return _saved(folder, AutoModelForTokenClassification)


def write_model(folder: Path, model: Any, tokenizer: Any) -> None:
    """Write a plain Hugging Face model folder, whole or not at all; an old one is replaced."""
    aside = folder.with_name(f".{folder.name}.writing")
    old = folder.with_name(f".{folder.name}.old")
    for leftover in (aside, old):
        shutil.rmtree(leftover, ignore_errors=True)
    model.save_pretrained(aside, safe_serialization=True)
    # Some published tokenizers pad every text to a fixed length; nobody should inherit that.
    tokenizer.backend_tokenizer.no_padding()
    tokenizer.backend_tokenizer.no_truncation()
    tokenizer.save_pretrained(aside)
    if folder.exists():
        os.replace(folder, old)
    os.replace(aside, folder)
    shutil.rmtree(old, ignore_errors=True)


def _config(folder: Path, labels: Sequence[str]) -> Any:
    return AutoConfig.from_pretrained(
        folder,
        **LOCALLY,
        num_labels=len(labels),
        id2label=dict(enumerate(labels)),
        label2id={label: i for i, label in enumerate(labels)},
    )


def _tokenizer(
    folder: Path, config: Any, settings: StudentSettings, *, apart: str = SYMBOLS
) -> Any:
    """Return a folder's tokenizer, which reads as many tokens as the settings and model allow."""
    tokenizer = _parted(AutoTokenizer.from_pretrained(folder, **LOCALLY), apart)
    readable = getattr(config, "max_position_embeddings", settings.max_length)
    tokenizer.model_max_length = min(settings.max_length, tokenizer.model_max_length, readable)
    return tokenizer


def _parted(tokenizer: Any, pattern: str) -> Any:
    """Return a BERT's tokenizer as one that takes what fits from words; any other as it is.

    A BERT parts words at white space and punctuation alone, and a word with a character that its
    vocabulary lacks is [UNK] as a whole: all of "Paris❤️" would be. Now "Paris" is read. Emoji
    themselves stay [UNK] where the vocabulary has none, as MiniLM's: a model sees that there is
    one, not which. Texts whose only symbols are ASCII's are read as ever. Of kana or Thai a run
    is one word to BERT, in which a tagger would find no entity's end.
    """
    inside = tokenizer.backend_tokenizer
    if not isinstance(inside.pre_tokenizer, pre_tokenizers.BertPreTokenizer):
        return tokenizer
    apart = pre_tokenizers.Split(Regex(pattern), "isolated")
    inside.pre_tokenizer = pre_tokenizers.Sequence([inside.pre_tokenizer, apart])
    # Under a plain class: of BERT's own transformers 5 reads the vocabulary and nothing of this.
    return PreTrainedTokenizerFast(
        tokenizer_object=inside,
        model_max_length=tokenizer.model_max_length,
        model_input_names=tokenizer.model_input_names,
        padding_side=tokenizer.padding_side,
        truncation_side=tokenizer.truncation_side,
        **tokenizer.special_tokens_map,
    )


def _saved(folder: Path, auto: Any) -> tuple[Any, Any]:
    check_folder(folder)
    with _quietly(), _user_errors(folder):
        model, report = auto.from_pretrained(
            folder, use_safetensors=True, **LOCALLY, output_loading_info=True
        )
        if report["missing_keys"]:  # transformers makes them up, such as the head of another model
            missing = ", ".join(sorted(report["missing_keys"])[:3])
            raise InputError(
                f"{folder}: lacks weights of a {type(model).__name__} ({missing})",
                "give the folder of a student of this kind",
            )
        return model, AutoTokenizer.from_pretrained(folder, **LOCALLY)


@lru_cache(maxsize=1)
def _pretrained(folder: Path) -> dict[str, torch.Tensor]:
    """Return the encoder's weights, read once in a process; a head that they hold is left out."""
    model, report = AutoModelForSequenceClassification.from_pretrained(
        folder, use_safetensors=True, **LOCALLY, output_loading_info=True
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
