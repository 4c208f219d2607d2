"""Sampling with a scheduler of diffusers itself: the sampler `scheduler`.

The scheduler is made from the model's own with what the study sets beside it, and λ comes in by
the same wrapper that `scale_epsilon` puts around a pipeline's, so that a row is used exactly as it
was measured. Noise of a step comes from a generator for each sample, as a pipeline takes a list of
them.
"""

from __future__ import annotations

import hashlib
import inspect
import warnings
from collections.abc import Callable
from collections.abc import Mapping
from collections.abc import Sequence
from contextlib import AbstractContextManager
from difflib import get_close_matches
from typing import Any
from typing import cast

import diffusers
import torch
from torch import Tensor

from lambda_search.diffusion.grid import Grid
from lambda_search.diffusion.samplers import Observer
from lambda_search.diffusion.samplers import unobserved
from lambda_search.diffusion.scaled.classes import reading_of
from lambda_search.diffusion.scaled.readings import OnSigmas
from lambda_search.diffusion.scaled.schedulers import Scaling
from lambda_search.diffusion.scaled.schedulers import dress
from lambda_search.diffusion.schedulers import LibraryGrid
from lambda_search.errors import EpsilonScalingWarning
from lambda_search.errors import UsageError
from lambda_search.errors import first_line
from lambda_search.models.diffusers.files import plain
from lambda_search.models.diffusers.observed import Observed
from lambda_search.schedule import LambdaSchedule
from lambda_search.setting import SamplerOptions

__all__ = ["Network", "check_walk", "generators", "made", "resolved", "scheduled_grid", "walk"]

Network = Callable[[Tensor, Tensor], Tensor]
"""(state, timestep) → what the network says, guidance included."""

_OWN_NOISE = ("DPMSolverSDEScheduler",)
"""Those whose noise no generator decides."""
_LEARNED = (diffusers.DDPMScheduler, diffusers.DDPMParallelScheduler)
"""Those that take a learned variance."""
_STEP = {"self", "model_output", "timestep", "sample", "args", "kwargs"}
_BETAS = ("beta_start", "beta_end", "beta_schedule", "trained_betas", "rescale_betas_zero_snr")


def made(own: Any, options: SamplerOptions) -> Any:
    """The scheduler that `options` ask for.

    Arguments:
        own: the model's scheduler, whose config holds where the options say nothing.
        options: `class` (open: that of `own`) and `config`.

    Raises:
        UsageError: for a class that is none, that λ cannot be applied to, or that walks another
            process than the network was trained for, and for a config that it cannot have.
    """
    kind = _class_of(options.class_ or type(own).__name__)
    name, known = kind.__name__, inspect.signature(kind.__init__).parameters
    told = dict(options.config or {})
    if unknown := sorted(told.keys() - known.keys()):
        near = get_close_matches(unknown[0], known)
        raise UsageError(
            f"{name} has no option '{unknown[0]}'.",
            f"Did you mean {near[0]}?" if near else f"It has: {', '.join([*known][1:])}.",
        )
    config = {
        key: value
        for key, value in own.config.items()
        if key != "variance_type" or issubclass(kind, _LEARNED)
    }
    try:
        found = kind.from_config(config, **told)
    except Exception as error:  # the library lets through whatever a config provokes
        raise UsageError(
            f"{name} cannot be made: {first_line(error).rstrip('.')}.",
            "Mend the sampler's config.",
        ) from error
    if not told.keys() & {*_BETAS} and not torch.allclose(
        found.alphas_cumprod, own.alphas_cumprod, rtol=1e-3, atol=1e-6
    ):
        raise _other(name, "its ᾱ are not those that the network was trained with")
    return found


def _class_of(name: str) -> Any:
    """The scheduler's class; UsageError for one that is none, or that a study cannot walk."""
    kind = getattr(diffusers, name, None)
    if name in _OWN_NOISE:
        raise _other(name, "it draws noise that no generator of a sample decides")
    if hasattr(kind, "_backends") and not issubclass(cast(type, kind), diffusers.SchedulerMixin):
        needed = ", ".join(cast(Any, kind)._backends)
        raise UsageError(f"{name} needs {needed}.", "Install it, or take another scheduler.")
    if not (isinstance(kind, type) and issubclass(kind, diffusers.SchedulerMixin)):
        near = get_close_matches(
            name, [one for one in dir(diffusers) if one.endswith("Scheduler")]
        )
        raise UsageError(
            f"diffusers has no scheduler '{name}'.",
            f"Did you mean {near[0]}?"
            if near
            else "Take a class such as UniPCMultistepScheduler.",
        )
    reading_of(kind)
    step = inspect.signature(kind.step).parameters.values()
    needed_words = {word.name for word in step if word.default is word.empty} - _STEP
    trained = {"prediction_type", "beta_start"} <= {*inspect.signature(kind.__init__).parameters}
    if needed_words or not trained or "Inverse" in name:
        raise _other(name, "it does not walk from noise to an image through the ᾱ of training")
    return kind


def _other(name: str, why: str) -> UsageError:
    return UsageError(
        f"{name} cannot be searched with this network: {why}.",
        "Take a class such as DPMSolverMultistepScheduler or UniPCMultistepScheduler.",
    )


def resolved(own: Any, options: SamplerOptions) -> SamplerOptions:
    """`options` with its class, and all in the config that is not what it is anyway.

    That is where the scheduler differs from its class's defaults, or from what the model's own
    config makes of it. Errors as in `made`.
    """
    scheduler = made(own, options)
    usual = made(own, options.model_copy(update={"config": None})).config
    defaults = inspect.signature(type(scheduler).__init__).parameters
    config = {
        name: value
        for name, value in plain(scheduler.config).items()
        if name in defaults
        and not (value == _plain(defaults[name].default) and value == _plain(usual[name]))
    }
    eta = options.eta
    if "eta" in inspect.signature(scheduler.step).parameters:
        eta = eta or 0.0
    elif eta is not None:
        raise UsageError(f"{type(scheduler).__name__} has no η.", "Leave eta out.")
    told = {"class_": type(scheduler).__name__, "config": config, "eta": eta}
    return options.model_copy(update=told)


def scheduled_grid(own: Any, options: SamplerOptions, steps: int) -> LibraryGrid:
    """The levels at which the scheduler calls the network, in variance-preserving coordinates.

    Raises:
        UsageError: as in `made`, and for a number of steps that it cannot have.
    """
    scheduler = _set(made(own, options), steps, torch.device("cpu"))
    reading = reading_of(type(scheduler))
    levels, names = reading.levels(scheduler), list(reading.walk(scheduler))
    on_sigmas, order = isinstance(reading, OnSigmas), getattr(scheduler, "order", 1)
    times = scheduler.timesteps.tolist() if on_sigmas else names
    pairs = zip(times[::order], names[::order], strict=False)
    told = {reading.level(scheduler, name): time for time, name in pairs}
    if not levels or not set(levels) <= told.keys():
        raise UsageError(
            f"{type(scheduler).__name__} has no grid of {steps} steps.", "Take another number."
        )
    end = 1 / (1 + float(scheduler.sigmas[-1]) ** 2) if on_sigmas else 1.0
    alpha_bar = [1 / (1 + level**2) for level in levels]
    grid = Grid.variance_preserving([told[level] for level in levels], alpha_bar, end)
    return LibraryGrid(**vars(grid), start_scale=float(scheduler.init_noise_sigma))


def check_walk(own: Any, options: SamplerOptions, steps: int) -> None:
    """Takes all steps on zeros: some configs pass, and break in the midst of sampling.

    Raises:
        UsageError: if a step cannot be taken.
    """
    scheduler = _set(made(own, options), steps, torch.device("cpu"))
    words = inspect.signature(scheduler.step).parameters
    beside: dict[str, Any] = {"generator": torch.Generator()} if "generator" in words else {}
    x = torch.zeros(1, 1, 1, 1)
    try:
        for timestep in scheduler.timesteps:
            out = scheduler.scale_model_input(x, timestep)
            out = torch.cat([out, out], dim=1) if _is_learned(scheduler) else out
            x = scheduler.step(out, timestep, x, return_dict=False, **beside)[0]
    except Exception as error:  # as `made` has it
        repeated = len(set(scheduler.timesteps.tolist())) < len(scheduler.timesteps)
        why = (
            "two of them have one timestep, and it loses count" if repeated else first_line(error)
        )
        raise UsageError(
            f"{type(scheduler).__name__} cannot take these {steps} steps: {why}.",
            "Take another number of steps, or another config.",
        ) from error


def walk(
    own: Any,
    options: SamplerOptions,
    steps: int,
    schedule: LambdaSchedule,
    network: Network,
    start: Tensor,
    noise: Sequence[torch.Generator],
    watch: Callable[[], AbstractContextManager[object]],
    observe: Observer = unobserved,
) -> Tensor:
    """The states after the last step, [n, c, h, w].

    Arguments:
        own: the model's scheduler.
        options: resolved.
        steps: as `set_timesteps` takes it.
        schedule: λ(i), i being the rank of a noise level in the whole grid.
        network: what it says, like the state, or with a learned variance behind.
        start: standard normal x_T.
        noise: a generator for each sample.
        watch: surrounds every call of the network.
        observe: told of every call.
    """
    scheduler = _set(made(own, options), steps, start.device)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", EpsilonScalingWarning)  # what is measured is what is used
        dress(scheduler, Scaling(schedule))
        words = inspect.signature(scheduler.step).parameters
        beside: dict[str, Any] = {"generator": list(noise)} if "generator" in words else {}
        if options.eta is not None:
            beside["eta"] = options.eta
        learned = _is_learned(scheduler)
        x: Tensor = start * scheduler.init_noise_sigma
        seen = Observed(scheduler, observe) if observe is not unobserved else None
        for timestep in scheduler.timesteps:
            given = scheduler.scale_model_input(x, timestep)
            with watch():
                out = network(given, timestep).to(x.dtype)
            if not learned:
                out = out[:, : x.shape[1]]
            if seen is not None:
                seen(x, timestep, out)
            stepped = scheduler.step(out, timestep, x, return_dict=False, **beside)
            x = stepped[0]
    return x


def _is_learned(scheduler: Any) -> bool:
    """Whether its steps take a learned variance behind ε."""
    variance = str(scheduler.config.get("variance_type"))
    return isinstance(scheduler, _LEARNED) and variance.startswith("learned")


def generators(draw: Tensor) -> list[torch.Generator]:
    """A generator for each sample, seeded by the first 32 bits of SHA-256 of its draw.

    Arguments:
        draw: a sample's own noise, float32 [n, …]: the one that an own sampler's first step takes.
    """
    rows = draw.float().cpu().contiguous().numpy()
    seeds = (int.from_bytes(hashlib.sha256(row.tobytes()).digest()[:4], "big") for row in rows)
    return [torch.Generator().manual_seed(seed) for seed in seeds]


def _set(scheduler: Any, steps: int, device: torch.device) -> Any:
    try:
        scheduler.set_timesteps(steps, device=device)
    except Exception as error:  # as `made` has it
        raise UsageError(
            f"{type(scheduler).__name__} cannot take {steps} steps: "
            f"{first_line(error).rstrip('.')}.",
            "Take another number of steps, or another config.",
        ) from error
    return scheduler


def _plain(value: object) -> object:
    found: Mapping[str, object] = plain({"value": value})
    return found["value"]
