"""The encoder half of guided-diffusion's U-Net: its classifier (arXiv:2105.05233, §4)."""

from __future__ import annotations

from collections.abc import Collection
from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor
from torch import nn

from lambda_search.errors import UsageError
from lambda_search.models.networks.attention import AttentionPool
from lambda_search.models.networks.attention import GroupNorm32
from lambda_search.models.networks.blocks import Blocks
from lambda_search.models.networks.unet import Trunk
from lambda_search.models.networks.unet import full_precision

__all__ = ["Encoder"]


class Encoder(Trunk):
    """The way down of the U-Net with a head: the classifier of noisy images.

    Arguments:
        image_size: height and width of the images (its attention pool has positions).
        out_channels: numbers returned per image, for a classifier its classes.
        pool: how the map becomes numbers: `adaptive`, `attention`, `spatial` or `spatial_v2`.
        others: as in `UNet`.

    Raises:
        UsageError: for sizes that do not fit together, or an unknown pool.
    """

    def __init__(
        self,
        *,
        image_size: int,
        out_channels: int,
        model_channels: int,
        num_res_blocks: int | Sequence[int],
        attention_resolutions: Collection[int],
        in_channels: int = 3,
        channel_mult: Sequence[float] = (1, 2, 4, 8),
        conv_resample: bool = True,
        num_heads: int = 1,
        num_head_channels: int = -1,
        use_scale_shift_norm: bool = False,
        resblock_updown: bool = False,
        use_new_attention_order: bool = False,
        pool: str = "adaptive",
    ) -> None:
        blocks = Blocks(
            embedding=4 * model_channels,
            conv_resample=conv_resample,
            resblock_updown=resblock_updown,
            use_scale_shift_norm=use_scale_shift_norm,
            use_new_attention_order=use_new_attention_order,
            num_heads=num_heads,
            num_head_channels=num_head_channels,
        )
        super().__init__(
            blocks,
            in_channels,
            model_channels,
            num_res_blocks,
            attention_resolutions,
            channel_mult,
        )
        self.spatial = pool in ("spatial", "spatial_v2")
        channels = self.widths[-1]
        features = sum(self.widths) + channels
        match pool:
            case "adaptive":
                head: list[nn.Module] = [
                    GroupNorm32(channels),
                    nn.SiLU(),
                    nn.AdaptiveAvgPool2d((1, 1)),
                    nn.Conv2d(channels, out_channels, 1),
                    nn.Flatten(),
                ]
            case "attention":
                if num_head_channels <= 0 or channels % num_head_channels:
                    raise UsageError(
                        f"An attention pool over {channels} channels cannot have "
                        f"num_head_channels {num_head_channels}.",
                        "Give the classifier num_head_channels that divides its width.",
                    )
                size, heads = (
                    image_size // 2 ** (len(self.levels) - 1),
                    channels // num_head_channels,
                )
                head = [
                    GroupNorm32(channels),
                    nn.SiLU(),
                    AttentionPool(size, channels, heads, out_channels),
                ]
            case "spatial":
                head = [nn.Linear(features, 2048), nn.ReLU(), nn.Linear(2048, out_channels)]
            case "spatial_v2":
                head = [
                    nn.Linear(features, 2048),
                    GroupNorm32(2048),
                    nn.SiLU(),
                    nn.Linear(2048, out_channels),
                ]
            case _:
                raise UsageError(
                    f"There is no classifier pool '{pool}'.",
                    "Choose adaptive, attention, spatial or spatial_v2.",
                )
        self.out = nn.Sequential(*head)

    def forward(self, x: Tensor, timesteps: Tensor) -> Tensor:
        """Numbers (a classifier's logits) [n, out_channels] of noisy images `x` [n, c, h, w]."""
        embedding = self.embed(timesteps)
        hidden, means = x, []
        for stage in (*self.input_blocks, self.middle_block):
            hidden = stage(hidden, embedding)
            if self.spatial:
                means.append(hidden.to(x.dtype).mean(dim=(2, 3)))
        with full_precision(x):
            return cast(
                Tensor, self.out(torch.cat(means, dim=1) if self.spatial else hidden.to(x.dtype))
            )
