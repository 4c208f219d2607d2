"""The layers that the DDPM U-Net and latent diffusion's first stages are made of.

Ho et al. 2020 (arXiv:2006.11239, app. B); parameters have the names of the authors' checkpoints.
"""

from __future__ import annotations

from typing import cast

from torch import Tensor
from torch import nn
from torch.nn.functional import silu

__all__ = ["ResidualBlock", "group_norm"]


def group_norm(channels: int) -> nn.GroupNorm:
    """Group norm with 32 groups and the authors' ε."""
    return nn.GroupNorm(32, channels, eps=1e-6)


class ResidualBlock(nn.Module):
    """Two convolutions around the added time embedding, if there is one, and a shortcut.

    Arguments:
        channels, out_channels: before and after.
        embedding: length of the time embedding; 0: none.
    """

    def __init__(self, channels: int, out_channels: int, embedding: int = 0) -> None:
        super().__init__()
        self.norm1 = group_norm(channels)
        self.conv1 = nn.Conv2d(channels, out_channels, 3, padding=1)
        if embedding:
            self.temb_proj = nn.Linear(embedding, out_channels)
        self.norm2 = group_norm(out_channels)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, padding=1)
        same = channels == out_channels
        self.nin_shortcut = None if same else nn.Conv2d(channels, out_channels, 1)

    def forward(self, x: Tensor, temb: Tensor | None = None) -> Tensor:
        """Map [n, channels, h, w] and embedding [n, e] → [n, out_channels, h, w]."""
        h = self.conv1(silu(self.norm1(x)))
        if temb is not None:
            h = h + self.temb_proj(temb)[:, :, None, None]
        h = self.conv2(silu(self.norm2(h)))
        return cast(Tensor, h + (x if self.nin_shortcut is None else self.nin_shortcut(x)))
