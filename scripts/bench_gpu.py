#!/usr/bin/env python
"""A GPU's speed: images/s of a plain fp32 loop and of ours, and what FID costs; one command.

    python scripts/bench_gpu.py [--json FILE] [--seconds 4] [--shapes ADM EDM DiT]
    python scripts/bench_gpu.py --small

It needs torch and numpy alone, no network, no root and no installation. The networks have
published shapes and random weights. `plain` is an eager float32 loop in a paper's words with noise
from the device; `ours` is this package's samplers and noise. The extraction of features needs
torchvision beside, and is left out without it. With --small, narrow networks on the CPU.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import statistics
import sys
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch import nn

sys.path.insert(0, str(Path(__file__).parent.parent))

from gpu_fid import fid_cost
from gpu_shapes import SHAPES
from gpu_shapes import Shape
from gpu_shapes import replayed

from lambda_search.models.running import running
from lambda_search.work.timing import DeviceTimer


@dataclass(frozen=True)
class Way:
    """How images are made.

    Arguments:
        precision: as in `running`; "" leaves torch as it is set.
        ours: our samplers, or the plain loop.
        compiled, recorded: whether the network is.
        ahead: whether noise is drawn by a thread, a step ahead.
        larger: the batch in units of the usual one.
    """

    precision: str
    ours: bool = True
    compiled: bool = False
    recorded: bool = True
    ahead: bool = True
    larger: int = 1


WAYS = {
    "plain fp32": Way("fp32", ours=False),
    "plain, as torch is set": Way("", ours=False),
    "ours fp32": Way("fp32"),
    "ours tf32": Way("tf32"),
    "ours bf16": Way("bf16"),
    "ours bf16 compiled": Way("bf16", compiled=True),
    "ours bf16, batch × 4": Way("bf16", larger=4),
}
MORE = {
    "ours bf16 compiled, no thread": Way("bf16", compiled=True, ahead=False),
    "ours fp32 not recorded": Way("fp32", recorded=False),
    "ours bf16 not recorded": Way("bf16", recorded=False),
    "ours fp32 compiled": Way("fp32", compiled=True),
    "ours tf32 compiled": Way("tf32", compiled=True),
}


def main() -> None:
    """Measures, prints as it goes, and writes."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", type=Path, help="write the figures")
    parser.add_argument("--seconds", type=float, default=4.0, help="of each measurement")
    parser.add_argument("--batch", type=int, default=64, help="images in a batch")
    parser.add_argument("--images", type=int, default=10_000, help="of the FID; 0: no FID")
    parser.add_argument("--shapes", nargs="*", default=[""], help="beginnings of their names")
    names = ", ".join(MORE)
    parser.add_argument("--ways", nargs="*", default=[*WAYS], help=f"rows; besides: {names}")
    parser.add_argument("--small", action="store_true", help="narrow networks, on the CPU")
    told = parser.parse_args()
    device = torch.device("cpu" if told.small else "cuda")
    if told.small:
        torch.set_num_threads(1)
    figures = {"machine": machine(device), "batch": told.batch, "speed": {}, "bits": {}}
    print(json.dumps(figures["machine"]))
    chosen = {label: way for label, way in (WAYS | MORE).items() if label in told.ways}
    for name, shape in SHAPES.items():
        if not any(name.startswith(beginning) for beginning in told.shapes):
            continue
        network = shape.built(device, told.small)
        compiled = replayed(network, device)  # once for all that need it
        print(f"\n{name}: {sum(p.numel() for p in network.parameters()) / 1e6:.0f} M parameters")
        print(f"{'':32}{'images/s':>9}{'×':>7}{'network':>9}{'busy':>7}{'GiB':>7}{'first':>7}")
        rows = figures["speed"][name] = {}
        for label, way in chosen.items():
            row = rows[label] = speed(shape, network, compiled, way, told, device)
            row["ratio"] = (
                row["images_per_second"] / next(iter(rows.values()))["images_per_second"]
            )
            print(line(label, row), flush=True)
            write(told.json, figures)
        figures["bits"][name] = {}
        for label in ("ours bf16", "ours bf16 compiled"):
            if label in chosen:
                found = bits(shape, network, compiled, chosen[label], told, device)
                figures["bits"][name][label] = found
                print(f"bits of {label}: {json.dumps(found)}", flush=True)
                write(told.json, figures)
        del network, compiled
    if told.images:
        figures["fid"] = fid_cost(told.images, device, told.small)
        for name, value in figures["fid"].items():
            print(f"{name}: {value:.4g} s")
    write(told.json, figures)


def machine(device: torch.device) -> dict[str, Any]:
    """What it is measured on."""
    cuda = device.type == "cuda"
    return {
        "device": torch.cuda.get_device_name() if cuda else "cpu",
        "devices": torch.cuda.device_count() if cuda else 1,
        "torch": str(torch.__version__),
        "cuda": torch.version.cuda,
        "numpy": np.__version__,
        "python": sys.version.split()[0],
    }


def speed(
    shape: Shape,
    plain: nn.Module,
    compiled: nn.Module,
    way: Way,
    told: argparse.Namespace,
    device: torch.device,
) -> dict[str, Any]:
    """Images/s and the rest of one row; batches are made until the time is over."""
    batch, timer = told.batch * way.larger, DeviceTimer(device)
    if way.compiled:
        network = compiled
    else:
        network = replayed(plain, device, way.recorded) if way.ours else plain
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()

    def run(turn: int) -> None:
        indices = range(turn * batch, (turn + 1) * batch)
        with running(device, way.precision, way.compiled) if way.precision else nullcontext():
            if way.ours:
                x = shape.ours(network, indices, device, timer, way.ahead)
            else:
                x = shape.plain(network, indices, device)
            to_bytes(x).cpu()

    first = seconds_of(lambda: run(0))
    run(1)
    timer.seconds()
    timer, walls, end = DeviceTimer(device), [], time.perf_counter() + told.seconds
    while len(walls) < 2 or time.perf_counter() < end:
        walls.append(seconds_of(lambda: run(2 + len(walls))))
    row = {
        "images_per_second": batch / statistics.median(walls),
        "batch": batch,
        "batches": len(walls),
        "network_share": timer.seconds() / sum(walls) if way.ours else None,
        "first_batch_seconds": first,
    }
    if device.type == "cuda":
        row["busy_share"] = busy(lambda: run(1)) / statistics.median(walls)
        row["peak_gib"] = torch.cuda.max_memory_reserved() / 2**30
        del network
        torch.cuda.empty_cache()
    return row


def busy(run: Callable[[], object]) -> float:
    """Seconds that the device computes or copies in one call of `run`."""
    activities = [torch.profiler.ProfilerActivity.CUDA]
    with torch.profiler.profile(activities=activities) as profile:
        run()
        torch.cuda.synchronize()
    return sum(one.self_device_time_total for one in profile.key_averages()) / 1e6


def bits(
    shape: Shape,
    plain: nn.Module,
    compiled: nn.Module,
    way: Way,
    told: argparse.Namespace,
    device: torch.device,
) -> dict[str, Any]:
    """Whether the same indices give the same bits, in one run and another."""
    batch = told.batch

    def made(network: nn.Module, indices: list[int], device: torch.device = device) -> Tensor:
        with running(device, way.precision, way.compiled):
            return shape.ours(network, indices, device, nullcontext).cpu()

    indices = list(range(batch))
    network = compiled if way.compiled else replayed(plain, device)
    once = made(network, indices)
    half = batch // 2
    beside = made(network, [*indices[:half], *range(1000, 1000 + batch - half)])
    found: dict[str, Any] = {
        "twice": torch.equal(once, made(network, indices)),
        "beside other rows": torch.equal(once[:half], beside[:half]),
        "sha256": hashlib.sha256(once.numpy().tobytes()).hexdigest()[:16],
    }
    if not way.compiled:  # what is compiled suits one size, and is not made twice
        unrecorded = replayed(plain, device, records=False)
        found["recorded and not"] = torch.equal(once, made(unrecorded, indices))
        found["in half the batch"] = torch.equal(once[:half], made(network, indices[:half]))
    if device.type == "cuda" and torch.cuda.device_count() > 1:
        other = torch.device("cuda", 1)
        with torch.cuda.device(other):
            there = replayed(shape.built(other, told.small), other)
            found["on another GPU"] = torch.equal(once, made(there, indices, other))
    return found


def to_bytes(x: Tensor) -> Tensor:
    """As images are quantised."""
    return (x * 127.5 + 128).clip(0, 255).to(torch.uint8)


def seconds_of(run: Callable[[], object]) -> float:
    """Of one call, which ends with a copy to the host."""
    begin = time.perf_counter()
    run()
    return time.perf_counter() - begin


def line(label: str, row: dict[str, Any]) -> str:
    """One row of the table."""
    shares = "".join(
        f" {row[name]:>{width}.1%}" if row.get(name) is not None else " " * (width + 1)
        for name, width in (("network_share", 8), ("busy_share", 6))
    )
    peak = f" {row['peak_gib']:6.1f}" if "peak_gib" in row else " " * 7
    return (
        f"{label:32}{row['images_per_second']:9.2f} {row['ratio']:6.2f}{shares}{peak}"
        f" {row['first_batch_seconds']:6.1f}"
    )


def write(path: Path | None, figures: dict[str, Any]) -> None:
    """What is known so far."""
    if path is not None:
        path.write_text(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main()
