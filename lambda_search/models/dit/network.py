"""The Diffusion Transformer with adaLN-Zero (Peebles & Xie 2022, arXiv:2212.09748, §3.2).

Written from the paper; parameters carry the names of the released state dicts.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor
from torch import nn
from torch.nn import functional

from lambda_search.models.networks.unet import timestep_embedding

__all__ = ["DiTNetwork", "sin_cos_positions"]

_FREQUENCIES = 256


class DiTNetwork(nn.Module):
    """ε, and v where the variance is learned, of latents, timesteps and labels.

    Arguments:
        input_size: height and width of the latents, a multiple of `patch_size`.
        patch_size: height and width of a token's patch.
        in_channels, out_channels: channels of the latent and of the prediction.
        hidden_size: width of a token, a multiple of 4 and of `num_heads`.
        depth: number of blocks.
        num_heads: attention heads.
        mlp_ratio: the MLP's hidden width in units of `hidden_size`.
        labels: rows of the label table, the null label's included.
    """

    def __init__(
        self,
        input_size: int,
        patch_size: int,
        in_channels: int,
        out_channels: int,
        hidden_size: int,
        depth: int,
        num_heads: int,
        mlp_ratio: float,
        labels: int,
    ) -> None:
        super().__init__()
        self._patch = patch_size
        self._side = input_size // patch_size
        project = nn.Conv2d(in_channels, hidden_size, patch_size, stride=patch_size)
        self.x_embedder = nn.ModuleDict({"proj": project})
        mlp = nn.Sequential(
            nn.Linear(_FREQUENCIES, hidden_size), nn.SiLU(), nn.Linear(hidden_size, hidden_size)
        )
        self.t_embedder = nn.ModuleDict({"mlp": mlp})
        self.y_embedder = nn.ModuleDict({"embedding_table": nn.Embedding(labels, hidden_size)})
        tokens = torch.empty(1, self._side**2, hidden_size)
        self.pos_embed = nn.Parameter(tokens, requires_grad=False)  # fixed; see sin_cos_positions
        self.blocks = nn.ModuleList(
            _Block(hidden_size, num_heads, int(hidden_size * mlp_ratio)) for _ in range(depth)
        )
        self.final_layer = nn.ModuleDict(
            {
                "linear": nn.Linear(hidden_size, patch_size**2 * out_channels),
                "adaLN_modulation": _modulation(hidden_size, 2),
            }
        )

    def forward(self, x: Tensor, t: Tensor, y: Tensor) -> Tensor:
        """Predictions [n, out_channels, h, w].

        Arguments:
            x: latents [n, in_channels, h, w].
            t: original timesteps [n].
            y: label of each, [n] integers.
        """
        tokens = self.x_embedder["proj"](x).flatten(2).transpose(1, 2) + self.pos_embed
        c = self.t_embedder["mlp"](timestep_embedding(t, _FREQUENCIES))
        c = c + self.y_embedder["embedding_table"](y)
        for block in self.blocks:
            tokens = block(tokens, c)
        shift, scale = self.final_layer["adaLN_modulation"](c)[:, None].chunk(2, dim=-1)
        patches = self.final_layer["linear"](_modulated(tokens, shift, scale))
        # [n, rows · columns, p · p · c] → [n, c, rows · p, columns · p]
        patches = patches.unflatten(2, (self._patch, self._patch, -1))
        patches = patches.unflatten(1, (self._side, self._side)).permute(0, 5, 1, 3, 2, 4)
        return cast(Tensor, patches.flatten(4, 5).flatten(2, 3))


class _Block(nn.Module):
    """Attention and MLP, each shifted, scaled and gated by the condition (adaLN-Zero)."""

    def __init__(self, width: int, heads: int, hidden: int) -> None:
        super().__init__()
        self._heads = heads
        self.attn = nn.ModuleDict(
            {"qkv": nn.Linear(width, 3 * width), "proj": nn.Linear(width, width)}
        )
        self.mlp = nn.ModuleDict(
            {"fc1": nn.Linear(width, hidden), "fc2": nn.Linear(hidden, width)}
        )
        self.adaLN_modulation = _modulation(width, 6)

    def forward(self, tokens: Tensor, c: Tensor) -> Tensor:
        parts = self.adaLN_modulation(c)[:, None].chunk(6, dim=-1)
        shift, scale, gate = parts[:3]
        tokens = tokens + gate * self._attend(_modulated(tokens, shift, scale))
        shift, scale, gate = parts[3:]
        hidden = self.mlp["fc1"](_modulated(tokens, shift, scale))
        hidden = functional.gelu(hidden, approximate="tanh")
        return cast(Tensor, tokens + gate * self.mlp["fc2"](hidden))

    def _attend(self, tokens: Tensor) -> Tensor:
        q, k, v = (
            self.attn["qkv"](tokens).unflatten(2, (3, self._heads, -1)).permute(2, 0, 3, 1, 4)
        )
        out = functional.scaled_dot_product_attention(q, k, v)  # [n, heads, tokens, width/heads]
        return cast(Tensor, self.attn["proj"](out.transpose(1, 2).flatten(2)))


def sin_cos_positions(width: int, side: int) -> Tensor:
    """The fixed position embedding of side × side tokens, float32 [1, side², width].

    The first half of a token's channels holds sin and cos of column·ω, the second of row·ω, with
    ωⱼ = 10000^(−j/(width/4)) (Vaswani et al. 2017, arXiv:1706.03762, §3.5, along both axes).
    """
    quarter = width // 4
    omega = 10000.0 ** (-torch.arange(quarter, dtype=torch.float64) / quarter)
    angles = torch.arange(side, dtype=torch.float64)[:, None] * omega
    line = torch.cat([angles.sin(), angles.cos()], dim=1)  # [side, width / 2]
    columns = line[None].expand(side, -1, -1)
    rows = line[:, None].expand(-1, side, -1)
    return torch.cat([columns, rows], dim=2).reshape(1, side**2, width).float()


def _modulation(width: int, parts: int) -> nn.Sequential:
    return nn.Sequential(nn.SiLU(), nn.Linear(width, parts * width))


def _modulated(tokens: Tensor, shift: Tensor, scale: Tensor) -> Tensor:
    return functional.layer_norm(tokens, tokens.shape[-1:], eps=1e-6) * (1 + scale) + shift
