#!/usr/bin/env python
"""How often the intervals of a confirmation in looks hold, and how much wider they are.

    python scripts/bench_confirm.py [--width 64 --width 128] [--repetitions 1000] [--json FILE]

Features are Gaussian with known distances (tests/search/sequential.py); three candidates of one
true gain, none or a tenth of FID(1), are scored with λ = 1 at every look, and the best is picked.
"""

from __future__ import annotations

import json
import sys
import time
from collections import Counter
from math import ceil
from pathlib import Path
from typing import Annotated
from typing import Any

import torch
import typer
from rich.console import Console
from rich.table import Table
from scipy.stats import binomtest

sys.path.insert(0, str(Path(__file__).parent.parent))

from tests.search.sequential import World
from tests.search.sequential import confirmed

GAINS = (0.0, 0.1)
PRECISIONS = (0.04, 0.02, 0.01)
"""Reached at the second look, at a later one, and perhaps not before the images run out."""


def main(
    width: Annotated[
        list[int] | None, typer.Option(min=16, help="d; several may be given.")
    ] = None,
    repetitions: Annotated[int, typer.Option(min=2, help="Of all settings of a width.")] = 1000,
    most: Annotated[int, typer.Option(min=5, help="The most images, in widths.")] = 60,
    device: str = "cpu",
    json_file: Annotated[Path | None, typer.Option("--json", help="Write the figures.")] = None,
) -> None:
    """Simulates and prints."""
    torch.set_num_threads(1)
    table = Table(
        "d", "true gain", "±", "runs", "held, all looks", "held, picked", "width", "images"
    )
    figures: list[dict[str, Any]] = []
    for d in width or [64, 128]:
        for gain in GAINS:
            world = World(d, gain, device)
            for precision in PRECISIONS:
                runs = ceil(repetitions / (len(GAINS) * len(PRECISIONS)))
                began = time.perf_counter()
                found = [confirmed(world, seed, precision, most * d) for seed in range(runs)]
                figures.append(
                    {
                        "d": d,
                        "gain": gain,
                        "precision": precision,
                        "runs": runs,
                        "joint": sum(one.joint for one in found),
                        "held": sum(one.held for one in found),
                        "wider": sum(one.wider for one in found) / runs,
                        "images": sum(one.made[-1] for one in found) / runs,
                        "luck": sum(one.error for one in found) / runs,
                        "ended": dict(Counter(one.ended for one in found)),
                        "looks": dict(Counter(len(one.made) for one in found)),
                        "confirmed": sum(one.status == "confirmed" for one in found),
                        "seconds": time.perf_counter() - began,
                    }
                )
                one = figures[-1]
                table.add_row(
                    f"{d}",
                    f"{gain:.0%}",
                    f"{precision:.1%}",
                    f"{runs}",
                    _share(one["joint"], runs),
                    _share(one["held"], runs),
                    f"{one['wider']:.3f}",
                    f"{one['images']:,.0f}",
                )
        several = [one for one in figures if one["d"] == d]
        runs = sum(one["runs"] for one in several)
        table.add_row(
            f"{d}",
            "all",
            "",
            f"{runs}",
            _share(sum(one["joint"] for one in several), runs),
            _share(sum(one["held"] for one in several), runs),
            f"{sum(one['wider'] * one['runs'] for one in several) / runs:.3f}",
        )
    Console().print(table)
    if json_file is not None:
        json_file.write_text(json.dumps(figures, indent=2))


def _share(hits: int, runs: int) -> str:
    """A share with its exact 95 % interval (Clopper & Pearson)."""
    low, high = binomtest(hits, runs).proportion_ci()
    return f"{hits / runs:.1%} [{low:.1%}, {high:.1%}]"


if __name__ == "__main__":
    typer.run(main)
