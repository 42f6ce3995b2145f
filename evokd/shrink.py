"""A trained student made smaller: its domain's words, fewer layers, and a last distillation.

The word table is half of a small encoder, and most of its words never come up in one domain. A
word that is cut out is still read, letter by letter or piece by piece, so no text becomes
unreadable. Layers are dropped evenly and the first ones kept (Sajjad et al. 2023, "On the effect
of dropping layers"); what is left learns to answer as the whole student does.
"""

from __future__ import annotations

import copy
import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import AutoTokenizer

from evokd.errors import InputError
from evokd.pooling import MARK, first_token_only, freeze_pooling_layer
from evokd.pretrained import LOCALLY
from evokd.settings import StudentSettings
from evokd.student import Student
from evokd.training import (
    Rows,
    cross_entropy,
    each_by_itself,
    plan_batches,
    train,
    use_threads,
    used_rows_only,
)
from evokd.watch import OnStep

PLAIN_WORDS = 1000  # WordPiece vocabularies begin with places that are not used
BLOCKS = (("encoder", "layer"), ("transformer", "layer"), ("layers",))


def shrink(
    student: Student,
    texts: Sequence[str],
    *,
    settings: StudentSettings,
    epochs: int,
    seed: int,
    on_step: OnStep | None = None,
) -> Student:
    """Return a smaller student that answers the texts as the whole one does.

    Args:
        texts: what it may be distilled on; never test texts.
        settings: `layers` of the encoder are kept, and `words` of the vocabulary, those that come
            first in it (the most frequent ones), beside the tokens of the texts and all single
            characters; 0 keeps all.

    Raises:
        InputError: when the student has not so many layers, or no WordPiece vocabulary.
    """
    goals = torch.from_numpy(student.predict(texts))
    model = copy.deepcopy(student.model)
    small = Student(model, student.tokenizer, student.labels, threads=student.threads)
    if settings.words:
        small = trim_vocabulary(small, texts, words=settings.words)
    if not settings.layers:
        return small
    drop_layers(small.model, keep=settings.layers)
    devices = [model.device] if model.device.type == "cuda" else []
    with use_threads(settings.threads), torch.random.fork_rng(devices=devices):
        small.model = _anew(small.model)
        torch.manual_seed(seed)
        tokens, pad = small.tokens(texts), small.tokenizer.pad_token_id
        lengths = list(map(len, tokens))
        batches = plan_batches(lengths, settings.batch_size, epochs=epochs, seed=seed)
        with (
            first_token_only(small.model),
            used_rows_only(small.model, tokens, pad=pad) as renumbered,
        ):
            train(
                small.model, Rows(renumbered, goals, torch.ones(len(texts))), batches,
                pad=pad, learning_rate=2 * settings.learning_rate, on_step=on_step,
                losses=each_by_itself if student.several else cross_entropy,
            )  # fmt: skip
    return small


def drop_layers(model: Any, *, keep: int) -> None:
    """Keep so many of an encoder's layers, evenly spread from the first one on.

    Raises:
        InputError: when it has fewer, or keeps them where this code does not know.
    """
    holder, name = _blocks(model)
    layers = list(getattr(holder, name))
    behind = layers[-1:] if getattr(model.config, MARK, False) else []
    own = layers[: len(layers) - len(behind)]
    if not 1 <= keep <= len(own):
        raise InputError(f"student.layers: {keep} of {len(own)} layers", f"at most {len(own)}")
    kept = [own[i * len(own) // keep] for i in range(keep)]
    setattr(holder, name, torch.nn.ModuleList(kept + behind))
    field = "n_layers" if hasattr(model.config, "n_layers") else "num_hidden_layers"
    setattr(model.config, field, keep + len(behind))


def _anew(model: Any) -> Any:
    """Return the model as it will be read from its folder.

    What a layer does may follow from its number, as in ModernBERT, which attends to everything
    in every third layer only.
    """
    made = type(model)(model.config).float()
    made.load_state_dict(model.state_dict())
    if getattr(model.config, MARK, False):
        freeze_pooling_layer(made)
    return made.to(model.device)


def trim_vocabulary(student: Student, texts: Sequence[str], *, words: int) -> Student:
    """Return the student with a smaller WordPiece vocabulary; other words are read in pieces.

    Raises:
        InputError: when its tokenizer is of another kind.
    """
    spec = json.loads(student.tokenizer.backend_tokenizer.to_str())
    if spec["model"]["type"] != "WordPiece":
        raise InputError("student.words: only WordPiece vocabularies can be cut", "leave it out")
    old: dict[str, int] = spec["model"]["vocab"]
    used = set().union(*student.tokens(texts), student.tokenizer.all_special_ids)
    used |= {token["id"] for token in spec["added_tokens"]}
    kept = [
        (piece, number)
        for piece, number in sorted(old.items(), key=lambda item: item[1])
        if number in used
        or len(piece.removeprefix("##")) == 1
        or (number < PLAIN_WORDS + words and not piece.startswith("[unused"))
    ]
    # Tokens that were added later stand behind the vocabulary, and stay there.
    behind = sorted({token["id"] for token in spec["added_tokens"]} - {*old.values()})
    numbers = {n: place for place, n in enumerate([*(number for _, number in kept), *behind])}
    spec["model"]["vocab"] = {piece: numbers[number] for piece, number in kept}
    for token in spec["added_tokens"]:
        token["id"] = numbers[token["id"]]
    for special in (spec["post_processor"] or {}).get("special_tokens", {}).values():
        special["ids"] = [numbers[i] for i in special["ids"]]
    for side in ("sep", "cls"):
        if isinstance(pair := (spec["post_processor"] or {}).get(side), list):
            pair[1] = numbers[pair[1]]
    tokenizer = _reloaded(student.tokenizer, spec)
    _cut_table(student.model, list(numbers), tokenizer)
    return Student(student.model, tokenizer, student.labels, threads=student.threads)


def _cut_table(model: Any, kept: list[int], tokenizer: Any) -> None:
    full = model.get_input_embeddings()
    rows = full.weight.detach()[torch.tensor(kept, device=full.weight.device)].clone()
    small = torch.nn.Embedding(
        len(kept), full.embedding_dim, padding_idx=tokenizer.pad_token_id, _weight=rows
    )
    model.set_input_embeddings(small)
    model.config.vocab_size = len(kept)
    model.config.pad_token_id = tokenizer.pad_token_id


def _reloaded(tokenizer: Any, spec: dict[str, Any]) -> Any:
    """Return the tokenizer with another inside; through a folder, as transformers reads it."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        tokenizer.save_pretrained(folder)
        (folder / "vocab.txt").unlink(missing_ok=True)
        (folder / "tokenizer.json").write_text(
            json.dumps(spec, ensure_ascii=False), encoding="utf-8"
        )
        return AutoTokenizer.from_pretrained(folder, **LOCALLY)


def _blocks(model: Any) -> tuple[Any, str]:
    for path in BLOCKS:
        holder = model.base_model
        for part in path[:-1]:
            holder = getattr(holder, part, None)
        if isinstance(getattr(holder, path[-1], None), torch.nn.ModuleList):
            return holder, path[-1]
    raise InputError(
        "student.layers: this encoder's layers are not where they were looked for",
        "leave student.layers out",
    )
