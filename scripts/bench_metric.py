#!/usr/bin/env python
"""What scoring costs: our distance, moments, resize and extraction beside the field's, in one run.

    python scripts/bench_metric.py [--inception FILE] [--images 2000] [--json FILE]

One thread. The others are clean-fid's own functions, scipy's matrix square root (which clean-fid
calls) and torchmetrics. Features are synthetic: ReLU of a power-law Gaussian, 2048 wide. Without
--inception, a network of Inception V3's shape with random weights stands for it.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated
from typing import Any
from typing import TypeVar

import numpy as np
import torch
import typer
from cleanfid.fid import frechet_distance as cleanfid_distance
from cleanfid.resize import build_resizer
from rich.console import Console
from rich.table import Table
from scipy.linalg import svdvals
from threadpoolctl import threadpool_limits
from torchmetrics.image.fid import FrechetInceptionDistance
from torchmetrics.image.fid import _compute_fid as torchmetrics_distance

sys.path.insert(0, str(Path(__file__).parent.parent))

from lambda_search.launching import plans_of
from lambda_search.metrics.extractors.registry import load_extractor
from lambda_search.metrics.frechet import FrechetReference
from lambda_search.metrics.moments import Moments
from lambda_search.metrics.preprocessing import Preprocessing
from lambda_search.schedule import LambdaSchedule
from lambda_search.spec import load_specs
from lambda_search.work.evaluator import Evaluator
from lambda_search.work.features import FeatureFiles
from lambda_search.work.meter import Meter
from lambda_search.work.pool import SerialPool
from lambda_search.work.shards import Shards

ROOT = Path(__file__).parent.parent
D = 2048
CPU = torch.device("cpu")

console = Console(width=110)
T = TypeVar("T")


def main(
    inception: Annotated[Path | None, typer.Option(help="inception-2015-12-05.pt")] = None,
    images: Annotated[int, typer.Option(min=100, help="Of the evaluation.")] = 2000,
    turns: Annotated[int, typer.Option(min=1, help="Of each of ours; the median counts.")] = 3,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write the figures.")] = None,
) -> None:
    """Measures and prints."""
    torch.set_num_threads(1)
    figures: dict[str, Any] = {}
    with threadpool_limits(limits=1), tempfile.TemporaryDirectory() as scratch:
        figures["distance"] = distance(turns)
        figures["moments"] = moments(turns)
        figures["resize"] = resize(turns)
        path = inception or random_inception(Path(scratch))
        figures["extraction"] = extraction(path, turns)
        figures["evaluation"] = evaluation(images, Path(scratch))
        figures["evaluation with Inception"] = evaluation(images, Path(scratch), path)
    if json_file is not None:
        json_file.write_text(json.dumps(figures, indent=2) + "\n")


def distance(turns: int) -> dict[str, Any]:
    """The Fréchet distance at d = 2048, from moments, and from 1,000 features."""
    reference, sample = features(20_000, 1), features(10_000, 2)
    mean, cov = reference.mean(0), np.cov(reference, rowvar=False)
    ours = FrechetReference(mean, cov)
    once, _ = timed(lambda: ours.factor, 1)
    found = {}
    table = Table("Fréchet distance, d = 2048", "seconds", "distance", "faster than scipy")
    for n in (10_000, 1_000):
        x = sample[:n]
        mu, sigma = x.mean(0), np.cov(x, rowvar=False)
        scipy = timed(lambda mu=mu, sigma=sigma: cleanfid_distance(mu, sigma, mean, cov), 1)
        tensors = [torch.from_numpy(a) for a in (mu, sigma, mean, cov)]
        theirs = timed(lambda t=tensors: float(torchmetrics_distance(*t)), 1)
        block = Moments.from_features(x, mean)
        rows = {
            "scipy's sqrtm (clean-fid)": scipy,
            "eigvals (torchmetrics)": theirs,
            "ours, from moments": timed(lambda m=block: ours.distance(m), turns),
        }
        if n < D:
            rows["ours, from features (Gram)"] = timed(lambda x=x: ours.distance(x), turns)
            rows["truth, singular values"] = timed(lambda x=x: by_singular_values(x, ours), 1)
        for name, (seconds, value) in rows.items():
            table.add_row(
                f"n = {n:,}: {name}",
                f"{seconds:.2f}",
                f"{value:.9g}",
                f"{scipy[0] / seconds:.1f}×",
            )
        found[f"n={n}"] = {name: {"seconds": s, "distance": v} for name, (s, v) in rows.items()}
        found[f"n={n}"]["speed against scipy"] = scipy[0] / rows["ours, from moments"][0]
    console.print(table)
    console.print(f"the reference's factor, once: {once:.2f} s\n")
    return found | {"factor seconds": once}


def moments(turns: int) -> dict[str, float]:
    """Mean and covariance of 10,000 features, 2048 wide, in blocks of 512."""
    x = features(10_000, 3).astype(np.float32)
    centre = x[:512].astype(np.float64).mean(0)

    def ours() -> Moments:
        total = Moments.from_features(x[:512], centre)
        for begin in range(512, len(x), 512):
            total = total.absorbed(x[begin : begin + 512])
        return total

    def torchmetrics() -> FrechetInceptionDistance:
        metric = FrechetInceptionDistance(Given())
        for begin in range(0, len(x), 512):
            metric.update(torch.from_numpy(x[begin : begin + 512]), real=True)
        return metric

    rows = {
        "numpy.cov (clean-fid)": timed(lambda: np.cov(x, rowvar=False), turns)[0],
        "float64 sums (torchmetrics)": timed(torchmetrics, turns)[0],
        "ours, streamed and exactly merged": timed(ours, turns)[0],
    }
    table = Table("moments of 10,000 × 2048", "seconds")
    for name, seconds in rows.items():
        table.add_row(name, f"{seconds:.2f}")
    console.print(table)
    return rows


class Given(torch.nn.Module):
    """Features that are there already, for torchmetrics."""

    num_features = D

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Them."""
        return x


def resize(turns: int) -> dict[str, float]:
    """64 images to 299 × 299."""
    found = {}
    table = Table(
        "resize of 64 images to 299 × 299", "clean-fid (PIL)", "ours", "largest difference"
    )
    for size in (32, 64, 256):
        rng = np.random.default_rng(size)
        pixels = rng.integers(0, 256, (64, size, size, 3), np.uint8)
        resizer = build_resizer("clean")
        theirs = timed(lambda p=pixels, r=resizer: np.stack([r(one) for one in p]), turns)
        batch = torch.from_numpy(pixels).permute(0, 3, 1, 2).contiguous()
        ours = timed(lambda b=batch: Preprocessing(size=(299, 299))(b), turns)
        apart = np.abs(ours[1].permute(0, 2, 3, 1).numpy() - theirs[1]).max()
        table.add_row(
            f"{size} × {size}", f"{theirs[0]:.3f} s", f"{ours[0]:.3f} s", f"{apart:.4f} of 255"
        )
        found[f"{size}"] = {"clean-fid": theirs[0], "ours": ours[0], "difference": float(apart)}
    console.print(table)
    return found


def extraction(path: Path, turns: int) -> dict[str, Any]:
    """64 images of 32 × 32 through Inception, resize included."""
    from cleanfid.inception_torchscript import InceptionV3W

    folder = path.parent / "as-clean-fid-names-it"
    folder.mkdir(exist_ok=True)
    (folder / "inception-2015-12-05.pt").write_bytes(path.read_bytes())
    pixels = np.random.default_rng(0).integers(0, 256, (64, 32, 32, 3), np.uint8)
    batch = torch.from_numpy(pixels).permute(0, 3, 1, 2).contiguous()
    table = Table("images/s through Inception", "clean-fid", "ours", "largest difference")
    found = {}
    for mode, name in (("clean", "inception-clean"), ("legacy_tensorflow", "inception-legacy")):
        network = InceptionV3W(str(folder), download=False, resize_inside=mode != "clean").eval()
        resizer = build_resizer(mode)

        @torch.inference_mode()
        def theirs(network: Any = network, resizer: Any = resizer) -> torch.Tensor:
            resized = np.stack([resizer(one) for one in pixels]).astype(np.float32)
            images = torch.from_numpy(resized).permute(0, 3, 1, 2).contiguous()
            result: torch.Tensor = network(images)
            return result

        extractor = load_extractor(f"{name}:{path}", CPU)
        theirs(), extractor(batch)
        a, b = timed(theirs, turns), timed(lambda e=extractor: e(batch), turns)
        apart = float((a[1] - b[1]).abs().max())
        table.add_row(mode, f"{64 / a[0]:.1f}", f"{64 / b[0]:.1f}", f"{apart:.1e}")
        found[mode] = {"clean-fid": 64 / a[0], "ours": 64 / b[0], "difference": apart}
    console.print(table)
    return found


def evaluation(images: int, scratch: Path, inception: Path | None = None) -> dict[str, float]:
    """How much of an evaluation's time is neither the network nor the extractor."""
    spec = load_specs(ROOT / "studies" / "demo.yaml")[0]
    if inception is not None:
        named = f"inception-clean:{inception}"
        metric = {"extractor": named, "reference": reference_file(inception, named)}
        spec = spec.model_copy(update={"metric": spec.metric.model_copy(update=metric)})
    plan = plans_of(spec)[0]
    meter = Meter()
    files = FeatureFiles(scratch / ("bundled" if inception is None else "inception"))
    with Shards(SerialPool(), files) as shards:
        evaluator = Evaluator(plan.recipe, shards, meter)
        evaluator.results([LambdaSchedule()], 5 * 10**6, plan.batch, whole=True)  # loads all
        before = meter.network_seconds + meter.feature_seconds
        begin = time.perf_counter()
        evaluator.results([LambdaSchedule(1.01)], 10**6, images, whole=True)
        wall = time.perf_counter() - begin
    outside = 1 - (meter.network_seconds + meter.feature_seconds - before) / wall
    console.print(
        f"evaluation of {images:,} images, {plan.recipe.measures[0].extractor_label}: "
        f"{wall:.1f} s, {outside:.1%} outside network and extractor (noise, quantising, features' "
        "files, scores with FID∞ and KID)"
    )
    return {"wall": wall, "outside": outside}


def reference_file(inception: Path, named: str) -> str:
    """Synthetic statistics that say that the extractor `named` made them."""
    from lambda_search.metrics.references.statistics import Statistics
    from lambda_search.metrics.references.statistics import write_statistics

    x = features(6000, 5)
    extractor = load_extractor(named, CPU)
    path = inception.with_name("synthetic.npz")
    kept = x[:2000].astype(np.float32)
    cov = np.cov(x, rowvar=False)
    write_statistics(path, Statistics(x.mean(0), cov, len(x), kept, extractor.fingerprint))
    return str(path)


def features(n: int, seed: int) -> np.ndarray:
    """ReLU of a Gaussian whose spectrum falls as a power, float64 [n, 2048]."""
    mixing = np.random.default_rng(0).standard_normal((256, D)) * 0.05
    rng = np.random.default_rng(seed)
    latent = rng.standard_normal((n, 256)) * np.arange(1, 257) ** -0.35
    own = 0.05 * rng.standard_normal((n, D))
    return np.maximum(latent @ mixing * 4 + own + 0.02 * seed, 0)


def by_singular_values(x: np.ndarray, reference: FrechetReference) -> float:
    """The distance of n < d features without any squaring: tr √ is a sum of singular values."""
    centred = (x - x.mean(0)) / (len(x) - 1) ** 0.5
    cross = svdvals(centred @ reference.factor.numpy()).sum()
    apart = x.mean(0) - reference.mean.numpy()
    return float(apart @ apart + (centred**2).sum() + reference.cov.trace() - 2 * cross)


def random_inception(folder: Path) -> Path:
    """A TorchScript file of Inception V3's shape and interface."""
    from tests.metrics.inception import full

    path = folder / "random-inception.pt"
    full(path)
    return path


def timed(run: Callable[[], T], turns: int) -> tuple[float, T]:
    """Median seconds, and the result."""
    seconds = []
    for _ in range(turns):
        begin = time.perf_counter()
        result = run()
        seconds.append(time.perf_counter() - begin)
    return float(np.median(seconds)), result


if __name__ == "__main__":
    typer.run(main)
