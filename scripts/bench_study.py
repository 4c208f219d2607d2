#!/usr/bin/env python
"""What a whole study costs, proof included, and how often it is right.

    python scripts/bench_study.py [--seeds 100] [--landscapes bundled,small,none] [--json FILE]

Emulated studies (tests/search/whole.py): a search by the knowledge gradient from default ranges to
its own end, then its best candidate and λ = 1 on images that it has not seen, looked at up to five
times until the gain is known to ±`--precision` of FID(1). Shown are the images that the search and
the whole study made (of the whole also what nine in ten studies needed at most), why searches
ended, how many rows recommend λ = 1, and how many a schedule that is truly worse than λ = 1; how
many recommended schedules reach the goal of `bench_search.py`; how many intervals hold.
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from dataclasses import asdict
from dataclasses import replace
from pathlib import Path
from typing import Annotated
from typing import Any

import numpy as np
import typer
from rich.console import Console
from rich.table import Table

sys.path.insert(0, str(Path(__file__).parent.parent))

from tests.search.emulator import Emulator
from tests.search.landscapes import BUNDLED
from tests.search.landscapes import NO_GAIN
from tests.search.landscapes import SIMULATED
from tests.search.landscapes import SMALL_GAINS
from tests.search.landscapes import Landscape
from tests.search.players import tilt
from tests.search.whole import studied

_WIDE_NONE = replace(NO_GAIN, name="λ = 1 is best, d = 2048", features=2048)
LANDSCAPES = {
    "bundled": BUNDLED,
    "small": SMALL_GAINS,
    "none": (NO_GAIN,),
    "simulated": (*SIMULATED, _WIDE_NONE),
}


def main(
    seeds: Annotated[int, typer.Option(min=1)] = 100,
    first: Annotated[int, typer.Option(min=0, help="The first seed.")] = 400,
    landscapes: Annotated[
        str, typer.Option(help="Of bundled, small, none, simulated (d = 2048).")
    ] = "bundled,small,none",
    precision: Annotated[float, typer.Option(help="A share of FID(1).")] = 0.015,
    samples: Annotated[int, typer.Option(help="Images of a schedule in the proof, at most.")] = (
        50_000
    ),
    budget: Annotated[int | None, typer.Option(help="Images of the search, at most.")] = None,
    components: Annotated[
        int | None, typer.Option(help="Of the projected distance, by which rounds rank.")
    ] = None,
    off: Annotated[
        float, typer.Option(help="How far its optimum's FID lies above the lowest, a share.")
    ] = 0.0005,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write the figures.")] = None,
) -> None:
    """Plays and prints."""
    figures: list[dict[str, Any]] = []
    for kind in landscapes.split(","):
        for truth in LANDSCAPES[kind]:
            shown = None if components is None else projected(truth, components, off)
            figures.append(
                played(truth, range(first, first + seeds), precision, samples, budget, shown)
            )
            if json_file is not None:
                json_file.write_text(json.dumps(figures, indent=2))
    show(figures)


def projected(truth: Landscape, components: int, off: float) -> tuple[Landscape, Landscape]:
    """What the projected distance shows of it, its optimum to either side."""
    of_few = replace(truth, features=components)
    return of_few.beside(off), of_few.beside(off, -1)


def played(
    truth: Landscape,
    seeds: range,
    precision: float,
    samples: int,
    budget: int | None,
    shown: tuple[Landscape, Landscape] | None,
) -> dict[str, Any]:
    """Studies of one landscape."""
    found = []
    for seed in seeds:
        ranked = None if shown is None else Emulator(shown[seed % 2], seed)
        proof = Emulator(truth, seed)
        found.append(studied(proof, seed, precision, samples, budget=budget, ranked=ranked))
    images = np.array([one.images for one in found])
    good = [truth.good(one.recommended.mean, tilt(one.recommended)) for one in found]
    return {
        "landscape": truth.name,
        "gain": truth.gain,
        "d": truth.features,
        "seeds": [seeds[0], seeds[-1]],
        "precision": precision,
        "searched": float(np.median([one.searched for one in found])),
        "images": float(np.median(images)),
        "images of 90 %": float(np.quantile(images, 0.9)),
        "endings": dict(Counter(one.ending for one in found)),
        "λ = 1": float(np.mean([one.status != "confirmed" for one in found])),
        "worse": float(np.mean([one.worth < 0 for one in found])),
        "good": float(np.mean(good)),
        "held": float(np.mean([one.held for one in found])),
        "half width": float(np.median([one.half_width for one in found])),
        "studies": [asdict(one) for one in found],
    }


def show(figures: list[dict[str, Any]]) -> None:
    """Prints them."""
    table = Table(
        "landscape", "gain", "search", "study", "of 90 %", "ended", "λ = 1", "worse", "goal",
        "held", "±",
    )  # fmt: skip
    for row in figures:
        endings = ", ".join(f"{name} {count}" for name, count in row["endings"].items())
        table.add_row(
            row["landscape"],
            f"{row['gain']:.1%}",
            f"{row['searched']:,.0f}",
            f"{row['images']:,.0f}",
            f"{row['images of 90 %']:,.0f}",
            endings,
            *(f"{row[name]:.0%}" for name in ("λ = 1", "worse", "good", "held")),
            f"{row['half width']:.2%}",
        )
    Console(width=120).print(table)


if __name__ == "__main__":
    typer.run(main)
