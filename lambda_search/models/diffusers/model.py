"""Diffusion models of the diffusers library: a UNet, a scheduler, and a decoder of latents.

ᾱ, the step grid and what the network is told are the scheduler's own. Unlike `DDIMScheduler`,
which assumes that step t leads to t − 1000/T′, every step here leads to the next timestep of the
grid. `euler` is η = 0 of `ddim` on the same grid, without clipping.
"""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Mapping
from contextlib import AbstractContextManager
from contextlib import suppress
from functools import cache
from functools import partial
from typing import Any
from typing import cast

import torch
from torch import Tensor
from torch import nn

from lambda_search.diffusion.grid import Grid
from lambda_search.diffusion.grid import Level
from lambda_search.diffusion.samplers import Observer
from lambda_search.diffusion.samplers import Prediction
from lambda_search.diffusion.samplers import Variance
from lambda_search.diffusion.schedulers import LibraryGrid
from lambda_search.diffusion.schedulers import build_grid
from lambda_search.diffusion.schedulers import check_scheduler
from lambda_search.diffusion.schedulers import pure_noise
from lambda_search.diffusion.schedulers import spacing
from lambda_search.diffusion.schedulers import spacings
from lambda_search.errors import UsageError
from lambda_search.models.base import SCHEDULER
from lambda_search.models.base import Model
from lambda_search.models.diffusers.functions import Labelled
from lambda_search.models.diffusers.scheduled import check_walk
from lambda_search.models.diffusers.scheduled import generators
from lambda_search.models.diffusers.scheduled import resolved
from lambda_search.models.diffusers.scheduled import scheduled_grid
from lambda_search.models.diffusers.scheduled import walk
from lambda_search.models.options import filled
from lambda_search.models.options import refuse_options
from lambda_search.models.running import Replayed
from lambda_search.models.running import sent
from lambda_search.schedule import LambdaSchedule
from lambda_search.setting import SamplerOptions
from lambda_search.setting import Sampling

__all__ = ["DiffusersModel"]

_VARIANCES: Mapping[str, Variance] = {
    "fixed_small": "small",
    "fixed_small_log": "small",
    "fixed_large": "large",
    "fixed_large_log": "large",
    "learned_range": "learned",
}


class DiffusersModel(Model):
    """A UNet and its scheduler.

    Arguments:
        unet: ε-, v- or sample-prediction network, with or without a learned variance.
        scheduler: the folder's scheduler; its ᾱ, grid, clipping and variance are used.
        sha256: of the weights.
        definition: of the configurations.
        shape: (c, h, w) of the states.
        device: where to compute.
        decoder: makes images of latents; None: the states are images.
        classes: how many labels there are; None: no labels.
        null_label: of the pass without a condition, if there is one.

    Raises:
        UsageError: for a scheduler or a network that is not supported.
    """

    samplers = ("ancestral", "ddim", "euler", SCHEDULER)
    _function: type[Labelled] = Labelled

    def __init__(
        self,
        unet: Any,
        scheduler: Any,
        sha256: str,
        definition: str,
        shape: tuple[int, int, int],
        device: torch.device,
        *,
        decoder: Callable[[Tensor], Tensor] | None = None,
        classes: int | None = None,
        null_label: int | None = None,
    ) -> None:
        super().__init__(
            "diffusers",
            sha256,
            definition,
            shape,
            device,
            classes=classes,
            null_label=null_label,
        )
        check_scheduler(scheduler)
        channels, said = unet.config.in_channels, unet.config.out_channels
        if said not in (channels, 2 * channels):
            raise UsageError(
                f"The network takes {channels} channels and says {said}.",
                "Use the folder of a pipeline that makes images from noise alone.",
            )
        memory_format = torch.channels_last
        self._unet = unet.eval().requires_grad_(False).to(device, memory_format=memory_format)
        self._network = Replayed(self._function(self._unet), device)
        self._scheduler = scheduler
        self._decoder = decoder
        self.latent = decoder is not None
        self._pure_noise = pure_noise(scheduler)
        self._learned = said == 2 * channels
        self._grid = cache(partial(build_grid, scheduler))

    def filled(self, sampling: Sampling) -> SamplerOptions:
        options = sampling.options
        if sampling.sampler == SCHEDULER:
            refuse_options(sampling, "class", "config", "eta")
            return resolved(self._scheduler, options)
        grid = spacing(self._scheduler, options.grid)
        if sampling.sampler == "euler":
            refuse_options(sampling, "grid", "s_churn")
            if options.s_churn:
                raise UsageError("A diffusers model cannot be churned.", "Leave s_churn out.")
            return options.model_copy(update={"grid": grid, "s_churn": 0.0})
        told = self._scheduler.config.get("variance_type") or "fixed_small"
        if sampling.sampler == "ancestral" and not (told in _VARIANCES or options.variance):
            raise UsageError(
                f"The variance type '{told}' is not supported.",
                "Choose variance: small, large, or learned for a learned-range network.",
            )
        return filled(
            sampling,
            grid=grid,
            clip=bool(self._scheduler.config.get("clip_sample", False)),
            variance=_VARIANCES.get(told, "small"),
            learned=self._learned,
        )

    def spelled(self, sampling: Sampling, grid: Grid) -> Sampling:
        if sampling.sampler == SCHEDULER:
            check_walk(self._scheduler, sampling.options, sampling.steps)
            return sampling
        for word in spacings(self._scheduler):
            options = sampling.options.model_copy(update={"grid": word})
            spelled = sampling.model_copy(update={"options": options})
            with suppress(UsageError):
                if spelled == sampling or self.grid(spelled) == grid:
                    return spelled
        return sampling

    def grid(self, sampling: Sampling) -> Grid:
        if sampling.sampler == SCHEDULER:
            return scheduled_grid(self._scheduler, sampling.options, sampling.steps)
        word = spacing(self._scheduler, sampling.options.grid)
        return self._grid(sampling.sampler, sampling.steps, word)

    def start(self, x_T: Tensor, grid: Grid) -> Tensor:
        return x_T * cast(LibraryGrid, grid).start_scale

    def predict(
        self, x: Tensor, level: Level, labels: Tensor | None, sampling: Sampling
    ) -> Prediction:
        alpha, sigma = level.alpha, level.sigma
        if sampling.sampler == "euler":  # whose state is x/α at σ/α
            alpha_bar = 1 / (1 + sigma**2)
            alpha, sigma = alpha_bar**0.5, (1 - alpha_bar) ** 0.5
            x = x * alpha
        # a tensor, since of a float a UNet2DModel takes the floor
        timestep = torch.full((), level.timestep, device=x.device)
        out = self._output(x, timestep, labels, sampling.guidance).to(x.dtype)
        variance_logit = None
        if self._learned:
            out, variance_logit = out.chunk(2, dim=1)
        kind = self._scheduler.config.prediction_type
        x0 = None
        if self._pure_noise is not None and alpha**2 <= self._pure_noise:
            x0 = out if kind == "sample" else alpha * x - sigma * out
        match kind:
            case "v_prediction":
                out = alpha * out + sigma * x
            case "sample":
                out = (x - alpha * out) / sigma
        return Prediction(out, variance_logit, x0=x0)

    def scheduled(
        self,
        sampling: Sampling,
        schedule: LambdaSchedule,
        draw: Callable[[int], Tensor],
        labels: Tensor | None,
        observe: Observer,
        watch: Callable[[], AbstractContextManager[object]],
    ) -> Tensor:
        options = sampling.options

        def network(x: Tensor, timestep: Tensor) -> Tensor:
            with self.running(options):
                timestep = sent(timestep, x.device, timestep.dtype)
                return self._output(x, timestep, labels, sampling.guidance)

        return walk(
            self._scheduler,
            options,
            sampling.steps,
            schedule,
            network,
            draw(0),
            generators(draw(1)),
            watch,
            observe,
        )

    def blocks(self) -> tuple[nn.Module, str]:
        layers = getattr(self._unet, "transformer_blocks", None)
        if layers is not None:
            return self._unet, f"transformer_blocks.{(len(layers) - 1) // 2}"
        if getattr(self._unet, "mid_block", None) is not None:
            return self._unet, "mid_block"
        return self._unet, f"down_blocks.{len(self._unet.down_blocks) - 1}"  # distilled ones

    def decode(self, x: Tensor) -> Tensor:
        return x if self._decoder is None else self._decoder(x)

    def _output(
        self, x: Tensor, timestep: Tensor, labels: Tensor | None, guidance: float | None
    ) -> Tensor:
        """What the network says of states `x`, guidance included."""
        return cast(Tensor, self._network(x, timestep, labels))
