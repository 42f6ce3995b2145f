"""Mean pooling inside a standard BERT classifier, for encoders that were made for it.

Sentence encoders put a text's meaning into the mean of their outputs; BertForSequenceClassification
reads the first output alone, which such an encoder never learned to use. One more layer mends that:
its attention looks at every token alike and its feed-forward adds nothing, so that the first output
becomes the mean of all. The saved model stays of the standard class and loads everywhere.

The head starts as the nearest centroid of the examples in that space instead of at random, so a
handful of examples already answers as well as the untrained encoder can.

Training does not run the layer: what it gives for the first token is a short sum, and no other
token's output is read.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

MARK = "evokd_mean_pooling"  # in config.json: the last layer is the pooling layer
GAIN = 30.0  # how much the mean outweighs the first output, which the residual adds
LINEAR = 0.25  # keeps the pooler's tanh nearly linear: outputs of a layer norm are about 1
SHARPNESS = 10.0  # the starting head's logit of a text that lies on its centroid


def wants_mean(folder: Path, model_type: str) -> bool:
    """Say whether a folder's encoder was made for mean pooling and is a BERT."""
    try:
        pooling = json.loads((folder / "1_Pooling" / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return model_type == "bert" and bool(pooling.get("pooling_mode_mean_tokens"))


@torch.no_grad()
def set_pooling_layer(model: Any) -> None:
    """Turn a BERT classifier's last layer and pooler into the mean of the layer before; frozen."""
    freeze_pooling_layer(model)
    layer, pooler = model.bert.encoder.layer[-1], model.bert.pooler.dense
    for parameter in (*layer.parameters(), *pooler.parameters()):
        parameter.zero_()
    attention = layer.attention
    attention.self.value.weight.copy_(GAIN * torch.eye(attention.self.value.weight.shape[0]))
    attention.output.dense.weight.copy_(torch.eye(attention.output.dense.weight.shape[0]))
    attention.output.LayerNorm.weight.fill_(1.0)
    layer.output.LayerNorm.weight.fill_(1.0)
    pooler.weight.copy_(LINEAR * torch.eye(pooler.weight.shape[0]))


def freeze_pooling_layer(model: Any) -> None:
    """Keep the layer from being trained, which a saved model does not say of itself."""
    for part in (model.bert.encoder.layer[-1], model.bert.pooler):
        part.requires_grad_(False)


class _FirstToken(torch.nn.Module):
    """What the pooling layer gives for the first token, [texts, 1, hidden], and for no other."""

    def __init__(self, epsilon: float) -> None:
        super().__init__()
        self.epsilon = epsilon

    def forward(
        self, hidden: torch.Tensor, attention_mask: torch.Tensor | None = None, *_: Any, **__: Any
    ) -> tuple[torch.Tensor]:
        """Take the mask that BERT makes, [texts, 1, any, tokens], 0 at tokens; None: all are."""
        hidden = hidden.float()
        if attention_mask is None:
            mean = hidden.mean(1)
        else:
            mask = attention_mask[:, 0, 0, :, None]
            there = (mask if mask.dtype == torch.bool else mask == 0).float()
            mean = (hidden * there).sum(1) / there.sum(1)
        width = hidden.shape[-1:]
        attended = torch.nn.functional.layer_norm(
            GAIN * mean + hidden[:, 0], width, eps=self.epsilon
        )
        return (torch.nn.functional.layer_norm(attended, width, eps=self.epsilon)[:, None],)


@contextmanager
def first_token_only(model: Any) -> Iterator[None]:
    """Compute the pooling layer for the first token alone, without its dropout, for a while.

    The logits in eval mode stay the same; a model without the layer is left as it is.
    """
    if not getattr(model.config, MARK, False):
        yield
        return
    layers = model.bert.encoder.layer
    whole, layers[-1] = layers[-1], _FirstToken(model.config.layer_norm_eps)
    try:
        yield
    finally:
        layers[-1] = whole


@torch.no_grad()
def start_at_centroids(model: Any, pooled: torch.Tensor, labels: torch.Tensor) -> None:
    """Set the head to the centroids of pooled outputs.

    Args:
        pooled: the pooler's outputs of the examples, [examples, hidden].
        labels: their labels' numbers, [examples]; a label without an example starts at zero.
    """
    head, length = model.classifier, pooled.norm(dim=-1).mean()
    head.bias.zero_()
    head.weight.zero_()
    for number in sorted(set(labels.tolist())):
        centroid = pooled[labels == number].mean(0)
        head.weight[number] = SHARPNESS * centroid / centroid.norm() / length


@torch.no_grad()
def centre_between(model: Any, pooled: torch.Tensor, applies: torch.Tensor) -> None:
    """Move every label's zero to between the texts to which it applies and the others.

    For heads whose labels are each a yes or no, after `start_at_centroids`.

    Args:
        pooled: the pooler's outputs of the examples, [examples, hidden].
        applies: whether a label applies, [examples, labels].
    """
    logits = pooled @ model.classifier.weight.T
    for number, yes in enumerate(applies.T):
        if yes.any() and not yes.all():
            between = (logits[yes, number].mean() + logits[~yes, number].mean()) / 2
            model.classifier.bias[number] = -between
