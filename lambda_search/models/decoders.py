"""Decoders of latents that come apart from their diffusion network: diffusers' AutoencoderKL."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from typing import cast

import torch
from diffusers import AutoencoderKL
from huggingface_hub import snapshot_download
from huggingface_hub.errors import HfHubHTTPError
from huggingface_hub.errors import HFValidationError
from huggingface_hub.errors import LocalEntryNotFoundError
from torch import Tensor

from lambda_search.downloads import offline
from lambda_search.errors import MissingFile
from lambda_search.errors import UsageError
from lambda_search.files import sha256_of
from lambda_search.models.checkpoints import locate

__all__ = ["LatentDecoder"]

_CONFIG, _WEIGHTS = "config.json", "diffusion_pytorch_model.safetensors"


class LatentDecoder:
    """Images of latents, decoded one at a time: an image does not depend on its batch.

    Arguments:
        name: a folder with an AutoencoderKL, or its hub name (fetched once).
        channels: of the latents.
        scale_factor: what the encoder's latents were multiplied by.
        device: where to compute.

    Raises:
        UsageError: if there is no such autoencoder, or it has other latents.
    """

    def __init__(
        self, name: str, channels: int, scale_factor: float, device: torch.device
    ) -> None:
        folder = locate(name) or _fetch(name)
        try:
            vae = cast(Any, AutoencoderKL).from_pretrained(
                folder, use_safetensors=True, low_cpu_mem_usage=False
            )
            self.sha256 = sha256_of(folder / _CONFIG, folder / _WEIGHTS)
        except Exception as error:  # the library lets through whatever a broken file provokes
            said = next(iter(str(error).strip().splitlines()), type(error).__name__)
            raise UsageError(
                f"The autoencoder {name} cannot be read: {said.rstrip('.')}.",
                f"vae must be a folder with {_CONFIG} and {_WEIGHTS}, or a hub name of one.",
            ) from error
        if vae.config.latent_channels != channels:
            raise UsageError(
                f"The autoencoder {name} has latents of {vae.config.latent_channels} channels, "
                f"the model of {channels}.",
                "Set vae to the autoencoder that the model was trained with.",
            )
        vae.enable_slicing()
        self._vae = vae.eval().requires_grad_(False).to(device, memory_format=torch.channels_last)
        self._scale_factor = scale_factor

    def __call__(self, latents: Tensor) -> Tensor:
        """Images around [−1, 1], [n, 3, h, w], of `latents` [n, channels, h', w']."""
        return cast(Tensor, self._vae.decode(latents / self._scale_factor).sample)


def _fetch(name: str) -> Path:
    """A hub snapshot of the autoencoder `name` (owner/repository)."""
    try:
        if name.count("/") != 1 or name.startswith((".", "/", "~")):
            raise HFValidationError(name)
        return Path(
            snapshot_download(name, local_files_only=offline(), allow_patterns=[_CONFIG, _WEIGHTS])
        )
    except (HFValidationError, HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
        raise MissingFile(
            f"There is no autoencoder {name}: it is no folder, and the hub did not give it.",
            "Check vae and the network, or copy the autoencoder's folder to this machine.",
        ) from error
