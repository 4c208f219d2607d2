"""What a FID of n images costs beside sampling them: features, moments, distance."""

from __future__ import annotations

import time
from collections.abc import Callable
from importlib.util import find_spec

import torch
from torch import Tensor
from torch import nn
from torch.nn.functional import interpolate

from lambda_search.metrics.frechet import FrechetReference
from lambda_search.metrics.moments import Moments
from lambda_search.models.running import running

__all__ = ["fid_cost"]

_WIDTH = 2048
_CHUNK = 128


def fid_cost(n: int, device: torch.device, small: bool) -> dict[str, float]:
    """Seconds of each part for n images of 32 × 32, by name."""
    width = 64 if small else _WIDTH
    found = {} if find_spec("torchvision") is None else features(n, device)
    generator = torch.Generator().manual_seed(0)
    mixing = torch.randn(width, width, generator=generator, dtype=torch.float64) / width**0.5
    x = (torch.randn(n, width, generator=generator, dtype=torch.float64) @ mixing).relu().float()
    centre = x.double().mean(0)

    def moments(where: torch.device) -> Moments:
        here, c = x.to(where), centre.to(where)
        blocks = [here[begin : begin + 512] for begin in range(0, n, 512)]
        total = Moments.from_features(blocks[0], c)
        for block in blocks[1:]:
            total = total.absorbed(block)
        return total

    exact = moments(torch.device("cpu"))
    reference = FrechetReference(exact.mean, exact.cov, device)
    found["the reference's factor, once"] = seconds(lambda: reference.factor)
    found["moments on the CPU, merged exactly"] = seconds(
        lambda: moments(torch.device("cpu")).outer
    )
    found["numpy's xᵀx in float64"] = seconds(lambda: x.double().numpy().T @ x.double().numpy())
    found["moments on the device"] = seconds(lambda: moments(device).outer.sum().item())
    found["distance from moments"] = seconds(lambda: reference.distance(exact))
    found["distance and influences from features"] = seconds(lambda: reference.analyse(x))
    return found


def features(n: int, device: torch.device) -> dict[str, float]:
    """Of an untrained Inception V3, resized and computed as `inception-clean` is."""
    from torchvision.models import inception_v3

    torch.manual_seed(0)
    network = inception_v3(
        weights=None, aux_logits=False, transform_input=False, init_weights=False
    )
    network.fc = nn.Identity()
    network.eval().requires_grad_(False).to(device)
    images = torch.randint(0, 256, (min(n, 1024), 3, 32, 32), dtype=torch.uint8)
    rounds = -(-n // len(images))

    @torch.inference_mode()
    def extract(precision: str) -> Tensor:
        for _ in range(rounds):
            parts = []
            for chunk in images.to(device).split(_CHUNK):
                x = interpolate(chunk.float(), (299, 299), mode="bicubic", antialias=True)
                with running(device, precision):
                    parts.append(network((x.clamp(0, 255) - 128) / 128).float())
            result = torch.cat(parts).cpu()
        return result

    with torch.inference_mode(), running(device, "fp32"):
        network(torch.zeros(2, 3, 299, 299, device=device))
    found = {"features, fp32": seconds(lambda: extract("fp32"))}
    if device.type == "cuda":
        found["features, tf32"] = seconds(lambda: extract("tf32"))
    return found


def seconds(run: Callable[[], object]) -> float:
    """Of one call."""
    begin = time.perf_counter()
    run()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - begin
