"""Inception V3 as the field's evaluators run it: NVIDIA's TorchScript copy of the 2015 network.

`inception-clean` resizes before the network, as clean-fid does (`mode="clean"`);
`inception-legacy` lets the network resize, as EDM's `fid.py`, ADM's evaluator and clean-fid's
`legacy_tensorflow` do. Features are the 2048 of the last pooling.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any
from typing import cast

import torch
from torch import Tensor

from lambda_search.downloads import Download
from lambda_search.downloads import obtain
from lambda_search.errors import UsageError
from lambda_search.files import sha256_of
from lambda_search.metrics.extractors.base import NetworkExtractor
from lambda_search.metrics.extractors.base import Weights
from lambda_search.metrics.extractors.torchscript import load_module
from lambda_search.metrics.preprocessing import Preprocessing
from lambda_search.paths import extractors_folder

__all__ = ["INCEPTION", "inception_clean", "inception_legacy"]

INCEPTION = Download(
    "the Inception weights",
    "https://nvlabs-fi-cdn.nvidia.com/stylegan2-ada-pytorch/pretrained/metrics/"
    "inception-2015-12-05.pt",
    "f58cb9b6ec323ed63459aa4fb441fe750cfe39fafad6da5cb504a16f19e958f4",
    "NVIDIA Source Code License",
)
_DIM = 2048


def inception_clean(device: torch.device, weights: Weights) -> NetworkExtractor:
    """Resized to 299 × 299 by clean-fid's rule, in [−1, 127/128] → 2048 features."""
    preprocessing = Preprocessing(size=(299, 299), mean=(128.0,), std=(128.0,))
    path, module = _module(device, weights)
    layers = module.layers

    def network(x: Tensor) -> Tensor:
        return cast(Tensor, layers(_quick(x))).reshape(len(x), -1)

    return _extractor("inception-clean", network, preprocessing, path, device, "clean")


def inception_legacy(device: torch.device, weights: Weights) -> NetworkExtractor:
    """Images of any size in 0 … 255, resized inside the network → 2048 features."""
    path, module = _module(device, weights)

    def network(x: Tensor) -> Tensor:
        return cast(Tensor, module(_quick(x), return_features=True)).reshape(len(x), -1)

    legacy = "legacy_tensorflow"
    return _extractor("inception-legacy", network, Preprocessing(), path, device, legacy)


def _module(device: torch.device, weights: Weights) -> tuple[Path, Any]:
    path = weights.path or obtain(INCEPTION, extractors_folder(), weights.fetch)
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
    name: str,
    network: Any,
    preprocessing: Preprocessing,
    path: Path,
    device: torch.device,
    published: str,
) -> NetworkExtractor:
    sha256 = sha256_of(path)
    known = published if sha256 == INCEPTION.sha256 else ""
    return NetworkExtractor(
        name, network, preprocessing, sha256, _DIM, device, known, "last pooling"
    )
