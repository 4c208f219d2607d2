"""From bytes to what a feature network was trained on, on the device.

Resizing is antialiased, on floats, and not quantised unless asked: with `bicubic` it is the resize
of clean-fid (Parmar et al. 2022, arXiv:2104.11222), which calls Pillow on each channel, to less
than 0.01 of 255.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated
from typing import Literal
from typing import TypeAlias

import torch
from pydantic import Field
from pydantic import ValidationInfo
from pydantic import field_validator
from torch import Tensor
from torch.nn.functional import interpolate

from lambda_search.errors import UsageError
from lambda_search.setting import FrozenModel

__all__ = ["Preprocessing"]

Side: TypeAlias = Annotated[int, Field(ge=1, le=4096)]

_PIXELS = 2**22
_CROPPED = 2**25
"""Pixels that an image may have before the crop."""


class Preprocessing(FrozenModel):
    """How a network's input is made of images; part of an extractor's fingerprint.

    Arguments:
        channels: 3 (grey images are repeated) or 1 (colours are averaged).
        size: (height, width) of the input, or None where the network resizes on its own.
        fit: `stretch` both sides to `size`; or `crop`: the shorter side to `resize` (as long as
            `size` unless given), then the middle.
        resize: length of the shorter side before the crop.
        filter: `bicubic` or `bilinear`, antialiased.
        quantise: whether the resize works in bytes, as Pillow's of an 8-bit picture does: across,
            then down, each rounded.
        mean, std: per channel, or one for all, in units of bytes: the input is (x − mean)/std for
            x in 0 … 255.

    Neither a side nor `resize` is longer than 4096, and `size` has at most 2²² pixels.
    """

    channels: Literal[1, 3] = 3
    size: tuple[Side, Side] | None = None
    fit: Literal["stretch", "crop"] = "stretch"
    resize: Side | None = None
    filter: Literal["bicubic", "bilinear"] = "bicubic"
    quantise: bool = False
    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)

    @field_validator("size")
    @classmethod
    def _fits_into_memory(cls, value: tuple[int, int] | None) -> tuple[int, int] | None:
        if value and value[0] * value[1] > _PIXELS:
            raise ValueError(f"it has more than {_PIXELS:,} pixels")
        return value

    @field_validator("resize")
    @classmethod
    def _holds_the_crop(cls, value: int | None, info: ValidationInfo) -> int | None:
        size = info.data.get("size")
        if value and size and info.data.get("fit") == "crop" and value < max(size):
            raise ValueError("the crop does not fit into it")
        return value

    @field_validator("mean", "std")
    @classmethod
    def _is_one_or_per_channel(
        cls, value: tuple[float, ...], info: ValidationInfo
    ) -> tuple[float, ...]:
        if len(value) not in (1, info.data.get("channels")):
            raise ValueError("it has one value, or one for each channel")
        if info.field_name == "std" and 0 in value:
            raise ValueError("it is not 0")
        return value

    def __call__(self, images: Tensor) -> Tensor:
        """uint8 [n, c, h, w] with c = 1 or 3 → float32 [n, channels, *size], on one device."""
        x = images.to(torch.float32, copy=True)
        if self.channels == 1 and x.shape[1] == 3:
            x = x.mean(1, keepdim=True)
        x = self._resized(x)
        mean, std = (x.new_tensor(values).view(1, -1, 1, 1) for values in (self.mean, self.std))
        if x.shape[1] != self.channels:
            x = x.expand(-1, self.channels, -1, -1)  # grey is resized once
            return x.sub(mean).div_(std)
        return x.sub_(mean).div_(std)

    def pixels(self, height: int, width: int) -> int:
        """The most pixels that an image of `height` × `width` has on its way."""
        made = self._whole(height, width)
        across = height * made[1] if self.quantise else 0
        return max(height * width, across, made[0] * made[1])

    def _whole(self, height: int, width: int) -> list[int]:
        """(height, width) of an image after the resize, before the crop."""
        if self.size is None:
            return [height, width]
        if self.fit == "stretch":
            return list(self.size)
        shorter = self.resize or max(self.size)
        return [shorter * side // min(height, width) for side in (height, width)]

    def _resized(self, x: Tensor) -> Tensor:
        if self.size is None:
            return x
        h, w = self.size
        whole = self._whole(*x.shape[2:])
        if self.fit == "crop":
            if whole[0] * whole[1] > _CROPPED:
                raise UsageError(
                    f"An image of {x.shape[3]} × {x.shape[2]} would be {whole[1]} × {whole[0]} "
                    "before its middle is taken.",
                    "Crop the images to a squarer shape.",
                )
            x = self._interpolated(x, whole)
            top, left = (round((a - b) / 2) for a, b in zip(x.shape[2:], self.size, strict=True))
            return x[:, :, top : top + h, left : left + w]
        return self._interpolated(x, whole)

    def _interpolated(self, x: Tensor, size: Sequence[int]) -> Tensor:
        across = [[x.shape[2], size[1]]] if self.quantise else []
        for target in [*across, list(size)]:
            if list(x.shape[2:]) == target:
                continue
            x = interpolate(x, target, mode=self.filter, antialias=True)
            x = (x + 0.5).floor() if self.quantise else x  # halves up
            x = x.clamp(0, 255)  # the filter overshoots at edges; an image does not
        return x
