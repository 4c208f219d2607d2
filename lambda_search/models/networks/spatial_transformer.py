"""The spatial transformer of latent diffusion: attention to a context besides the image itself."""

from __future__ import annotations

from torch import Tensor
from torch import nn

__all__ = ["SpatialTransformer"]


class SpatialTransformer(nn.Module):
    """Transformer blocks over a feature map's positions (Rombach et al. 2022, arXiv:2112.10752).

    Each block: self-attention, attention to the context, feed-forward with GEGLU, all with layer
    norm before and a residual connection around.

    Arguments:
        channels: of the feature map, a multiple of 32.
        heads, head_channels: of the attentions; the blocks are heads × head_channels wide.
        depth: how many blocks.
        context_dim: channels of the context's tokens.
    """

    def __init__(
        self, channels: int, heads: int, head_channels: int, depth: int, context_dim: int
    ) -> None:
        super().__init__()
        # Seconds to import; networks without a context do without.
        from diffusers.models.attention import BasicTransformerBlock

        width = heads * head_channels
        self.norm = nn.GroupNorm(32, channels, eps=1e-6)
        self.proj_in = nn.Conv2d(channels, width, 1)
        self.transformer_blocks = nn.ModuleList(
            BasicTransformerBlock(width, heads, head_channels, cross_attention_dim=context_dim)
            for _ in range(depth)
        )
        self.proj_out = nn.Conv2d(width, channels, 1)

    def forward(self, x: Tensor, context: Tensor) -> Tensor:
        """Map [n, channels, h, w] and context [n, tokens, context_dim] → the same map's shape."""
        hidden = self.proj_in(self.norm(x))
        tokens = hidden.flatten(2).transpose(1, 2)
        for block in self.transformer_blocks:
            tokens = block(tokens, encoder_hidden_states=context)
        restored: Tensor = self.proj_out(tokens.transpose(1, 2).reshape(hidden.shape))
        return x + restored
