"""The DDPM U-Net of ermongroup/ddim (Ho et al. 2020, arXiv:2006.11239, app. B).

Its own network, though diffusers' `UNet2DModel` shares the mathematics: that one has neither
resampling without convolutions (`resamp_with_conv: false`) nor the authors' parameter names, so
that an error about a wrong config would list names that are not in the user's file.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor
from torch import nn
from torch.nn import functional

from lambda_search.models.networks.blocks import Upsample
from lambda_search.models.networks.ddpm import ResidualBlock
from lambda_search.models.networks.ddpm import group_norm

__all__ = ["DDIMNetwork"]


class DDIMNetwork(nn.Module):
    """ε of images and timesteps; parameters carry the authors' names.

    Arguments:
        resolution: height and width of the images, pixels.
        in_channels, out_ch: channels of the image and of the prediction.
        ch: width of the first level, a multiple of 32.
        ch_mult: each level's width in units of `ch`; each level halves the resolution.
        num_res_blocks: residual blocks per level, one more on the way up.
        attn_resolutions: resolutions whose blocks are followed by attention.
        resamp_with_conv: whether resampling has a convolution.
    """

    def __init__(
        self,
        resolution: int,
        in_channels: int,
        out_ch: int,
        ch: int,
        ch_mult: Sequence[int],
        num_res_blocks: int,
        attn_resolutions: Sequence[int],
        resamp_with_conv: bool = True,
    ) -> None:
        super().__init__()
        widths = [ch * mult for mult in ch_mult]
        attends = [resolution >> level in attn_resolutions for level in range(len(widths))]
        last = len(widths) - 1
        self.temb = _TimeEmbedding(ch)
        self.conv_in = nn.Conv2d(in_channels, ch, 3, padding=1)
        skips = [ch]  # widths of what the way down hands to the way up
        width = ch
        down: list[nn.Module] = []
        for level, out in enumerate(widths):
            inputs = [width] + [out] * (num_res_blocks - 1)
            smaller = _Downsample(out, resamp_with_conv) if level < last else None
            down.append(_Down(inputs, out, 4 * ch, attends[level], smaller))
            skips += [out] * (num_res_blocks + (level < last))
            width = out
        self.down = nn.ModuleList(down)
        self.mid = nn.ModuleDict(
            {
                "block_1": ResidualBlock(width, width, 4 * ch),
                "attn_1": _Attention(width),
                "block_2": ResidualBlock(width, width, 4 * ch),
            }
        )
        up: list[nn.Module] = []
        for level in reversed(range(len(widths))):
            out = widths[level]
            inputs = [into + skips.pop() for into in [width] + [out] * num_res_blocks]
            larger = Upsample(out, resamp_with_conv) if level > 0 else None
            up.append(_Up(inputs, out, 4 * ch, attends[level], larger))
            width = out
        self.up = nn.ModuleList(reversed(up))  # up.0 has the highest resolution
        self.norm_out = group_norm(width)
        self.conv_out = nn.Conv2d(width, out_ch, 3, padding=1)

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        """ε [n, out_ch, h, w] of images `x` [n, in_channels, h, w] at timesteps `t` [n]."""
        temb = self.temb(t)
        h = self.conv_in(x)
        skips = [h]
        for stage in self.down:
            h = stage(h, temb, skips)
        h = self.mid["attn_1"](self.mid["block_1"](h, temb))
        h = self.mid["block_2"](h, temb)
        for stage in reversed(self.up):
            h = stage(h, temb, skips)
        return cast(Tensor, self.conv_out(functional.silu(self.norm_out(h))))


class _TimeEmbedding(nn.Module):
    """Timesteps [n] → [n, 4·width], ready for the blocks' projections."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self._width = width
        self.dense = nn.ModuleList([nn.Linear(width, 4 * width), nn.Linear(4 * width, 4 * width)])

    def forward(self, t: Tensor) -> Tensor:
        """The sines and cosines of t·10000^(−j/(half − 1)), j < half = width/2, and two layers."""
        half = self._width // 2
        steps = torch.arange(half, device=t.device, dtype=torch.float32)
        angles = t.float()[:, None] * torch.exp(steps * -(math.log(10000) / (half - 1)))
        temb = torch.cat([angles.sin(), angles.cos()], dim=1)
        for layer in self.dense:
            temb = functional.silu(layer(temb))
        return temb


class _Down(nn.Module):
    """The blocks of one resolution on the way down, each followed by attention if there is any."""

    def __init__(
        self, inputs: list[int], out: int, temb: int, attends: bool, downsample: nn.Module | None
    ) -> None:
        super().__init__()
        self.block = nn.ModuleList(ResidualBlock(width, out, temb) for width in inputs)
        self.attn = nn.ModuleList(_Attention(out) if attends else nn.Identity() for _ in inputs)
        self.downsample = downsample

    def forward(self, h: Tensor, temb: Tensor, skips: list[Tensor]) -> Tensor:
        """Appends to `skips` what the way up needs."""
        for block, attn in zip(self.block, self.attn, strict=True):
            h = attn(block(h, temb))
            skips.append(h)
        if self.downsample is not None:
            h = self.downsample(h)
            skips.append(h)
        return h


class _Up(nn.Module):
    """As `_Down`, on the way up."""

    def __init__(
        self, inputs: list[int], out: int, temb: int, attends: bool, upsample: nn.Module | None
    ) -> None:
        super().__init__()
        self.block = nn.ModuleList(ResidualBlock(width, out, temb) for width in inputs)
        self.attn = nn.ModuleList(_Attention(out) if attends else nn.Identity() for _ in inputs)
        self.upsample = upsample

    def forward(self, h: Tensor, temb: Tensor, skips: list[Tensor]) -> Tensor:
        """Takes from `skips` what the way down has left."""
        for block, attn in zip(self.block, self.attn, strict=True):
            h = attn(block(torch.cat([h, skips.pop()], dim=1), temb))
        return h if self.upsample is None else cast(Tensor, self.upsample(h))


class _Attention(nn.Module):
    """Self-attention over all pixels with one head of full width."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = group_norm(width)
        self.q = nn.Conv2d(width, width, 1)
        self.k = nn.Conv2d(width, width, 1)
        self.v = nn.Conv2d(width, width, 1)
        self.proj_out = nn.Conv2d(width, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        h = self.norm(x)
        q, k, v = (part(h).flatten(2).transpose(1, 2) for part in (self.q, self.k, self.v))
        h = functional.scaled_dot_product_attention(q, k, v).transpose(1, 2)
        return cast(Tensor, x + self.proj_out(h.reshape(x.shape)))


class _Downsample(nn.Module):
    """Half the resolution; the padding is at the right and the bottom only."""

    def __init__(self, width: int, with_conv: bool) -> None:
        super().__init__()
        self.conv = nn.Conv2d(width, width, 3, stride=2) if with_conv else None

    def forward(self, x: Tensor) -> Tensor:
        if self.conv is None:
            return functional.avg_pool2d(x, 2)
        return cast(Tensor, self.conv(functional.pad(x, (0, 1, 0, 1))))
