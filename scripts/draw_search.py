#!/usr/bin/env python
"""What scripts/bench_search.py found, as a figure and a table.

python scripts/bench_search.py --json found.json
python scripts/draw_search.py found.json --out folder    # search.html and search.md
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated
from typing import Any

import numpy as np
import plotly.graph_objects as go
import typer

from lambda_search.report.figures.style import styled

WORDS = {
    "ours": "knowledge gradient",
    "same": "begun at the optimum",
    "neighbour": "begun at a neighbour's optimum",
    "misled": "begun at the farthest corner",
    "independent": "the same, noise told as independent",
    "grid": "a grid of 15 × 5",
    "tpe": "Optuna's TPE",
    "gp": "Optuna's GP",
}


def main(
    files: Annotated[list[Path], typer.Argument(exists=True, dir_okay=False)],
    out: Annotated[Path, typer.Option(file_okay=False, help="Where to.")],
) -> None:
    """Draw what bench_search.py found."""
    rows = [read(row) for file in files for row in json.loads(file.read_text())]
    out.mkdir(parents=True, exist_ok=True)
    drawn(rows).write_html(out / "search.html", include_plotlyjs=True)
    (out / "search.md").write_text(table(rows))


def read(row: dict[str, Any]) -> dict[str, Any]:
    """A row of the file, in which what never came is null."""
    images = [np.inf if one is None else one for one in row["images"]]
    return row | {"images": images, "median": float(np.median(images))}


def drawn(rows: Sequence[dict[str, Any]]) -> go.Figure:
    """The share of runs that have reached the goal for good, by images, over all landscapes."""
    figure = go.Figure()
    for player in dict.fromkeys(row["player"] for row in rows):
        needed = np.sort([n for row in rows if row["player"] == player for n in row["images"]])
        share = np.arange(1, len(needed) + 1) / len(needed)
        there = np.isfinite(needed)
        figure.add_scatter(
            x=needed[there],
            y=share[there],
            name=WORDS[player],
            mode="lines",
            line={"shape": "hv"},
        )
    figure.update_xaxes(type="log")
    figure.update_yaxes(range=[0, 1], tickformat=".0%")
    return styled(figure, "images, λ = 1 among them", "runs that are at the goal for good")


def table(rows: Sequence[dict[str, Any]]) -> str:
    """A row for each landscape, two columns for each player."""
    players = list(dict.fromkeys(row["player"] for row in rows))
    lines = [
        "| landscape | gain | " + " | ".join(WORDS[one] for one in players) + " |",
        "|---" * (len(players) + 2) + "|",
    ]
    for name in dict.fromkeys(row["landscape"] for row in rows):
        found = {row["player"]: row for row in rows if row["landscape"] == name}
        gain = next(iter(found.values()))["gain"]
        cells = [told(found[one]) if one in found else "" for one in players]
        lines.append(f"| {name} | {gain:.1%} | " + " | ".join(cells) + " |")
    pooled = {
        one: [n for row in rows if row["player"] == one for n in row["images"]] for one in players
    }
    cells = [f"{np.median(pooled[one]):,.0f}".replace("inf", "never") for one in players]
    lines.append("| all runs | | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def told(row: dict[str, Any]) -> str:
    """Median images, and how many runs were there by the aim."""
    low, high = row["interval"]
    by = f"{row['share']:.0%} [{low:.0%}, {high:.0%}] by {row['aim']:,}"
    each = "" if row["n"] is None else f", at n = {row['n']:,}"
    return f"{row['median']:,.0f}; {by} of {row['seeds']}{each}".replace("inf", "never")


if __name__ == "__main__":
    typer.run(main)
