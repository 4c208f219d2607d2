#!/usr/bin/env python
"""Measure what Epsilon Scaling does for the bundled diffusion model, setting by setting.

    measure_bundled.py fid --sampler ancestral --steps 10 --mean 1,1.02 --images 5120
    measure_bundled.py effect --settings ancestral:5,ancestral:10,ddim:5

`effect` searches (mean, tilt) on common noise, confirms the winner against λ = 1 on images that
the search never saw, and writes one row a setting to `effect.csv`. The tilt is slope·(T' − 1)/2: λ
runs from mean − tilt at the least noisy step to mean + tilt at the noisiest. Features are kept in
`--cache`, in chunks of 640 images named by weights, setting and schedule: an interrupted
measurement goes on where it stopped, a larger one computes only what is new.
"""

from __future__ import annotations

import csv
import math
import multiprocessing
import os
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from PIL import Image
from scipy.stats import t as student

from lambda_search.metrics.frechet import FrechetReference
from lambda_search.metrics.moments import Moments
from lambda_search.models import diffusers as framework
from lambda_search.models.networks.fashion_classifier import FashionClassifier
from lambda_search.models.networks.fashion_classifier import load
from lambda_search.models.sampling import counter_noise
from lambda_search.models.sampling import sample_batch
from lambda_search.models.sampling import to_uint8
from lambda_search.schedule import LambdaSchedule
from lambda_search.setting import SamplerOptions

app = typer.Typer(add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False)
BATCH, CHUNK = 64, 640
CONFIRM_FROM = 1_000_000
BLOCKS = 20
BUNDLED = Path(__file__).parent.parent / "lambda_search" / "models" / "bundled"
COLUMNS = (
    "sampler steps fid_1 mean slope b k fid gain_percent low_percent high_percent "
    "n scan_n evaluations"
).split()


@dataclass(frozen=True)
class Point:
    """A sampler, its steps, and λ by mean and tilt."""

    sampler: str
    steps: int
    mean: float = 1.0
    tilt: float = 0.0

    @property
    def schedule(self) -> LambdaSchedule:
        """λ(i) = b + k·i."""
        slope = 2 * self.tilt / (self.steps - 1)
        return LambdaSchedule.from_mean(self.mean, slope, self.steps)

    @property
    def name(self) -> str:
        """Names the point's folder of features."""
        return f"{self.sampler}-{self.steps}-{self.mean:.5f}{self.tilt:+.5f}"

    def at(self, mean: float, tilt: float) -> Point:
        """The same setting with another λ."""
        return Point(self.sampler, self.steps, round(mean, 6), round(tilt, 6))


@cache
def networks(
    model: Path, features: Path, device: str
) -> tuple[framework.DiffusersModel, FashionClassifier]:
    """The pipeline and the extractor, once per process."""
    torch.set_num_threads(1)
    place = torch.device(device)
    return framework.load(str(model), None, place), load(features).to(place)


@torch.inference_mode()
def compute_chunk(
    point: Point, chunk: int, path: Path, model: Path, features: Path, device: str, seed: int
) -> None:
    """Sample images [640·chunk, 640·(chunk + 1)) and save their features as `path`."""
    pipeline, extractor = networks(model, features, device)
    options = pipeline.resolve(point.sampler, SamplerOptions())
    rows = []
    for start in range(chunk * CHUNK, (chunk + 1) * CHUNK, BATCH):
        draw = counter_noise(pipeline, seed, range(start, start + BATCH))
        states = sample_batch(pipeline, point.sampler, point.steps, point.schedule, draw, options)
        rows.append(extractor.features(to_uint8(states).float() / 255).cpu().numpy())
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(f".{os.getpid()}.npy")
    np.save(part, np.concatenate(rows))
    os.replace(part, path)


class Bench:
    """FIDs of points against the bundled reference, with every feature computed once."""

    def __init__(
        self, model: Path, features: Path, store: Path, device: str, workers: int, seed: int
    ) -> None:
        self.model, self.features, self.device, self.seed = model, features, device, seed
        sha = framework.load(str(model), None, torch.device("cpu")).sha256
        self.folder = store / f"{sha[:12]}-{seed}"
        reference = np.load(features / "reference.npz")
        self.reference = FrechetReference(reference["mu"], reference["sigma"])
        self.pool = ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"))

    def collect(self, points: Sequence[Point], first: int, images: int) -> list[list[Moments]]:
        """Each point's moments over `images` samples from index `first`, in interleaved blocks."""
        chunks = range(first // CHUNK, first // CHUNK + math.ceil(images / CHUNK))
        paths = {p: [self.folder / p.name / f"{c}.npy" for c in chunks] for p in points}
        pending = [
            self.pool.submit(
                compute_chunk, p, c, path, self.model, self.features, self.device, self.seed
            )
            for p in points
            for c, path in zip(chunks, paths[p], strict=True)
            if not path.exists()
        ]
        for task in pending:
            task.result()
        return [
            [Moments.from_features(x[k::BLOCKS], self.reference.mean) for k in range(BLOCKS)]
            for x in (np.concatenate([np.load(path) for path in paths[p]]) for p in points)
        ]

    def fid(self, blocks: Sequence[Moments]) -> float:
        """FID of the union of `blocks`."""
        return self.reference.distance(sum(blocks[1:], blocks[0]))

    def fids(self, points: Sequence[Point], first: int, images: int) -> list[float]:
        """FID of each point on `images` samples from index `first`."""
        return [self.fid(blocks) for blocks in self.collect(points, first, images)]

    def gain(self, base: list[Moments], other: list[Moments]) -> tuple[float, float]:
        """1 − FID/FID(λ = 1), and half its 95 % interval by the delete-one block jackknife."""

        def ratio(left_out: int | None) -> float:
            keep = [k for k in range(BLOCKS) if k != left_out]
            return 1 - self.fid([other[k] for k in keep]) / self.fid([base[k] for k in keep])

        deleted = np.array([ratio(k) for k in range(BLOCKS)])
        error = math.sqrt((BLOCKS - 1) * deleted.var())
        return ratio(None), float(student.ppf(0.975, BLOCKS - 1)) * error


def pattern_search(
    bench: Bench, start: Point, images: int, step: float, finest: float
) -> tuple[Point, int]:
    """The best (mean, tilt) on common noise: go to the best neighbour, else halve the step."""
    known = {start: bench.fids([start], 0, images)[0]}
    best = start
    while step >= finest:
        moves = [(step, 0), (-step, 0), (0, step), (0, -step)]
        around = [best.at(best.mean + dm, best.tilt + dt) for dm, dt in moves]
        new = [p for p in around if p not in known]
        known |= dict(zip(new, bench.fids(new, 0, images), strict=True))
        winner = min(known, key=known.__getitem__)
        if winner == best:
            step /= 2
        else:
            best = winner
        print(
            f"  {best.name}: {known[best]:.3f} (λ = 1: {known[start]:.3f}), step {step:g}",
            flush=True,
        )
    return best, len(known)


Model = Annotated[Path, typer.Option(help="pipeline folder")]
Features = Annotated[Path, typer.Option(help="extractor folder")]
Cache = Annotated[Path, typer.Option(help="folder of computed features")]
FASHION, FASHION_FEATURES = BUNDLED / "fashion-mnist", BUNDLED / "fashion-mnist-features"


@app.command()
def fid(
    sampler: str = "ancestral",
    steps: int = 10,
    mean: Annotated[str, typer.Option(help="means, separated by commas")] = "1",
    tilt: Annotated[str, typer.Option(help="tilts, separated by commas")] = "0",
    images: int = 5120,
    first: Annotated[int, typer.Option(help="index of the first image")] = 0,
    model: Model = FASHION,
    features: Features = FASHION_FEATURES,
    store: Annotated[Path, typer.Option("--cache")] = Path("runs/features"),
    device: str = "cpu",
    workers: int = 2,
    seed: int = 0,
) -> None:
    """FID of every (mean, tilt), with its gain over λ = 1 on the same noise."""
    bench = Bench(model, features, store, device, workers, seed)
    base = Point(sampler, steps)
    grid = [base.at(float(m), float(t)) for m in mean.split(",") for t in tilt.split(",")]
    blocks = bench.collect([base, *grid], first, images)
    print(f"λ = 1: {bench.fid(blocks[0]):.4f}")
    for point, own in zip(grid, blocks[1:], strict=True):
        gain, half = bench.gain(blocks[0], own)
        print(f"{point.name}: {bench.fid(own):.4f}  gain {100 * gain:.2f} ± {100 * half:.2f} %")


@app.command()
def effect(
    settings: Annotated[str, typer.Option(help="sampler:steps, separated by commas")],
    scan: Annotated[int, typer.Option(help="images of the search")] = 2560,
    confirm: Annotated[int, typer.Option(help="images of the confirmation")] = 20480,
    step: Annotated[float, typer.Option(help="first step in mean and tilt")] = 0.02,
    finest: Annotated[float, typer.Option(help="last step in mean and tilt")] = 0.005,
    out: Annotated[Path, typer.Option(help="table to write; other settings' rows stay")] = FASHION
    / "effect.csv",
    model: Model = FASHION,
    features: Features = FASHION_FEATURES,
    store: Annotated[Path, typer.Option("--cache")] = Path("runs/features"),
    device: str = "cpu",
    workers: int = 2,
    seed: int = 0,
) -> None:
    """Search λ for each setting, confirm it on unseen images, and write the table."""
    bench = Bench(model, features, store, device, workers, seed)
    for setting in settings.split(","):
        sampler, steps = setting.split(":")
        base = Point(sampler, int(steps))
        print(f"{sampler}, {steps} steps", flush=True)
        best, evaluations = pattern_search(bench, base, scan, step, finest)
        plain, scaled = bench.collect([base, best], CONFIRM_FROM // CHUNK * CHUNK, confirm)
        gain, half = bench.gain(plain, scaled)
        schedule = best.schedule
        numbers = (
            bench.fid(plain),
            best.mean,
            schedule.k,
            schedule.b,
            schedule.k,
            bench.fid(scaled),
            100 * gain,
            100 * (gain - half),
            100 * (gain + half),
        )
        row = [
            sampler,
            steps,
            *(f"{x:.6g}" for x in numbers),
            str(confirm),
            str(scan),
            str(evaluations),
        ]
        write_row(out, row)
        print("  confirmed:", dict(zip(COLUMNS, row, strict=True)), flush=True)


@app.command()
def table(
    path: Annotated[Path, typer.Option(help="what `effect` wrote")] = FASHION / "effect.csv",
) -> None:
    """Print the measured effect as the model card's Markdown table."""
    print("| sampler | steps | FID, λ = 1 | mean | slope | FID | gain % (95 % interval) | N |")
    print("|---|---|---|---|---|---|---|---|")
    with path.open(newline="") as file:
        for row in csv.DictReader(file):
            gain, low, high = (float(row[f"{name}_percent"]) for name in ("gain", "low", "high"))
            print(
                f"| {row['sampler']} | {row['steps']} | {float(row['fid_1']):.3f} "
                f"| {row['mean']} | {row['slope']} | {float(row['fid']):.3f} "
                f"| {gain:.1f} ({low:.1f} to {high:.1f}) | {row['n']} |"
            )


@app.command()
def pictures(
    out: Annotated[Path, typer.Option(help="PNG to write")],
    sampler: str = "ancestral",
    steps: int = 50,
    mean: float = 1.0,
    tilt: float = 0.0,
    rows: int = 4,
    columns: int = 16,
    model: Model = FASHION,
    features: Features = FASHION_FEATURES,
    seed: int = 0,
) -> None:
    """Draw the first samples of a setting."""
    pipeline, _ = networks(model, features, "cpu")
    point = Point(sampler, steps).at(mean, tilt)
    draw = counter_noise(pipeline, seed, range(rows * columns))
    options = pipeline.resolve(sampler, SamplerOptions())
    images = to_uint8(sample_batch(pipeline, sampler, steps, point.schedule, draw, options))
    tiles = images.view(rows, columns, *images.shape[-2:]).transpose(1, 2).flatten(2).flatten(0, 1)
    Image.fromarray(tiles.numpy()).save(out, optimize=True)


def write_row(path: Path, row: list[str]) -> None:
    """Replace the setting's row in the table, or add it, in one step."""
    rows = [row]
    if path.exists():
        with path.open(newline="") as file:
            rows += [old for old in list(csv.reader(file))[1:] if old[:2] != row[:2]]
    part = path.with_suffix(".part")
    with part.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        writer.writerows(sorted(rows, key=lambda r: (r[0], int(r[1]))))
    os.replace(part, path)


if __name__ == "__main__":
    app()
