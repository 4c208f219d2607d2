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

import torch
from torch import Tensor

from lambda_search.diffusion.grid import Level
from lambda_search.diffusion.noise import balanced_labels
from lambda_search.diffusion.noise import normal
from lambda_search.diffusion.samplers import Observer
from lambda_search.diffusion.samplers import Prediction
from lambda_search.diffusion.samplers import unobserved
from lambda_search.errors import Diverged
from lambda_search.errors import UsageError
from lambda_search.models.base import SCHEDULER
from lambda_search.models.base import Model
from lambda_search.models.drawing import drawn
from lambda_search.models.options import sampling_of
from lambda_search.models.running import sent
from lambda_search.models.walking import walked
from lambda_search.schedule import LambdaSchedule
from lambda_search.setting import Sampling
from lambda_search.setting import Site

__all__ = [
    "Draw",
    "counter_noise",
    "default_labels",
    "sample",
    "sample_batch",
    "to_uint8",
]

Draw: TypeAlias = Callable[[int], Tensor]
"""j → noise [n, c, h, w]: 0 the prior's x_T, j ≥ 1 the j-th step's, noisy to clean."""


def sample(
    model: Model,
    sampler: str,
    steps: int,
    schedule: LambdaSchedule,
    indices: Sequence[int] | None = None,
    seed: int = 0,
    labels: Tensor | Sequence[int] | None = None,
    guidance: float | None = None,
    site: Site = "full",
    initial: Tensor | None = None,
    step_noise: Sequence[Tensor] | None = None,
    options: Mapping[str, Any] | None = None,
    decode: bool = True,
    *,
    observe: Observer = unobserved,
) -> Tensor:
    """Samples of `model`, float32 [n, c, h, w]: the state after the last step, not clamped.

    Sample i depends on (seed, i) alone, its label too: it is row i mod B of the padded batch
    ⌊i/B⌋, B = the option `batch`. With `initial` the rows are taken as they come, in one batch.

    Arguments:
        model: what `load_model` returned.
        sampler: `ancestral`, `ddim`, `euler`, `heun`, or `scheduler` (see the option `class`).
        steps: solver steps T′.
        schedule: λ(i) = b + k·i; `LambdaSchedule()` is λ = 1.
        indices: n sample indices ≥ 0, the first 16 unless given. Where `initial` has another
            length, its rows are the first samples.
        seed: the study's seed, 0 ≤ seed < 2⁶⁴.
        labels: class indices [n] of a conditional model; from the sample index unless given.
        guidance: classifier-free guidance scale.
        site: where λ acts, `full` or `x0_only`.
        initial: the start tensors [n, c, h, w], as the framework's own sampler receives them,
            instead of drawn ones.
        step_noise: the later draws, noisy to clean, one [n, c, h, w] a step, instead of drawn
            ones.
        options: `SamplerOptions` by name.
        decode: images if true; otherwise the model's own states.
        observe: told of every call of the network, batch by batch (padded ones).

    Raises:
        UsageError: for anything that the model cannot do, before the network is called.
    """
    sampling = model.resolve(sampling_of(sampler, steps, guidance, site, options))
    chosen = None if labels is None else torch.as_tensor(labels)
    model.check_conditions(chosen, sampling.guidance)
    if decode:
        model.check_decoder()
    steps_taken = len(model.grid(sampling))
    schedule.values(steps_taken)
    if indices is None:
        indices = range(16)
    if initial is not None and len(initial) != len(indices):
        indices = range(len(initial))
    if step_noise is not None and sampling.sampler == SCHEDULER:
        raise UsageError("A scheduler of diffusers draws its own noise.", "Leave step_noise out.")
    _check_draws(model, indices, seed, initial, step_noise, steps_taken)
    if chosen is not None and len(chosen) != len(indices):
        raise UsageError(
            f"There are {len(chosen)} labels for {len(indices)} samples.", "Pass one for each."
        )

    def images_of(draw: Draw, labels: Tensor | None) -> Tensor:
        states = sample_batch(model, sampling, schedule, draw, labels, observe=observe)
        return (model.decode(states) if decode else states).float()

    if not len(indices):
        return torch.empty((0, *model.shape))
    if initial is not None:
        draw = _injected(initial, step_noise, counter_noise(model, seed, indices))
        return images_of(draw, default_labels(model, indices) if chosen is None else chosen)
    rows_of: dict[int, list[int]] = defaultdict(list)
    for row, index in enumerate(indices):
        rows_of[index].append(row)
    out: Tensor | None = None
    for batch in _padded_batches(indices, sampling.options.batch):
        own = _labels_of_batch(model, batch, rows_of, chosen)
        images = images_of(counter_noise(model, seed, batch), own)
        out = images.new_empty((len(indices), *images.shape[1:])) if out is None else out
        for place, index in enumerate(batch):
            for row in rows_of.get(index, ()):
                out[row] = images[place]
    assert out is not None
    return out


@torch.inference_mode()
def sample_batch(
    model: Model,
    sampling: Sampling,
    schedule: LambdaSchedule,
    draw: Draw,
    labels: Tensor | None = None,
    *,
    observe: Observer = unobserved,
    watch: Callable[[], AbstractContextManager[object]] = nullcontext,
) -> Tensor:
    """The states after the last step of one batch, [n, c, h, w].

    Arguments:
        model: which network.
        sampling: what `model.resolve` made of it.
        schedule: λ(i).
        draw: its noise.
        labels: class indices [n] of a conditional model.
        observe: told of every call of the network.
        watch: `watch()` surrounds every call of the network, for timing.
    """
    options, grid = sampling.options, model.grid(sampling)
    if labels is not None:  # its own tensor, which nobody changes meanwhile
        labels = sent(labels.clone(), model.device, labels.dtype)

    def predict(x: Tensor, level: Level) -> Prediction:
        with watch(), model.running(options):
            return model.predict(x, level, labels, sampling)

    scheduler = sampling.sampler == SCHEDULER  # asks for one draw alone
    last = 0 if scheduler else len(grid) - 1
    with drawn(draw, last, model.device, model.dtype) as draw_here:
        if scheduler:
            return model.scheduled(sampling, schedule, draw_here, labels, observe, watch)
        return walked(model, sampling, grid, schedule, predict, draw_here, observe)


def counter_noise(model: Model, seed: int, indices: Sequence[int]) -> Draw:
    """The noise of samples `indices` in a study with `seed`: j → [len(indices), c, h, w]."""

    def draw(j: int) -> Tensor:
        return normal(seed, indices, j, model.shape) if j else model.prior(seed, indices)

    return draw


def default_labels(model: Model, indices: Sequence[int]) -> Tensor | None:
    """The labels of samples `indices`, balanced in every prefix; None: unconditional."""
    return None if model.classes is None else balanced_labels(indices, model.classes)


def to_uint8(images: Tensor) -> Tensor:
    """Images in [−1, 1] as bytes, quantised as the field does: (127.5x + 128) clipped to 0…255.

    Raises:
        Diverged: for NaN or infinity, which would look like black or white pixels.
    """
    if not torch.isfinite(images).all():
        raise Diverged(
            "The sampled images hold NaN or infinity.",
            "Take precision fp32 or bf16, clip, or λ nearer to 1.",
        )
    return (images * 127.5 + 128).clip(0, 255).to(torch.uint8)


def _injected(initial: Tensor, step_noise: Sequence[Tensor] | None, drawn: Draw) -> Draw:
    def draw(j: int) -> Tensor:
        if j == 0:
            return initial
        return drawn(j) if step_noise is None else step_noise[j - 1]

    return draw


def _labels_of_batch(
    model: Model,
    batch: Sequence[int],
    rows_of: Mapping[int, Sequence[int]],
    labels: Tensor | None,
) -> Tensor | None:
    """The batch's own labels, with those that were asked for in their places."""
    chosen = default_labels(model, batch)
    if chosen is None or labels is None:
        return chosen
    for place, index in enumerate(batch):
        wanted = {int(labels[row]) for row in rows_of.get(index, ())}
        if len(wanted) > 1:
            raise UsageError(
                f"Sample {index} is asked for with the labels {sorted(wanted)}.",
                "Ask for it once in a call.",
            )
        if wanted:
            chosen[place] = wanted.pop()
    return chosen


def _check_draws(
    model: Model,
    indices: Sequence[int],
    seed: int,
    initial: Tensor | None,
    step_noise: Sequence[Tensor] | None,
    steps: int,
) -> None:
    """Raises UsageError for indices, a seed or injected tensors that cannot be."""
    if not 0 <= seed < 2**64 or any(not 0 <= index < 2**63 for index in indices):
        raise UsageError(
            "Seeds and sample indices start at 0.", "Take a seed below 2⁶⁴, indices below 2⁶³."
        )
    if step_noise is None and initial is None:
        return
    if initial is None:
        raise UsageError("step_noise comes with initial.", "Pass both, or initial alone.")
    noises = () if step_noise is None else tuple(step_noise)
    if step_noise is not None and len(noises) < steps:
        raise UsageError(
            f"step_noise has {len(noises)} tensors for {steps} steps.",
            "Pass one for each step, noisy to clean.",
        )
    wanted = (len(indices), *model.shape)
    for name, given in [("initial", initial), *(("step_noise", noise) for noise in noises)]:
        if not isinstance(given, Tensor) or tuple(given.shape) != wanted:
            shape = list(given.shape) if isinstance(given, Tensor) else type(given).__name__
            raise UsageError(
                f"{name} is {shape} for {len(indices)} samples.",
                f"Pass tensors of the model's states, {list(wanted)}.",
            )


def _padded_batches(indices: Sequence[int], batch: int) -> list[list[int]]:
    """The whole batches that hold `indices`, each [⌊i/B⌋·B, … + B)."""
    starts = sorted({index // batch * batch for index in indices})
    return [list(range(start, start + batch)) for start in starts]
