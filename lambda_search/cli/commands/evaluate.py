"""`evaluate`: one schedule against λ = 1."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from lambda_search.cli.console import out
from lambda_search.cli.console import print_json
from lambda_search.cli.console import working
from lambda_search.cli.options import AsJson
from lambda_search.cli.options import Gpus
from lambda_search.cli.options import RayAddress
from lambda_search.cli.options import Workers
from lambda_search.errors import UsageError
from lambda_search.schedule import LambdaSchedule

__all__ = ["evaluate"]


def evaluate(
    study: Annotated[Path, typer.Argument(help="A study file; its setting is used.")],
    b: Annotated[float, typer.Option("--b", help="λ at the least noisy step.")],
    k: Annotated[float, typer.Option("--k", help="Change of λ per step index.")] = 0.0,
    n: Annotated[int, typer.Option("-n", "--samples", min=16, help="Images for each.")] = 5000,
    workers: Workers = None,
    ray_address: RayAddress = None,
    gpus: Gpus = None,
    as_json: AsJson = False,
) -> None:
    """Measure λ(i) = b + k·i beside λ = 1, on images that searches never use."""
    from lambda_search.evaluation import evaluate_plan
    from lambda_search.runner import check_disk
    from lambda_search.runner import plans_of
    from lambda_search.runner import worker_pool
    from lambda_search.search.evaluator import Evaluator
    from lambda_search.store.features import FeatureFiles
    from lambda_search.store.paths import features_folder
    from lambda_search.store.paths import home

    with working("reading models"):
        plans = plans_of(study)
    if len(plans) != 1:
        raise UsageError(f"{study} describes {len(plans)} studies.", "Name a file with one.")
    plan, schedule = plans[0], LambdaSchedule(b, k)
    schedule.values(plan.space.steps)
    check_disk(plans, home())
    with working("sampling"), worker_pool(workers, ray_address, gpus) as pool:
        evaluator = Evaluator(plan, pool, FeatureFiles(features_folder()))
        evidence = evaluate_plan(plan, schedule, n, evaluator)
    if as_json:
        print_json(asdict(evidence))
    else:
        out.print(f"λ(i) = {schedule}   {evidence}")
