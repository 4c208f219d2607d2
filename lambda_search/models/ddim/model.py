"""Models of ermongroup/ddim: a checkpoint and the YAML file that it was trained with.

Noise levels, step grids and samplers are those of DDIM (Song et al. 2020, arXiv:2010.02502, app.
D) and of its code: `ddim` is `generalized`, `ancestral` is `ddpm_noisy`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from typing import Literal
from typing import Self

import torch
from pydantic import Field
from pydantic import model_validator
from torch import Tensor
from torch import nn

from lambda_search.diffusion.betas import Law
from lambda_search.diffusion.betas import betas
from lambda_search.diffusion.grid import Grid
from lambda_search.diffusion.grid import Level
from lambda_search.diffusion.samplers import Prediction
from lambda_search.errors import UsageError
from lambda_search.files import sha256_of
from lambda_search.models.base import Model
from lambda_search.models.checkpoints import find
from lambda_search.models.checkpoints import load_weights
from lambda_search.models.checkpoints import read_config
from lambda_search.models.ddim.grid import grid_word
from lambda_search.models.ddim.grid import one_spelling
from lambda_search.models.ddim.grid import retained_timesteps
from lambda_search.models.ddim.network import DDIMNetwork
from lambda_search.models.inputs import Section
from lambda_search.models.inputs import read_checkpoint
from lambda_search.models.inputs import validated
from lambda_search.models.options import filled
from lambda_search.models.registry import Config
from lambda_search.models.registry import ConfigNeeded
from lambda_search.models.registry import Framework
from lambda_search.models.running import Replayed
from lambda_search.models.sizes import Channels
from lambda_search.models.sizes import Multipliers
from lambda_search.models.sizes import Pixels
from lambda_search.models.sizes import Resolutions
from lambda_search.models.sizes import Timesteps
from lambda_search.models.sizes import built
from lambda_search.models.sizes import check_parts
from lambda_search.models.states import state_of
from lambda_search.models.states import tensors
from lambda_search.setting import SamplerOptions
from lambda_search.setting import Sampling
from lambda_search.setting import fingerprint

__all__ = ["FRAMEWORK", "DDIMConfig", "DDIMModel", "load"]

_LAWS: Mapping[str, Law] = {
    "linear": "linear",
    "quad": "scaled_linear",
    "const": "constant",
    "jsd": "harmonic",
    "sigmoid": "sigmoid",
}
"""What the authors call the laws of β."""
_INSIDE = 1e-6


class _Data(Section):
    image_size: Pixels
    rescaled: bool = True
    logit_transform: bool = False


class _Network(Section):
    in_channels: Channels
    out_ch: Channels
    ch: Channels = Field(multiple_of=32)
    ch_mult: Multipliers
    num_res_blocks: int = Field(ge=1)
    attn_resolutions: Resolutions
    resamp_with_conv: bool = True
    ema: bool = True


class _Diffusion(Section):
    beta_schedule: Literal["linear", "quad", "const", "jsd", "sigmoid"]
    beta_start: float = Field(ge=0, lt=1)
    beta_end: float = Field(gt=0, lt=1)
    num_diffusion_timesteps: Timesteps


class DDIMConfig(Section):
    """What of the authors' YAML sampling needs; the training's entries are ignored."""

    data: _Data
    model: _Network
    diffusion: _Diffusion

    @model_validator(mode="after")
    def _halves_evenly(self) -> Self:
        check_parts(len(self.model.ch_mult), self.model.num_res_blocks)
        most = 2 ** (len(self.model.ch_mult) - 1)
        if self.data.image_size % most:
            raise ValueError(f"data.image_size must be a multiple of {most}, by model.ch_mult")
        return self


class DDIMModel(Model):
    """A DDPM U-Net that predicts ε of pixels.

    Arguments:
        network: told float timesteps.
        config: the authors' YAML.
        sha256: of the weights.
        device: where to compute.
    """

    samplers = ("ancestral", "ddim")

    def __init__(
        self, network: DDIMNetwork, config: DDIMConfig, sha256: str, device: torch.device
    ) -> None:
        size = config.data.image_size
        shape = (config.model.in_channels, size, size)
        super().__init__(
            "ddim", sha256, fingerprint(config.model_dump(mode="json")), shape, device
        )
        self._network = Replayed(network, device)
        self._data = config.data
        # float32, as the authors have it: ᾱ differs from a float64 product's in the sixth digit
        told = config.diffusion
        law, total = _LAWS[told.beta_schedule], told.num_diffusion_timesteps
        table = torch.from_numpy(betas(law, total, told.beta_start, told.beta_end)).float()
        self._alpha_bar: list[float] = (1 - table).cumprod(0).tolist()

    def filled(self, sampling: Sampling) -> SamplerOptions:
        ancestral = sampling.sampler == "ancestral"
        return filled(sampling, grid=grid_word(sampling), clip=ancestral, variance="large")

    def grid(self, sampling: Sampling) -> Grid:
        times = retained_timesteps(sampling, len(self._alpha_bar))
        alpha_bar = [self._alpha_bar[t] for t in times]
        if alpha_bar[-1] <= 0:
            raise UsageError(
                f"{sampling.steps} steps start at timestep {times[-1]}, which is pure noise.",
                "Take fewer steps.",
            )
        return Grid.variance_preserving(times, alpha_bar)

    def spelled(self, sampling: Sampling, grid: Grid) -> Sampling:
        return one_spelling(sampling, len(self._alpha_bar))

    def predict(
        self, x: Tensor, level: Level, labels: Tensor | None, sampling: Sampling
    ) -> Prediction:
        times = torch.full((len(x),), level.timestep, device=x.device)
        return Prediction(self._network(x, times).to(x.dtype))

    def decode(self, x: Tensor) -> Tensor:
        """Images in [−1, 1] of states `x`, whose range is the one that `data` was trained in."""
        if self._data.logit_transform:
            return 2 * x.sigmoid() - 1
        return x if self._data.rescaled else 2 * x - 1

    def encode(self, images: Tensor) -> Tensor:
        """States of images in [−1, 1]; black and white are a millionth inside before the logit."""
        if self._data.logit_transform:
            return (_INSIDE + (1 - 2 * _INSIDE) * (images + 1) / 2).logit()
        return images if self._data.rescaled else (images + 1) / 2

    def blocks(self) -> tuple[nn.Module, str]:
        return self._network.network, "mid.block_2"


def load(checkpoint: str, config: Config, device: torch.device) -> DDIMModel:
    """Reads a `.pth`, `.ckpt` or `.safetensors` file; `config` is the authors' YAML.

    The file holds a plain state dict, or the list that training saves: [model, optimizer, epoch,
    step, ema], of which the EMA is taken, or the model where `model.ema` is false.

    Raises:
        UsageError: for a config or a checkpoint that is missing, broken, or does not match.
    """
    path = find(checkpoint)
    if config is None:
        _state(read_checkpoint(path), ema=False, source=str(path))  # says what other file it is
        raise ConfigNeeded(
            "A DDIM model needs a config.", "Give the YAML file that it was trained with."
        )
    checked = validated(DDIMConfig, read_config(config), "DDIM")
    state = _state(read_checkpoint(path), checked.model.ema, str(path))
    told = checked.model.model_dump(exclude={"ema"})
    network = built(lambda: DDIMNetwork(resolution=checked.data.image_size, **told), "DDIM")
    load_weights(network, state, str(path))
    return DDIMModel(network, checked, sha256_of(path), device)


def _state(content: Any, ema: bool, source: str) -> dict[str, Tensor]:
    if isinstance(content, list | tuple) and content:
        if ema and len(content) < 5:
            raise UsageError(f"{source} holds no EMA weights.", "Set model.ema to false.")
        content = content[-1] if ema else content[0]
    return tensors(content, source)


def _weights(content: Any) -> Mapping[str, Tensor] | None:
    state = content[-1] if isinstance(content, list | tuple) and len(content) == 5 else content
    if isinstance(content, list | tuple) and 0 < len(content) < 5:
        state = content[0]  # trained without moving averages
    named = state_of(state)
    return named if named is not None and "temb.dense.0.weight" in named else None


FRAMEWORK = Framework(
    load,
    DDIMModel.samplers,
    _weights,
    needs="Pass the YAML that it was trained with as the config.",
    licence="MIT (ermongroup/ddim)",
)
