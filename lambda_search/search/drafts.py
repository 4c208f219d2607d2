"""Drafts of study files: what is suggested, written, and checked as a dry run checks it."""

from __future__ import annotations

from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lambda_search.errors import UsageError
from lambda_search.metrics.extractors.registry import extractors
from lambda_search.metrics.references.load import CLEAN_FID
from lambda_search.models.recognition import Recognised
from lambda_search.search.cost import outlines
from lambda_search.search.metric_choice import MetricChoice
from lambda_search.search.missing import Missing
from lambda_search.search.missing import look_at
from lambda_search.search.suggestions import suggested
from lambda_search.shell import command
from lambda_search.spec import StudySpec
from lambda_search.spec import located
from lambda_search.spec import parse_specs
from lambda_search.spec.blanks import BLANK
from lambda_search.spec.blanks import blanks
from lambda_search.spec.drafting import nested
from lambda_search.spec.drafting import rebased
from lambda_search.spec.drafting import study_file

__all__ = ["Draft", "drafted"]


@dataclass(frozen=True)
class Draft:
    """A study file that could be launched, but for its blanks.

    Arguments:
        text: of the file.
        studies: their names.
        blanks: the fields that have to be filled in.
        cautions: what will make the outcome weak.
        fetched: what a launch will fetch.
    """

    text: str
    studies: tuple[str, ...]
    blanks: tuple[str, ...]
    cautions: tuple[str, ...]
    fetched: tuple[str, ...]


def drafted(
    found: Recognised, measured: MetricChoice, name: str, asked: Mapping[str, Any], folder: Path
) -> Draft:
    """The study file of a checkpoint.

    Arguments:
        found: the checkpoint, its names starting at the working folder.
        measured: the metric.
        name: of the study.
        asked: values by their fields' places, taken as they are.
        folder: where the file will lie.

    Raises:
        UsageError: for all that a dry run of the file would refuse.
    """
    choices = suggested(found, measured, name, asked)
    heading = list(_heading(found))
    specs = _specs(study_file(choices, heading), Path.cwd())
    if folder.resolve() != Path.cwd():
        choices = rebased(choices, Path.cwd())
    empty = tuple(blanks(nested(choices)))
    cautions, fetched = _checked(specs, measured, empty)
    names = tuple(spec.name for spec in specs)
    return Draft(study_file(choices, heading), names, empty, cautions, fetched)


def _heading(found: Recognised) -> Iterator[str]:
    yield "Finds the λ(i) = b + k·i that suits a model, a sampler and a number of steps."
    if (model := found.model) is not None:
        channels, height, width = model.shape
        labels = "unconditional" if model.classes is None else f"{model.classes:,} labels"
        yield f"The model: {found.framework}, states of {channels} × {height} × {width}, {labels}."
    yield "Above each field stands what it is; one behind a # without a space is left open."
    yield ""
    yield f"  {command('launch', 'FILE', '--dry-run')}    says what it costs"
    yield f"  {command('launch', 'FILE')}              runs it; the same command goes on"


def _specs(text: str, folder: Path) -> list[StudySpec]:
    """The studies of a draft, with a word in place of its blanks."""
    try:
        specs = parse_specs(text.replace(BLANK, "blank"), "What was asked for")
    except UsageError as error:
        raise UsageError(error.cause, "Change the options of init.") from error
    return [located(spec, [folder]) for spec in specs]


def _checked(
    specs: list[StudySpec], measured: MetricChoice, empty: tuple[str, ...]
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Cautions, and what will be fetched."""
    if empty:
        known = "metric.reference" not in empty
        return (), tuple(_fetched(look_at(specs[0].metric).missing, measured)) if known else ()
    cautions: dict[str, None] = {}
    fetched: dict[str, None] = {}
    for plan, missing in outlines(specs):
        cautions.update(dict.fromkeys(plan.cautions()))
        fetched.update(dict.fromkeys(_fetched(missing, measured)))
    return tuple(cautions), tuple(fetched)


def _fetched(missing: Sequence[Missing], measured: MetricChoice) -> Iterator[str]:
    """What is missing and will be fetched; raises UsageError for what will not."""
    fetchable = {  # by a launch, on a machine that may ask the network
        "extractor": measured.extractor in extractors(),
        "reference": measured.reference.startswith(CLEAN_FID),
    }
    for item in missing:
        if not fetchable.get(item.what):
            raise UsageError(item.cause, item.hint)
        yield f"{item.cause} {item.hint}".strip()
