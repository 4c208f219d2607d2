#!/usr/bin/env python
"""How good the λ is that `diagnose` predicts for the bundled model, at 5, 10 and 20 steps.

    python scripts/measure_diagnose.py                     # all, three minutes on an idle core
    python scripts/measure_diagnose.py --sampler ddim --steps 20
    python scripts/measure_diagnose.py --steps 5 --own     # without real images

400 of Fashion-MNIST's test images stand for the real ones. The truth is the landscapes of
`tests/search/landscapes.py`, fitted to FIDs of thousands of images by the bundled classifier,
which no diagnosis sees. Constants of the method were set on 10 steps; the other four settings
judge it. What was measured is kept in results/diagnose.json; results/diagnose.md has the table.
"""

from __future__ import annotations

import json
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path
from statistics import median
from typing import Annotated
from typing import Any

import numpy as np
import torch
import typer
from rich.console import Console

from lambda_search.models.registry import load_model
from lambda_search.records import Diagnosis
from lambda_search.search.diagnosing import diagnose

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))  # whose tests have the landscapes and the images

from tests.fashion import fashion_images  # noqa: E402
from tests.search.landscapes import BUNDLED  # noqa: E402
from tests.search.landscapes import Landscape  # noqa: E402

RESULTS = Path(__file__).parent / "results" / "diagnose.json"
REAL = 400
SET_ON = 10
"""Steps of the settings that the method's constants were set on."""

console = Console(soft_wrap=True)


def main(
    sampler: Annotated[
        str | None, typer.Option(help="ancestral or ddim; both unless given.")
    ] = None,
    steps: Annotated[int | None, typer.Option(help="5, 10 or 20; all unless given.")] = None,
    seed: Annotated[int, typer.Option(help="Of the noise; 0 to 5 set constants.")] = 10,
    own: Annotated[bool, typer.Option("--own", help="Against the model's own samples.")] = False,
    again: Annotated[bool, typer.Option(help="Measure what is measured already.")] = False,
) -> None:
    """Diagnoses, compares with the truth, and writes the table."""
    torch.set_num_threads(1)
    known: dict[str, Any] = json.loads(RESULTS.read_text()) if RESULTS.is_file() else {}
    model = load_model("diffusers", "bundled:fashion-mnist")
    with tempfile.TemporaryDirectory() as folder:
        real = Path(folder) / "fashion-mnist-test.npz"
        images = fashion_images()
        chosen = np.linspace(0, len(images) - 1, REAL).round().astype(int)
        np.savez(real, arr_0=images[chosen][..., None])
        for landscape in BUNDLED:
            name, _, count = landscape.name.partition(", ")
            wanted = int(count.removesuffix(" steps"))
            if sampler not in (None, name) or steps not in (None, wanted):
                continue
            key = f"{landscape.name}, seed {seed}{', own samples' if own else ''}"
            if key in known and not again:
                continue
            found = diagnose(
                model,
                name,
                wanted,
                reference=None if own else f"images:{real}",
                seed=seed,
                options={"variance": "small"} if name == "ancestral" else None,
            )
            known[key] = judged(found, landscape) | {"own": own}
            console.print(f"{key}: {known[key]['share']:+.0%} of the gain; {found.words}")
            RESULTS.write_text(json.dumps(known, indent=1, ensure_ascii=False) + "\n")
    console.print(table(known))


def judged(found: Diagnosis, truth: Landscape) -> dict[str, Any]:
    """A prediction beside the truth: its gain, a share of FID(λ = 1), and that of the best."""
    tilt = found.slope * (found.steps - 1)
    gain = 1 - float(truth.fid(found.mean, tilt)) / truth.one
    return {
        "sampler": found.sampler,
        "steps": found.steps,
        "mean": found.mean,
        "tilt": tilt,
        "best_mean": truth.mean,
        "best_tilt": truth.tilt,
        "gain": gain,
        "best_gain": truth.gain,
        "share": gain / truth.gain,
        "diagnosis": asdict(found),
    }


def table(known: dict[str, Any]) -> str:
    """The settings as Markdown, good and bad ones alike."""
    lines = [
        "| sampler | steps | seed | images | against | predicted: mean, tilt | best | gain there "
        "| of the best | share | |",
        "|" + "---|" * 11,
    ]
    found = sorted(known.values(), key=lambda one: (one["own"], one["sampler"], one["steps"]))
    for one in found:
        told = one["diagnosis"]
        lines.append(
            f"| {one['sampler']} | {one['steps']} | {told['seed']} | {told['images']} "
            f"| {'own samples' if one['own'] else 'real images'} "
            f"| {one['mean']:.4f}, {one['tilt']:+.3f} "
            f"| {one['best_mean']:.4f}, {one['best_tilt']:+.3f} | {one['gain']:+.1%} "
            f"| {one['best_gain']:+.1%} | {one['share']:+.0%} "
            f"| {'constants set here' if one['steps'] == SET_ON else 'judges'} |"
        )
    real = [one for one in found if not one["own"]]
    shares = [one["share"] for one in real if one["steps"] != SET_ON]
    if shares:
        lines.append(
            f"\nAgainst real images, where constants were not set: {median(shares):.0%} of the "
            "gain in the median."
        )
    worst = min((one["gain"] for one in found), default=0.0)
    lines.append(f"The worst of all gains is {worst:+.1%} of FID(1).")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    typer.run(main)
