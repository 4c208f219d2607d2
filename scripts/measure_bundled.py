#!/usr/bin/env python
"""Choose the bundled model's checkpoint by FID at λ = 1, and measure what λ does for it.

    python scripts/measure_bundled.py choose --run runs/fashion
    python scripts/measure_bundled.py effect
    python scripts/measure_bundled.py repeat
    python scripts/measure_bundled.py picture

`effect` launches the studies of studies/bundled, one per sampler and step count, and writes their
rows as effect.csv beside the model. `repeat` measures the demo's gain again and again on images of
its own, and writes repeats.csv. All of it goes on where it stopped.
"""

from __future__ import annotations

import csv
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import torch
import train_bundled
import typer
from PIL import Image
from rich.console import Console

from lambda_search.drive import Watcher
from lambda_search.errors import Diverged
from lambda_search.launching import launch
from lambda_search.launching import plans_of
from lambda_search.launching import worker_pool
from lambda_search.models.registry import load_model
from lambda_search.models.sampling import sample
from lambda_search.models.sampling import to_uint8
from lambda_search.paths import bundled_folder
from lambda_search.paths import features_folder
from lambda_search.records import Progress
from lambda_search.records import Row
from lambda_search.schedule import LambdaSchedule
from lambda_search.search.plan import Plan
from lambda_search.spec import load_specs
from lambda_search.store.lookup import best
from lambda_search.work.evaluator import Evaluator
from lambda_search.work.evaluator import Result
from lambda_search.work.features import FeatureFiles
from lambda_search.work.pool import Pool
from lambda_search.work.recipe import confirm_start
from lambda_search.work.shards import Shards

CHOOSE_FROM = 3_000_000
"""Sample indices that choose the checkpoint; nothing else uses them."""

REPEAT_FROM = 4_000_000
"""Sample indices from here on repeat what was confirmed."""

app = typer.Typer(add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False)
console = Console(soft_wrap=True)
ROOT = Path(__file__).parent.parent


@app.command()
def choose(
    run: Annotated[Path, typer.Option(help="The training run's folder.")],
    last: Annotated[int, typer.Option(min=1, help="How many of the last snapshots.")] = 3,
    n: Annotated[int, typer.Option("-n", help="Images for each.")] = 2000,
) -> None:
    """Ship the snapshot with the lowest FID at λ = 1: the demo's sampler and steps."""
    spec = load_specs(ROOT / "studies" / "demo.yaml")[0]
    fids: dict[Path, float] = {}
    with tempfile.TemporaryDirectory() as scratch, worker_pool(None, None, None) as pool:
        for snapshot in sorted(run.glob("average-*.safetensors"))[-last:]:
            folder = Path(scratch) / snapshot.stem
            train_bundled.export(run, folder, snapshot)
            model = spec.model.model_copy(update={"checkpoint": str(folder)})
            plan = plans_of(spec.model_copy(update={"model": model}))[0]
            first = -(-CHOOSE_FROM // plan.batch) * plan.batch
            [found] = measured(plan, pool, [LambdaSchedule()], first, n)
            fids[folder] = found.score.fid
            console.print(f"{snapshot.name}: FID {found.score.fid:.3f} at λ = 1, n = {n:,}")
        chosen = min(fids, key=lambda folder: fids[folder])
        target = bundled_folder("fashion-mnist")
        for part in ("unet", "scheduler", "model_index.json"):
            if (target / part).is_dir():
                shutil.rmtree(target / part)
        shutil.copytree(chosen, target, dirs_exist_ok=True)
    console.print(f"shipped: {chosen.name}")


@app.command()
def effect(
    study: Path = ROOT / "studies" / "bundled",
    out: Annotated[Path | None, typer.Option(help="[default: effect.csv by the model]")] = None,
) -> None:
    """Search and confirm λ for every sampler and step count; good and bad rows alike."""
    found = launch(study, watch=_news())
    found.sort(key=lambda row: (row.setting.sampler, row.setting.steps))
    rows = [_figures(row) for row in found]
    path = out or bundled_folder("fashion-mnist") / "effect.csv"
    with path.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    console.print("| " + " | ".join(rows[0]) + " |\n|" + "---|" * len(rows[0]))
    for row in rows:
        console.print("| " + " | ".join(str(value) for value in row.values()) + " |")


@app.command()
def repeat(
    b: Annotated[float | None, typer.Option("--b", help="[default: the demo row's]")] = None,
    k: Annotated[float, typer.Option("--k")] = 0.0,
    sets: Annotated[int, typer.Option(min=2, help="Disjoint sets of indices.")] = 20,
    n: Annotated[int, typer.Option("-n", help="Images of each.")] = 5000,
    out: Annotated[Path | None, typer.Option(help="[default: repeats.csv by the model]")] = None,
) -> None:
    """Does a confirmed gain come back? A repetition should fall within √2 times its interval."""
    plan = plans_of(load_specs(ROOT / "studies" / "demo.yaml"))[0]
    schedule = (
        best(plan.setting.model, plan.setting.steps, plan.setting.sampler).schedule
        if b is None
        else LambdaSchedule(b, k)
    )
    batches = -(-n // plan.batch) * plan.batch
    firsts = [confirm_start(plan.batch)]
    firsts += [-(-REPEAT_FROM // plan.batch) * plan.batch + batches * i for i in range(sets)]
    rows: list[dict[str, str | int]] = []
    centre, reach = 0.0, 0.0
    with worker_pool(None, None, None) as pool:
        for place, first in enumerate(firsts):
            at_one, found = measured(plan, pool, [LambdaSchedule(), schedule], first, n)
            gain = found.against
            if place == 0:
                centre, reach = gain.gain, 2**0.5 * gain.interval().half_width
            inside = abs(gain.gain - centre) <= reach
            rows.append(
                {
                    "set": "confirmation" if place == 0 else str(place),
                    "from": first,
                    "FID at λ = 1": f"{at_one.score.fid:.3f}",
                    "FID": f"{found.score.fid:.3f}",
                    "gain": f"{gain.gain:.3f}",
                    "±": f"{gain.interval().half_width:.3f}",
                    "correlation": f"{gain.correlation:.3f}",
                    "inside": "" if place == 0 else "yes" if inside else "no",
                }
            )
            console.print("  ".join(str(value) for value in rows[-1].values()))
    with (out or bundled_folder("fashion-mnist") / "repeats.csv").open("w", newline="") as stream:
        writer = csv.DictWriter(stream, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    inside_all = sum(row["inside"] == "yes" for row in rows)
    console.print(
        f"λ(i) = {schedule}, n = {n:,}: {inside_all} of {sets} repetitions inside "
        f"{centre:.3f} ± {reach:.3f}"
    )


@app.command()
def picture(
    steps: int = 50, out: Annotated[Path | None, typer.Option(help="A PNG file.")] = None
) -> None:
    """64 samples at λ = 1 as one picture."""
    model = load_model("diffusers", "bundled:fashion-mnist")
    images = to_uint8(
        sample(
            model, "ancestral", steps, LambdaSchedule(), range(64), options={"variance": "small"}
        )
    )
    sheet = images.reshape(4, 16, 28, 28).permute(0, 2, 1, 3).reshape(4 * 28, 16 * 28)
    path = out or bundled_folder("fashion-mnist") / "samples.png"
    Image.fromarray(sheet.to(torch.uint8).numpy()).save(path, optimize=True)


def measured(
    plan: Plan, pool: Pool, schedules: Sequence[LambdaSchedule], first: int, n: int
) -> list[Result]:
    """Results of `schedules` on n images from index `first` on.

    Raises:
        Diverged: if one of them does.
    """
    found = []
    with Shards(pool, FeatureFiles(features_folder())) as shards:
        for result in Evaluator(plan.recipe, shards).results(schedules, first, n):
            if isinstance(result, Diverged):
                raise result
            found.append(result)
    return found


def _figures(found: Row) -> dict[str, str | int]:
    """A row of the table: the best candidate, whether its gain is significant or not."""
    candidate, gain, interval = found.candidate, found.gain, found.gain_interval
    assert candidate is not None and gain is not None and interval is not None  # it was launched
    schedule, whole = LambdaSchedule(candidate.b, candidate.k), candidate.corrected + gain
    return {
        "sampler": found.setting.sampler,
        "steps": found.setting.steps,
        "FID at λ = 1": f"{found.baseline_fid:.3f}",
        "best λ(i)": str(schedule),
        "mean": f"{schedule.mean(found.setting.steps):.4f}",
        "FID": f"{candidate.fid:.3f}",
        "gain": f"{found.relative_gain:+.1%}",
        "interval": f"{interval.low / whole:+.1%} to {interval.high / whole:+.1%}",
        "n": found.n,
        "status": found.status,
    }


def _news() -> Watcher:
    """Prints a line whenever a study has come a trial or a phase further."""
    told: dict[str, str] = {}

    def watch(studies: Sequence[Progress]) -> None:
        for study in studies:
            line = f"{study.phase}, {study.trials_done} of {study.trials_total} trials"
            if study.best is not None:
                line += f", best λ(i) = {study.best}, gain {study.best_gain:+.3f}"
            if told.get(study.study) != line:
                told[study.study] = line
                console.print(f"{study.study}: {line}")

    return watch


if __name__ == "__main__":
    app()
