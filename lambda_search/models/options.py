"""From what a caller says of sampling to options that a framework has filled."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from lambda_search.diffusion.samplers import Variance
from lambda_search.errors import UsageError
from lambda_search.setting import SamplerOptions
from lambda_search.setting import Sampling
from lambda_search.setting import Site
from lambda_search.setting import first_problem

__all__ = ["filled", "refuse_options", "sampling_of"]

_EVERYWHERE = ("precision", "kernels", "batch")


def sampling_of(
    sampler: str,
    steps: int,
    guidance: float | None = None,
    site: Site = "full",
    options: Mapping[str, Any] | None = None,
) -> Sampling:
    """A `Sampling` of what a caller says; what cannot be one raises UsageError."""
    if guidance is not None and not math.isfinite(guidance):
        raise UsageError(f"A guidance scale of {guidance:g} is impossible.", "Take 0 or more.")
    told = {"sampler": sampler, "steps": steps, "guidance": guidance, "site": site}
    try:
        return Sampling(**told, options=options or {})  # type: ignore[arg-type]
    except ValidationError as error:
        field, said, given = first_problem(error)
        known = ", ".join(SamplerOptions().told())
        hint = f"Options: {known}." if field.startswith("options") else f"Mend {field}."
        raise UsageError(f"{field} = {given!r}: {said}.", hint) from error


def filled(
    sampling: Sampling,
    *,
    grid: str,
    clip: bool,
    eta: float = 0.0,
    variance: Variance = "small",
    learned: bool = False,
    beside: Mapping[str, object] | None = None,
) -> SamplerOptions:
    """The options of `ancestral` or `ddim`.

    Arguments:
        sampling: with its open options.
        grid: the word of its grid, whether it was open or not.
        clip, eta, variance: what they are where they are open.
        learned: whether the network has learned its variance.
        beside: further options that the framework has, with what they are where they are open.

    Raises:
        UsageError: for an option that neither the sampler nor the framework has, and for a
            learned variance of a network that has none.
    """
    noise = {"eta": eta} if sampling.sampler == "ddim" else {"variance": variance}
    defaults = {"clip": clip, **noise, **(beside or {})}
    refuse_options(sampling, "grid", *defaults)
    given = sampling.options
    opened = {name: value for name, value in defaults.items() if getattr(given, name) is None}
    options = given.model_copy(update=opened | {"grid": grid})
    if options.variance == "learned" and not learned:
        raise UsageError(
            "This network has not learned its variance.", "Choose variance: small or large."
        )
    return options


def refuse_options(sampling: Sampling, *used: str) -> None:
    """Raises UsageError if `sampling` sets an option that is not among `used`."""
    for name, value in sampling.options.told().items():
        if value is not None and name not in (*_EVERYWHERE, *used):
            known = ", ".join(sorted({*_EVERYWHERE, *used}))
            raise UsageError(
                f"The sampler '{sampling.sampler}' has no option '{name}' here.",
                f"Remove {name}; its options are {known}.",
            )
