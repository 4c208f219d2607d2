"""The bundled extractor: the penultimate layer of a small Fashion-MNIST classifier."""

from __future__ import annotations

from pathlib import Path

import torch

from lambda_search.errors import UsageError
from lambda_search.files import sha256_of
from lambda_search.metrics.extractors import fashion_classifier
from lambda_search.metrics.extractors.base import NetworkExtractor
from lambda_search.metrics.extractors.base import Weights
from lambda_search.metrics.preprocessing import Preprocessing
from lambda_search.paths import bundled_folder

__all__ = ["FOLDER", "bundled", "extractor_in"]

FOLDER = "fashion-mnist-features"


def bundled(device: torch.device, weights: Weights) -> NetworkExtractor:
    """Greyed images, resized to 28 × 28, in [0, 1] → 128 features."""
    if weights.path is not None:
        raise UsageError("The bundled extractor has its own weights.", "Name it 'bundled'.")
    return extractor_in(bundled_folder(FOLDER), device)


def extractor_in(folder: Path, device: torch.device) -> NetworkExtractor:
    """The extractor whose network lies in `folder`."""
    network = fashion_classifier.load(folder)
    network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    return NetworkExtractor(
        "bundled",
        network.features,
        Preprocessing(channels=1, size=(28, 28), std=(255.0,)),
        sha256_of(folder / fashion_classifier.WEIGHTS),
        network.head.in_features,
        device,
    )
