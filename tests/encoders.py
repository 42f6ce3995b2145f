"""Encoders of several families with random weights, saved as Hugging Face folders."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
import transformers
from tiny_student import LABELS, MAX_LENGTH, tiny_tokenizer

SMALL = {
    "hidden_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 128,
    "max_position_embeddings": MAX_LENGTH + 2,
}
FAMILIES: dict[str, tuple[str, dict[str, Any]]] = {
    "bert": ("Bert", SMALL),
    "distilbert": (
        "DistilBert",
        {"dim": 64, "n_layers": 2, "n_heads": 4, "hidden_dim": 128},
    ),
    "roberta": ("Roberta", {**SMALL, "type_vocab_size": 1}),
    "deberta-v3": (
        "DebertaV2",
        {
            **SMALL,
            "type_vocab_size": 0,
            "relative_attention": True,
            "position_buckets": 16,
            "norm_rel_ebd": "layer_norm",
            "share_att_key": True,
            "pos_att_type": ["p2c", "c2p"],
            "position_biased_input": False,
        },
    ),
    "modernbert": (
        "ModernBert",
        {
            **SMALL,
            "global_attn_every_n_layers": 2,
            "local_attention": 16,
            "reference_compile": False,
        },
    ),
}


def save_encoder(
    root: Path, family: str, *, head: str = "SequenceClassification", **more: Any
) -> Path:
    """Save a family's smallest model with random weights; `head` ends its class' name."""
    name, shape = FAMILIES[family]
    types = ["token_type_ids"] if family == "bert" else []
    tokenizer = tiny_tokenizer(model_input_names=["input_ids", *types, "attention_mask"])
    config = getattr(transformers, f"{name}Config")(
        **(shape | more),
        vocab_size=len(tokenizer),
        pad_token_id=tokenizer.pad_token_id,
        id2label=dict(enumerate(LABELS)),
        label2id={label: index for index, label in enumerate(LABELS)},
    )
    torch.manual_seed(0)
    model = getattr(transformers, f"{name}For{head}")(config).eval()
    model.save_pretrained(root)
    tokenizer.save_pretrained(root)
    return root
