"""Decoders of latents: images, one at a time, so that no image depends on its batch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from diffusers import AutoencoderKL
from torch import Tensor

from lambda_search.errors import MissingFile
from lambda_search.errors import UsageError
from lambda_search.files import sha256_of
from lambda_search.hub import NotOnHub
from lambda_search.hub import snapshot
from lambda_search.models.diffusers.files import weights
from lambda_search.models.diffusers.networks import read_network
from lambda_search.models.diffusers.networks import read_state
from lambda_search.models.json_files import read_json
from lambda_search.paths import locate

__all__ = ["LatentDecoder", "autoencoder", "read_autoencoder"]

_CONFIG, _WEIGHTS = "config.json", "diffusion_pytorch_model.safetensors"


class LatentDecoder:
    """z ↦ decode(z·deviation/scale_factor + mean).

    Arguments:
        decode: latents [1, c, h, w] → images [1, 3, H, W].
        scale_factor: what the encoder's latents were multiplied by.
        mean, deviation: what they were normalised by, numbers or [1, c, 1, 1].
        sha256: of the decoder's files, where they lie apart from the model's.
    """

    def __init__(
        self,
        decode: Callable[[Tensor], Tensor],
        scale_factor: float,
        mean: Tensor | float = 0.0,
        deviation: Tensor | float = 1.0,
        sha256: str = "",
    ) -> None:
        self._decode = decode
        self._scale_factor = scale_factor
        self._mean, self._deviation = mean, deviation
        self.sha256 = sha256

    @torch.inference_mode()
    def __call__(self, latents: Tensor) -> Tensor:
        """Images around [−1, 1], [n, 3, H, W], of `latents` [n, c, h, w]."""
        scaled = latents * self._deviation / self._scale_factor + self._mean
        return torch.cat([self._decode(one) for one in torch.split(scaled, 1)])


def autoencoder(
    vae: Any,
    channels: int,
    device: torch.device,
    *,
    name: str = "",
    scale_factor: float | None = None,
    sha256: str = "",
) -> LatentDecoder:
    """The decoder of diffusers' AutoencoderKL or VQModel.

    Arguments:
        vae: the autoencoder; its config may hold the latents' mean and deviation.
        channels: of the diffusion network's states.
        device: where to compute.
        name: of the autoencoder, for messages.
        scale_factor: of the latents; the config's scaling_factor unless given.
        sha256: as in `LatentDecoder`.

    Raises:
        UsageError: if the autoencoder has other latents.
    """
    config = vae.config
    if config.latent_channels != channels:
        raise UsageError(
            f"The autoencoder{name and ' '}{name} has latents of {config.latent_channels} "
            f"channels, the model of {channels}.",
            "Take the autoencoder that the model was trained with.",
        )
    vae = vae.eval().requires_grad_(False).to(device, memory_format=torch.channels_last)
    scale = config.scaling_factor if scale_factor is None else scale_factor
    told = [config.get("latents_mean"), config.get("latents_std")]
    if scale_factor is not None or None in told:
        told = [0.0, 1.0]
    mean, deviation = (torch.tensor(one, device=device).view(1, -1, 1, 1) for one in told)
    return LatentDecoder(lambda z: vae.decode(z).sample, scale, mean, deviation, sha256)


def read_autoencoder(
    name: str, channels: int, scale_factor: float, device: torch.device
) -> LatentDecoder:
    """The decoder of an AutoencoderKL: a folder, or a hub name (fetched once).

    Arguments:
        name: of the folder, or owner/repository.
        channels, scale_factor, device: as in `autoencoder`.

    Raises:
        UsageError: if there is no such autoencoder, or it has other latents.
    """
    try:
        folder = locate(name) or snapshot(name, [_CONFIG, _WEIGHTS])
    except NotOnHub as error:
        raise MissingFile(
            f"There is no autoencoder {name}: it is no folder, and the hub did not give it"
            f"{error.reason and ': '}{error.reason}.",
            f"Check vae, or copy the autoencoder's folder to this machine. {error.step}",
        ) from error
    try:
        files = weights(folder, "", "diffusers")
        config = read_json(folder / _CONFIG)
        vae = read_network(AutoencoderKL, config, read_state(files, name), name)
    except UsageError as error:
        raise UsageError(
            f"The autoencoder {name} cannot be read: {error.cause}",
            f"vae must be a folder with {_CONFIG} and {_WEIGHTS}, or a hub name of one.",
        ) from error
    sha256 = sha256_of(folder / _CONFIG, *files)
    return autoencoder(vae, channels, device, name=name, scale_factor=scale_factor, sha256=sha256)
