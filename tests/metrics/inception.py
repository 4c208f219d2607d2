"""Stand-ins for NVIDIA's `inception-2015-12-05.pt`: its interface around random weights."""

from __future__ import annotations

from pathlib import Path

import torch
from platformdirs import user_data_path
from torch import Tensor
from torch import nn
from torch.nn.functional import interpolate
from torchvision.models import inception_v3

from lambda_search.files import sha256_of
from lambda_search.metrics.extractors.inception import INCEPTION

DIM = 2048


class Evaluator(nn.Module):
    """Images of any size in 0 … 255 → features, or 1008 scores as the real file has them."""

    def __init__(self, layers: nn.Module) -> None:
        super().__init__()
        self.layers = layers
        self.output = nn.Linear(DIM, 1008)

    def forward(self, img: Tensor, return_features: bool = False) -> Tensor:
        x = img.to(torch.float32)
        x = interpolate(x, size=[299, 299], mode="bilinear", align_corners=False)
        features = self.layers((x - 128.0) / 128.0).reshape(x.shape[0], 2048)
        return features if return_features else self.output(features)


def small(path: Path, seed: int = 0, pooled: bool = False) -> Path:
    """A few milliseconds an image; with `pooled`, `layers` makes [n, 2048, 1, 1]."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        parts: list[nn.Module] = []
        for ins, outs, length, stride in (
            (3, 16, 7, 4),
            (16, 48, 3, 2),
            (48, 96, 3, 2),
            (96, 192, 3, 2),
            (192, DIM, 1, 2),
        ):
            conv = nn.Conv2d(ins, outs, length, stride, bias=False)
            parts += [conv, nn.BatchNorm2d(outs), nn.ReLU()]
        parts.append(nn.AdaptiveAvgPool2d(1))
        if not pooled:
            parts.append(nn.Flatten())
        return _save(_fitted(nn.Sequential(*parts)), path)


def full(path: Path, seed: int = 0) -> Path:
    """The real architecture."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = inception_v3(
            weights=None, aux_logits=False, transform_input=False, init_weights=False
        )
        network.fc = nn.Identity()
        example = torch.zeros(2, 3, 299, 299)
        layers = torch.jit.trace(_fitted(network), example, check_trace=False)
        return _save(layers, path)


def find_real() -> Path | None:
    """NVIDIA's own file, where it lies on this machine."""
    folders = (user_data_path("lambda_search") / "extractors", Path("/tmp"))
    files = (folder / INCEPTION.name for folder in folders)
    return next((f for f in files if f.is_file() and sha256_of(f) == INCEPTION.sha256), None)


@torch.no_grad()
def _fitted(network: nn.Module) -> nn.Module:
    """`network` with its BatchNorms fitted to smooth pictures of high contrast, for inference."""
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = None  # a plain average over the passes
    network.train()
    for _ in range(2):
        pictures = [
            interpolate(4 * torch.rand(4, 3, side, side) - 2, size=[299, 299], mode="bicubic")
            for side in (3, 9, 27)
        ]
        network(torch.cat(pictures).clamp(-1, 1))
    return network.eval()


@torch.no_grad()
def _save(layers: nn.Module, path: Path) -> Path:
    module = Evaluator(layers).eval().requires_grad_(False)
    torch.jit.save(torch.jit.script(module), str(path))
    return path
