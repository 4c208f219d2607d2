"""The U-Net of guided-diffusion, which latent diffusion shares.

Dhariwal & Nichol 2021 (arXiv:2105.05233); Rombach et al. 2022 (arXiv:2112.10752). The arguments
of the constructor and the parameters are named as in published configurations and checkpoints.
"""

from __future__ import annotations

import math
from collections.abc import Collection
from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor
from torch import nn

from lambda_search.errors import UsageError
from lambda_search.models.networks.attention import GroupNorm32
from lambda_search.models.networks.blocks import Blocks
from lambda_search.models.networks.blocks import Stage

__all__ = ["Trunk", "UNet", "full_precision", "timestep_embedding"]


def timestep_embedding(timesteps: Tensor, length: int) -> Tensor:
    """Embeds timesteps [n], fractions allowed, as [n, length]: cosines, then sines.

    The frequencies fall geometrically from 1 to nearly 1/10000 (arXiv:1706.03762, §3.5).

    Arguments:
        length: even.
    """
    half = length // 2
    places = torch.arange(half, dtype=torch.float32, device=timesteps.device)
    frequencies = torch.exp(-math.log(10000) * places / half)
    angles = timesteps[:, None].float() * frequencies
    return torch.cat([angles.cos(), angles.sin()], dim=1)


class Trunk(nn.Module):
    """The way down and the bottom of the U, and the time embedding.

    After construction `in_channels` are those of the state, `widths` lists the channels of each
    input block's map, and `levels` is (channels, residual blocks, whether attention follows) from
    the finest level to the coarsest.
    """

    def __init__(
        self,
        blocks: Blocks,
        in_channels: int,
        model_channels: int,
        num_res_blocks: int | Sequence[int],
        attention_resolutions: Collection[int],
        channel_mult: Sequence[float],
    ) -> None:
        super().__init__()
        depth = len(channel_mult)
        counts = [num_res_blocks] * depth if isinstance(num_res_blocks, int) else num_res_blocks
        if len(counts) != depth:
            raise UsageError(
                f"num_res_blocks has {len(counts)} entries for {depth} levels.",
                "Give one number, or one for each entry of channel_mult.",
            )
        self.in_channels = in_channels
        self.model_channels = model_channels
        self.levels = [
            (int(mult * model_channels), count, 2**level in attention_resolutions)
            for level, (mult, count) in enumerate(zip(channel_mult, counts, strict=True))
        ]
        self.time_embed = nn.Sequential(
            nn.Linear(model_channels, blocks.embedding),
            nn.SiLU(),
            nn.Linear(blocks.embedding, blocks.embedding),
        )
        channels = self.levels[0][0]
        stages = [Stage([nn.Conv2d(in_channels, channels, 3, padding=1)])]
        self.widths = [channels]
        for level, (width, count, attends) in enumerate(self.levels):
            for _ in range(count):
                layers: list[nn.Module] = [blocks.residual(channels, width)]
                channels = width
                if attends:
                    layers.append(blocks.attention(channels))
                stages.append(Stage(layers))
                self.widths.append(channels)
            if level < depth - 1:
                stages.append(Stage([blocks.down(channels)]))
                self.widths.append(channels)
        self.input_blocks = nn.ModuleList(stages)
        self.middle_block = blocks.middle(channels)

    def embed(self, timesteps: Tensor) -> Tensor:
        """The time embedding [n, e] of `timesteps` [n]; in float32 even under autocast."""
        with full_precision(timesteps):
            return cast(
                Tensor, self.time_embed(timestep_embedding(timesteps, self.model_channels))
            )


class UNet(Trunk):
    """A noise-predicting network.

    Arguments:
        in_channels, out_channels: of the state, and of the output (twice as many with a learned
            variance).
        model_channels: the width that `channel_mult` multiplies.
        num_res_blocks: residual blocks a level, for all levels or for each.
        attention_resolutions: the downsampling factors at which attention follows.
        channel_mult: each level's width in model_channels, finest first.
        num_classes: of the label embedding, or None.
        use_spatial_transformer: whether attention is a spatial transformer; needs `context_dim`.
        others: as in `Blocks`.

    Raises:
        UsageError: for sizes that do not fit together.
    """

    def __init__(
        self,
        *,
        in_channels: int,
        out_channels: int,
        model_channels: int,
        num_res_blocks: int | Sequence[int],
        attention_resolutions: Collection[int],
        channel_mult: Sequence[float] = (1, 2, 4, 8),
        conv_resample: bool = True,
        num_classes: int | None = None,
        num_heads: int = -1,
        num_head_channels: int = -1,
        num_heads_upsample: int = -1,
        use_scale_shift_norm: bool = False,
        resblock_updown: bool = False,
        use_new_attention_order: bool = False,
        use_spatial_transformer: bool = False,
        transformer_depth: int = 1,
        context_dim: int | None = None,
        legacy: bool = True,
    ) -> None:
        if use_spatial_transformer != (context_dim is not None):
            raise UsageError(
                "use_spatial_transformer and context_dim go together.", "Give both or neither."
            )
        blocks = Blocks(
            embedding=4 * model_channels,
            conv_resample=conv_resample,
            resblock_updown=resblock_updown,
            use_scale_shift_norm=use_scale_shift_norm,
            use_new_attention_order=use_new_attention_order,
            num_heads=num_heads,
            num_head_channels=num_head_channels,
            num_heads_upsample=num_heads_upsample,
            legacy=legacy,
            context_dim=context_dim,
            transformer_depth=transformer_depth,
        )
        super().__init__(
            blocks,
            in_channels,
            model_channels,
            num_res_blocks,
            attention_resolutions,
            channel_mult,
        )
        self.label_emb = (
            None if num_classes is None else nn.Embedding(num_classes, blocks.embedding)
        )
        channels, waiting = self.widths[-1], list(self.widths)
        stages = []
        for level, (width, count, attends) in reversed(list(enumerate(self.levels))):
            for i in range(count + 1):
                layers: list[nn.Module] = [blocks.residual(channels + waiting.pop(), width)]
                channels = width
                if attends:
                    layers.append(blocks.attention(channels, upward=True))
                if level > 0 and i == count:
                    layers.append(blocks.up(channels))
                stages.append(Stage(layers))
        self.output_blocks = nn.ModuleList(stages)
        self.out = nn.Sequential(
            GroupNorm32(channels), nn.SiLU(), nn.Conv2d(channels, out_channels, 3, padding=1)
        )

    def forward(
        self,
        x: Tensor,
        timesteps: Tensor,
        y: Tensor | None = None,
        context: Tensor | None = None,
    ) -> Tensor:
        """The network's output [n, out_channels, h, w], of x's type.

        Arguments:
            x: states [n, in_channels, h, w]; h and w are multiples of 2^(levels − 1).
            timesteps: [n], fractions allowed.
            y: class labels [n], for networks with `num_classes`.
            context: tokens [n, m, context_dim], for networks with a spatial transformer.
        """
        embedding = self.embed(timesteps)
        if self.label_emb is not None:
            embedding = embedding + self.label_emb(y)
        hidden, waiting = x, []
        for stage in self.input_blocks:
            hidden = stage(hidden, embedding, context)
            waiting.append(hidden)
        hidden = self.middle_block(hidden, embedding, context)
        for stage in self.output_blocks:
            hidden = stage(torch.cat([hidden, waiting.pop()], dim=1), embedding, context)
        with full_precision(x):
            return cast(Tensor, self.out(hidden.to(x.dtype)))


def full_precision(x: Tensor) -> torch.autocast:
    """The authors keep the time embedding and the head in float32 where the rest is halved."""
    return torch.autocast(x.device.type, enabled=False)
