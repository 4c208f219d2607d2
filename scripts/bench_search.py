#!/usr/bin/env python
"""How many images does a search need? Ours and others play an emulator of a study.

    python scripts/bench_search.py                    # all players on all landscapes
    python scripts/bench_search.py --players ours,tpe --landscapes bundled --seeds 50

An emulated study (tests/search/emulator.py) has a known truth and a noise field drawn anew for
each seed. Of ours, `same` begins at the optimum itself, as of a close relative (`relatives`),
`neighbour` at that of the same sampler's first other landscape in the list (half, twice or a
quarter of the steps), `misled` at the corner farthest from it, as of a close one. Counted are all
images, λ = 1 among them, until the leader is within 1 % of the optimum and within a quarter of its
gain for good (no worse than λ = 1, where that gain is below 2 %). A run that never gets there, up
to its limit, counts as infinite. Peers are told our paired score on n images with common noise; of
several n the one of the lowest median is shown.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated
from typing import Any
from unittest.mock import patch

import numpy as np
import typer
from numpy.typing import NDArray
from optuna.samplers import GPSampler
from optuna.samplers import TPESampler
from rich.console import Console
from rich.table import Table

sys.path.insert(0, str(Path(__file__).parent.parent))

from lambda_search.metrics.evidence import enough_images
from lambda_search.search.noise import noise_covariance
from tests.search import players
from tests.search.emulator import Emulator
from tests.search.landscapes import BUNDLED
from tests.search.landscapes import NO_GAIN
from tests.search.landscapes import SIMULATED
from tests.search.landscapes import Landscape

LANDSCAPES = {"bundled": BUNDLED, "simulated": SIMULATED, "none": (NO_GAIN,)}
PLAYERS = ("ours", "same", "neighbour", "misled", "independent", "grid", "tpe", "gp")
SIZES = (300, 600, 1200, 2500)
WIDE = 2048

console = Console(width=110)


def main(
    seeds: Annotated[int, typer.Option(min=1)] = 200,
    first: Annotated[int, typer.Option(min=0, help="The first seed.")] = 0,
    peer_seeds: Annotated[int, typer.Option(min=1, help="Of the grid, TPE and GP.")] = 20,
    landscapes: Annotated[str, typer.Option(help="Of bundled, simulated, none.")] = "bundled",
    names: Annotated[str, typer.Option("--players")] = ",".join(PLAYERS),
    components: Annotated[
        int | None, typer.Option(help="Of the projected distance, by which d = 2,048 is ranked.")
    ] = None,
    off: Annotated[
        float, typer.Option(help="How far its optimum's FID lies above the lowest, a share.")
    ] = 0.003,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write the figures.")] = None,
) -> None:
    """Plays and prints."""
    figures: list[dict[str, Any]] = []
    for kind in landscapes.split(","):
        for truth in LANDSCAPES[kind]:
            for name in names.split(","):
                is_ours = name in PLAYERS[:5]
                count = seeds if is_ours else peer_seeds
                row = played(name, truth, range(first, first + count), components, off)
                figures.append(row)
                console.print(
                    f"{truth.name}, {name}: median {row['median']:,.0f}, by {row['aim']:,}: "
                    f"{row['share']:.0%}",
                    style="dim",
                )
                if json_file is not None:
                    json_file.write_text(json.dumps([written(row) for row in figures], indent=2))
    show(figures)


def played(
    name: str, truth: Landscape, seeds: Sequence[int], components: int | None, off: float
) -> dict[str, Any]:
    """One player on one landscape, a projected score's optimum to one side or the other."""
    aim = 30_000 if truth.features == WIDE else 10_000
    shown, least = (truth, truth), None
    if components is not None and components < truth.features:
        truth, least = replace(truth, features=components), enough_images(components)
        shown = truth.beside(off), truth.beside(off, -1)
    best: dict[str, Any] = {}
    for n in SIZES if name in ("tpe", "gp") else (None,):
        needed, endings = [], []
        for seed in seeds:
            emulator = Emulator(truth, seed, shown=shown[seed % 2])
            marks = played_once(name, emulator, seed, n, aim, least)
            needed.append(players.images_to_goal(marks))
            ended = next((mark for mark in marks if mark.ending), marks[-1])
            endings.append([ended.ending, ended.images, ended.is_good])
        share = float(np.mean(np.array(needed) <= aim))
        row = {
            "landscape": truth.name,
            "gain": truth.gain,
            "player": name,
            "n": n,
            "seeds": len(seeds),
            "first": seeds[0],
            "aim": aim,
            "median": float(np.median(needed)),
            "share": share,
            "interval": wilson(share, len(seeds)),
            "endings": endings,
            "images": needed,
        }
        if not best or (row["median"], -share) < (best["median"], -best["share"]):
            best = row
    return best


def played_once(
    name: str, shown: Emulator, seed: int, n: int | None, aim: int, least: int | None = None
) -> list[players.Mark]:
    """One run."""
    if name == "grid":
        return players.grid(shown)
    if n is not None:
        sampler = TPESampler(seed=seed) if name == "tpe" else GPSampler(seed=seed)
        return players.peer(shown, sampler, n, 3 * aim if name == "tpe" else aim)
    begin = begins(shown.landscape).get(name)
    told: Callable[..., Any] = independent if name == "independent" else noise_covariance
    with patch("lambda_search.search.surface.noise_covariance", told):
        is_close = name in ("same", "misled")
        return players.fewest(shown, seed, aim, begin=begin, least=least, is_close=is_close)


def begins(truth: Landscape) -> dict[str, players.Point]:
    """Where those of ours begin that are told of a relative."""
    others = [one for one in (*BUNDLED, *SIMULATED, NO_GAIN) if one.name != truth.name]
    kind = truth.name.partition(",")[0]
    after = [one for one in others if one.name.partition(",")[0] == kind] or others
    return {
        "same": players.place(truth),
        "neighbour": players.place(after[0]),
        "misled": players.farthest(truth),
    }


def independent(measured: Any) -> NDArray[np.float64]:
    """The errors as if no two scores shared noise."""
    return np.diag(np.diag(noise_covariance(measured)))


def written(row: dict[str, Any]) -> dict[str, Any]:
    """A row for JSON, which has no infinity: what never came is null."""
    images = [None if np.isinf(one) else int(one) for one in row["images"]]
    return row | {"images": images, "median": None if np.isinf(row["median"]) else row["median"]}


def wilson(share: float, count: int, z: float = 1.96) -> tuple[float, float]:
    """The 95 % interval of a share (Wilson 1927)."""
    middle = (share + z * z / (2 * count)) / (1 + z * z / count)
    half = z * (share * (1 - share) / count + z * z / (4 * count**2)) ** 0.5 / (1 + z * z / count)
    return max(middle - half, 0.0), min(middle + half, 1.0)


def show(figures: list[dict[str, Any]]) -> None:
    """Prints the table."""
    table = Table(
        "landscape", "gain", "player", "n", "seeds", "median images", "by the aim", "95 %"
    )
    for row in figures:
        low, high = row["interval"]
        table.add_row(
            row["landscape"],
            f"{row['gain']:.1%}",
            row["player"],
            "" if row["n"] is None else f"{row['n']:,}",
            str(row["seeds"]),
            f"{row['median']:,.0f}",
            f"{row['share']:.0%} by {row['aim']:,}",
            f"{low:.0%} to {high:.0%}",
        )
    console.print(table)


if __name__ == "__main__":
    typer.run(main)
