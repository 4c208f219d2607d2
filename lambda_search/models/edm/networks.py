"""EDM's U-Nets: DDPM++ and NCSN++ (`SongUNet`) and ADM (`DhariwalUNet`).

Architectures after Song et al. 2021 (arXiv:2011.13456) and Dhariwal & Nichol 2021
(arXiv:2105.05233) as arranged by Karras et al. 2022 (arXiv:2206.00364, table 7). Arguments and
names of parameters are those of the authors' checkpoints.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor
from torch import nn
from torch.nn.functional import silu

from lambda_search.models.edm.layers import Block
from lambda_search.models.edm.layers import Conv
from lambda_search.models.edm.layers import FourierEmbedding
from lambda_search.models.edm.layers import PositionalEmbedding
from lambda_search.models.edm.layers import group_norm

__all__ = ["DhariwalUNet", "SongUNet"]

_HEAD_WIDTH = 64


class SongUNet(nn.Module):
    """DDPM++ (standard encoder and decoder, positional embedding) and NCSN++ (residual, Fourier).

    Arguments:
        img_resolution: h = w.
        in_channels, out_channels: of the image.
        label_dim: K classes, 0 for none.
        augment_dim: width of the augmentation labels of training, which sampling leaves out.
        model_channels, channel_mult: width of each level.
        channel_mult_emb, channel_mult_noise: widths of the embeddings, in model_channels.
        num_blocks: per level.
        attn_resolutions: resolutions with self-attention.
        embedding_type: `positional` or `fourier`.
        encoder_type: `standard`, `skip` or `residual`.
        decoder_type: `standard` or `skip`.
        resample_filter: of all changes of resolution.
    """

    def __init__(
        self,
        img_resolution: int,
        in_channels: int,
        out_channels: int,
        label_dim: int = 0,
        augment_dim: int = 0,
        model_channels: int = 128,
        channel_mult: Sequence[int] = (1, 2, 2, 2),
        channel_mult_emb: int = 4,
        num_blocks: int = 4,
        attn_resolutions: Sequence[int] = (16,),
        embedding_type: str = "positional",
        channel_mult_noise: int = 1,
        encoder_type: str = "standard",
        decoder_type: str = "standard",
        resample_filter: Sequence[float] = (1, 1),
    ) -> None:
        super().__init__()
        for name, value, known in (
            ("embedding_type", embedding_type, ("positional", "fourier")),
            ("encoder_type", encoder_type, ("standard", "skip", "residual")),
            ("decoder_type", decoder_type, ("standard", "skip")),
        ):
            if value not in known:
                raise ValueError(f"{name} is '{value}' and not {' or '.join(known)}")
        width = model_channels * channel_mult_emb
        noise = model_channels * channel_mult_noise
        self.map_noise = (
            FourierEmbedding(noise)
            if embedding_type == "fourier"
            else PositionalEmbedding(noise, endpoint=True)
        )
        if label_dim:
            self.map_label = nn.Linear(label_dim, noise)
        if augment_dim:
            self.map_augment = nn.Linear(augment_dim, noise, bias=False)
        self.map_layer0 = nn.Linear(noise, width)
        self.map_layer1 = nn.Linear(width, width)
        block = partial(
            Block,
            embedding=width,
            scale_shift=False,
            skip_scale=math.sqrt(0.5),
            project=True,
            eps=1e-6,
            taps=resample_filter,
        )
        resample = partial(Conv, taps=resample_filter)
        last = len(channel_mult) - 1

        self.enc = nn.ModuleDict()
        skips = []
        now, beside = in_channels, in_channels
        for level, factor in enumerate(channel_mult):
            side = img_resolution >> level
            at = f"{side}x{side}"
            if level == 0:
                self.enc[f"{at}_conv"] = Conv(now, model_channels, 3)
                now = model_channels
            else:
                self.enc[f"{at}_down"] = block(now, now, heads=0, down=True)
            skips.append(now)
            if level and encoder_type == "skip":
                self.enc[f"{at}_aux_down"] = resample(beside, beside, 0, down=True)
                self.enc[f"{at}_aux_skip"] = Conv(beside, now, 1)
            if level and encoder_type == "residual":
                self.enc[f"{at}_aux_residual"] = resample(beside, now, 3, down=True, late=True)
                beside = now
            for i in range(num_blocks):
                heads = int(side in attn_resolutions)
                self.enc[f"{at}_block{i}"] = block(now, model_channels * factor, heads=heads)
                now = model_channels * factor
                skips.append(now)

        self.dec = nn.ModuleDict()
        for level, factor in reversed(list(enumerate(channel_mult))):
            side = img_resolution >> level
            at = f"{side}x{side}"
            if level == last:
                self.dec[f"{at}_in0"] = block(now, now, heads=1)
                self.dec[f"{at}_in1"] = block(now, now, heads=0)
            else:
                self.dec[f"{at}_up"] = block(now, now, heads=0, up=True)
            for i in range(num_blocks + 1):
                heads = int(i == num_blocks and side in attn_resolutions)
                wide = now + skips.pop()
                self.dec[f"{at}_block{i}"] = block(wide, model_channels * factor, heads=heads)
                now = model_channels * factor
            if decoder_type == "skip" or level == 0:
                if decoder_type == "skip" and level < last:
                    self.dec[f"{at}_aux_up"] = resample(out_channels, out_channels, 0, up=True)
                self.dec[f"{at}_aux_norm"] = group_norm(now, 1e-6)
                self.dec[f"{at}_aux_conv"] = Conv(now, out_channels, 3)

    def forward(self, x: Tensor, noise: Tensor, labels: Tensor | None = None) -> Tensor:
        """F(x, c_noise).

        Arguments:
            x: [n, in_channels, h, w].
            noise: c_noise [n].
            labels: one-hot [n, K], or None.
        """
        told = self.map_noise(noise)
        told = torch.cat(told.chunk(2, dim=1)[::-1], dim=1)  # these networks learned sines first
        if labels is not None:
            told = told + self.map_label(labels * math.sqrt(self.map_label.in_features))
        told = silu(self.map_layer1(silu(self.map_layer0(told))))

        skips: list[Tensor] = []
        beside = x
        for name, layer in self.enc.items():
            if name.endswith("aux_down"):
                beside = layer(beside)
            elif name.endswith("aux_skip"):
                x = skips[-1] = x + layer(beside)
            elif name.endswith("aux_residual"):
                x = skips[-1] = beside = (x + layer(beside)) / math.sqrt(2)
            else:
                x = layer(x, told) if isinstance(layer, Block) else layer(x)
                skips.append(x)

        image: Tensor | None = None
        normed = x
        for name, layer in self.dec.items():
            if name.endswith("aux_up"):
                image = layer(image)
            elif name.endswith("aux_norm"):
                normed = silu(layer(x))
            elif name.endswith("aux_conv"):
                image = layer(normed) if image is None else image + layer(normed)
            else:
                x = _joined(layer, x, skips, told)
        assert image is not None
        return image


class DhariwalUNet(nn.Module):
    """The ADM network as EDM arranges it; arguments as in `SongUNet`."""

    def __init__(
        self,
        img_resolution: int,
        in_channels: int,
        out_channels: int,
        label_dim: int = 0,
        augment_dim: int = 0,
        model_channels: int = 192,
        channel_mult: Sequence[int] = (1, 2, 3, 4),
        channel_mult_emb: int = 4,
        num_blocks: int = 3,
        attn_resolutions: Sequence[int] = (32, 16, 8),
    ) -> None:
        super().__init__()
        width = model_channels * channel_mult_emb
        self.map_noise = PositionalEmbedding(model_channels, endpoint=False)
        if augment_dim:
            self.map_augment = nn.Linear(augment_dim, model_channels, bias=False)
        self.map_layer0 = nn.Linear(model_channels, width)
        self.map_layer1 = nn.Linear(width, width)
        if label_dim:
            self.map_label = nn.Linear(label_dim, width, bias=False)

        def block(
            inputs: int, outputs: int, attend: bool = False, up: bool = False, down: bool = False
        ) -> Block:
            return Block(
                inputs,
                outputs,
                width,
                scale_shift=True,
                skip_scale=1.0,
                heads=outputs // _HEAD_WIDTH if attend else 0,
                project=False,
                eps=1e-5,
                up=up,
                down=down,
            )

        self.enc = nn.ModuleDict()
        skips = []
        now = in_channels
        for level, factor in enumerate(channel_mult):
            side = img_resolution >> level
            at = f"{side}x{side}"
            if level == 0:
                self.enc[f"{at}_conv"] = Conv(now, model_channels * factor, 3)
                now = model_channels * factor
            else:
                self.enc[f"{at}_down"] = block(now, now, down=True)
            skips.append(now)
            for i in range(num_blocks):
                attend = side in attn_resolutions
                self.enc[f"{at}_block{i}"] = block(now, model_channels * factor, attend)
                now = model_channels * factor
                skips.append(now)

        self.dec = nn.ModuleDict()
        for level, factor in reversed(list(enumerate(channel_mult))):
            side = img_resolution >> level
            at = f"{side}x{side}"
            if level == len(channel_mult) - 1:
                self.dec[f"{at}_in0"] = block(now, now, attend=True)
                self.dec[f"{at}_in1"] = block(now, now)
            else:
                self.dec[f"{at}_up"] = block(now, now, up=True)
            for i in range(num_blocks + 1):
                attend = side in attn_resolutions
                wide = now + skips.pop()
                self.dec[f"{at}_block{i}"] = block(wide, model_channels * factor, attend)
                now = model_channels * factor
        self.out_norm = group_norm(now, 1e-5)
        self.out_conv = Conv(now, out_channels, 3)

    def forward(self, x: Tensor, noise: Tensor, labels: Tensor | None = None) -> Tensor:
        """F(x, c_noise), as in `SongUNet`."""
        told = self.map_layer1(silu(self.map_layer0(self.map_noise(noise))))
        if labels is not None:
            told = told + self.map_label(labels)
        told = silu(told)
        skips: list[Tensor] = []
        for layer in self.enc.values():
            x = layer(x, told) if isinstance(layer, Block) else layer(x)
            skips.append(x)
        for layer in self.dec.values():
            x = _joined(layer, x, skips, told)
        out: Tensor = self.out_conv(silu(self.out_norm(x)))
        return out


def _joined(layer: Callable[..., Tensor], x: Tensor, skips: list[Tensor], told: Tensor) -> Tensor:
    """A decoder block, joined with the encoder's output that it is wide enough for."""
    assert isinstance(layer, Block)
    if x.shape[1] != layer.inputs:
        x = torch.cat([x, skips.pop()], dim=1)
    joined: Tensor = layer(x, told)
    return joined
