#!/usr/bin/env python
"""Which score ranks schedules on few images, the plain FID or the half-split corrected one.

    python scripts/bench_ranking.py [--width 64] [--repetitions 200] [--json FILE]

Nine schedules in a simulated world whose true distances are known (tests/metrics/world.py) are
ranked by either score on n images with common noise, many times. Regret is the true distance of
the schedule that came first, less the best one's.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated
from typing import Any

import numpy as np
import torch
import typer
from rich.console import Console
from rich.table import Table

sys.path.insert(0, str(Path(__file__).parent.parent))

from lambda_search.metrics.evidence import score
from tests.metrics.world import World

LAMBDAS = [0.94 + 0.03 * i for i in range(9)]
RATIOS = (0.25, 0.5, 1.0, 2.0, 4.0, 8.0)


def main(
    width: Annotated[int, typer.Option(min=32, help="d, the width of the features.")] = 64,
    repetitions: Annotated[int, typer.Option(min=2)] = 200,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write the figures.")] = None,
) -> None:
    """Simulates and prints."""
    torch.set_num_threads(1)
    world = World(width)
    truth = world.truth(LAMBDAS)
    console = Console()
    told = ", ".join(f"{value:.2f}: {d:.4f}" for value, d in zip(LAMBDAS, truth, strict=True))
    console.print(f"true distances at λ = {told}")
    table = Table("n/d", "regret, plain", "corrected", "best found, plain", "corrected")
    figures: list[dict[str, Any]] = []
    for ratio in RATIOS:
        rng = np.random.default_rng(3)
        scores = [
            [score(x, world.reference) for x in world.samples(rng, int(ratio * width), LAMBDAS)]
            for _ in range(repetitions)
        ]
        row: dict[str, Any] = {"n/d": ratio}
        for name in ("fid", "corrected"):
            first = np.array([[getattr(s, name) for s in one] for one in scores]).argmin(1)
            row[f"regret_{name}"] = float(truth[first].mean() - truth.min())
            row[f"found_{name}"] = float((first == truth.argmin()).mean())
        figures.append(row)
        table.add_row(
            f"{ratio:g}",
            *(f"{row[f'regret_{name}']:.4f}" for name in ("fid", "corrected")),
            *(f"{row[f'found_{name}']:.0%}" for name in ("fid", "corrected")),
        )
    console.print(table)
    if json_file is not None:
        json_file.write_text(json.dumps({"truth": truth.tolist(), "rows": figures}, indent=2))


if __name__ == "__main__":
    typer.run(main)
