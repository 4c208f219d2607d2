"""`diagnose`: how a model drifts in sampling, and the λ to begin with, from 1,000 images."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING
from typing import Annotated
from typing import Any

import typer
from rich.table import Table
from rich.text import Text

from lambda_search.cli.chosen import chosen
from lambda_search.cli.console import err
from lambda_search.cli.console import out
from lambda_search.cli.console import print_json
from lambda_search.cli.console import working
from lambda_search.cli.options import AsJson
from lambda_search.errors import UsageError
from lambda_search.shell import command
from lambda_search.spec import located

if TYPE_CHECKING:
    from lambda_search.models.base import Model
    from lambda_search.records import Diagnosis

__all__ = ["diagnose"]

_STUDY = (".yaml", ".yml")
_ROWS = 20
"""Steps of the curve that are shown; of more, evenly spread ones."""


def diagnose(
    model: Annotated[
        str,
        typer.Argument(
            help="A checkpoint, a pipeline folder or bundled:NAME; or a study file, whose "
            "setting is used."
        ),
    ],
    steps: Annotated[
        int | None, typer.Option(min=1, help=r"Solver steps. \[default: the study's]")
    ] = None,
    sampler: Annotated[
        str | None, typer.Option(help=r"\[default: the study's, or the authors' own]")
    ] = None,
    guidance: Annotated[
        float | None, typer.Option(help="Scale of classifier-free guidance.")
    ] = None,
    site: Annotated[str | None, typer.Option(help="full or x0_only.")] = None,
    reference: Annotated[
        str | None,
        typer.Option(
            help="Real images: a folder, .zip or .npz, or images:PATH; a few hundred are enough. "
            r"\[default: the study's; without any, the model's own samples of many steps]"
        ),
    ] = None,
    framework: Annotated[
        str | None, typer.Option(help=r"How it is read. \[default: recognised]")
    ] = None,
    config: Annotated[
        str | None, typer.Option(help="Its config: a JSON or YAML file, or {…}.")
    ] = None,
    constant: Annotated[bool, typer.Option("--constant", help="λ as one number, k = 0.")] = False,
    images: Annotated[
        int, typer.Option(min=500, help="To sample at most, own samples included.")
    ] = 1000,
    seed: Annotated[int, typer.Option(min=0, help="Of the noise.")] = 0,
    device: Annotated[
        str | None, typer.Option(help=r"cpu, cuda … \[default: cuda where there is a GPU]")
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Write a page with figures there.")
    ] = None,
    single: Annotated[
        bool,
        typer.Option("--single", help="That page in one file; else plotly.min.js lies beside it."),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Predict λ from at most 1,000 images, without an extractor: where a search may begin.

    Norms of the predicted noise in sampling and at true noised images, and the λ that brings
    samples nearer to clean images in the network's own features. Nothing of it is proven.
    """
    of_study = Path(model).suffix in _STUDY
    if of_study:
        beside = {
            "--sampler": sampler,
            "--guidance": guidance,
            "--site": site,
            "--framework": framework,
            "--config": config,
        }
        given = [name for name, value in beside.items() if value is not None]
        if given:
            raise UsageError(f"{model} says that itself: {given[0]}.", "Change it there.")
    elif steps is None:
        raise UsageError("It is not known in how many steps.", "Name them with --steps.")
    with working("reading the model"):
        from lambda_search.search.diagnosing import diagnose as look
        from lambda_search.search.metric_choice import real_images

        real = reference and real_images(reference)
        if of_study:
            loaded, told = _of_study(Path(model), steps, device)
        else:
            loaded, told = _of_file(model, framework, config, device)
            told |= {"steps": steps, "guidance": guidance, "site": site or "full"}
            told |= {} if sampler is None else {"sampler": sampler}
    told |= {"reference": real} if real else {}
    told |= {"constant": True} if constant else {}
    err.print(Text("a prediction: nothing of it is proven", style="dim"))
    with working("sampling"):
        found = look(
            loaded, **told, images=images, seed=seed, say=lambda line: err.print(Text(line, "dim"))
        )
    if as_json:
        print_json(_as_json(found))
    else:
        _show(found, model if of_study else "")
    if output is not None:
        from lambda_search.report.writing import write_diagnosis

        path = write_diagnosis(found, model, output, single)
        err.print(Text(f"{path}; open it in a browser"))


def _of_study(file: Path, steps: int | None, device: str | None) -> tuple[Model, dict[str, Any]]:
    """The model of a study, and what its file says of sampling and of where to look."""
    from lambda_search.metrics.references.load import IMAGES
    from lambda_search.models.registry import device_of
    from lambda_search.search.weights import model_of

    one = chosen(file, steps)
    spec = located(one.spec, [one.base])
    sampling, search = spec.sampler.sampling, spec.search
    real = spec.metric.reference.startswith(IMAGES)
    return model_of(spec.model, str(device_of(device))), {
        "sampler": sampling.sampler,
        "steps": sampling.steps,
        "guidance": sampling.guidance,
        "site": sampling.site,
        "options": sampling.options.model_dump(exclude_none=True, by_alias=True),
        "constant": search.family == "constant" or search.slope == (0, 0),
        "reference": spec.metric.reference if real else None,
    }


def _of_file(
    checkpoint: str, framework: str | None, config: str | None, device: str | None
) -> tuple[Model, dict[str, Any]]:
    """The model of a checkpoint, and the sampler that its authors use."""
    from lambda_search.models.recognition import one_file
    from lambda_search.models.recognition import recognised
    from lambda_search.models.registry import device_of
    from lambda_search.models.registry import load_model
    from lambda_search.search.suggestions import own_sampler

    file = one_file(checkpoint)
    found, wanted = recognised(file, framework, config), device_of(device)
    if found.model is None or found.needs:
        raise UsageError(
            f"{checkpoint} does not say all that is needed: {' '.join(found.needs)}",
            f"Write it into a study file: {command('init', checkpoint)}; then diagnose that file.",
        )
    model = found.model
    if wanted != model.device:
        model = load_model(found.framework, file, found.config, str(wanted))
    return model, {"sampler": own_sampler(found)}


def _as_json(found: Diagnosis) -> dict[str, Any]:
    told = asdict(found)
    for step, one in zip(told["curve"], found.curve, strict=True):
        step["ratio"] = one.ratio
    return told | {"words": found.words}


def _show(found: Diagnosis, study: str) -> None:
    """What it predicts, the curve, and what was tried."""
    out.print(Text(found.words, style="bold"))
    table = Table.grid(padding=(0, 2))
    for justify in ("right",) * 5:
        table.add_column(justify=justify)
    table.add_row(*(Text(one, "dim") for one in ("i", "σ/α", "‖ε‖ in sampling", "true", "r")))
    spread = max(-(-len(found.curve) // _ROWS), 1)
    for one in found.curve[::spread]:
        noise = "∞" if one.noise is None else f"{one.noise:.3g}"
        numbers = f"{one.sampling:.2f}", f"{one.true:.2f}", f"{one.ratio:.3f}"
        table.add_row(str(one.index), noise, *numbers)
    out.print(table)
    tried = Table.grid(padding=(0, 2))
    for justify in ("left", "right", "right"):
        tried.add_column(justify=justify)  # type: ignore[arg-type]
    tried.add_row(*(Text(one, "dim") for one in ("tried: λ(i)", "images", "gain")))
    for line in found.tried:
        if line.gain is None or line.error is None:
            gain = "not finite"
        else:
            gain = f"{line.gain:+.1%} ± {1.96 * line.error:.1%}"
        shown = "" if line.schedule.is_identity else gain
        tried.add_row(str(line.schedule), f"{line.n}", shown)
    out.print(tried)
    err.print(
        Text(
            f"{found.images:,} images sampled; gains are those of {found.features}; measured "
            f"against {found.reference}; true norms are those of {found.truth}",
            style="dim",
        )
    )
    if study and not found.schedule.is_identity:
        b, k = f"--b {found.schedule.b:.9g}", f"--k {found.schedule.k:.9g}"
        err.print(Text(f"to measure it: {command('evaluate', study)} {b} {k}"))
