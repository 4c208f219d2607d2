"""`evaluate`: one schedule against λ = 1."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING
from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text

from lambda_search.cli.chosen import chosen
from lambda_search.cli.console import err
from lambda_search.cli.console import out
from lambda_search.cli.console import print_json
from lambda_search.cli.console import working
from lambda_search.cli.options import AsJson
from lambda_search.cli.options import Features
from lambda_search.cli.options import Gpus
from lambda_search.cli.options import RayAddress
from lambda_search.cli.options import Workers
from lambda_search.cli.options import WorkersPerGpu
from lambda_search.cli.options import gpus_of
from lambda_search.errors import UsageError
from lambda_search.schedule import LambdaSchedule
from lambda_search.setting import OWN_NETWORK
from lambda_search.setting import own_steps
from lambda_search.spec import located

if TYPE_CHECKING:
    from lambda_search.records import Evidence

__all__ = ["evaluate", "show_evidence"]


def evaluate(
    study: Annotated[Path, typer.Argument(help="A study file; its setting is used.")],
    b: Annotated[float, typer.Option("--b", help="λ at the least noisy step.")],
    k: Annotated[float, typer.Option("--k", help="Change of λ per step index.")] = 0.0,
    steps: Annotated[
        int | None, typer.Option(min=1, help="Which study of a file with several step counts.")
    ] = None,
    name: Annotated[
        str | None, typer.Option("--study", help="Which study of a file with several, by name.")
    ] = None,
    n: Annotated[int, typer.Option("-n", "--samples", min=16, help="Images for each.")] = 5000,
    workers: Workers = None,
    ray_address: RayAddress = None,
    gpus: Gpus = None,
    workers_per_gpu: WorkersPerGpu = None,
    features: Features = None,
    as_json: AsJson = False,
) -> None:
    """Measure λ(i) = b + k·i beside λ = 1, on images that searches never use."""
    gpus = gpus_of(gpus, workers_per_gpu)
    schedule = LambdaSchedule(b, k)
    if schedule.is_identity:
        raise UsageError(
            "λ = 1 is what a schedule is compared with; beside itself it gains nothing.",
            "Give another --b, or a --k.",
        )
    one = chosen(study, steps, name)
    schedule.values(one.spec.sampler.steps)

    from lambda_search.launching import worker_pool
    from lambda_search.paths import features_url
    from lambda_search.search.cost import check_disk
    from lambda_search.search.resolving import resolve_all
    from lambda_search.work.evaluate import evaluate_on
    from lambda_search.work.evaluator import Evaluator
    from lambda_search.work.features import FeatureFiles
    from lambda_search.work.shards import Shards

    with working("reading models"):
        plans = resolve_all([located(one.spec, [one.base])])
    [plan] = plans
    for caution in plan.doubts:
        err.print(Text(f"caution: {caution}", style="yellow"))
    schedule.values(plan.space.steps)
    check_disk(plans, features)
    files = FeatureFiles(features_url(features))
    with (
        working("sampling"),
        worker_pool(workers, ray_address, gpus) as pool,
        Shards(pool, files) as shards,
    ):
        evidence = evaluate_on(Evaluator(plan.recipe, shards), schedule, n)
    if as_json:
        print_json(asdict(evidence))
    else:
        show_evidence(evidence)


def show_evidence(evidence: Evidence) -> None:
    """Prints the line that counts, then what stands behind it."""
    out.print(f"λ(i) = {evidence.schedule}")
    out.print(str(evidence), style="bold")
    table = Table.grid(padding=(0, 2))
    table.add_column(style="dim", no_wrap=True)
    table.add_column(justify="right")
    table.add_column(justify="right")
    table.add_column(justify="right")
    table.add_row("", *(Text(heading, "dim") for heading in ("λ", "λ = 1", "difference")))
    for name, at_lambda, at_one, gain in _lines(evidence):
        shown = (f"{at_one - at_lambda:.4g}" if gain is None else gain,)
        table.add_row(name, f"{at_lambda:.5g}", f"{at_one:.5g}", *shown)
    out.print(table)
    err.print(
        f"{evidence.extractor}, {evidence.reference}; ± is 95 %; the gain is that of the "
        f"bias-corrected FIDs; paired features correlate {evidence.correlation:.2f}",
        style="dim",
    )
    if evidence.extractor.partition("@")[0] == OWN_NETWORK:
        err.print("this is in the eyes of the model's own network, comparable with no other")
    own = own_steps(evidence.reference)
    if own is not None:
        err.print(f"this is agreement with the model's own samples of {own} steps, not quality")


def _lines(evidence: Evidence) -> Iterator[tuple[str, float, float, str | None]]:
    yield "FID, as the field reports it", evidence.fid, evidence.baseline_fid, None
    low, high = evidence.gain_interval.low, evidence.gain_interval.high
    yield (
        "bias-corrected",
        evidence.corrected,
        evidence.baseline_corrected,
        f"{evidence.gain:.4g} [{low:.4g}, {high:.4g}]",
    )
    here, there = evidence.extras, evidence.baseline_extras
    if here is not None and there is not None:
        yield "FID∞", here.fid_at_infinity, there.fid_at_infinity, None
        if here.kid is not None and there.kid is not None:
            yield "KID × 1000", 1000 * here.kid, 1000 * there.kid, None
    for other in evidence.also:
        gain = f"{other.gain:.4g} ± {other.gain_interval.half_width:.2g}"
        yield f"with {other.extractor.split('@')[0]}", other.fid, other.baseline_fid, gain
