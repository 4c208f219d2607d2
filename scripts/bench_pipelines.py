#!/usr/bin/env python
"""Measure what rows do in diffusers' own pipelines, with nothing of ours but the line that asks.

    python scripts/bench_pipelines.py search
    python scripts/bench_pipelines.py apply --samples 5000

`search` runs the studies of studies/pipelines on the bundled model. `apply` starts a process
for each row, in which a pipeline makes images from the same seeds with λ = 1, and after
`ls.scale_epsilon(pipe)`; FIDs are those of clean-fid's `frechet_distance`, on features of the
bundled extractor. Writes pipelines.csv beside the model.
"""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from pathlib import Path
from typing import Annotated
from typing import Any

import numpy as np
import typer
from numpy.typing import NDArray
from rich.console import Console

import lambda_search as ls
from lambda_search.paths import bundled_folder
from lambda_search.records import Row

ROOT = Path(__file__).parent.parent
STUDIES = ROOT / "studies" / "pipelines"
SCHEDULERS = {
    "ancestral": "DDPMScheduler",
    "DPMSolverMultistepScheduler": "DPMSolverMultistepScheduler",
    "UniPCMultistepScheduler": "UniPCMultistepScheduler",
}
"""The scheduler of the pipeline that each row is for."""
STEPS, BATCH = 10, 100

app = typer.Typer(add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False)
console = Console(soft_wrap=True)


@app.command()
def search() -> None:
    """Find the rows."""
    for file in sorted(STUDIES.glob("*.yaml")):
        for row in ls.launch(file):
            console.print(_words(row))


@app.command()
def apply(
    samples: Annotated[int, typer.Option(min=512, help="Images for each FID.")] = 5000,
) -> None:
    """Use the rows as their users do."""
    lines = []
    for solver, scheduler in SCHEDULERS.items():
        found = _row(solver)
        console.print(_words(found))
        line: dict[str, Any] = {
            "scheduler": scheduler,
            "steps": STEPS,
            "row": found.id[:12],
            "b": found.schedule.b,
            "k": found.schedule.k,
            "status": found.status,
        }
        if found.gain_interval is not None:
            line |= {
                "row_gain": round(found.gain or 0.0, 3),
                "low": round(found.gain_interval.low, 3),
                "high": round(found.gain_interval.high, 3),
            }
        for name, scaled in (("fid_at_1", False), ("fid", True)):
            words = [str(samples), scheduler, str(int(scaled))]
            done = subprocess.run(
                [sys.executable, __file__, "one", *words],
                check=True,
                stdout=subprocess.PIPE,
                text=True,
            )
            line[name] = round(json.loads(done.stdout), 3)
        line |= {"samples": samples, "gain": round(line["fid_at_1"] - line["fid"], 3)}
        console.print(line)
        lines.append(line)
    with (bundled_folder("fashion-mnist") / "pipelines.csv").open("w", newline="") as stream:
        writer = csv.DictWriter(stream, lines[0], lineterminator="\n")
        writer.writeheader()
        writer.writerows(lines)


@app.command(hidden=True)
def one(samples: int, scheduler: str, scaled: int) -> None:
    """The FID of one pipeline, as JSON."""
    import diffusers
    import torch
    from cleanfid.fid import frechet_distance

    from lambda_search.metrics.extractors.base import Weights
    from lambda_search.metrics.extractors.bundled import bundled

    pipe = pipeline(scheduler, diffusers)
    if scaled:
        ls.scale_epsilon(pipe)
    extract = bundled(torch.device("cpu"), Weights())
    features = []
    for first in range(0, samples, BATCH):
        seeds = range(first, min(first + BATCH, samples))
        noise = [torch.Generator().manual_seed(seed) for seed in seeds]
        images = pipe(len(noise), noise, STEPS, output_type="np").images
        pixels = torch.from_numpy((images * 255).round().astype("uint8")).permute(0, 3, 1, 2)
        features.append(extract(pixels).numpy())
    mean, covariance = _moments(np.concatenate(features))
    reference = np.load(next(bundled_folder("fashion-mnist-features").glob("*.npz")))
    print(
        json.dumps(float(frechet_distance(mean, covariance, reference["mu"], reference["sigma"])))
    )


def pipeline(scheduler: str, diffusers: Any) -> Any:
    """The bundled model's own pipeline, with a scheduler.

    A DDPMPipeline hands the learned variance to its scheduler, which only DDPM's takes, and a
    generator to its steps, which not all take. For the others its loop is written out.
    """
    import torch

    class NoiseAlone(diffusers.DDPMPipeline):  # type: ignore[misc]
        @torch.inference_mode()
        def __call__(
            self, count: int, noise: Any, num_inference_steps: int, output_type: str
        ) -> Any:
            size = self.unet.config.sample_size
            x = diffusers.utils.torch_utils.randn_tensor((count, 1, size, size), generator=noise)
            self.scheduler.set_timesteps(num_inference_steps)
            x = x * self.scheduler.init_noise_sigma
            for timestep in self.scheduler.timesteps:
                said = self.unet(self.scheduler.scale_model_input(x, timestep), timestep).sample
                x = self.scheduler.step(said[:, :1], timestep, x).prev_sample
            pixels = (x / 2 + 0.5).clamp(0, 1).permute(0, 2, 3, 1).numpy()
            return diffusers.ImagePipelineOutput(images=pixels)

    kind = diffusers.DDPMPipeline if scheduler == "DDPMScheduler" else NoiseAlone
    pipe = kind.from_pretrained(bundled_folder("fashion-mnist"))
    if kind is NoiseAlone:
        pipe.scheduler = getattr(diffusers, scheduler).from_config(pipe.scheduler.config)
    pipe.set_progress_bar_config(disable=True)
    return pipe


def _moments(features: NDArray[np.float32]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    wide = features.astype(np.float64)
    return wide.mean(axis=0), np.cov(wide, rowvar=False)


def _row(solver: str) -> Row:
    wanted = {"variance": "learned"} if solver == "ancestral" else {}
    return ls.best("fashion-mnist", STEPS, solver, **wanted)


def _words(row: Row) -> str:
    gain = row.gain_interval
    told = "" if gain is None else f", gain {row.gain:.3f} [{gain.low:.3f}, {gain.high:.3f}]"
    return f"{row.setting.solver}: λ(i) = {row.schedule}, {row.status}{told}, row {row.id[:12]}"


if __name__ == "__main__":
    app()
