#!/usr/bin/env python
"""Which score ranks schedules on few images.

    python scripts/bench_ranking.py [--widths 128,512,2048] [--json FILE]

Schedules of a simulated world whose true distances are known (tests/metrics/spectral.py) change
contrast, sharpness or mean; they are ranked by several scores on n images with common noise, again
and again. Scores: the plain FID; half-split and second-order split (1/n, and 1/n² too, taken off
by the FIDs of halves, and of quarters); the half-split one in the leading k components of the
reference, and with the means, or means and variances, of the others; the estimator that corrects
the spectrum, for n > d; KID.

Regret is how far the true FID of the schedule that came first lies above the lowest. Bias and
spread are of the difference between λ = 1 and the best, in shares of the score's own lowest true
value: the difference that is told less the true one, and its standard deviation.
"""

from __future__ import annotations

import json
import sys
from collections import defaultdict
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Annotated
from typing import Any
from typing import get_args

import numpy as np
import torch
import typer
from rich.console import Console
from rich.table import Table
from torch import Tensor

sys.path.insert(0, str(Path(__file__).parent.parent))

from tests.metrics.spectral import Change
from tests.metrics.spectral import Spectral

SCHEDULES = [-0.2, 0.0, 0.1, 0.25, 0.4, 0.55, 0.7, 0.85, 1.0]
COMPONENTS = (16, 32, 64, 128, 256)
AT_ONE = SCHEDULES.index(0.0)
_MOST = 2
"""n/d, beyond which every score ranks well."""
_NODES = 12

console = Console(width=120)


def main(
    widths: Annotated[str, typer.Option(help="d, the widths of the features.")] = "128,512,2048",
    sizes: Annotated[str, typer.Option(help="n, images of a schedule.")] = "256,512,1024,2048",
    repetitions: Annotated[int, typer.Option(min=2)] = 20,
    exponent: Annotated[float, typer.Option(help="Of the reference's spectrum.")] = 1.0,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write the figures.")] = None,
) -> None:
    """Simulates and prints."""
    torch.set_num_threads(1)
    figures: list[dict[str, Any]] = []
    for d in map(int, widths.split(",")):
        for n in (one for one in map(int, sizes.split(",")) if one <= _MOST * d):
            for change in get_args(Change):
                world = Spectral(d, change, exponent)
                figures += measured(world, change, n, repetitions)
                if json_file is not None:
                    json_file.write_text(json.dumps(figures, indent=0))
            show([row for row in figures if (row["d"], row["n"]) == (d, n)])


def measured(world: Spectral, change: Change, n: int, repetitions: int) -> list[dict[str, Any]]:
    """The figures of all scores."""
    truth = world.truths(SCHEDULES)
    best = int(truth.argmin())
    rng = np.random.default_rng([3, world.d, n])
    told: dict[str, list[list[float]]] = defaultdict(list)
    for _ in range(repetitions):
        sets = [scores(world, x) for x in world.samples(rng, n, SCHEDULES)]
        for name in sets[0]:
            told[name].append([one[name] for one in sets])
    found = []
    for name, many in told.items():
        values = np.array(many)
        regrets = truth[values.argmin(1)] / truth.min() - 1
        own = world.truths(SCHEDULES, *own_of(name))
        differences = (values[:, AT_ONE] - values[:, best]) / own.min()
        gain = (own[AT_ONE] - own[best]) / own.min()
        has_scale = name != "KID"
        found.append(
            {
                "d": world.d,
                "n": n,
                "change": change,
                "score": name,
                "repetitions": repetitions,
                "gain": float(truth[AT_ONE] / truth[best] - 1),
                "regret": float(regrets.mean()),
                "worst": float(regrets.max()),
                "bias": float(differences.mean() - gain) if has_scale else None,
                "spread": float(differences.std(ddof=1)) if has_scale else None,
            }
        )
    return found


def scores(world: Spectral, x: Tensor) -> dict[str, float]:
    """All scores of features [n, d]; the lower, the better."""
    n, d = x.shape
    plain = world.distance(x)
    halves = float(np.mean([world.distance(x[start::2]) for start in range(2)]))
    quarters = float(np.mean([world.distance(x[start::4]) for start in range(4)]))
    found = {
        "plain": plain,
        "half-split": 2 * plain - halves,
        "second order": (8 * plain - 6 * halves + quarters) / 3,
        "KID": world.kid(x),
    }
    if n > d + 1:
        found["spectrum"] = corrected_by_spectrum(world, x)
    for k in (one for one in COMPONENTS if one < d and n >= 2 * one):
        mean, variance = (
            split(partial(world.of_means, k=k), x),
            split(partial(world.of_variances, k=k), x),
        )
        inner = split(world.distance, x[:, :k])
        found[f"{k} components"] = inner
        found[f"{k}, others' means"] = inner + mean
        found[f"{k}, others' means, variances"] = inner + mean + variance
    return found


def own_of(name: str) -> tuple[int | None, bool]:
    """The components of which a score has variances, all unless given, and if means of all."""
    number, _, others = name.partition(", others' ")
    if others == "means":
        return int(number), True
    number = name.removesuffix(" components")
    return (int(number), False) if number.isdigit() else (None, False)


def split(distance: Callable[[Tensor], float], x: Tensor) -> float:
    """The half-split corrected distance."""
    halves = [distance(x[start::2]) for start in range(2)]
    return 2 * distance(x) - float(np.mean(halves))


def corrected_by_spectrum(world: Spectral, x: Tensor) -> float:
    r"""The distance with Σ √eigenvalue estimated for n > d, where the reference is known.

    With m̲(z) = Σ 1/(λᵢ − z)/N − (1 − d/N)/z, N = n − 1, and its zeros ηᵢ, which lie below the
    λᵢ, Σ √tᵢ is about 2N/π · Σ ∫ √m̲(x) dx from ηᵢ to λᵢ: Mestre's integral (2008,
    doi:10.1109/TIT.2008.929938) by parts; Tiomoko & Couillet 2019, arXiv:1903.03447, where the
    second set has no end.
    """
    shift, trace, values = world.parts(x)
    n, d = len(x) - 1, x.shape[1]
    upper = values.numpy()
    root = np.sqrt(upper)
    lower = np.linalg.eigvalsh(np.diag(upper) - np.outer(root, root) / n)
    half, total = (upper - lower) / 2, 0.0
    for angle in (2 * np.arange(_NODES) + 1) * np.pi / (2 * _NODES):  # Gauss–Chebyshev
        z = (upper + lower) / 2 + half * np.cos(angle)
        stieltjes = (1 / (upper - z[:, None])).sum(1) / n - (1 - d / n) / z
        total += float((half * np.sin(angle) * np.sqrt(np.maximum(stieltjes, 0))).sum())
    cross = 2 * n / np.pi * total * np.pi / _NODES
    return shift - trace / len(x) + trace + float(world.variances.sum()) - 2 * cross


def show(figures: list[dict[str, Any]]) -> None:
    """Prints a table of one width and n."""
    first = figures[0]
    changes = get_args(Change)
    table = Table(
        "score",
        *(f"{change}: regret (worst), bias, spread" for change in changes),
        title=f"d = {first['d']:,}, n = {first['n']:,}",
    )
    for name in dict.fromkeys(row["score"] for row in figures):
        rows = [row for row in figures if row["score"] == name]
        table.add_row(
            name,
            *(
                f"{row['regret']:.1%} ({row['worst']:.1%})"
                + ("" if row["bias"] is None else f", {row['bias']:+.1%}, {row['spread']:.1%}")
                for row in rows
            ),
        )
    console.print(table)


if __name__ == "__main__":
    typer.run(main)
