#!/usr/bin/env python
"""How good is what a study finds? A grid truth, and the study's winner beside it.

    python scripts/bench_truth.py --truth            # the grid, on images that no search sees
    python scripts/bench_truth.py --winner           # a finished study's λ on the same images

The grid spans the study's own ranges with common noise; a quadratic through its best region gives
the optimum. Every shard is kept, so an interrupted run goes on where it stopped.
"""

from __future__ import annotations

import csv
import json
from dataclasses import asdict
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from lambda_search.errors import Diverged
from lambda_search.launching import plans_of
from lambda_search.launching import worker_pool
from lambda_search.paths import bundled_folder
from lambda_search.paths import home
from lambda_search.search.plan import Plan
from lambda_search.search.space import Point
from lambda_search.spec import load_specs
from lambda_search.store.lookup import best
from lambda_search.work.evaluator import Evaluator
from lambda_search.work.features import FeatureFiles
from lambda_search.work.pool import Pool
from lambda_search.work.shards import Shards

TRUTH_FROM = 2_000_000
"""Sample indices from here on: neither search (from 0) nor confirmation (from 10⁶) uses them."""

console = Console(width=110)


@dataclass(frozen=True)
class GridPoint:
    """One candidate of the grid and its FID."""

    mean: float
    slope: float
    b: float
    k: float
    n: int
    fid: float
    corrected: float
    gain: float
    gain_standard_error: float


def main(
    truth: Annotated[bool, typer.Option("--truth", help="Measure the grid.")] = False,
    winner: Annotated[bool, typer.Option("--winner", help="Measure the study's winner.")] = False,
    study: Path = Path("studies/demo.yaml"),
    means: Annotated[int, typer.Option(min=3)] = 9,
    slopes: Annotated[int, typer.Option(min=1)] = 3,
    n: Annotated[int, typer.Option("-n", help="Images a point.")] = 5000,
    workers: int | None = None,
    out: Annotated[Path | None, typer.Option(help="The CSV. [default: beside the model]")] = None,
) -> None:
    """Measures the grid or the winner and prints."""
    plan = plans_of(load_specs(study))[0]
    path = out or bundled_folder("fashion-mnist") / "truth.csv"
    if truth:
        space = plan.space
        points = [
            Point(float(mean), float(slope))
            for slope in np.linspace(*space.slope, slopes)
            for mean in np.linspace(*space.mean, means)
        ]
        with worker_pool(workers, None, None) as pool:
            grid = measure(plan, points, n, pool)
        write(path, grid)
        console.print(f"written: {path.name}")
    grid = read(path)
    show(grid)
    if winner:
        found = best(plan.setting.model, plan.setting.steps, plan.setting.sampler)
        mean = found.schedule.mean(plan.space.steps)
        with worker_pool(workers, None, None) as pool:
            [mine] = measure(plan, [Point(mean, found.schedule.k)], grid[0].n, pool)
        lowest = min(point.fid for point in grid)
        figures = {"winner": asdict(mine), "best_of_grid": lowest, "ratio": mine.fid / lowest}
        console.print(
            f"winner λ(i) = {found.schedule}: FID {mine.fid:.3f}; "
            f"best of the grid {lowest:.3f}; ratio {mine.fid / lowest:.4f}"
        )
        print(json.dumps(figures))


def measure(plan: Plan, points: list[Point], n: int, pool: Pool) -> list[GridPoint]:
    """FIDs of `points` on n images each, from TRUTH_FROM on; without those that diverge."""
    schedules = [plan.space.schedule(point) for point in points]
    first = -(-TRUTH_FROM // plan.batch) * plan.batch
    with Shards(pool, FeatureFiles(home() / "truth")) as shards:
        evaluator = Evaluator(plan.recipe, shards)
        evaluator.prepare()
        with console.status(f"{len(points)} points of {n:,} images"):
            results = evaluator.results(schedules, first, n)
    found = []
    for point, schedule, result in zip(points, schedules, results, strict=True):
        if isinstance(result, Diverged):
            console.print(f"left out, λ(i) = {schedule}: {result.cause}")
            continue
        found.append(
            GridPoint(
                point.mean,
                point.slope,
                schedule.b,
                schedule.k,
                n,
                result.score.fid,
                result.score.corrected,
                result.against.gain,
                result.against.standard_error,
            )
        )
    return found


def write(path: Path, grid: list[GridPoint]) -> None:
    """Writes the grid as a CSV file."""
    with path.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, list(asdict(grid[0])))
        writer.writeheader()
        writer.writerows(asdict(point) for point in grid)


def read(path: Path) -> list[GridPoint]:
    """The grid of a CSV file."""
    with path.open(newline="") as stream:
        return [
            GridPoint(n=int(row.pop("n")), **{name: float(value) for name, value in row.items()})
            for row in csv.DictReader(stream)
        ]


def quadratic_optimum(grid: list[GridPoint]) -> tuple[float, float, float]:
    """(mean, slope, FID) at the minimum of a quadratic through the better half of the grid."""
    better = sorted(grid, key=lambda point: point.fid)[: max(9, len(grid) // 2)]
    scale = np.array([max(p.mean for p in grid), max(abs(p.slope) for p in grid) or 1.0])
    x = np.array([[p.mean, p.slope] for p in better]) / scale
    middle = x.mean(0)
    y = np.array([p.fid for p in better])
    coefficients = np.linalg.lstsq(_design(x - middle), y, rcond=None)[0]
    fine = np.stack(
        np.meshgrid(
            *(np.linspace(low, high, 201) for low, high in zip(x.min(0), x.max(0), strict=True))
        ),
        axis=-1,
    ).reshape(-1, 2)
    values = _design(fine - middle) @ coefficients
    at = fine[values.argmin()] * scale
    return float(at[0]), float(at[1]), float(values.min())


def show(grid: list[GridPoint]) -> None:
    """Prints the grid's FIDs, means across, slopes down, and the fitted optimum."""
    means = sorted({point.mean for point in grid})
    by_place = {(point.mean, point.slope): point for point in grid}
    table = Table("slope", *(f"{mean:.4f}" for mean in means), title=f"FID, n = {grid[0].n:,}")
    lowest = min(point.fid for point in grid)
    for slope in sorted({point.slope for point in grid}):
        row = [by_place.get((mean, slope)) for mean in means]
        cells = ["–" if point is None else f"{point.fid:.3f}" for point in row]
        shown = [f"[bold green]{c}[/]" if c == f"{lowest:.3f}" else c for c in cells]
        table.add_row(f"{slope:+.4f}", *shown)
    console.print(table)
    mean, slope, fid = quadratic_optimum(grid)
    console.print(f"quadratic optimum: mean {mean:.4f}, slope {slope:+.5f}, FID {fid:.3f}")


def _design(x: NDArray[np.float64]) -> NDArray[np.float64]:
    one, a, b = np.ones(len(x)), x[:, 0], x[:, 1]
    return np.stack([one, a, b, a * a, a * b, b * b], axis=1)


if __name__ == "__main__":
    typer.run(main)
