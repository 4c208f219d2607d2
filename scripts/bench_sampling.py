#!/usr/bin/env python
"""Sampling speed: our sampler beside diffusers' own pipeline, and the network's share of the time.

    python scripts/bench_sampling.py [--json FILE]
    python scripts/bench_sampling.py --frameworks

The two use the same weights, steps, precision, batch and one thread, and take turns in one run;
the ratio of the medians is what counts. With --frameworks: the network's share of the time for a
model of published size (random weights) of each framework.
"""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated
from typing import Any

import torch
import typer
from diffusers import DDPMPipeline
from full_size import FULL_SIZE
from rich.console import Console
from rich.table import Table

from lambda_search.models.options import sampling_of
from lambda_search.models.registry import load_model
from lambda_search.models.sampling import counter_noise
from lambda_search.models.sampling import default_labels
from lambda_search.models.sampling import sample_batch
from lambda_search.models.sampling import to_uint8
from lambda_search.paths import bundled_folder
from lambda_search.schedule import LambdaSchedule
from lambda_search.work.timing import DeviceTimer


def main(
    steps: Annotated[int, typer.Option(min=2)] = 10,
    batch: Annotated[int, typer.Option(min=1)] = 64,
    rounds: Annotated[int, typer.Option(min=1, help="Turns of each.")] = 25,
    device: str = "cpu",
    json_file: Annotated[Path | None, typer.Option("--json", help="Write the figures.")] = None,
    frameworks: Annotated[
        bool, typer.Option("--frameworks", help="The network's share in each framework instead.")
    ] = False,
) -> None:
    """Measures and prints."""
    torch.set_num_threads(1)
    if frameworks:
        shares_of_the_network(torch.device(device), json_file)
        return
    model = load_model("diffusers", "bundled:fashion-mnist", device=device)
    sampling = model.resolve(sampling_of("ancestral", steps, options={"batch": batch}))
    network, wall = DeviceTimer(model.device), 0.0

    def ours(turn: int) -> None:
        nonlocal wall
        begin = time.perf_counter()
        draw = counter_noise(model, 0, range(turn * batch, (turn + 1) * batch))
        schedule = LambdaSchedule(1.01, 0.001)
        to_uint8(sample_batch(model, sampling, schedule, draw, watch=network)).cpu()
        wall += time.perf_counter() - begin

    pipeline = DDPMPipeline.from_pretrained(bundled_folder("fashion-mnist")).to(device)
    pipeline.set_progress_bar_config(disable=True)
    pipeline.unet.to(memory_format=torch.channels_last)

    def theirs(turn: int) -> None:
        generator = torch.Generator().manual_seed(turn)
        images = pipeline(batch, generator, steps, output_type="pt").images
        to_uint8(images * 2 - 1).cpu()

    seconds: dict[str, list[float]] = {"lambda_search": [], "DDPMPipeline": []}
    contestants: list[tuple[str, Callable[[int], None]]] = [
        ("lambda_search", ours),
        ("DDPMPipeline", theirs),
    ]
    for _, run in contestants:
        run(0)
    network, wall = DeviceTimer(model.device), 0.0
    for turn in range(1, rounds + 1):
        for name, run in contestants:
            begin = time.perf_counter()
            run(turn)
            seconds[name].append(time.perf_counter() - begin)

    rates = {name: batch / statistics.median(values) for name, values in seconds.items()}
    figures: dict[str, Any] = {
        "steps": steps,
        "batch": batch,
        "device": device,
        "images_per_second": rates,
        "ratio": rates["lambda_search"] / rates["DDPMPipeline"],
        "network_share": network.seconds() / wall,
    }
    table = Table("", "images/s", "seconds a batch (median, all turns)")
    for name, values in seconds.items():
        shown = ", ".join(f"{value:.3f}" for value in values)
        table.add_row(name, f"{rates[name]:.1f}", f"{statistics.median(values):.3f}  ({shown})")
    console = Console()
    console.print(table)
    console.print(
        f"ratio {figures['ratio']:.3f}; in the network {figures['network_share']:.1%} of our time"
    )
    if json_file is not None:
        json_file.write_text(json.dumps(figures, indent=2) + "\n")


def shares_of_the_network(device: torch.device, json_file: Path | None) -> None:
    """A table: one batch of 4 (latents: 1) in 4 steps for each framework, after one to warm up."""
    table = Table("model", "parameters", "sampler", "images/s", "in the network")
    figures = {}
    for name, (make, sampler, parameters) in FULL_SIZE.items():
        model = make(device)
        batch = 4 if model.shape[1] == 32 and model.shape[0] == 3 else 1
        sampling = model.resolve(sampling_of(sampler, 4, options={"batch": batch}))
        for turn in range(2):
            network = DeviceTimer(device)
            begin = time.perf_counter()
            indices = range(turn * batch, (turn + 1) * batch)
            draw = counter_noise(model, 0, indices)
            labels = default_labels(model, indices)
            states = sample_batch(
                model,
                sampling,
                LambdaSchedule(1.01, 0.001),
                draw,
                labels,
                watch=network,
            )
            to_uint8(states.clamp(-1, 1)).cpu()
            wall = time.perf_counter() - begin
        share = network.seconds() / wall
        figures[name] = {"images_per_second": batch / wall, "network_share": share}
        table.add_row(name, parameters, sampler, f"{batch / wall:.2f}", f"{share:.1%}")
    Console().print(table)
    if json_file is not None:
        json_file.write_text(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    typer.run(main)
