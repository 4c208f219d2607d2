#!/usr/bin/env python
"""What a confirmation needs in memory: its features are kept, and a real worker scores them there.

    python scripts/bench_road.py [--images 50000] [--width 2048] [--candidates 3] [--json FILE]

Random features are written as the shards that would have been sampled, then λ = 1 and the
candidates are scored with FID∞ and KID, on a private Ray cluster. Told are the most that driver
and worker had in memory, and the largest task and answer, which are all that Ray carries.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import pickle
import resource
import sys
import tempfile
import time
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated
from typing import Any

import numpy as np
import torch
import typer

sys.path.insert(0, str(Path(__file__).parent.parent))

from lambda_search.cluster.pool import RayPool
from lambda_search.errors import Diverged
from lambda_search.metrics.references.statistics import Statistics
from lambda_search.paths import features_url
from lambda_search.records import Identity
from lambda_search.schedule import LambdaSchedule
from lambda_search.setting import SamplerOptions
from lambda_search.setting import Sampling
from lambda_search.work.evaluator import Evaluator
from lambda_search.work.features import FeatureFiles
from lambda_search.work.own import keep
from lambda_search.work.pool import Pool
from lambda_search.work.recipe import Measure
from lambda_search.work.recipe import OwnSamples
from lambda_search.work.recipe import Recipe
from lambda_search.work.recipe import shard_name
from lambda_search.work.shards import Shards

FIRST, BATCH, KEPT = 10**6, 100, 2000
SAMPLING = Sampling(sampler="ddim", steps=10, options=SamplerOptions(batch=BATCH))


def main(
    images: Annotated[int, typer.Option(min=100, help="Of each schedule.")] = 50_000,
    width: Annotated[int, typer.Option(min=16, help="d, of the features.")] = 2048,
    candidates: Annotated[int, typer.Option(min=1, help="Schedules beside λ = 1.")] = 3,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write the figures.")] = None,
) -> None:
    """Measures and prints. The features need 4 · images · width bytes a schedule, for a while."""
    schedules = [LambdaSchedule(1 + 0.005 * place) for place in range(candidates + 1)]
    recipe = recipe_of(width)
    with tempfile.TemporaryDirectory() as folder:
        os.environ["LAMBDA_SEARCH_HOME"] = folder
        pool = RayPool(workers=1)
        try:
            figures = scored(recipe, schedules, images, pool)
        finally:
            pool.close()
    for name, value in figures.items():
        print(f"{name:32} {value:>12,}")
    if json_file is not None:
        json_file.write_text(json.dumps(figures, indent=2))


def recipe_of(width: int) -> Recipe:
    """Of images that are never made, against a reference that is there."""
    own = OwnSamples(SAMPLING, 4 * width, 100)
    measure = Measure("random", "e" * 64, "self:100", "f" * 64, width, own)
    return Recipe("adm", "none.pt", None, "w" * 64, "d" * 64, SAMPLING, 0, (measure,))


def scored(
    recipe: Recipe, schedules: list[LambdaSchedule], images: int, pool: RayPool
) -> dict[str, Any]:
    """Writes features and scores them; the figures."""
    traffic = Traffic(pool)
    with Shards(traffic, FeatureFiles(features_url())) as shards:
        evaluator = Evaluator(recipe, shards)
        told = recipe, evaluator.identity, schedules, images
        other = multiprocessing.get_context("spawn").Process(target=write_all, args=told)
        other.start()  # what it needs is no part of the driver
        other.join()
        assert other.exitcode == 0
        begin = time.perf_counter()
        found = evaluator.results(schedules, FIRST, images, whole=True)
        seconds = time.perf_counter() - begin
        worker, idle = pool.submit(Peak()).result(), evaluator.meter.images
    assert idle == 0 and not any(isinstance(one, Diverged) for one in found)
    for schedule, one in zip(schedules, found, strict=True):
        assert not isinstance(one, Diverged)
        error, alike = one.score.standard_error, one.against.correlation
        print(f"λ = {schedule.b:g}: FID {one.score.fid:.4f} ± {error:.4f}, r = {alike:.3f}")
    width = recipe.measures[0].width
    return {
        "schedules": len(schedules),
        "images": images,
        "width": width,
        "features in MB": round(4 * width * images * len(schedules) / 1e6),
        "seconds": round(seconds, 1),
        "driver in MB": round(peak() / 1e6),
        "worker in MB": round(worker / 1e6),
        "largest task in kB": round(traffic.task / 1e3, 1),
        "largest answer in kB": round(traffic.answer / 1e3, 1),
    }


def write_all(
    recipe: Recipe, identity: Identity, schedules: list[LambdaSchedule], images: int
) -> None:
    """Keeps a reference, and every shard's features: alike for all schedules, a little apart."""
    [measure] = recipe.measures
    width, rng = measure.width, np.random.default_rng(1)
    spread = (np.arange(1, width + 1) ** -0.35).astype(np.float32)
    real = rng.standard_normal((4 * width, width), np.float32) * spread
    cov = np.cov(real.astype(np.float64), rowvar=False)
    mean = real.mean(0, dtype=np.float64)
    keep(measure, Statistics(mean, cov, len(real), real[:KEPT], measure.extractor_fingerprint))
    files = FeatureFiles(features_url())
    for start in range(FIRST, FIRST + images, BATCH):
        noise = np.random.default_rng(start).standard_normal((BATCH, width), np.float32)
        for schedule in schedules:
            name = shard_name(recipe, identity, schedule, start, measure)
            features = (noise + np.float32(0.1)) * spread * np.float32(2.1 - schedule.b)
            files.put(recipe.family, name, features)


def peak() -> int:
    """The most bytes that this process had in memory."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


@dataclass(frozen=True)
class Peak:
    """A task that tells a worker's."""

    def run(self, context: object) -> int:
        import resource

        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


class Traffic:
    """A pool that weighs what travels: the largest task and answer, in bytes."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self.task = self.answer = 0

    @property
    def device_kind(self) -> str:
        return self._pool.device_kind

    def kinds(self) -> dict[str, int]:
        return self._pool.kinds()

    def places(self) -> list[tuple[str, str, int]]:
        return self._pool.places()

    def submit(self, task: Any, urgent: bool = False, kind: str | None = None) -> Future[Any]:
        self.task = max(self.task, len(pickle.dumps(task)))
        future = self._pool.submit(task, urgent, kind)
        future.add_done_callback(self._weigh)
        return future

    def _weigh(self, future: Future[Any]) -> None:
        self.answer = max(self.answer, len(pickle.dumps(future.result())))


if __name__ == "__main__":
    torch.set_num_threads(1)
    typer.run(main)
