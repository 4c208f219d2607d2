"""`init`: a study file for a checkpoint, without writing YAML."""

from __future__ import annotations

import re
from difflib import get_close_matches
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
from lambda_search.cli.questions import Questions
from lambda_search.errors import UsageError
from lambda_search.files import written_whole
from lambda_search.paths import BUNDLED
from lambda_search.shell import command
from lambda_search.spec.blanks import lines_of_blanks
from lambda_search.spec.documents import read_yaml
from lambda_search.spec.fields import FIELDS

if TYPE_CHECKING:
    from lambda_search.search.drafts import Draft

__all__ = ["init"]

_NUMBERS = "NUMBERS"
_SUFFIXES = (".pt", ".pth", ".pkl", ".ckpt", ".safetensors")
_OPTIONS = {
    "name": "--name",
    "model.framework": "--framework",
    "model.checkpoint": "the argument CHECKPOINT",
    "model.config": "--config",
    "metric.extractor": "--extractor",
    "metric.reference": "--reference",
}
"""Fields that are looked at before the others."""
_GENERIC = re.compile(r"(model|network|checkpoint|ckpt|weights|ema|last|\d+)*", re.IGNORECASE)


def init(
    checkpoint: Annotated[
        str,
        typer.Argument(help="A checkpoint file, a pipeline folder, a hub name, or bundled:NAME."),
    ],
    config: Annotated[
        str | None,
        typer.Option(
            metavar="FILE", help="The framework's own options: JSON or YAML, or {name: value, …}."
        ),
    ] = None,
    framework: Annotated[
        str | None, typer.Option(help=r"How it is read. \[default: recognised]")
    ] = None,
    vae: Annotated[
        str | None, typer.Option(metavar="FOLDER", help="Decoder of latents, for DiT.")
    ] = None,
    prompts: Annotated[
        str | None, typer.Option(metavar="FILE", help="Prompts, one a line, for text to image.")
    ] = None,
    sampler: Annotated[str | None, typer.Option(help=r"\[default: the authors' own]")] = None,
    steps: Annotated[
        str | None, typer.Option(metavar=_NUMBERS, help=r"Such as 10,20,50. \[default: 20]")
    ] = None,
    guidance: Annotated[
        float | None, typer.Option(help="Scale of classifier-free guidance.")
    ] = None,
    site: Annotated[str | None, typer.Option(help="full or x0_only.")] = None,
    extractor: Annotated[
        str | None, typer.Option(help=r"\[default: inception-clean, or the reference's]")
    ] = None,
    reference: Annotated[
        str | None,
        typer.Option(
            help="Real images: images:FOLDER, an .npz, clean-fid:cifar10/train/32; or self:STEPS, "
            "the model's own samples of more steps."
        ),
    ] = None,
    trials: Annotated[int | None, typer.Option(help="Schedules to try.")] = None,
    rungs: Annotated[
        str | None, typer.Option(metavar=_NUMBERS, help="Images at which they are compared.")
    ] = None,
    samples: Annotated[int | None, typer.Option(help="Images of the confirmation.")] = None,
    fields: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="FIELD=VALUE", help="Any other, such as search.seed=3."),
    ] = None,
    name: Annotated[
        str | None, typer.Option(help=r"The study's. \[default: the checkpoint's]")
    ] = None,
    to: Annotated[
        Path | None, typer.Option("--out", metavar="FILE", help=r"\[default: NAME.yaml]")
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Write over a file that is there.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Write a study file for a checkpoint: every field, with what it is and why.

    What only you can know is asked on a terminal, and elsewhere left as a line to fill in.
    """
    asked = _fields(fields or []) | {
        place: value
        for place, value in {
            "name": name,
            "sampler.name": sampler,
            "sampler.steps": steps and _numbers("--steps", steps),
            "sampler.guidance": guidance,
            "sampler.site": site,
            "search.trials": trials,
            "metric.rungs": rungs and _numbers("--rungs", rungs, always=True),
            "confirm.samples": samples,
        }.items()
        if value is not None
    }
    questions = Questions(not as_json)
    name = name or _name_of(checkpoint)
    target = to or Path(f"{name}.yaml")
    _check_target(target, force)
    with working("loading"):
        from lambda_search.models.recognition import one_file
        from lambda_search.models.recognition import recognised
        from lambda_search.search.drafts import drafted
        from lambda_search.search.metric_choice import chosen_metric
        from lambda_search.search.metric_choice import real_images
    checkpoint = one_file(checkpoint)
    entries = {"vae": vae, "prompts": prompts}
    told = {entry: value for entry, value in entries.items() if value is not None}
    found = recognised(checkpoint, framework, config, told, questions.config)
    reference = reference and real_images(reference)
    if reference is None and not checkpoint.startswith(BUNDLED):
        reference = questions.reference(real_images)
    with working("looking at the metric"):
        measured = chosen_metric(extractor, reference, checkpoint)
        draft = drafted(found, measured, name, asked, target.parent)
    try:
        with written_whole(target) as stream:
            stream.write(draft.text.encode())
    except OSError as error:
        raise UsageError(
            f"{target} cannot be written: {error.strerror or error}.", "Choose another --out."
        ) from error
    _tell(target, draft, as_json)


def _fields(written: list[str]) -> dict[str, Any]:
    """Values by field, of `--set FIELD=VALUE`; a value is read as in a study file."""
    known = [place for place, field in FIELDS.items() if field.example and place not in _OPTIONS]
    found = {}
    for text in written:
        place, mark, value = text.partition("=")
        place = place.strip()
        if place in _OPTIONS:
            raise UsageError(f"--set cannot set {place}.", f"Use {_OPTIONS[place]}.")
        if place not in known or not mark:
            close = get_close_matches(place, known, n=1)
            raise UsageError(
                f"--set {text} names no field of a study file.",
                f"Did you mean {close[0]}=…?" if close else "For example: --set search.seed=3.",
            )
        found[place] = read_yaml(value, f"--set {place}")
    return found


def _numbers(option: str, text: str, always: bool = False) -> int | list[int]:
    """Whole numbers between commas; a list of them, unless it is one that may stand alone."""
    try:
        found = [int(part) for part in text.strip("[]").split(",")]
    except ValueError as error:
        raise UsageError(
            f"{option} {text} are no whole numbers.", f"Write them as: {option} 10,20,50."
        ) from error
    return found[0] if len(found) == 1 and not always else found


def _name_of(checkpoint: str) -> str:
    """A study's name from a checkpoint's, or its folder's where that says nothing."""
    path = Path(checkpoint.removeprefix(BUNDLED)).expanduser()
    stem = path.stem if path.suffix in _SUFFIXES else path.name
    if _GENERIC.fullmatch(re.sub(r"[^a-zA-Z0-9]", "", stem)):
        stem = path.resolve().parent.name
    name = re.sub(r"[^a-z0-9._]+", "-", stem.lower()).strip("-._")
    return name[:80] or "my-study"


def _check_target(target: Path, force: bool) -> None:
    """Raises UsageError, before anything is read, unless the file may be written there."""
    if target.is_dir() or (target.exists() and not force):
        raise UsageError(
            f"{target} exists already.",
            "Choose another --name or --out"
            + ("." if target.is_dir() else ", or write over it with --force."),
        )
    if not target.parent.is_dir():
        raise UsageError(f"There is no folder {target.parent}.", "Make it, or choose another.")


def _tell(target: Path, draft: Draft, as_json: bool) -> None:
    """What was written, what is to be filled in, and the next command."""
    launch = command("launch", target)
    if as_json:
        print_json(
            {
                "file": str(target),
                "studies": draft.studies,
                "fill_in": draft.blanks,
                "cautions": draft.cautions,
                "fetched": draft.fetched,
                "next": [f"{launch} --dry-run", launch],
            }
        )
        return
    out.print(Text(str(target)))
    for caution in draft.cautions:
        err.print(Text(f"caution: {caution}", style="yellow"))
    for item in draft.fetched:
        err.print(Text(f"a launch fetches it: {item}"))
    for place, number in zip(draft.blanks, lines_of_blanks(draft.text), strict=True):
        err.print(Text(f"fill in: {place}, line {number}", style="yellow"))
    err.print(Text(f"next: {launch} --dry-run\nthen: {launch}"))
