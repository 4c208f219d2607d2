"""Where to look for λ: where studies of what is published look, for this framework and sampler."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

from lambda_search.paths import shipped
from lambda_search.spec import Range
from lambda_search.spec import SearchSpec
from lambda_search.spec import StudySpec
from lambda_search.spec import load_specs
from lambda_search.store.catalogue import entries

__all__ = ["Ranges", "ranges_for", "usual_ranges"]

_X0_ONLY = 4
"""How much more a unit of λ does on x0 alone: 2 to 19 times, as measured for LDM-ES's grids."""

_WIDEST = 3.0
"""How much wider a range becomes below the steps that were published."""


@dataclass(frozen=True)
class Ranges:
    """Where to look.

    Arguments:
        mean: of λ̄.
        slope: of k; None: what a study file's open slope stands for.
        why: in a sentence.
    """

    mean: Range
    slope: Range | None
    why: str


def ranges_for(
    framework: str, sampler: str, steps: int, site: str = "full", name: str = ""
) -> Ranges:
    """Ranges of λ̄ and k for a model of `framework` with `sampler`.

    Arguments:
        framework, sampler, steps, site: as a study file has them; the fewest of several steps.
        name: of the model; that of a published one narrows them.
    """
    if (framework, sampler) == ("diffusers", "euler"):
        sampler = "ddim"  # on one grid they are one
    of_sampler = [spec for spec in _published() if spec.sampler.name == sampler]
    of_framework = [spec for spec in of_sampler if spec.model.framework == framework]
    of_model = [spec for spec in of_framework if spec.model.name == name]
    if of_model:
        told = f"where the published study of {name} looks"
    elif of_framework:
        told = f"where published studies of {framework} with {sampler} look"
    elif of_sampler:
        told = f"where published studies with {sampler} look"
    else:
        return Ranges(SearchSpec().mean, None, "The usual range.")
    looked = of_model or of_framework or of_sampler
    mean, slope = _around(looked)
    fewest = min(spec.sampler.steps for spec in looked)
    wider = min(max(fewest / steps, 1.0), _WIDEST)
    why = f"This is {told}{_optima(framework, sampler)}"
    if wider > 1:
        why += f", {wider:.2g} times wider, since fewer steps need more than {fewest} do"
    if site == "x0_only":
        why += f", and {_X0_ONLY} times narrower, since λ does more on x0 alone"
        wider /= _X0_ONLY
    return Ranges(_scaled(mean, 1.0, wider), slope and _scaled(slope, 0.0, wider), f"{why}.")


def usual_ranges(
    framework: str, sampler: str, steps: int, site: str = "full"
) -> tuple[Range, Range | None]:
    """Ranges of λ̄ and k: those of `ranges_for` where optima of such models are published.

    Elsewhere those that a study file leaves open; a slope of None is what an open one stands for.
    Arguments as in `ranges_for`.
    """
    if not _optima(framework, sampler):
        return SearchSpec().mean, None
    found = ranges_for(framework, sampler, steps, site)
    return found.mean, found.slope


def _optima(framework: str, sampler: str) -> str:
    """What the catalogue has, in words."""
    means = [
        entry.schedule.mean(entry.setting.steps)
        for entry in entries()
        if (entry.setting.framework, entry.setting.sampler) == (framework, sampler)
    ]
    return f" (published optima: {min(means):.4f} to {max(means):.4f})" if means else ""


@cache
def _published() -> tuple[StudySpec, ...]:
    return tuple(load_specs(shipped("studies", "published")))


def _around(specs: Sequence[StudySpec]) -> tuple[Range, Range | None]:
    """The smallest ranges that hold those of all."""
    means = [end for spec in specs for end in spec.search.mean]
    slopes = [spec.search.slope for spec in specs]
    told = [end for slope in slopes if slope is not None for end in slope]
    return (min(means), max(means)), None if None in slopes else (min(told), max(told))


def _scaled(ends: Range, middle: float, by: float) -> Range:
    low, high = (round(middle + (end - middle) * by, 7) for end in ends)
    return low, high
