"""The decoding half of latent diffusion's first stages (arXiv:2112.10752, §3.1 and app. G).

The quantiser, `post_quant_conv` and the decoder, under the names that CompVis's checkpoints use.
Encoding is not needed to sample. The decoder is own code: a key map to diffusers' `VQModel` and
`AutoencoderKL` is as long as the decoder itself, reports faults under foreign names, and cannot
express `tanh_out`, `resamp_with_conv: false` or, for a KL model, `embed_dim` ≠ `z_channels`.
diffusers is what the tests compare with.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal
from typing import cast

from torch import Tensor
from torch import nn
from torch.nn import functional as F

from lambda_search.models.networks.blocks import Upsample
from lambda_search.models.networks.ddpm import ResidualBlock
from lambda_search.models.networks.ddpm import group_norm

__all__ = ["Decoder", "FirstStage", "Quantizer"]


class FirstStage(nn.Module):
    """Latents to images.

    Arguments:
        decoder: what turns the latents into images.
        embed_dim: channels of the latents.
        codes: size of the codebook to whose nearest code latents are moved first, or None.
    """

    def __init__(self, decoder: Decoder, embed_dim: int, codes: int | None = None) -> None:
        super().__init__()
        self.quantize = None if codes is None else Quantizer(codes, embed_dim)
        self.post_quant_conv = nn.Conv2d(embed_dim, decoder.conv_in.in_channels, 1)
        self.decoder = decoder

    def forward(self, z: Tensor) -> Tensor:
        """Images [n, out_ch, h·f, w·f] of latents `z` [n, embed_dim, h, w]."""
        if self.quantize is not None:
            z = self.quantize(z)
        return cast(Tensor, self.decoder(self.post_quant_conv(z)))


class Quantizer(nn.Module):
    """Moves every latent vector to its nearest code.

    Arguments:
        codes: size of the codebook.
        dim: channels of a code.
    """

    def __init__(self, codes: int, dim: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(codes, dim)

    def forward(self, z: Tensor) -> Tensor:
        """Codes, the shape of `z` [n, dim, h, w]."""
        codes = self.embedding.weight
        distances = codes.square().sum(1) - 2 * z.movedim(1, -1) @ codes.T  # less ‖z‖²
        return cast(Tensor, self.embedding(distances.argmin(-1)).movedim(-1, 1))


class Decoder(nn.Module):
    """A convolutional decoder that doubles the resolution at each level but the finest.

    Arguments:
        ch: base channels; a level has ch·ch_mult[level] of them, level 0 the finest.
        out_ch: channels of the images.
        ch_mult: one factor a level.
        num_res_blocks: residual blocks of a level, less one.
        attn_resolutions: image sizes at which each residual block is followed by attention.
        resolution: size of the images it was trained on, which `attn_resolutions` refer to.
        z_channels: channels that it reads.
        resamp_with_conv: whether a convolution follows each upsampling.
        attn_type: `vanilla`, or `none`: no attention, not even in the middle.
        tanh_out: whether images go through tanh.
    """

    def __init__(
        self,
        *,
        ch: int,
        out_ch: int,
        num_res_blocks: int,
        attn_resolutions: Sequence[int],
        resolution: int,
        z_channels: int,
        ch_mult: Sequence[int] = (1, 2, 4, 8),
        resamp_with_conv: bool = True,
        attn_type: Literal["vanilla", "none"] = "vanilla",
        tanh_out: bool = False,
    ) -> None:
        super().__init__()
        widths = [ch * mult for mult in ch_mult]
        self.conv_in = nn.Conv2d(z_channels, widths[-1], 3, padding=1)
        self.mid = _Middle(widths[-1], attn_type == "vanilla")
        inputs = [*widths[1:], widths[-1]]  # a level reads what the coarser one wrote
        self.up = nn.ModuleList(
            _Level(
                inputs[level],
                widths[level],
                num_res_blocks + 1,
                attn_type == "vanilla" and resolution // 2**level in attn_resolutions,
                Upsample(widths[level], resamp_with_conv) if level > 0 else None,
            )
            for level in range(len(widths))
        )
        self.norm_out = group_norm(widths[0])
        self.conv_out = nn.Conv2d(widths[0], out_ch, 3, padding=1)
        self.tanh_out = tanh_out

    def forward(self, z: Tensor) -> Tensor:
        """Images, around [−1, 1], of latents `z` [n, z_channels, h, w]."""
        x = self.mid(self.conv_in(z))
        for level in reversed(self.up):
            x = level(x)
        x = self.conv_out(F.silu(self.norm_out(x)))
        return cast(Tensor, x.tanh() if self.tanh_out else x)


class _Middle(nn.Module):
    def __init__(self, width: int, attends: bool) -> None:
        super().__init__()
        self.block_1 = ResidualBlock(width, width)
        self.attn_1 = _Attention(width) if attends else nn.Identity()
        self.block_2 = ResidualBlock(width, width)

    def forward(self, x: Tensor) -> Tensor:
        return cast(Tensor, self.block_2(self.attn_1(self.block_1(x))))


class _Level(nn.Module):
    """Residual blocks, each followed by attention if the level attends, and the upsampling."""

    def __init__(
        self, inputs: int, width: int, blocks: int, attends: bool, upsample: nn.Module | None
    ) -> None:
        super().__init__()
        before = [inputs] + [width] * (blocks - 1)
        self.block = nn.ModuleList(ResidualBlock(read, width) for read in before)
        self.attn = nn.ModuleList(_Attention(width) for _ in before if attends)
        self.upsample = upsample

    def forward(self, x: Tensor) -> Tensor:
        for j, block in enumerate(self.block):
            x = block(x)
            if self.attn:
                x = self.attn[j](x)
        return x if self.upsample is None else cast(Tensor, self.upsample(x))


class _Attention(nn.Module):
    """Self-attention over pixels, one head."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = group_norm(width)
        self.q = nn.Conv2d(width, width, 1)
        self.k = nn.Conv2d(width, width, 1)
        self.v = nn.Conv2d(width, width, 1)
        self.proj_out = nn.Conv2d(width, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        h = self.norm(x)
        q, k, v = (part(h).flatten(2).mT[:, None] for part in (self.q, self.k, self.v))
        h = F.scaled_dot_product_attention(q, k, v)
        return cast(Tensor, x + self.proj_out(h[:, 0].mT.reshape(x.shape)))
