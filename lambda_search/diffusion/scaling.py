"""Epsilon Scaling: ε ← ε/λ, where a network's prediction leaves it (arXiv:2308.15321, §5)."""

from __future__ import annotations

from torch import Tensor

__all__ = ["divided"]


def divided(epsilon: Tensor, value: float) -> Tensor:
    """ε/λ. After classifier-free guidance, before clipping; λ = 1 changes no bit.

    Arguments:
        epsilon: predicted noise, any shape.
        value: λ > 0.
    """
    return epsilon / value
