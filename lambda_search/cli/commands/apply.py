"""`apply`: a model's images with λ = 1 and with its row, side by side."""

from __future__ import annotations

import errno
import os
import warnings
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING
from typing import Annotated
from typing import Any

import typer
from rich.text import Text

from lambda_search.cli.console import err
from lambda_search.cli.console import out
from lambda_search.cli.console import print_json
from lambda_search.cli.console import working
from lambda_search.cli.options import AsJson
from lambda_search.cli.options import StoreUrl
from lambda_search.cli.rows import rows_table
from lambda_search.errors import LambdaSearchError
from lambda_search.errors import UsageError
from lambda_search.files import saving
from lambda_search.files import written_whole
from lambda_search.records import Row
from lambda_search.records import row_json
from lambda_search.schedule import LambdaSchedule
from lambda_search.shell import command
from lambda_search.store import lookup
from lambda_search.store.opened import looking

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from lambda_search.models.base import Model
    from lambda_search.records import Evidence

__all__ = ["apply"]

_ELSEWHERE = "Name another folder with --out."


def apply(
    model: Annotated[str, typer.Argument(help="The model's name in the store.")],
    steps: Annotated[int, typer.Option(min=1, help="Solver steps.")],
    to: Annotated[
        Path, typer.Option("--out", metavar="DIR", help="Folder of the picture; made if missing.")
    ] = Path(),
    sampler: Annotated[str | None, typer.Option(help=r"ancestral, ddim … \[default: any]")] = None,
    guidance: Annotated[
        float | None, typer.Option(help=r"Only this guidance scale; 1 is none. \[default: any]")
    ] = None,
    row: Annotated[
        str | None, typer.Option(metavar="ID", help="This row, by its id or the id's start.")
    ] = None,
    checkpoint: Annotated[
        str | None,
        typer.Option(help=r"The model's file or folder. \[default: the one that was measured]"),
    ] = None,
    config: Annotated[
        str | None, typer.Option(help=r"Its config. \[default: the one that was measured]")
    ] = None,
    images: Annotated[int, typer.Option("-n", "--images", min=1, help="Images in a grid.")] = 16,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the noise that both have.")] = 0,
    reference: Annotated[
        str | None,
        typer.Option(help="Real images, their statistics, or self:STEPS: also measure both FIDs."),
    ] = None,
    extractor: Annotated[
        str | None, typer.Option(help=r"Of the FIDs. \[default: the row's]")
    ] = None,
    samples: Annotated[int, typer.Option(min=16, help="Images behind each FID.")] = 5000,
    device: Annotated[
        str | None, typer.Option(help=r"cpu, cuda … \[default: cuda where there is a GPU]")
    ] = None,
    store: StoreUrl = None,
    as_json: AsJson = False,
) -> None:
    """Sample with λ = 1 and with the best known λ, from the same noise, as one picture."""
    found = _row(model, steps, sampler, guidance, row, store)
    if found.schedule.is_identity:
        raise LambdaSearchError(
            f"Row {found.id[:12]} recommends λ = 1 ({found.verdict}): the two would be the same.",
            "Ask for other steps or another sampler; "
            f"{command('best', model)} lists what is known.",
        )
    place = to / f"{model}-{found.setting.solver}-{found.setting.steps}.png".replace("/", "-")
    _check_place(place)
    with working("reading the model"):
        loaded = _loaded(found, checkpoint, config, device)
        cautions = _check_metric(loaded, found, reference, extractor)
    for caution in cautions:
        err.print(Text(f"caution: {caution}", style="yellow"))
    evidence = None
    with working("sampling"):
        pair = _sampled(loaded, found, images, seed)
        if reference is not None:
            evidence = _measured(loaded, found, reference, extractor, samples, seed)
    _draw(place, pair, found, evidence)
    if as_json:
        told = {"picture": place, "row": row_json(found), "images": images, "seed": seed}
        print_json(told | {"evidence": None if evidence is None else asdict(evidence)})
        return
    out.print(rows_table([found]))
    if found.status == "published":
        err.print(Text("What is published names no file: whether this is the one is not known."))
    if evidence is not None:
        out.print(str(evidence), style="bold")
    err.print(Text(f"λ = 1 on the left, row {found.id[:12]} on the right: {place}"))


def _row(
    model: str,
    steps: int,
    sampler: str | None,
    guidance: float | None,
    id: str | None,
    store: str | None,
) -> Row:
    """The row that is meant."""
    if id is not None and (sampler is not None or guidance is not None):
        raise UsageError(
            "--row names one row, whatever its sampler and guidance.",
            "Leave --sampler and --guidance out, or --row.",
        )
    wanted: dict[str, Any] = {} if guidance is None else {"guidance": guidance}
    with looking(store) as opened:
        if id is None:
            return lookup.best(model, steps, sampler, opened, **wanted)
        found = opened.row(id)
    if (found.setting.model, found.setting.steps) != (model, steps):
        raise UsageError(
            f"Row {id} is of {found.setting.model} at {found.setting.steps} steps.",
            f"Its picture: {command('apply', found.setting.model)} "
            f"--steps {found.setting.steps} --row {id}",
        )
    return found


def _check_place(place: Path) -> None:
    """Makes the folder; raises LambdaSearchError if nothing can be put there."""
    with saving(place, _ELSEWHERE):
        place.parent.mkdir(parents=True, exist_ok=True)
        if place.is_dir() or not os.access(place.parent, os.W_OK | os.X_OK):
            raise PermissionError(errno.EACCES, "nothing can be put there")


def _loaded(row: Row, checkpoint: str | None, config: str | None, device: str | None) -> Model:
    """The model that the row is of."""
    from lambda_search.models.registry import device_of
    from lambda_search.models.registry import load_model

    told, setting = row.provenance, row.setting
    place = checkpoint or told.checkpoint
    if not place:
        raise UsageError(
            f"Row {row.id[:12]} was published; its weights are not on this machine.",
            "Name the model's file with --checkpoint, and its config with --config.",
        )
    loaded = load_model(setting.framework, place, config or told.config, str(device_of(device)))
    own, measured = (loaded.sha256, loaded.definition), (setting.weights, setting.definition)
    if row.status != "published" and own != measured:
        what = "other weights" if own[0] != measured[0] else "another config"
        raise UsageError(
            f"Row {row.id[:12]} was measured with {what} than {place} has.",
            f"Its λ is proven for that alone; for yours: {command('init', place)}",
        )
    loaded.check_decoder()
    return loaded


def _check_metric(
    model: Model, row: Row, reference: str | None, extractor: str | None
) -> Sequence[str]:
    """What is to be said of the metric that is asked for.

    Raises:
        UsageError: for one that cannot be used.
    """
    if reference is None:
        if extractor is not None:
            raise UsageError(
                "An extractor alone measures nothing.", "Add --reference: which images are real."
            )
        return ()
    from lambda_search.metrics.references.doubts import doubts
    from lambda_search.work.context import resolve_measure

    _, _, real = resolve_measure(
        _extractor(row, extractor), reference, model.device, model, row.setting.sampling
    )
    return doubts(real, model.image_shape())


def _extractor(row: Row, named: str | None) -> str:
    if named is None and row.status == "published":
        raise UsageError(
            "The authors' own evaluation is none of the extractors here.",
            "Name one with --extractor, such as inception-legacy.",
        )
    return named or row.setting.extractor.split("@")[0]


def _sampled(
    model: Model, row: Row, count: int, seed: int
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Images with λ = 1 and with the row, uint8 [n, c, h, w]."""
    from lambda_search.models.sampling import sample
    from lambda_search.models.sampling import to_uint8

    sampling = row.setting.sampling

    def images(schedule: LambdaSchedule) -> NDArray[np.uint8]:
        found = sample(
            model,
            sampling.sampler,
            sampling.steps,
            schedule,
            range(count),
            seed,
            guidance=sampling.guidance,
            site=sampling.site,
            options=sampling.options.model_dump(exclude_none=True, by_alias=True),
        )
        return to_uint8(found).cpu().numpy()

    return images(LambdaSchedule()), images(row.schedule)


def _measured(
    model: Model, row: Row, reference: str, extractor: str | None, n: int, seed: int
) -> Evidence:
    from lambda_search.work.evaluate import evaluate

    sampling = row.setting.sampling
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # they were told before
        return evaluate(
            model,
            sampling.sampler,
            sampling.steps,
            row.schedule,
            n=n,
            extractor=_extractor(row, extractor),
            reference=reference,
            seed=seed,
            guidance=sampling.guidance,
            site=sampling.site,
            options=sampling.options.model_dump(exclude_none=True, by_alias=True),
            say=lambda line: err.print(Text(line)),
        )


def _draw(
    place: Path,
    pair: tuple[NDArray[np.uint8], NDArray[np.uint8]],
    row: Row,
    evidence: Evidence | None,
) -> None:
    from lambda_search.work.contact_sheet import side_by_side

    slope = f" {'-' if row.schedule.k < 0 else '+'} {abs(row.schedule.k):.3g} i"
    titles = ["lambda = 1"], [f"lambda = {row.schedule.b:.5g}" + slope * (row.schedule.k != 0)]
    if evidence is not None:
        for lines, fid in zip(titles, (evidence.baseline_fid, evidence.fid), strict=True):
            lines.append(f"FID {fid:.4g} on {evidence.n:,} images")
    with saving(place, _ELSEWHERE), written_whole(place) as stream:
        stream.write(side_by_side(*pair, titles))
