#!/usr/bin/env python
"""Where the emulated landscapes come from: the bundled model's valleys, measured and fitted.

    python scripts/fit_landscape.py measure ddim 10 --mean 0.94 --tilt 0.14 --ridge -0.4
    python scripts/fit_landscape.py form ddim 10 bundled-ddim-10
    python scripts/fit_landscape.py noise bundled-ddim-10

`measure` scores a grid about a valley on images that no search sees, and adds it to
tests/data/valleys.csv; `form` fits `tests/search/landscapes.py`'s to it, and to what a study's
trials gained far from it; `noise` fits the noise to the influences that a study's rounds left.
Studies are those of LAMBDA_SEARCH_HOME.
"""

from __future__ import annotations

import csv
import sys
from itertools import combinations
from pathlib import Path
from typing import Annotated
from typing import TypeAlias

import numpy as np
import typer
from numpy.typing import NDArray
from rich.console import Console
from scipy.optimize import least_squares

sys.path.insert(0, str(Path(__file__).parent.parent))

from bench_truth import TRUTH_FROM
from measure_bundled import measured

from lambda_search.launching import plans_of
from lambda_search.launching import worker_pool
from lambda_search.schedule import LambdaSchedule
from lambda_search.spec import load_specs
from lambda_search.store.store import Store
from tests.search.landscapes import UNITS
from tests.search.landscapes import Landscape
from tests.search.landscapes import Noise

VALLEYS = Path(__file__).parent.parent / "tests" / "data" / "valleys.csv"
Array: TypeAlias = NDArray[np.float64]
_ONE_IMAGE = 0.35
"""Deviation of a paired gain that one image makes, a share of FID(1)."""
_QUARTER = 1.25
app = typer.Typer(add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False)
console = Console(width=110)


@app.command()
def measure(
    sampler: str,
    steps: int,
    mean: Annotated[float, typer.Option(help="Of a point of the valley.")],
    tilt: Annotated[float, typer.Option(help="Its k(T′ − 1).")],
    ridge: Annotated[float, typer.Option(help="How the valley's mean moves with the tilt.")],
    tilts: str = "0,0.05,0.1,0.15,0.2,0.27",
    across: Annotated[str, typer.Option(help="Means beside the valley.")] = "-0.01,0,0.01",
    n: Annotated[int, typer.Option("-n", help="Images a schedule.")] = 1024,
) -> None:
    """Scores the grid and λ = 1."""
    study = Path(__file__).parent.parent / "studies" / "bundled" / f"{sampler}.yaml"
    [plan] = [one for one in plans_of(load_specs(study)) if one.setting.steps == steps]
    places = [(1.0, 0.0)]
    places += [
        (mean + ridge * (float(at) - tilt) + float(off), float(at))
        for at in tilts.split(",")
        for off in across.split(",")
    ]
    schedules = [LambdaSchedule.from_mean(m, t / (steps - 1), steps) for m, t in places]
    first = -(-TRUTH_FROM // plan.batch) * plan.batch
    with worker_pool(None, None, None) as pool:
        found = measured(plan, pool, schedules, first, n)
    is_new = not VALLEYS.exists()
    with VALLEYS.open("a", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        if is_new:
            writer.writerow(["sampler", "steps", "mean", "tilt", "n", "fid"])
        for (m, t), one in zip(places, found, strict=True):
            writer.writerow([sampler, steps, f"{m:.6g}", t, n, f"{one.score.corrected:.5g}"])


@app.command()
def form(sampler: str, steps: int, study: str) -> None:
    """Prints the landscape that lies nearest, in logs, high walls counting less."""
    if not VALLEYS.exists():
        raise SystemExit("There is no valleys.csv: measure it first.")
    with VALLEYS.open() as stream:
        rows = [
            one
            for one in csv.DictReader(stream)
            if (one["sampler"], one["steps"]) == (sampler, str(steps))
        ]
    if not rows:
        raise SystemExit(f"valleys.csv has no {sampler} with {steps} steps: measure it first.")
    fid = [float(one["fid"]) for one in rows]
    at = [(float(one["mean"]), float(one["tilt"])) for one in rows]
    images = [int(one["n"]) for one in rows]
    store = Store()
    for trial in store.trials(store.study(study).id)[1:]:
        if trial.gain is not None and trial.fid is not None and trial.n is not None:
            at.append((trial.schedule.mean(steps), trial.schedule.k * (steps - 1)))
            fid.append(fid[0] * trial.fid / (trial.fid + trial.gain))
            images.append(trial.n)
    (mean, tilt), y = np.array(at).T, np.log(fid)
    weight = 1 / np.hypot(0.005 + 0.12 * (y - y.min()), _ONE_IMAGE / np.sqrt(images))

    def landscape(p: Array) -> Landscape:
        return Landscape(f"{sampler}, {steps} steps", fid[0] * p[0], *map(float, p[1:]))

    def off(p: Array) -> Array:
        found: Array = np.log(landscape(p).fid(mean, tilt)) - y
        return found

    best = np.clip([mean[y.argmin()], tilt[y.argmin()]], [0.81, -0.29], [1.19, 0.49])
    fits = [
        least_squares(
            lambda p: off(p) * weight,
            [1, 0.1, *best, -0.4, 0.5, 0.02, skew, reach, 0.5],
            bounds=(
                [0.9, 0, 0.8, -0.3, -1, 0, 0.012, -0.7, 0.04, -3],
                [1.1, 2, 1.2, 0.5, 1, 5, 0.1, 0.7, 0.3, 6],
            ),
            x_scale=[0.1, 0.1, 0.01, 0.05, 0.1, 0.3, 0.01, 0.3, 0.05, 2],
            loss="soft_l1",
        )
        for skew in (-0.4, 0.0, 0.4)
        for reach in (0.06, 0.1, 0.2)
    ]
    found = min(fits, key=lambda one: float(one.cost)).x
    console.print(repr(landscape(found)))
    rms = [float(np.sqrt(np.mean(part**2))) for part in np.split(off(found), [len(rows)])]
    console.print(
        f"rms {rms[0]:.1%} of the grid, {rms[1]:.1%} of the study's {len(y) - len(rows)}"
    )


@app.command()
def noise(study: str) -> None:
    """Prints the noise that lies nearest to the variances of differences, in logs."""
    store = Store()
    found = store.study(study)
    trials = {one.number: one for one in store.trials(found.id)}
    rows = store.rows(found.id)
    if not rows:
        raise SystemExit(f"{study} has no row yet: run it to its end.")
    steps = rows[-1].setting.steps
    apart, variance, levels = [], [], []
    for one in store.rounds(found.id):
        if one.covariance is None or len(one.covariance) != len(one.trials):
            continue
        told = [trials[number] for number in one.trials]
        fid = one.scores or [trial.fid or np.inf for trial in told]
        covariance = np.array(one.covariance) / fid[0] ** 2
        places = [
            np.array([t.schedule.mean(steps) - 1, t.schedule.k * (steps - 1)]) / UNITS
            for t in told
        ]
        levels.append(covariance[0, 0])
        for i, j in combinations(range(len(told)), 2):
            if max(fid[i], fid[j]) < _QUARTER * fid[0]:
                apart.append(places[i] - places[j])
                variance.append(covariance[i, i] + covariance[j, j] - 2 * covariance[i, j])
    away = np.array(apart)

    def off(p: Array) -> Array:
        smooth = (away @ p[:2]) ** 2 + (p[2] * away[:, 1]) ** 2
        own = 2 * p[3] ** 2 * (1 - np.exp(-np.hypot(*away.T)))
        left: Array = np.log(smooth + own + 1e-9) - np.log(variance)
        return left

    starts = ([0.7, 0.7, 0.2, 0.4], [0.3, 0.3, 0.1, 0.6], [1.5, 1.5, 0.1, 0.1])
    fits = [least_squares(off, start, loss="soft_l1") for start in starts]
    p = np.abs(min(fits, key=lambda one: float(one.cost)).x).round(3).tolist()
    console.print(repr(Noise(round(float(np.mean(levels)) ** 0.5, 2), (p[0], p[1]), p[2], p[3])))
    console.print(
        f"scatter {np.std(off(np.array(p))) / 2:.2f} in the logs of {len(away)} deviations"
    )


if __name__ == "__main__":
    app()
