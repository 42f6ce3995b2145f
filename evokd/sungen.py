"""Learned weights of texts whose labels nobody checked (SunGen, arXiv 2205.12679), written small.

Every text has a weight that is learned: inside, a student is trained on the weighted texts;
outside, a loss that label noise can hardly fool (reverse cross-entropy) says which weights make it
better. Here the student is a linear layer over fixed embeddings, trained on all texts at once, and
the outer loss is taken of a random half of the texts, without the tenth that weighs least.
"""

from __future__ import annotations

from collections.abc import Sequence

from numpy.typing import ArrayLike

from evokd.errors import MissingExtra

try:
    import torch
except ImportError as exc:
    raise MissingExtra("train", exc) from exc

OUTER_STEPS, INNER_STEPS = 60, 20
OUTER_RATE, INNER_RATE = 0.1, 0.1
SCALE = 10.0  # of embeddings of length 1, so that the linear layer may become sure
HEAVIEST = 0.9  # share of the outer texts that the outer loss is taken of


def learn_weights(vectors: ArrayLike, answers: Sequence[int], *, seed: int) -> list[float]:
    """Return a weight above 0 for every text, 1 on average.

    Args:
        vectors: of the texts, [texts, hidden].
        answers: the number of each text's label, from 0 on.
    """
    generator = torch.Generator().manual_seed(seed)
    features = SCALE * torch.nn.functional.normalize(torch.as_tensor(vectors).float(), dim=-1)
    goals = torch.as_tensor(answers)
    theta = torch.zeros(len(goals), requires_grad=True)
    outer = torch.optim.Adam([theta], lr=OUTER_RATE)
    layer = torch.zeros(features.shape[1], int(goals.max()) + 1)
    for _ in range(OUTER_STEPS):
        for _ in range(INNER_STEPS):
            layer = _stepped(layer, features, goals, theta.sigmoid().detach()).detach()
        after = _stepped(layer, features, goals, theta.sigmoid())
        half = torch.randperm(len(goals), generator=generator)[: max(1, len(goals) // 2)]
        kept = half[theta.detach()[half].argsort(descending=True)][: max(1, _most(len(half)))]
        # Reverse cross-entropy is, but for a factor, the probability of the wrong labels.
        loss = 1 - (features[kept] @ after).softmax(-1).gather(1, goals[kept, None]).mean()
        outer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        # A text's share in one step is tiny: what counts is which way it points.
        assert theta.grad is not None
        theta.grad *= len(goals)
        outer.step()
    weights = theta.detach().sigmoid()
    learned: list[float] = (weights / weights.mean()).tolist()
    return learned


def _stepped(
    layer: torch.Tensor, features: torch.Tensor, goals: torch.Tensor, weights: torch.Tensor
) -> torch.Tensor:
    """Return the layer after one step of gradient descent on the weighted cross-entropy.

    The gradient is written out, so that it can be followed back to the weights.
    """
    off = (features @ layer).softmax(-1) - torch.nn.functional.one_hot(goals, layer.shape[1])
    return layer - INNER_RATE * features.T @ (weights[:, None] * off) / weights.sum()


def _most(count: int) -> int:
    return int(HEAVIEST * count)
