"""Feature extractors: images in, features out, each with a fingerprint.

One registers with an entry point in the group `lambda_search.extractors`.
"""

from __future__ import annotations

from importlib.metadata import entry_points
from typing import Protocol
from typing import cast

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from lambda_search.errors import UsageError
from lambda_search.models.checkpoints import bundled_folder
from lambda_search.models.checkpoints import sha256_of
from lambda_search.models.networks import fashion_classifier

__all__ = ["GROUP", "BundledExtractor", "Extractor", "load_extractor"]

GROUP = "lambda_search.extractors"
BUNDLED_FEATURES = "fashion-mnist-features"


class Extractor(Protocol):
    """Turns images into feature vectors.

    Arguments:
        name: its registered name.
        fingerprint: over weights, resize and value range; equal fingerprints, comparable features.
        dim: d, the width of its features.
    """

    name: str
    fingerprint: str
    dim: int

    def __call__(self, images: Tensor) -> Tensor:
        """uint8 [n, c, h, w], on any device → float32 [n, d] on the CPU."""
        ...


class BundledExtractor:
    """The penultimate layer of a small Fashion-MNIST classifier; others are greyed, resized."""

    name = "bundled"

    def __init__(self, device: torch.device) -> None:
        folder = bundled_folder(BUNDLED_FEATURES)
        network = fashion_classifier.load(folder).eval().requires_grad_(False)
        self._network = network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._device = device
        self.fingerprint = sha256_of(folder / "model.safetensors")
        self.dim = 128

    @torch.inference_mode()
    def __call__(self, images: Tensor) -> Tensor:
        x = images.to(self._device, torch.float32) / 255
        if x.shape[1] != 1:
            x = x.mean(1, keepdim=True)
        if x.shape[2:] != (28, 28):
            x = interpolate(x, (28, 28), mode="bicubic", antialias=True).clamp(0, 1)
        return cast(Tensor, self._network.features(x)).float().cpu()


def load_extractor(name: str, device: torch.device) -> Extractor:
    """The extractor `name` on `device`.

    Raises:
        UsageError: if none of that name is registered.
    """
    found = {entry.name: entry for entry in entry_points(group=GROUP)}
    if name not in found:
        raise UsageError(f"There is no extractor '{name}'.", f"Known: {', '.join(sorted(found))}.")
    return cast(Extractor, found[name].load()(device))
