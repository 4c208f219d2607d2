"""Diffusion models of the diffusers library: a UNet, a scheduler, and a decoder of latents.

ᾱ, the step grid and what the network is told are the scheduler's own. Unlike `DDIMScheduler`,
which assumes that step t leads to t − 1000/T′, every step here leads to the next timestep of the
grid. `euler` is η = 0 of `ddim` on the same grid, without clipping.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any
from typing import cast

import torch
from torch import Tensor

from lambda_search.diffusion.grid import Grid
from lambda_search.diffusion.samplers import Prediction
from lambda_search.diffusion.schedulers import LibraryGrid
from lambda_search.diffusion.schedulers import build_grid
from lambda_search.diffusion.schedulers import check_scheduler
from lambda_search.diffusion.schedulers import pure_noise
from lambda_search.diffusion.schedulers import spacing
from lambda_search.diffusion.schedulers import walks_sigmas
from lambda_search.errors import UsageError
from lambda_search.models.base import Model
from lambda_search.models.base import refuse_options
from lambda_search.setting import SamplerOptions

__all__ = ["DiffusersModel"]

_VARIANCES = {
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

    samplers = ("ancestral", "ddim", "euler")

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
        self._scheduler = scheduler
        self._decoder = decoder
        self._alpha_bar = scheduler.alphas_cumprod.double().tolist()
        self._pure_noise = pure_noise(scheduler)
        self._learned = said == 2 * channels
        self._grid = cache(self._build_grid)
        self._told: dict[float, float] = {}  # σ of every grid so far → what the network is told

    def resolve(self, sampler: str, steps: int, options: SamplerOptions) -> SamplerOptions:
        self.check_sampler(sampler)
        grid = {"grid": spacing(self._scheduler, options.grid)}
        if sampler == "euler":
            refuse_options(sampler, options, "grid", "s_churn")
            if options.s_churn:
                raise UsageError("A diffusers model cannot be churned.", "Leave s_churn out.")
            return options.model_copy(update=grid | {"s_churn": 0.0})
        noise = "eta" if sampler == "ddim" else "variance"
        refuse_options(sampler, options, "grid", "clip", noise)
        clip = self._scheduler.config.get("clip_sample", False)
        resolved = grid | {"clip": bool(clip) if options.clip is None else options.clip}
        if sampler == "ddim":
            return options.model_copy(update=resolved | {"eta": options.eta or 0.0})
        told = self._scheduler.config.get("variance_type") or "fixed_small"
        own = _VARIANCES.get(told)
        if own is None and options.variance is None:
            raise UsageError(
                f"The variance type '{told}' is not supported.",
                "Choose variance: small, large, or learned for a learned-range network.",
            )
        variance = options.variance or own
        if variance == "learned" and not self._learned:
            raise UsageError(
                "This network has not learned its variance.", "Choose variance: small or large."
            )
        return options.model_copy(update=resolved | {"variance": variance})

    def grid(self, sampler: str, steps: int, options: SamplerOptions) -> Grid:
        return self._grid(sampler, steps, spacing(self._scheduler, options.grid))

    def _build_grid(self, sampler: str, steps: int, word: str) -> LibraryGrid:
        grid = build_grid(self._scheduler, sampler, steps, word)
        if sampler == "euler" or walks_sigmas(self._scheduler):
            self._told.update(zip(grid.times, grid.timesteps, strict=True))
        return grid

    def start(self, x_T: Tensor, grid: Grid) -> Tensor:
        return x_T * cast(LibraryGrid, grid).start_scale

    def predict(
        self,
        x: Tensor,
        time: float,
        labels: Tensor | None,
        guidance: float | None,
        options: SamplerOptions,
    ) -> Prediction:
        exploding = options.s_churn is not None  # euler: the state is x/α, and time σ/α
        timestep: int | Tensor
        if exploding or walks_sigmas(self._scheduler):
            timestep = torch.tensor(self._told[time])  # of a float, a UNet2DModel takes the floor
            alpha_bar = 1 / (1 + time**2)
        else:
            timestep = int(time)
            alpha_bar = self._alpha_bar[timestep]
        alpha, sigma = alpha_bar**0.5, (1 - alpha_bar) ** 0.5
        if exploding:
            x = x * alpha
        out = self._output(x, timestep, labels, guidance).to(x.dtype)
        variance_logit = None
        if self._learned:
            out, variance_logit = out.chunk(2, dim=1)
        kind = self._scheduler.config.prediction_type
        x0 = None
        if self._pure_noise is not None and alpha_bar <= self._pure_noise:
            x0 = out if kind == "sample" else alpha * x - sigma * out
        match kind:
            case "v_prediction":
                out = alpha * out + sigma * x
            case "sample":
                out = (x - alpha * out) / sigma
        return Prediction(out, variance_logit, x0=x0)

    def decode(self, x: Tensor) -> Tensor:
        return x if self._decoder is None else self._decoder(x)

    def _output(
        self, x: Tensor, timestep: int | Tensor, labels: Tensor | None, guidance: float | None
    ) -> Tensor:
        """What the network says of states `x`, guidance included."""
        return cast(Tensor, self._unet(x, timestep, class_labels=labels).sample)
