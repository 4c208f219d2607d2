"""Sampling from a model: the noise, the batches and the sampler put together."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from collections.abc import Mapping
from collections.abc import Sequence
from contextlib import AbstractContextManager
from contextlib import nullcontext
from typing import Any
from typing import TypeAlias
from typing import get_args

import torch
from pydantic import ValidationError
from torch import Tensor

from lambda_search.diffusion.noise import normal
from lambda_search.diffusion.samplers import Prediction
from lambda_search.diffusion.samplers import Site
from lambda_search.diffusion.samplers import ancestral
from lambda_search.diffusion.samplers import ddim
from lambda_search.diffusion.samplers import integrate
from lambda_search.errors import LambdaSearchError
from lambda_search.errors import UsageError
from lambda_search.models.base import Model
from lambda_search.schedule import LambdaSchedule
from lambda_search.setting import SamplerOptions

__all__ = ["Draw", "counter_noise", "sample", "sample_batch", "sampler_options", "to_uint8"]

Draw: TypeAlias = Callable[[int], Tensor]
"""j → noise [n, c, h, w]: 0 the start, j ≥ 1 the j-th step's, noisy to clean."""


def sample(
    model: Model,
    sampler: str,
    steps: int,
    schedule: LambdaSchedule,
    indices: Sequence[int] = range(16),
    seed: int = 0,
    labels: Tensor | None = None,
    guidance: float | None = None,
    site: Site = "full",
    initial: Tensor | None = None,
    step_noise: Sequence[Tensor] | None = None,
    options: Mapping[str, Any] | None = None,
    decode: bool = True,
) -> Tensor:
    """Samples of `model`, float32 [n, c, h, w]: the state after the last step, not clamped.

    Sample i depends on (seed, i) alone: it is row i mod B of the padded batch ⌊i/B⌋, B = the
    option `batch`. With `initial` the rows are taken as they come.

    Arguments:
        model: what `load_model` returned.
        sampler: `ancestral` or `ddim`.
        steps: solver steps T′.
        schedule: λ(i) = b + k·i; `LambdaSchedule()` is λ = 1.
        indices: n sample indices ≥ 0.
        seed: the study's seed.
        labels: class indices [n], for conditional models.
        guidance: classifier-free guidance scale.
        site: where λ acts, `full` or `x0_only`.
        initial: the start tensors [n, c, h, w] instead of drawn ones.
        step_noise: the later draws, noisy to clean, one [n, c, h, w] a step, instead of drawn
            ones.
        options: `SamplerOptions` by name.
        decode: images if true; otherwise the model's own states.

    Raises:
        UsageError: for options, steps or schedules that the model cannot do.
    """
    resolved = model.resolve(sampler, sampler_options(options))
    model.check_conditions(labels, guidance)
    if site not in get_args(Site):
        raise UsageError(f"There is no site '{site}'.", f"Choose {' or '.join(get_args(Site))}.")
    if any(index < 0 for index in indices):
        raise UsageError("Sample indices start at 0.", "Leave the negative ones out.")
    steps_taken = len(model.grid(sampler, steps, resolved))
    if step_noise is not None and len(step_noise) < steps_taken:
        raise UsageError(
            f"step_noise has {len(step_noise)} tensors for {steps_taken} steps.",
            "Pass one for each step, noisy to clean.",
        )
    if initial is None:
        if step_noise is not None:
            raise UsageError("step_noise comes with initial.", "Pass both, or initial alone.")
        batches = _padded_batches(indices, resolved.batch)
    else:
        indices = range(len(initial))
        batches = [list(indices)] if len(indices) else []
    rows_of: dict[int, list[int]] = defaultdict(list)
    for row, index in enumerate(indices):
        rows_of[index].append(row)
    out: Tensor | None = None
    for batch in batches:
        drawn = counter_noise(model, seed, batch)
        draw = drawn if initial is None else _injected(initial, step_noise, drawn)
        states = sample_batch(
            model, sampler, steps, schedule, draw, resolved, site, guidance, labels
        )
        images = model.decode(states) if decode else states
        out = images.new_empty((len(indices), *images.shape[1:])) if out is None else out
        for place, index in enumerate(batch):
            for row in rows_of.get(index, ()):
                out[row] = images[place]
    return torch.empty((0, *model.shape)) if out is None else out


@torch.inference_mode()
def sample_batch(
    model: Model,
    sampler: str,
    steps: int,
    schedule: LambdaSchedule,
    draw: Draw,
    options: SamplerOptions,
    site: Site = "full",
    guidance: float | None = None,
    labels: Tensor | None = None,
    watch: Callable[[], AbstractContextManager[object]] = nullcontext,
) -> Tensor:
    """One batch with the noise of `draw` and resolved `options`; the rest as in `sample`.

    `watch()` surrounds every call of the network, for timing.
    """
    grid = model.grid(sampler, steps, options)

    def predict(x: Tensor, time: float) -> Prediction:
        with watch(), model.autocast(options.precision):
            return model.predict(x, time, labels, guidance)

    def draw_here(j: int) -> Tensor:
        return draw(j).to(model.device)

    return integrate(
        predict,
        grid,
        ddim(options.eta or 0.0) if sampler == "ddim" else ancestral(options.variance or "small"),
        schedule.values(len(grid)),
        draw_here(0),
        draw_here,
        site=site,
        clip=bool(options.clip),
    )


def counter_noise(model: Model, seed: int, indices: Sequence[int]) -> Draw:
    """The noise of samples `indices` in a study with `seed`: j → [len(indices), c, h, w]."""
    return lambda j: normal(seed, indices, j, model.shape)


def to_uint8(images: Tensor) -> Tensor:
    """Images in [−1, 1] as bytes, quantised as the field does: (127.5x + 128) clipped to 0…255.

    Raises:
        LambdaSearchError: for NaN or infinity, which would look like black or white pixels.
    """
    if not torch.isfinite(images).all():
        raise LambdaSearchError(
            "The sampled images hold NaN or infinity.",
            "Take precision fp32 or bf16, clip, or λ nearer to 1.",
        )
    return (images * 127.5 + 128).clip(0, 255).to(torch.uint8)


def sampler_options(options: Mapping[str, Any] | None) -> SamplerOptions:
    """`SamplerOptions` by name; a name or value that is none raises UsageError."""
    try:
        return SamplerOptions(**(options or {}))
    except ValidationError as error:
        problem = error.errors()[0]
        field = ".".join(str(part) for part in problem["loc"])
        known = ", ".join(SamplerOptions.model_fields)
        raise UsageError(f"options: {field}: {problem['msg']}.", f"Options: {known}.") from error


def _injected(initial: Tensor, step_noise: Sequence[Tensor] | None, drawn: Draw) -> Draw:
    def draw(j: int) -> Tensor:
        if j == 0:
            return initial
        return drawn(j) if step_noise is None else step_noise[j - 1]

    return draw


def _padded_batches(indices: Sequence[int], batch: int) -> list[list[int]]:
    """The whole batches that hold `indices`, each [⌊i/B⌋·B, … + B)."""
    starts = sorted({index // batch * batch for index in indices})
    return [list(range(start, start + batch)) for start in starts]
