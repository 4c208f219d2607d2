"""Step grids of diffusers schedulers.

A scheduler with a table of ᾱ alone (DDPM, DDIM, PNDM) walks integer timesteps, and ᾱ is the
table's. One that has a list of σ = √((1 − ᾱ)/ᾱ) walks these: they may lie between timesteps (Euler
and its kin), and the network is told what the scheduler tells it. Of a scheduler of higher order
only the grid is taken, without the points that lie between two steps.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from typing import cast

import diffusers
import torch

from lambda_search.diffusion.grid import Grid
from lambda_search.errors import UsageError
from lambda_search.errors import first_line

__all__ = [
    "SCHEDULERS",
    "LibraryGrid",
    "build_grid",
    "check_scheduler",
    "make_scheduler",
    "pure_noise",
    "spacing",
    "spacings",
]

SCHEDULERS = (
    "DDPMScheduler",
    "DDIMScheduler",
    "DDPMParallelScheduler",
    "DDIMParallelScheduler",
    "PNDMScheduler",
    "LMSDiscreteScheduler",
    "EulerDiscreteScheduler",
    "EulerAncestralDiscreteScheduler",
    "HeunDiscreteScheduler",
    "KDPM2DiscreteScheduler",
    "KDPM2AncestralDiscreteScheduler",
    "DPMSolverMultistepScheduler",
    "DPMSolverSinglestepScheduler",
    "UniPCMultistepScheduler",
    "DEISMultistepScheduler",
    "SASolverScheduler",
)
"""Those of a discrete variance-preserving process."""

_MOST_TIMESTEPS = 100_000
_SPACINGS = ("leading", "linspace", "trailing")


@dataclass(frozen=True)
class LibraryGrid(Grid):
    """A grid with the scale that it starts from.

    Arguments:
        start_scale: what the prior's normal noise is multiplied by to be the first state.
    """

    start_scale: float = 1.0


def make_scheduler(name: str, config: Mapping[str, Any]) -> Any:
    """The library's scheduler.

    Arguments:
        name: of its class, one of `SCHEDULERS`.
        config: in the library's own words.

    Raises:
        UsageError: if that makes no scheduler.
    """
    count, betas = config.get("num_train_timesteps", 1000), config.get("trained_betas")
    if type(count) is not int or not 1 <= count <= _MOST_TIMESTEPS:
        raise _refused(f"num_train_timesteps must be a number of 1 to {_MOST_TIMESTEPS:,}")
    if betas is not None and (not isinstance(betas, list) or len(betas) > _MOST_TIMESTEPS):
        raise _refused(f"trained_betas must be a list of at most {_MOST_TIMESTEPS:,} numbers")
    offset = config.get("steps_offset", 0)
    if type(offset) is not int or not 0 <= offset <= _MOST_TIMESTEPS:
        raise _refused(f"steps_offset must be a number of 0 to {_MOST_TIMESTEPS:,}")
    try:
        found = getattr(diffusers, name).from_config(dict(config))
        table = found.alphas_cumprod.double()
    except Exception as error:  # the library lets through whatever a config provokes
        raise _refused(first_line(error).rstrip(".")) from error
    falls = bool((table.diff() < 0).all()) and 0 <= float(table[-1]) <= float(table[0]) <= 1
    if not falls:
        raise _refused("its ᾱ does not fall from 1 towards 0")
    return found


def spacings(scheduler: Any) -> tuple[str, ...]:
    """The words of the grids that the scheduler has, its own first."""
    own = scheduler.config.get("timestep_spacing")
    return ("linspace",) if own is None else (own, *(w for w in _SPACINGS if w != own))


def spacing(scheduler: Any, asked: str | None) -> str:
    """The word of the grid that is meant: `asked`, or else the scheduler's own.

    Raises:
        UsageError: if the scheduler has no such grid.
    """
    own = scheduler.config.get("timestep_spacing")
    known = spacings(scheduler)
    grid = asked or known[0]
    if grid not in known:
        raise UsageError(
            f"A diffusers model has no grid '{grid}'"
            + (f" with {type(scheduler).__name__}." if own is None else "."),
            "Choose leading, linspace or trailing." if own else "Leave grid out.",
        )
    return grid


def build_grid(scheduler: Any, sampler: str, steps: int, grid: str) -> LibraryGrid:
    """The scheduler's grid of `steps` steps.

    For `euler` the state is in variance-exploding coordinates (α = 1), else variance-preserving.

    Raises:
        UsageError: for a number of steps that it cannot have.
    """
    walk = _by_sigmas if hasattr(scheduler, "sigmas") else _by_table
    try:
        times, alpha_bar, end, scale = walk(scheduler, steps, grid)
    except (ValueError, LookupError, ArithmeticError) as error:
        left = isinstance(error, LookupError)
        why = "it would leave the timesteps of training" if left else first_line(error)
        raise UsageError(
            f"This model's grid cannot have {steps} steps: {why.rstrip('.')}.",
            _fewer(scheduler, steps, grid),
        ) from error
    if grid == "linspace" and times == [0]:
        raise UsageError(
            "A linspace grid of 1 step never sees noise.", "Take 2 steps or more, or trailing."
        )
    if sampler == "ancestral":
        end = 1.0
    preserving = Grid.variance_preserving(times, alpha_bar, alpha_bar_end=end)
    noisiest = pure_noise(scheduler)
    if sampler == "euler" and noisiest is not None and alpha_bar[-1] <= noisiest:
        raise UsageError(
            "The sampler 'euler' cannot start from pure noise (zero terminal SNR).",
            "Choose ddim, which takes the same steps.",
        )
    if sampler == "euler":
        sigmas = [s / a for s, a in zip(preserving.sigma, preserving.alpha, strict=True)]
        ones = (1.0,) * len(times)
        return LibraryGrid(
            timesteps=preserving.timesteps,
            alpha=ones,
            sigma=tuple(sigmas),
            alpha_next=ones,
            sigma_next=(((1 - end) / end) ** 0.5, *sigmas[:-1]),
            start_scale=scale / preserving.alpha[-1],
        )
    return LibraryGrid(**vars(preserving), start_scale=scale)


def check_scheduler(scheduler: Any) -> None:
    """Raises UsageError for a scheduler that would sample otherwise than it is walked here."""
    config: Mapping[str, Any] = scheduler.config
    if config.get("thresholding"):
        raise UsageError("Dynamic thresholding is not supported.", "Use a folder without it.")
    if config.get("clip_sample_range", 1.0) != 1.0:
        raise UsageError("clip_sample_range must be 1.", "Use a folder with the usual range.")
    prediction = config["prediction_type"]
    if prediction not in ("epsilon", "v_prediction", "sample"):
        raise UsageError(
            f"The prediction type '{prediction}' is unknown.",
            "Known: epsilon, v_prediction, sample.",
        )
    for name, usual in (
        ("use_flow_sigmas", False),
        ("interpolation_type", "linear"),
        ("timestep_type", "discrete"),
    ):
        if config.get(name, usual) != usual:
            raise UsageError(
                f"The scheduler's {name} {config[name]} is not supported.",
                f"Use a scheduler_config.json with {name} {usual}.",
            )
    if pure_noise(scheduler) is not None and prediction == "epsilon":
        raise UsageError(
            "This scheduler ends in pure noise (zero terminal SNR), where ε does not give x0.",
            "Use a scheduler without rescale_betas_zero_snr, or a network that predicts v.",
        )


def pure_noise(scheduler: Any) -> float | None:
    """The ᾱ up to which a state is pure noise, or None for a scheduler that never goes there."""
    # some schedulers put 2⁻²⁴ in the place of ᾱ = 0, and interpolate in float32
    return 2.0**-23 if scheduler.config.get("rescale_betas_zero_snr") else None


def _check_known(scheduler: Any, steps: int) -> None:
    """Raises ValueError for more steps than there are timesteps."""
    if steps > (known := len(scheduler.alphas_cumprod)):
        raise ValueError(f"the network knows {known} timesteps")


def _check_last(scheduler: Any, time: float, grid: str) -> None:
    """Raises ValueError for a timestep behind the last one of training."""
    if time > (last := len(scheduler.alphas_cumprod) - 1):
        offset = scheduler.config.get("steps_offset", 0)
        raise ValueError(
            f"with its steps_offset of {offset} the grid '{grid}' leads to timestep {time:g}, "
            f"and the last is {last}"
        )


def _fewer(scheduler: Any, steps: int, grid: str) -> str:
    """What to ask for instead of too many steps."""
    count = len(scheduler.alphas_cumprod)
    last = count - 1 - (scheduler.config.get("steps_offset", 0) if grid == "leading" else 0)
    fit = (n for n in range(min(steps - 1, count), 0, -1) if (n - 1) * (count // n) <= last)
    most, others = next(fit, 0), [word for word in spacings(scheduler) if word != grid]
    known = [f"{most} steps"] * (most > 0) + [f"the grid {word}" for word in others]
    return f"Take {', or '.join(known) or 'another scheduler'}."


def _refused(why: str) -> UsageError:
    return UsageError(
        f"The scheduler's configuration cannot be used: {why}.",
        "Take the scheduler_config.json that belongs to the network.",
    )


def _by_table(
    scheduler: Any, steps: int, grid: str
) -> tuple[list[float], list[float], float, float]:
    """Timesteps, their ᾱ, ᾱ at the end, and the start's scale; least noisy first."""
    kind, config = type(scheduler), scheduler.config
    if kind.__name__ == "PNDMScheduler":  # its own list repeats steps for its history's sake
        kind = diffusers.DDIMScheduler
    table = scheduler.alphas_cumprod.double().tolist()
    _check_known(scheduler, steps)
    walked = kind.from_config(config, timestep_spacing=grid)
    walked.set_timesteps(steps)
    times = [t for t in walked.timesteps.tolist()[::-1] if t >= 0]  # trailing: −1 by rounding
    _check_last(scheduler, times[-1], grid)
    end = 1.0 if config.get("set_alpha_to_one", True) else table[0]
    return times, [table[t] for t in times], end, 1.0


def _by_sigmas(
    scheduler: Any, steps: int, grid: str
) -> tuple[list[float], list[float], float, float]:
    """As `_by_table`, from the scheduler's list of σ."""
    if grid != "linspace":  # whose points may lie between timesteps
        _check_known(scheduler, steps)
    own = {"timestep_spacing": grid} if "timestep_spacing" in scheduler.config else {}
    walked = type(scheduler).from_config(scheduler.config, **own)
    walked.set_timesteps(steps)
    first = walked.timesteps[0]
    # the first state as the network is given it: some schedulers start in other coordinates
    scaled = walked.scale_model_input(torch.ones(1), first) * walked.init_noise_sigma
    times = walked.timesteps.tolist()[:: walked.order]
    sigmas = walked.sigmas.double().tolist()
    points = [(t, s) for t, s in zip(times, sigmas[:: walked.order], strict=False) if t >= 0]
    points.reverse()
    _check_last(scheduler, points[-1][0], grid)
    levels = [s for _, s in points]
    if len(set(levels)) < len(levels) or levels[0] <= 0:
        raise ValueError("some of them would be one and the same")
    alpha_bar = [1 / (1 + s**2) for s in levels]
    end = 1 / (1 + sigmas[-1] ** 2)
    return [t for t, _ in points], alpha_bar, end, cast(float, scaled.item())
