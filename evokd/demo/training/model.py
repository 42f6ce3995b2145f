"""A Llama-architecture model in plain torch: RMSNorm, rotary positions, SwiGLU, tied embeddings.

The rotary pairs are neighbours (0,1), (2,3), ...: what llama.cpp's "llama" architecture expects,
so that the weights go into a GGUF as they are.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F


@dataclass(frozen=True, slots=True)
class Shape:
    """Sizes of a model. Every width is a multiple of 32, as Q8_0 blocks ask."""

    width: int = 256
    layers: int = 6
    heads: int = 4
    hidden: int = 704
    vocabulary: int = 8000
    context: int = 1024
    base: float = 10000.0


SHAPES = {
    "small": Shape(),
    "medium": Shape(width=320, layers=8, heads=5, hidden=864),
    "large": Shape(width=384, layers=10, heads=6, hidden=1024),
}


class Block(nn.Module):
    """Attention and feed-forward, each after its norm."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.heads = shape.heads
        self.attn_norm = nn.RMSNorm(shape.width, eps=1e-5)
        self.ffn_norm = nn.RMSNorm(shape.width, eps=1e-5)
        self.qkv = nn.Linear(shape.width, 3 * shape.width, bias=False)
        self.out = nn.Linear(shape.width, shape.width, bias=False)
        self.gate_up = nn.Linear(shape.width, 2 * shape.hidden, bias=False)
        self.down = nn.Linear(shape.hidden, shape.width, bias=False)

    def forward(self, x: Tensor, rotation: tuple[Tensor, Tensor], mask: Tensor) -> Tensor:
        """[rows, length, width] -> the same; mask [rows, 1, length, length], true = may look."""
        rows, length, width = x.shape
        q, k, v = (
            part.view(rows, length, self.heads, -1).transpose(1, 2)
            for part in self.qkv(self.attn_norm(x)).chunk(3, dim=-1)
        )
        q, k = rotate(q, *rotation), rotate(k, *rotation)
        seen = F.scaled_dot_product_attention(q, k, v.contiguous(), attn_mask=mask)
        x = x + self.out(seen.transpose(1, 2).reshape(rows, length, width))
        gate, up = self.gate_up(self.ffn_norm(x)).chunk(2, dim=-1)
        grown: Tensor = x + self.down(F.silu(gate) * up)
        return grown


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Turn neighbouring pairs of [rows, heads, length, size] by their positions' angles."""
    even, odd = x[..., 0::2], x[..., 1::2]
    turned = torch.stack([even * cos - odd * sin, even * sin + odd * cos], dim=-1)
    return turned.flatten(-2).to(x.dtype)


class TinyLlama(nn.Module):
    """The whole model; `forward` returns the last hidden states, `logits` scores some of them."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        self.embedding = nn.Embedding(shape.vocabulary, shape.width)
        self.blocks = nn.ModuleList(Block(shape) for _ in range(shape.layers))
        self.norm = nn.RMSNorm(shape.width, eps=1e-5)
        half = shape.width // shape.heads // 2
        speeds = shape.base ** (-torch.arange(half, dtype=torch.float32) / half)
        self.register_buffer("speeds", speeds, persistent=False)
        nn.init.normal_(self.embedding.weight, std=0.02)
        for block in self.blocks:
            for name, weight in block.named_parameters():
                if weight.ndim == 2:
                    depth = (
                        (2 * shape.layers) ** -0.5 if name in ("out.weight", "down.weight") else 1
                    )
                    nn.init.normal_(weight, std=shape.width**-0.5 * depth)

    def forward(self, tokens: Tensor, positions: Tensor, mask: Tensor) -> Tensor:
        """Tokens and positions [rows, length] -> hidden states [rows, length, width]."""
        angles = positions[:, None, :, None].float() * self.get_buffer("speeds")
        rotation = (angles.cos(), angles.sin())
        x = self.embedding(tokens)
        for block in self.blocks:
            x = block(x, rotation, mask)
        hidden: Tensor = self.norm(x)
        return hidden

    def logits(self, hidden: Tensor) -> Tensor:
        """Hidden states [n, width] -> logits [n, vocabulary], by the tied embedding."""
        return F.linear(hidden, self.embedding.weight)
