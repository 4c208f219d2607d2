"""`launch --dry-run`: what would be run, and what it costs."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from typing import Any

import torch
from rich.table import Table

from lambda_search.cli.console import out
from lambda_search.cli.console import print_json
from lambda_search.models.registry import load_model
from lambda_search.models.sampling import default_labels
from lambda_search.schedule import LambdaSchedule
from lambda_search.search.plan import Plan

__all__ = ["show_plans"]


def show_plans(plans: Sequence[Plan], workers: int | None, as_json: bool) -> None:
    """Prints the resolved settings, trials, images, network evaluations and a time estimate."""
    described = [_describe(plan, workers) for plan in plans]
    if as_json:
        print_json(described)
        return
    for one in described:
        table = Table.grid(padding=(0, 2))
        table.add_column(style="dim", no_wrap=True)
        table.add_column()
        for name, value in one.items():
            shown = f"{value:,}" if isinstance(value, int) else str(value)
            table.add_row(name.replace("_", " "), shown)
        out.print(f"[bold]{one['study']}[/]")
        out.print(table)
        out.print()


def _describe(plan: Plan, workers: int | None) -> dict[str, Any]:
    spec, setting = plan.spec, plan.setting
    images = plan.most_images()
    evaluations = images * plan.space.steps
    rate = _forwards_per_second(plan)
    count = workers or (torch.cuda.device_count() or os.cpu_count() or 1)
    helpful = spec.search.parallel * plan.shards(spec.metric.rungs[-1])
    useful = min(count, helpful)
    options = {k: v for k, v in setting.options.model_dump().items() if v is not None}
    low, high = (
        LambdaSchedule.from_mean(mean, slope, plan.space.steps)
        for mean, slope in zip(plan.space.mean, plan.space.slope, strict=True)
    )
    return {
        "study": spec.name,
        "model": f"{setting.model} ({setting.framework}, weights {setting.weights[:12]})",
        "sampler": f"{setting.sampler}, {plan.space.steps} steps, "
        + ", ".join(f"{name} {value}" for name, value in options.items()),
        "metric": f"{setting.metric}, {setting.extractor}, {setting.reference}",
        "mean": f"{plan.space.mean[0]:g} to {plan.space.mean[1]:g}",
        "slope": f"{plan.space.slope[0]:.4g} to {plan.space.slope[1]:.4g}"
        f"  (λ(i) from {low} to {high})",
        "trials": spec.search.trials,
        "rungs": ", ".join(f"{n:,}" for n in spec.metric.rungs),
        "confirmation": f"{spec.confirm.top} candidates and λ = 1, "
        f"{spec.confirm.samples:,} images each",
        "images": images,
        "network_evaluations": evaluations,
        "workers_that_help": f"at most {helpful:,}",
        "estimate": f"{_duration(evaluations / (rate * useful))} on {useful} workers "
        f"({rate:,.0f} network evaluations/s each, measured here on the CPU)",
    }


def _forwards_per_second(plan: Plan) -> float:
    """Network evaluations per second on one thread of this machine's CPU, by trying one batch."""
    recipe = plan.recipe
    model = load_model(recipe.framework, recipe.checkpoint, recipe.config)
    grid = model.grid(recipe.sampler, recipe.steps, recipe.options)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    x = torch.zeros(recipe.options.batch, *model.shape, dtype=model.dtype)
    labels = default_labels(model, range(len(x)))
    few = None if labels is None else labels[:2]
    with torch.inference_mode(), model.autocast(recipe.options.precision):
        model.predict(x[:2], grid.times[-1], few, recipe.guidance, recipe.options)
        start = time.perf_counter()
        model.predict(x, grid.times[-1], labels, recipe.guidance, recipe.options)
        seconds = time.perf_counter() - start
    torch.set_num_threads(threads)
    return len(x) / seconds


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"
