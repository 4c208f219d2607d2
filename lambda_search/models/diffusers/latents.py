"""Images of the latents of a diffusers pipeline."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from lambda_search.errors import UsageError

__all__ = ["PipelineDecoder"]


class PipelineDecoder:
    """A pipeline's AutoencoderKL or VQModel; an image does not depend on its batch.

    Arguments:
        vae: with `scaling_factor` in its config, and perhaps the latents' mean and deviation.
        channels: of the diffusion network's states.
        device: where to compute.

    Raises:
        UsageError: if the autoencoder has other latents.
    """

    def __init__(self, vae: Any, channels: int, device: torch.device) -> None:
        if vae.config.latent_channels != channels:
            raise UsageError(
                f"The autoencoder has latents of {vae.config.latent_channels} channels, the "
                f"network of {channels}.",
                "Use the folder of a pipeline that makes images from noise alone.",
            )
        self._vae = vae.eval().requires_grad_(False).to(device, memory_format=torch.channels_last)
        config = vae.config
        mean, deviation = config.get("latents_mean"), config.get("latents_std")
        if mean is None or deviation is None:
            mean, deviation = [0.0] * channels, [1.0] * channels
        self._mean = torch.tensor(mean, device=device).view(1, channels, 1, 1)
        self._deviation = torch.tensor(deviation, device=device).view(1, channels, 1, 1)
        self._scaling_factor = config.scaling_factor

    @torch.inference_mode()
    def __call__(self, latents: Tensor) -> Tensor:
        """Images around [−1, 1], [n, 3, H, W], of `latents` [n, channels, h, w]."""
        scaled = latents * self._deviation / self._scaling_factor + self._mean
        return torch.cat([self._vae.decode(one).sample for one in scaled.split(1)])
