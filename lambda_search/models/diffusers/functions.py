"""Networks of diffusers as functions of tensors, which can be recorded (`models/running`)."""

from __future__ import annotations

from typing import Any
from typing import cast

from torch import Tensor
from torch import nn

__all__ = ["Labelled", "Prompted"]


class Labelled(nn.Module):
    """A UNet or a transformer that is told a class, or nothing.

    Arguments:
        network: a network of diffusers.
    """

    def __init__(self, network: Any) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor, timestep: Tensor, labels: Tensor | None) -> Tensor:
        """[n, c, h, w], [] or [n], and [n] → what it says of x."""
        return cast(Tensor, self.network(x, timestep, class_labels=labels).sample)


class Prompted(Labelled):
    """A UNet that is told a prompt."""

    def forward(
        self,
        x: Tensor,
        timestep: Tensor,
        embeddings: Tensor | None,
        pooled: Tensor | None = None,
        time_ids: Tensor | None = None,
    ) -> Tensor:
        """[n, c, h, w], [], [n, tokens, d], and of Stable Diffusion XL [n, d'] and [n, 6]."""
        added = None if pooled is None else {"text_embeds": pooled, "time_ids": time_ids}
        out = self.network(x, timestep, encoder_hidden_states=embeddings, added_cond_kwargs=added)
        return cast(Tensor, out.sample)
