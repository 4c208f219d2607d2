"""What a study of a checkpoint should say, field by field, where its user leaves it open."""

from __future__ import annotations

from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any

from pydantic import ValidationError

from lambda_search.errors import UsageError
from lambda_search.metrics.evidence import enough_images
from lambda_search.models.base import check_sampler
from lambda_search.models.recognition import Recognised
from lambda_search.models.registry import framework_of
from lambda_search.search.metric_choice import MetricChoice
from lambda_search.search.ranges import Ranges
from lambda_search.search.ranges import ranges_for
from lambda_search.search.rungs import default_rungs
from lambda_search.setting import Sampling
from lambda_search.setting import first_problem
from lambda_search.spec import ConfirmSpec
from lambda_search.spec import SamplerSpec
from lambda_search.spec import SearchSpec
from lambda_search.spec.blanks import BLANK
from lambda_search.spec.drafting import Choice
from lambda_search.spec.searching import DEFAULT_TILT
from lambda_search.work.contents import size_of

__all__ = ["own_sampler", "suggested"]

_STEPS = 20
_ASKED = "As asked."
_USUAL = "The usual number."
_GUIDANCE, _TEXT_GUIDANCE = 1.5, 7.5
_BATCHES = ((800 * 2**20, 64), (3200 * 2**20, 32))
"""Images in a batch by the bytes of the model's weights in float32."""
_LARGE_BATCH = 8
_CONFIRM_LEAST = 2048
_UNUSED = "Not used here."


def suggested(
    found: Recognised, measured: MetricChoice, name: str, asked: Mapping[str, Any]
) -> dict[str, Choice]:
    """A choice for each field that is not left open.

    Arguments:
        found: the checkpoint.
        measured: the metric.
        name: of the study.
        asked: values by their fields' places, which are taken as they are.

    Raises:
        UsageError: for a sampling that the model cannot do.
    """
    samplings = _samplings(found, asked)
    choices = {
        "name": Choice(name, "From the checkpoint's name."),
        "model.name": Choice(None, "The study's name unless given."),
        "model.source.licence": Choice(
            None, f"Of what {found.framework}'s authors publish: {_licence(found)}."
        ),
        **_model(found),
        **_sampler(found, asked, samplings),
        **_search(found, asked, samplings, name),
        **_metric(measured, samplings[0].options.batch, _in_rounds(asked)),
    }
    return choices | {
        place: Choice(value, _ASKED) for place, value in asked.items() if place != "sampler.steps"
    }


def _licence(found: Recognised) -> str:
    return framework_of(found.framework).licence


def _model(found: Recognised) -> dict[str, Choice]:
    needs = "; ".join(need.rstrip(".") for need in found.needs).replace("\n", " ")
    said = "Nothing is needed."
    if found.config is not None:
        said = f"FILL IN. {needs}." if needs else _ASKED
    return {
        "model.framework": Choice(found.framework, "Recognised from the file."),
        "model.checkpoint": Choice(found.checkpoint),
        "model.config": Choice(found.config, said),
    }


def _samplings(found: Recognised, asked: Mapping[str, Any]) -> list[Sampling]:
    """How images are sampled, for each step count; resolved where the model could be read."""
    model = found.model
    name = asked.get("sampler.name") or own_sampler(found)
    told: dict[str, Any] = {"name": name, "batch": _batch(found)}
    if "sampler.guidance" not in asked and model is not None and model.null_label is not None:
        told["guidance"] = _TEXT_GUIDANCE if _has_prompts(found) else _GUIDANCE
    for place, value in asked.items():
        section, _, field = place.partition(".")
        if section == "sampler" and field != "steps":
            told[field] = value
    try:
        several = [SamplerSpec(**told, steps=steps).sampling for steps in _steps(asked)]
    except ValidationError as error:
        field, said, given = first_problem(error)
        raise UsageError(
            f"sampler.{field} cannot be {given!r}: {said.lower()}.",
            "See its comment in a file that is drafted without it.",
        ) from error
    if model is None:
        check_sampler(found.framework, framework_of(found.framework).samplers, name)
    return several if model is None else [model.resolve(sampling) for sampling in several]


def _steps(asked: Mapping[str, Any]) -> list[int]:
    steps = asked.get("sampler.steps", _STEPS)
    return list(steps) if isinstance(steps, list) else [steps]


def own_sampler(found: Recognised) -> str:
    """The sampler that the framework's authors use most."""
    known = framework_of(found.framework).samplers
    text = ("ddim",) if _has_prompts(found) else ()
    preferred = (found.framework, *text, "heun", "ancestral", *known)
    own: str = next(sampler for sampler in preferred if sampler in known)
    return own


def _has_prompts(found: Recognised) -> bool:
    return isinstance(found.config, dict) and "prompts" in found.config


def _batch(found: Recognised) -> int:
    weights = size_of(found.model)
    return next((batch for most, batch in _BATCHES if weights <= most), _LARGE_BATCH)


def _sampler(
    found: Recognised, asked: Mapping[str, Any], samplings: Sequence[Sampling]
) -> dict[str, Choice]:
    first, steps = samplings[0], _steps(asked)
    known = ", ".join(framework_of(found.framework).samplers)
    why = _ASKED if "sampler.steps" in asked else "Few, where λ does most."
    real = [len(found.model.grid(sampling)) for sampling in samplings] if found.model else steps
    if real != steps:
        why += f" The framework's grid makes {', '.join(map(str, real))} of them."
    choices = {
        "sampler.name": Choice(first.sampler, f"This framework has: {known}."),
        "sampler.steps": Choice(steps if len(steps) > 1 else steps[0], why),
        "sampler.site": Choice(first.site),
        "sampler.batch": Choice(first.options.batch, "By the size of the network."),
        "sampler.precision": Choice(first.options.precision),
        "sampler.guidance": _guidance(found, first),
    }
    return choices | dict(_options(found, samplings, choices))


def _guidance(found: Recognised, sampling: Sampling) -> Choice:
    if sampling.guidance is not None:
        return Choice(sampling.guidance, "As is usual.")
    guided = found.model is None or found.model.null_label is not None
    return Choice(None, "Open: no guidance." if guided else "This model has none.")


def _options(
    found: Recognised, samplings: Sequence[Sampling], told: Mapping[str, Choice]
) -> Iterator[tuple[str, Choice]]:
    """The sampler's options: their authors' own, where all step counts have the same."""
    for name, value in samplings[0].options.told().items():
        place = f"sampler.{name}"
        if place in told:
            continue
        others = [sampling.options.told()[name] for sampling in samplings[1:]]
        follows = name == "grid" and any(digit in str(value) for digit in "0123456789")
        if found.model is None:
            yield place, Choice(value, "Open: the authors' own." if value is None else "")
        elif value is None:
            yield place, Choice(None, _UNUSED)
        elif follows or any(other != value for other in others):
            yield place, Choice(None, f"Open: the authors' own for the steps, such as {value}.")
        else:
            yield place, Choice(value, "The authors' own.")


def _search(
    found: Recognised, asked: Mapping[str, Any], samplings: Sequence[Sampling], name: str
) -> dict[str, Choice]:
    first, usual = samplings[0], SearchSpec(proposals="kg" if _in_rounds(asked) else "gp")
    steps = [sampling.steps for sampling in samplings]
    known = asked.get("model.name", name)
    ranges = ranges_for(found.framework, first.sampler, min(steps), first.site, known)
    return {
        "search.mean": Choice(list(ranges.mean), ranges.why),
        "search.slope": _slope(ranges, found, samplings),
        "search.trials": Choice(usual.trials, _USUAL),
        "search.parallel": Choice(usual.parallel, _USUAL),
        "search.proposals": Choice(usual.proposals),
        "search.seed": Choice(usual.seed),
    }


def _slope(ranges: Ranges, found: Recognised, samplings: Sequence[Sampling]) -> Choice:
    if ranges.slope is not None:
        return Choice(list(ranges.slope), "As that of the mean.")
    low, high = DEFAULT_TILT
    said = f"Over the grid λ may fall by {-low:g} or rise by {high:g}"
    if len(samplings) > 1:
        return Choice(None, f"Open: {said[0].lower()}{said[1:]}, whatever the steps.")
    steps = len(found.model.grid(samplings[0])) if found.model else samplings[0].steps
    return Choice([round(end / max(steps - 1, 1), 7) for end in (low, high)], f"{said}.")


def _in_rounds(asked: Mapping[str, Any]) -> bool:
    return bool(asked.get("search.proposals", "" if "metric.rungs" in asked else "kg") == "kg")


def _metric(measured: MetricChoice, batch: int, in_rounds: bool) -> dict[str, Choice]:
    rungs = default_rungs(measured.width or 0, batch)
    width = measured.width or rungs[0]
    wide = f"features are {width:,} wide"
    if measured.width is None:
        wide = f"features are taken to be {width:,} wide (the extractor is not here to tell)"
    enough = enough_images(width)
    wanted = max(2 * enough, _CONFIRM_LEAST)
    samples = -(-wanted // batch) * batch
    blank = "FILL IN. " if measured.reference == BLANK else ""
    return {
        "metric.extractor": Choice(measured.extractor, measured.why[0]),
        "metric.reference": Choice(measured.reference, blank + measured.why[1]),
        "metric.name": Choice("fid"),
        "metric.rungs": Choice(
            None if in_rounds else list(rungs),
            "Proposals kg have none."
            if in_rounds
            else f"One, two and four times the width d in whole batches; {wide}.",
        ),
        "confirm.top": Choice(ConfirmSpec().top, _USUAL),
        "confirm.samples": Choice(
            samples, f"A gain is `confirmed` on {enough:,} (4d) or more; twice that is safer."
        ),
    }
