"""Unconditional diffusers pipelines: a folder or a hub name, with a UNet and a scheduler.

The network is told integer timesteps; ᾱ and the step grid are the scheduler's own. Unlike
`DDIMScheduler`, which assumes that step t leads to t − 1000/T′, every step here leads to the next
timestep of the grid.
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any
from typing import cast

import torch
from diffusers import DDIMScheduler
from diffusers import DDPMScheduler
from diffusers import UNet2DModel
from huggingface_hub import snapshot_download
from huggingface_hub.errors import HfHubHTTPError
from huggingface_hub.errors import HFValidationError
from huggingface_hub.errors import LocalEntryNotFoundError
from torch import Tensor

from lambda_search.diffusion.grid import Grid
from lambda_search.diffusion.samplers import Prediction
from lambda_search.errors import UsageError
from lambda_search.models.base import Model
from lambda_search.models.base import refuse_options
from lambda_search.models.checkpoints import locate
from lambda_search.models.checkpoints import sha256_of
from lambda_search.models.registry import Config
from lambda_search.setting import SamplerOptions
from lambda_search.setting import fingerprint

__all__ = ["DiffusersModel", "load"]

_NETWORKS = {"UNet2DModel": UNet2DModel}
_SCHEDULERS = {"DDPMScheduler": DDPMScheduler, "DDIMScheduler": DDIMScheduler}
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
        device: where to compute.
    """

    samplers = ("ancestral", "ddim")

    def __init__(self, unet: Any, scheduler: Any, sha256: str, device: torch.device) -> None:
        size = unet.config.sample_size
        if size is None or unet.config.get("num_class_embeds") or unet.config.class_embed_type:
            raise UsageError(
                "Only unconditional networks with a sample_size are read.", "Use another folder."
            )
        height, width = (size, size) if isinstance(size, int) else size
        definition = fingerprint([_plain(unet.config), _plain(scheduler.config)])
        shape = (unet.config.in_channels, height, width)
        super().__init__("diffusers", sha256, definition, shape, device)
        memory_format = torch.channels_last
        self._unet = unet.eval().requires_grad_(False).to(device, memory_format=memory_format)
        self._scheduler = scheduler
        self._alpha_bar = scheduler.alphas_cumprod.double().tolist()
        self._learned = unet.config.out_channels == 2 * unet.config.in_channels
        self._grid = cache(self._build_grid)
        self._check_scheduler()

    def resolve(self, sampler: str, steps: int, options: SamplerOptions) -> SamplerOptions:
        self.check_sampler(sampler)
        noise = "eta" if sampler == "ddim" else "variance"
        refuse_options(sampler, options, "grid", "clip", noise)
        config = self._scheduler.config
        grid = options.grid or config.timestep_spacing
        if grid not in ("leading", "linspace", "trailing"):
            raise UsageError(
                f"A diffusers model has no grid '{grid}'.",
                "Choose leading, linspace or trailing.",
            )
        clip = bool(config.clip_sample) if options.clip is None else options.clip
        resolved: dict[str, object] = {"grid": grid, "clip": clip}
        if sampler == "ddim":
            resolved["eta"] = options.eta or 0.0
        else:
            own = _VARIANCES.get(config.get("variance_type", "fixed_small"))
            if own is None and options.variance is None:
                raise UsageError(
                    f"The variance type '{config.variance_type}' is not supported.",
                    "Choose variance: small, large, or learned for a learned-range network.",
                )
            resolved["variance"] = options.variance or own
            if resolved["variance"] == "learned" and not self._learned:
                raise UsageError(
                    "This network has not learned its variance.",
                    "Choose variance: small or large.",
                )
        return options.model_copy(update=resolved)

    def grid(self, sampler: str, steps: int, options: SamplerOptions) -> Grid:
        return self._grid(sampler, steps, options.grid)

    def _build_grid(self, sampler: str, steps: int, spacing: str | None) -> Grid:
        if steps < 1:
            raise UsageError(f"{steps} steps cannot be taken.", "Take 1 step or more.")
        if spacing == "linspace" and steps < 2:
            raise UsageError(
                "A linspace grid of 1 step never sees noise.", "Take 2 steps or more, or trailing."
            )
        scheduler = type(self._scheduler).from_config(
            self._scheduler.config, timestep_spacing=spacing
        )
        try:
            scheduler.set_timesteps(steps)
            times = [t for t in scheduler.timesteps.tolist()[::-1] if t >= 0]  # trailing: −1
            alpha_bar = [self._alpha_bar[t] for t in times]
        except (ValueError, IndexError) as error:
            raise UsageError(
                f"This model's grid cannot have {steps} steps: {str(error).rstrip('.')}.",
                f"Take at most {len(self._alpha_bar)} steps.",
            ) from error
        to_first = sampler == "ddim" and not getattr(scheduler.config, "set_alpha_to_one", True)
        return Grid.variance_preserving(
            times,
            alpha_bar,
            alpha_bar_end=self._alpha_bar[0] if to_first else 1.0,
        )

    def predict(
        self,
        x: Tensor,
        time: float,
        labels: Tensor | None,
        guidance: float | None,
        options: SamplerOptions,
    ) -> Prediction:
        out = self._unet(x, int(time)).sample.to(x.dtype)
        variance_logit = None
        if self._learned:
            out, variance_logit = out.chunk(2, dim=1)
        alpha_bar = self._alpha_bar[int(time)]
        alpha, sigma = alpha_bar**0.5, (1 - alpha_bar) ** 0.5
        match self._scheduler.config.prediction_type:
            case "v_prediction":
                out = alpha * out + sigma * x
            case "sample":
                out = (x - alpha * out) / sigma
        return Prediction(out, variance_logit)

    def _check_scheduler(self) -> None:
        config = self._scheduler.config
        if config.get("thresholding"):
            raise UsageError("Dynamic thresholding is not supported.", "Use a folder without it.")
        if config.get("clip_sample_range", 1.0) != 1.0:
            raise UsageError("clip_sample_range must be 1.", "Use a folder with the usual range.")
        if config.prediction_type not in ("epsilon", "v_prediction", "sample"):
            raise UsageError(
                f"The prediction type '{config.prediction_type}' is unknown.",
                "Known: epsilon, v_prediction, sample.",
            )
        if self._alpha_bar[-1] <= 0:
            raise UsageError(
                "This scheduler ends in pure noise (zero terminal SNR).",
                "Use a scheduler without rescale_betas_zero_snr.",
            )


def load(checkpoint: str, config: Config, device: torch.device) -> DiffusersModel:
    """Reads a pipeline folder, or fetches it from the hub (once; HF_HUB_OFFLINE is respected)."""
    if config is not None:
        raise UsageError("A diffusers folder needs no config.", "Leave model.config out.")
    folder = locate(checkpoint) or _fetch(checkpoint)
    index = folder / "model_index.json"
    try:
        parts = json.loads(index.read_text())
        network = _NETWORKS[parts["unet"][1]]
        schedule = _SCHEDULERS[parts["scheduler"][1]]
    except (OSError, ValueError, TypeError, LookupError) as error:
        raise UsageError(
            f"{folder} is not an unconditional diffusers pipeline: {_describe(error, index)}.",
            f"It needs model_index.json with a unet ({', '.join(_NETWORKS)}) and a scheduler "
            f"({', '.join(_SCHEDULERS)}).",
        ) from error
    try:
        unet = cast(Any, network).from_pretrained(
            folder / "unet", use_safetensors=True, low_cpu_mem_usage=False
        )
        scheduler = schedule.from_pretrained(folder / "scheduler")
    except Exception as error:  # the library lets through whatever a broken file provokes
        raise UsageError(
            f"The weights in {folder} cannot be read: {_first_line(error)}",
            "The file may be truncated; fetch or copy it again.",
        ) from error
    weights = sorted((folder / "unet").glob("*.safetensors"))
    return DiffusersModel(unet, scheduler, sha256_of(*weights), device)


def _plain(config: Any) -> dict[str, Any]:
    """A configuration without what the library adds for itself."""
    kept = {name: value for name, value in config.items() if not name.startswith("_")}
    return {name: list(v) if isinstance(v, tuple) else v for name, v in kept.items()}


def _fetch(name: str) -> Path:
    """A hub snapshot of the pipeline `name` (owner/repository)."""
    try:
        if name.count("/") != 1 or name.startswith((".", "/", "~")):
            raise HFValidationError(name)
        patterns = ["model_index.json", "scheduler/*", "unet/*.json", "unet/*.safetensors"]
        return Path(snapshot_download(name, allow_patterns=patterns))
    except HFValidationError as error:
        raise UsageError(
            f"There is no checkpoint at {name}.",
            "Check the path; relative paths start at the study file's folder.",
        ) from error
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
        raise UsageError(
            f"There is no folder {name}, and the hub did not give it: {_first_line(error)}",
            "Check the name and the network, or copy the pipeline folder to this machine.",
        ) from error


def _describe(error: Exception, index: Path) -> str:
    if isinstance(error, OSError):
        return f"{index.name} is missing"
    return f"{index.name} says {error}" if isinstance(error, LookupError) else _first_line(error)


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
