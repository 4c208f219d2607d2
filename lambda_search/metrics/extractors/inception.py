"""Inception V3 as the field's evaluators run it: NVIDIA's TorchScript copy of the 2015 network.

`inception-clean` resizes before the network, as clean-fid does (`mode="clean"`);
`inception-legacy` lets the network resize, as EDM's `fid.py`, ADM's evaluator and clean-fid's
`legacy_tensorflow` do. Features are the 2048 of the last pooling.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any
from typing import cast

import torch
from torch import Tensor

from lambda_search.downloads import Download
from lambda_search.downloads import obtain
from lambda_search.errors import UsageError
from lambda_search.files import sha256_of
from lambda_search.metrics.extractors.base import Known
from lambda_search.metrics.extractors.base import NetworkExtractor
from lambda_search.metrics.extractors.base import Weights
from lambda_search.metrics.extractors.torchscript import check_module
from lambda_search.metrics.extractors.torchscript import load_module
from lambda_search.metrics.preprocessing import Preprocessing
from lambda_search.paths import extractors_folder

__all__ = ["CLEAN", "INCEPTION", "LEGACY", "inception_clean", "inception_legacy", "published"]

INCEPTION = Download(
    "the Inception weights",
    "https://nvlabs-fi-cdn.nvidia.com/stylegan2-ada-pytorch/pretrained/metrics/"
    "inception-2015-12-05.pt",
    "f58cb9b6ec323ed63459aa4fb441fe750cfe39fafad6da5cb504a16f19e958f4",
    "NVIDIA Source Code License",
)
CLEAN, LEGACY = "inception-clean", "inception-legacy"
_DIM = 2048
_VARIANTS = {
    CLEAN: ("clean", Preprocessing(size=(299, 299), mean=(128.0,), std=(128.0,))),
    LEGACY: ("legacy_tensorflow", Preprocessing()),
}
"""clean-fid's words, and what the networks are fed."""


def inception_clean(device: torch.device, weights: Weights) -> NetworkExtractor:
    """Resized to 299 × 299 by clean-fid's rule, in [−1, 127/128] → 2048 features."""
    path, module = _module(device, weights)

    def network(x: Tensor) -> Tensor:
        return cast(Tensor, module.layers(_quick(x))).reshape(len(x), -1)

    return _extractor(CLEAN, None if module is None else network, sha256_of(path), device)


def inception_legacy(device: torch.device, weights: Weights) -> NetworkExtractor:
    """Images of any size in 0 … 255, resized inside the network → 2048 features."""
    path, module = _module(device, weights)

    def network(x: Tensor) -> Tensor:
        return cast(Tensor, module(_quick(x), return_features=True)).reshape(len(x), -1)

    return _extractor(LEGACY, None if module is None else network, sha256_of(path), device)


def published(name: str) -> Known:
    """What is known of either with NVIDIA's weights, whether they are here or not."""
    found = _extractor(name, None, str(INCEPTION.sha256), torch.device("cpu"))
    return Known(name, found.fingerprint, found.dim, found.published)


def _module(device: torch.device, weights: Weights) -> tuple[Path, Any]:
    """The file and, if it may be run, what is in it."""
    path = weights.path or obtain(INCEPTION, extractors_folder(), weights.fetch)
    if not weights.run:
        check_module(path)
        return path, None
    module = load_module(path, device)
    if not hasattr(module, "layers"):
        raise UsageError(
            f"{path} is TorchScript, but not the Inception that evaluators use.",
            f"Fetch {INCEPTION.url}, or name the file alone as an extractor of your own.",
        )
    return path, module


def _quick(x: Tensor) -> Tensor:
    """In the layout in which a CPU convolves half as fast again."""
    return x.contiguous(memory_format=torch.channels_last) if x.device.type == "cpu" else x


def _extractor(
    name: str, network: Callable[[Tensor], Tensor] | None, sha256: str, device: torch.device
) -> NetworkExtractor:
    word, preprocessing = _VARIANTS[name]
    known = word if sha256 == INCEPTION.sha256 else ""
    return NetworkExtractor(
        name, network, preprocessing, sha256, _DIM, device, known, "last pooling"
    )
