"""Attention over the positions of a feature map, as guided-diffusion's U-Net has it.

Softmax(QKᵀ/√d)·V per head (Vaswani et al. 2017, arXiv:1706.03762, eq. 1). The parameters have the
names of the published checkpoints.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor
from torch import nn
from torch.nn.functional import scaled_dot_product_attention

from lambda_search.errors import UsageError

__all__ = ["AttentionBlock", "AttentionPool", "GroupNorm32", "attend", "laid_out"]

_GROUPS = 32


class GroupNorm32(nn.GroupNorm):
    """Group norm with 32 groups, computed in float32 whatever the input's type is.

    Arguments:
        channels: a multiple of 32.

    Raises:
        UsageError: for another number of channels.
    """

    def __init__(self, channels: int) -> None:
        if channels <= 0 or channels % _GROUPS:
            raise UsageError(
                f"A layer of {channels} channels cannot be normalised in {_GROUPS} groups.",
                "Check the channel flags: each level's width must be a multiple of 32.",
            )
        super().__init__(_GROUPS, channels)

    def forward(self, input: Tensor) -> Tensor:
        return super().forward(input.float()).to(input.dtype)


class AttentionBlock(nn.Module):
    """Self-attention with a residual connection.

    Arguments:
        channels: of the feature map.
        heads: how many; they share the channels evenly.
        new_order: whether the qkv projection's rows are ordered (qkv, head, channel), or as in the
            older checkpoints (head, qkv, channel).
    """

    def __init__(self, channels: int, heads: int, new_order: bool) -> None:
        super().__init__()
        self.heads = heads
        self.new_order = new_order
        self.norm = GroupNorm32(channels)
        self.qkv = nn.Conv1d(channels, 3 * channels, 1)
        self.proj_out = nn.Conv1d(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """[n, channels, h, w] → the same."""
        flat = x.flatten(2)
        mixed = attend(self.qkv(self.norm(flat)), self.heads, self.new_order)
        return cast(Tensor, (flat + self.proj_out(mixed)).reshape(x.shape))


class AttentionPool(nn.Module):
    """A map's mean attends to all its positions; what it finds sums the map up (as in CLIP).

    Arguments:
        size: height and width of the map.
        channels: of the map.
        heads: how many.
        outputs: numbers returned per image.
    """

    def __init__(self, size: int, channels: int, heads: int, outputs: int) -> None:
        super().__init__()
        self.heads = heads
        self.positional_embedding = nn.Parameter(torch.zeros(channels, size**2 + 1))
        self.qkv_proj = nn.Conv1d(channels, 3 * channels, 1)
        self.c_proj = nn.Conv1d(channels, outputs, 1)

    def forward(self, x: Tensor) -> Tensor:
        """[n, channels, size, size] → [n, outputs]."""
        x = x.flatten(2)
        x = torch.cat([x.mean(dim=2, keepdim=True), x], dim=2) + self.positional_embedding
        mixed = attend(self.qkv_proj(x), self.heads, new_order=True)
        return cast(Tensor, self.c_proj(mixed[:, :, :1])[:, :, 0])


def attend(qkv: Tensor, heads: int, new_order: bool) -> Tensor:
    """Multi-head attention of projected positions [n, 3·channels, positions].

    Returns:
        [n, channels, positions]; channel = (head, channel of the head) in both orders of `qkv`.
    """
    n, rows, positions = qkv.shape
    order = (n, 3, heads, -1, positions) if new_order else (n, heads, 3, -1, positions)
    q, k, v = qkv.reshape(order).transpose(-1, -2).unbind(1 if new_order else 2)
    mixed = scaled_dot_product_attention(*laid_out(q, k, v))
    return mixed.transpose(-1, -2).reshape(n, rows // 3, positions)


def laid_out(q: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Queries, keys and values as fused kernels need them, where the network is compiled.

    Elsewhere as they are: another kernel gives other bits.
    """
    if not torch.compiler.is_compiling():
        return q, k, v
    return q.contiguous(), k.contiguous(), v.contiguous()
