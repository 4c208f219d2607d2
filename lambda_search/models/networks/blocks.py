"""The layers that guided-diffusion's U-Net and its encoder half are made of.

The parameters have the names of the published checkpoints. Dropout, which acts in training only,
is an identity that keeps its place in the numbering.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

from torch import Tensor
from torch import nn
from torch.nn.functional import avg_pool2d
from torch.nn.functional import interpolate

from lambda_search.errors import UsageError
from lambda_search.models.networks.attention import AttentionBlock
from lambda_search.models.networks.attention import GroupNorm32
from lambda_search.models.networks.spatial_transformer import SpatialTransformer

__all__ = ["Blocks", "Stage"]


class Downsample(nn.Module):
    """Halves a map by a strided convolution, or by averaging without parameters."""

    def __init__(self, channels: int, learned: bool) -> None:
        super().__init__()
        self.op = nn.Conv2d(channels, channels, 3, stride=2, padding=1) if learned else None

    def forward(self, x: Tensor) -> Tensor:
        return avg_pool2d(x, 2) if self.op is None else cast(Tensor, self.op(x))


class Upsample(nn.Module):
    """Doubles a map by repeating pixels, with or without a convolution after it."""

    def __init__(self, channels: int, learned: bool) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1) if learned else None

    def forward(self, x: Tensor) -> Tensor:
        x = interpolate(x, scale_factor=2, mode="nearest")
        return x if self.conv is None else cast(Tensor, self.conv(x))


class ResBlock(nn.Module):
    """Two convolutions that see the time embedding in between, around them a skip connection.

    Arguments:
        channels, out_channels: before and after.
        embedding: length of the time embedding.
        scale_shift: whether the embedding scales and shifts the normalised map
            (arXiv:2105.05233, eq. 4) instead of being added before normalisation.
        resample: an Upsample or Downsample without parameters, for blocks that change the size.
    """

    def __init__(
        self,
        channels: int,
        out_channels: int,
        embedding: int,
        scale_shift: bool,
        resample: nn.Module | None,
    ) -> None:
        super().__init__()
        self.scale_shift = scale_shift
        self.resample = resample
        self.in_layers = nn.Sequential(
            GroupNorm32(channels), nn.SiLU(), nn.Conv2d(channels, out_channels, 3, padding=1)
        )
        self.emb_layers = nn.Sequential(
            nn.SiLU(), nn.Linear(embedding, (2 if scale_shift else 1) * out_channels)
        )
        self.out_layers = nn.Sequential(
            GroupNorm32(out_channels),
            nn.SiLU(),
            nn.Identity(),
            nn.Conv2d(out_channels, out_channels, 3, padding=1),
        )
        same = channels == out_channels
        self.skip_connection = nn.Identity() if same else nn.Conv2d(channels, out_channels, 1)

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:
        """Map [n, channels, h, w] and embedding [n, e] → [n, out_channels, h', w']."""
        if self.resample is None:
            hidden = self.in_layers(x)
        else:
            hidden = self.in_layers[2](self.resample(self.in_layers[:2](x)))
            x = self.resample(x)
        told = self.emb_layers(embedding)[:, :, None, None]
        if self.scale_shift:
            scale, shift = told.chunk(2, dim=1)
            hidden = self.out_layers[1:](self.out_layers[0](hidden) * (1 + scale) + shift)
        else:
            hidden = self.out_layers(hidden + told)
        return cast(Tensor, self.skip_connection(x) + hidden)


class Stage(nn.ModuleList):
    """Layers in sequence, each given what it takes of the embedding and the context."""

    def forward(self, x: Tensor, embedding: Tensor, context: Tensor | None = None) -> Tensor:
        """Map [n, c, h, w], time embedding [n, e], context [n, tokens, d] or None → a map."""
        for layer in self:
            if isinstance(layer, ResBlock):
                x = layer(x, embedding)
            elif isinstance(layer, SpatialTransformer):
                x = layer(x, context)
            else:
                x = layer(x)
        return x


@dataclass(frozen=True)
class Blocks:
    """Makes a network's layers from the options that all of them share.

    Arguments:
        embedding: length of the time embedding.
        conv_resample: whether resampling between levels is learned.
        resblock_updown: whether residual blocks do the resampling instead.
        use_scale_shift_norm, use_new_attention_order: as in `ResBlock` and `AttentionBlock`.
        num_heads: heads of each attention, where num_head_channels is −1.
        num_head_channels: channels of each head, or −1.
        num_heads_upsample: heads on the way up, where num_head_channels is −1; −1 means num_heads.
        legacy: latent diffusion's older rule of heads; without it num_heads_upsample has no
            effect, and a transformer's heads have num_head_channels where it is given.
        context_dim: a context's channels; attention is then a spatial transformer. Or None.
        transformer_depth: of the spatial transformers.
    """

    embedding: int
    conv_resample: bool = True
    resblock_updown: bool = False
    use_scale_shift_norm: bool = False
    use_new_attention_order: bool = False
    num_heads: int = -1
    num_head_channels: int = -1
    num_heads_upsample: int = -1
    legacy: bool = True
    context_dim: int | None = None
    transformer_depth: int = 1

    def residual(
        self, channels: int, out_channels: int, resample: nn.Module | None = None
    ) -> ResBlock:
        """A residual block from `channels` to `out_channels`."""
        return ResBlock(
            channels, out_channels, self.embedding, self.use_scale_shift_norm, resample
        )

    def attention(self, channels: int, upward: bool = False) -> nn.Module:
        """Attention over a map of `channels`; `upward` on the way up.

        Raises:
            UsageError: if the channels cannot be shared evenly by the heads.
        """
        size = self.num_head_channels
        heads = channels // size if size > 0 else self.num_heads
        if self.context_dim is not None and heads > 0:
            size = channels // heads if self.legacy or size <= 0 else size
            return SpatialTransformer(
                channels, heads, size, self.transformer_depth, self.context_dim
            )
        if upward and self.legacy and size <= 0 and self.num_heads_upsample > 0:
            heads = self.num_heads_upsample
        if heads <= 0 or channels % heads or (size > 0 and channels % size):
            raise UsageError(
                f"Attention over {channels} channels cannot have num_heads {heads} "
                f"with num_head_channels {size}.",
                "Give num_heads or num_head_channels that divides each level's channels.",
            )
        return AttentionBlock(channels, heads, self.use_new_attention_order)

    def down(self, channels: int) -> nn.Module:
        """What halves a map."""
        if self.resblock_updown:
            return self.residual(channels, channels, Downsample(channels, learned=False))
        return Downsample(channels, self.conv_resample)

    def up(self, channels: int) -> nn.Module:
        """What doubles a map."""
        if self.resblock_updown:
            return self.residual(channels, channels, Upsample(channels, learned=False))
        return Upsample(channels, self.conv_resample)

    def middle(self, channels: int) -> Stage:
        """The layers at the bottom of the U."""
        return Stage(
            [
                self.residual(channels, channels),
                self.attention(channels),
                self.residual(channels, channels),
            ]
        )
