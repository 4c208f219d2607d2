"""The layers that EDM's U-Nets are made of (Karras et al. 2022, arXiv:2206.00364, appendix F).

Names of parameters are those of the authors' checkpoints.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor
from torch import nn
from torch.nn.functional import conv2d
from torch.nn.functional import conv_transpose2d
from torch.nn.functional import scaled_dot_product_attention
from torch.nn.functional import silu

from lambda_search.models.networks.attention import laid_out

__all__ = ["Block", "Conv", "FourierEmbedding", "PositionalEmbedding", "group_norm"]


def group_norm(channels: int, eps: float) -> nn.GroupNorm:
    """At most 32 groups of at least 4 channels."""
    return nn.GroupNorm(min(32, channels // 4), channels, eps=eps)


class PositionalEmbedding(nn.Module):
    """cos and sin of c_noise·10000^(−i/n), i = 0 … C/2 − 1; float32 [n] → [n, C].

    Arguments:
        channels: C, even.
        endpoint: n = C/2 − 1, so that the lowest frequency is 1/10000; otherwise n = C/2.
    """

    def __init__(self, channels: int, endpoint: bool) -> None:
        super().__init__()
        self._count = channels // 2
        self._last = self._count - int(endpoint)

    def forward(self, noise: Tensor) -> Tensor:
        """[n] → [n, C], cosines first."""
        powers = torch.arange(self._count, device=noise.device) / self._last
        angles = noise.outer(1e-4**powers)
        return torch.cat([angles.cos(), angles.sin()], dim=1)


class FourierEmbedding(nn.Module):
    """cos and sin of 2π·f·c_noise with C/2 fixed random frequencies f, as NCSN++ has them."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.freqs: Tensor
        self.register_buffer("freqs", torch.zeros(channels // 2))

    def forward(self, noise: Tensor) -> Tensor:
        """[n] → [n, C], cosines first."""
        angles = noise.outer(2 * math.pi * self.freqs)
        return torch.cat([angles.cos(), angles.sin()], dim=1)


class Conv(nn.Module):
    """A convolution that may halve or double the resolution with a low-pass filter.

    Arguments:
        inputs, outputs: channels.
        kernel: odd width, or 0 for resampling alone.
        up, down: whether the resolution is doubled before, or halved.
        taps: the filter in one dimension, not normalised.
        late: filter after the convolution rather than before it (for `down`).
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel: int,
        *,
        up: bool = False,
        down: bool = False,
        taps: Sequence[float] = (1, 1),
        late: bool = False,
    ) -> None:
        super().__init__()
        self.up, self.down, self.late, self.kernel = up, down, late, kernel
        if kernel:
            self.weight = nn.Parameter(torch.zeros(outputs, inputs, kernel, kernel))
            self.bias = nn.Parameter(torch.zeros(outputs))
        if up or down:
            row = torch.tensor(taps, dtype=torch.float32)
            self.resample_filter: Tensor
            filter_ = torch.outer(row, row) / row.sum() ** 2
            self.register_buffer("resample_filter", filter_[None, None])

    def forward(self, x: Tensor) -> Tensor:
        """[n, inputs, h, w] → [n, outputs, h', w']."""
        if self.late:
            reach = self.kernel // 2 + self._margin()
            return self._halved(conv2d(x, self.weight, self.bias, padding=reach), 0)
        if self.up:
            x = self._doubled(x)
        if self.down:
            x = self._halved(x, self._margin())
        if self.kernel:
            x = conv2d(x, self.weight, self.bias, padding=self.kernel // 2)
        return x

    def _margin(self) -> int:
        return (self.resample_filter.shape[-1] - 1) // 2

    def _halved(self, x: Tensor, padding: int) -> Tensor:
        weight = self.resample_filter.expand(x.shape[1], -1, -1, -1)
        return conv2d(x, weight.to(x.dtype), groups=x.shape[1], stride=2, padding=padding)

    def _doubled(self, x: Tensor) -> Tensor:
        weight = (4 * self.resample_filter).expand(x.shape[1], -1, -1, -1)
        return conv_transpose2d(
            x, weight.to(x.dtype), groups=x.shape[1], stride=2, padding=self._margin()
        )


class Block(nn.Module):
    """Two convolutions around a noise-dependent shift, a skip, and perhaps self-attention.

    Arguments:
        inputs, outputs: channels.
        embedding: width of the noise embedding.
        scale_shift: whether the embedding scales too (DDPM++ and NCSN++ only shift).
        skip_scale: what each sum with a skip is multiplied with; √½ keeps the variance.
        heads: of the self-attention; 0 leaves it out.
        project: whether a resampling skip has weights even if the width stays.
        eps: of the group norms.
        up, down, taps: as in `Conv`, for the first convolution and the skip.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        embedding: int,
        *,
        scale_shift: bool,
        skip_scale: float,
        heads: int,
        project: bool,
        eps: float,
        up: bool = False,
        down: bool = False,
        taps: Sequence[float] = (1, 1),
    ) -> None:
        super().__init__()
        self.inputs, self.outputs, self.heads = inputs, outputs, heads
        self.scale_shift, self.skip_scale = scale_shift, skip_scale
        self.norm0 = group_norm(inputs, eps)
        self.conv0 = Conv(inputs, outputs, 3, up=up, down=down, taps=taps)
        self.affine = nn.Linear(embedding, outputs * (2 if scale_shift else 1))
        self.norm1 = group_norm(outputs, eps)
        self.conv1 = Conv(outputs, outputs, 3)
        self.skip: Conv | None = None
        if inputs != outputs or up or down:
            kernel = 1 if project or inputs != outputs else 0
            self.skip = Conv(inputs, outputs, kernel, up=up, down=down, taps=taps)
        if heads:
            self.norm2 = group_norm(outputs, eps)
            self.qkv = Conv(outputs, 3 * outputs, 1)
            self.proj = Conv(outputs, outputs, 1)

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:
        """[n, inputs, h, w] and [n, embedding] → [n, outputs, h', w']."""
        told = self.affine(embedding)[:, :, None, None]
        y = self._shifted(x, told)
        y = self.conv1(y)
        x = (y + (x if self.skip is None else self.skip(x))) * self.skip_scale
        if self.heads:
            x = (x + self.proj(self._attend(self.norm2(x)))) * self.skip_scale
        return x

    def _shifted(self, x: Tensor, told: Tensor) -> Tensor:
        """What the second convolution sees."""
        y = self.conv0(silu(self.norm0(x)))
        if self.scale_shift:
            scale, shift = told.chunk(2, dim=1)
            return silu(self.norm1(y) * (scale + 1) + shift)
        return silu(cast(Tensor, self.norm1(y + told)))

    def _attend(self, x: Tensor) -> Tensor:
        n, c, h, w = x.shape
        # the channels of qkv run over heads, then width, then q, k, v
        qkv = self.qkv(x).reshape(n, self.heads, c // self.heads, 3, h * w)
        q, k, v = qkv.transpose(2, 4).unbind(3)
        mixed = scaled_dot_product_attention(*laid_out(q, k, v))
        return mixed.transpose(2, 3).reshape(n, c, h, w)
