"""Mean pooling inside a standard BERT classifier, for encoders that were made for it.

Sentence encoders put a text's meaning into the mean of their outputs; BertForSequenceClassification
reads the first output alone, which such an encoder never learned to use. One more layer mends that:
its attention looks at every token alike and its feed-forward adds nothing, so that the first output
becomes the mean of all. The saved model stays of the standard class and loads everywhere.

The head starts as the nearest centroid of the examples in that space instead of at random, so a
handful of examples already answers as well as the untrained encoder can.
"""

from __future__ import annotations

import json
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
    layer, pooler = model.bert.encoder.layer[-1], model.bert.pooler.dense
    for parameter in (*layer.parameters(), *pooler.parameters()):
        parameter.zero_()
        parameter.requires_grad_(False)
    attention = layer.attention
    attention.self.value.weight.copy_(GAIN * torch.eye(attention.self.value.weight.shape[0]))
    attention.output.dense.weight.copy_(torch.eye(attention.output.dense.weight.shape[0]))
    attention.output.LayerNorm.weight.fill_(1.0)
    layer.output.LayerNorm.weight.fill_(1.0)
    pooler.weight.copy_(LINEAR * torch.eye(pooler.weight.shape[0]))


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
