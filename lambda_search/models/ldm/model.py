"""Latent diffusion models of CompVis/latent-diffusion (Rombach et al. 2022, arXiv:2112.10752).

The sampler is the authors' DDIM: its grid starts at timestep 1 and its last step leads to ᾱ(0),
not to 1, so that noise enters at every step. The table of ᾱ is float32, as the authors store it.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any
from typing import TypeVar
from typing import cast

import torch
from torch import Tensor
from torch import nn

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
from lambda_search.models.decoders import LatentDecoder
from lambda_search.models.guidance import guided
from lambda_search.models.inputs import read_checkpoint
from lambda_search.models.ldm.checkpoint import UNET
from lambda_search.models.ldm.checkpoint import alpha_bar
from lambda_search.models.ldm.checkpoint import embedding_state
from lambda_search.models.ldm.checkpoint import first_stage_state
from lambda_search.models.ldm.checkpoint import sampling_state
from lambda_search.models.ldm.checkpoint import scale_factor
from lambda_search.models.ldm.checkpoint import unet_state
from lambda_search.models.ldm.config import FirstStageConfig
from lambda_search.models.ldm.config import LDMConfig
from lambda_search.models.ldm.config import read_params
from lambda_search.models.ldm.first_stage import Decoder
from lambda_search.models.ldm.first_stage import FirstStage
from lambda_search.models.networks.unet import UNet
from lambda_search.models.options import filled
from lambda_search.models.registry import Config
from lambda_search.models.registry import ConfigNeeded
from lambda_search.models.registry import Framework
from lambda_search.models.running import Replayed
from lambda_search.models.sizes import built
from lambda_search.models.states import foreign
from lambda_search.models.states import state_of
from lambda_search.models.states import tensors
from lambda_search.setting import SamplerOptions
from lambda_search.setting import Sampling
from lambda_search.setting import fingerprint

__all__ = ["FRAMEWORK", "LDMModel", "build_first_stage", "build_unet", "load"]

N = TypeVar("N", bound=nn.Module)
_RECORDS = ("state_dict",)


class LDMModel(Model):
    """A U-Net on latents, the embedding of its labels, and the first stage that decodes.

    Arguments:
        config: `model.params` of the YAML.
        state: the checkpoint's tensors, by the authors' names.
        sha256: of the checkpoint.
        source: the checkpoint's name, for messages.
        device: where to compute.

    Raises:
        UsageError: if the config and the tensors do not fit each other.
    """

    samplers = ("ddim",)
    latent = True

    def __init__(
        self,
        config: LDMConfig,
        state: Mapping[str, Tensor],
        sha256: str,
        source: str,
        device: torch.device,
    ) -> None:
        condition = config.condition
        classes = None if condition is None else condition.classes
        null_label = None if condition is None else condition.null_label
        definition = fingerprint(config.model_dump(mode="json"))
        shape = (config.channels, config.image_size, config.image_size)
        super().__init__(
            "ldm", sha256, definition, shape, device, classes=classes, null_label=null_label
        )
        self._parameterization = config.parameterization
        self._alpha_bar = alpha_bar(config, state)
        unet = build_unet(config)
        self._unet = Replayed(
            _ready(unet, unet_state(unet, config, state), source, device), device
        )
        self._embedding: nn.Embedding | None = None
        if condition is not None:
            rows, width = condition.rows, condition.params.embed_dim
            embedding = built(lambda: nn.Embedding(rows, width), "LDM")
            self._embedding = _ready(embedding, embedding_state(state), source, device)
        self._first_stage = build_first_stage(config.first_stage_config)
        if self._first_stage is not None:
            own = first_stage_state(self._first_stage, state)
            if own:  # else the U-Net can be sampled, and decode says what is missing
                _ready(self._first_stage, own, source, device)
        stage = self._first_stage or nn.Identity()
        self._decoder = LatentDecoder(stage, scale_factor(config, state))

    def filled(self, sampling: Sampling) -> SamplerOptions:
        if sampling.options.clip:
            raise UsageError("Latents have no range to be clipped to.", "Leave clip out.")
        return filled(sampling, grid=grid_word(sampling), clip=False, eta=1.0)

    def spelled(self, sampling: Sampling, grid: Grid) -> Sampling:
        return one_spelling(sampling, len(self._alpha_bar))

    def grid(self, sampling: Sampling) -> Grid:
        table, steps = self._alpha_bar, sampling.steps
        total = len(table)
        times = [t + 1 for t in retained_timesteps(sampling, total)]
        if times[-1] >= total:
            possible = [n for n in range(2, total) if (total - 1) % (total // n)]
            nearest = min(possible, key=lambda n: abs(n - steps))
            raise UsageError(
                f"The {sampling.options.grid} grid of {steps} steps runs past the last of the "
                f"{total} timesteps.",
                f"Take {nearest} steps.",
            )
        levels = [table[t] for t in times]
        if levels[-1] <= 0:
            raise UsageError(
                f"{steps} steps start at timestep {times[-1]}, which is pure noise.",
                "Check beta_schedule, linear_start and linear_end in the config.",
            )
        return Grid.variance_preserving(times, levels, alpha_bar_end=table[0])

    def predict(
        self, x: Tensor, level: Level, labels: Tensor | None, sampling: Sampling
    ) -> Prediction:
        if self._embedding is None:
            return Prediction(self._epsilon(x, None, level))
        assert labels is not None
        network = partial(self._epsilon, level=level)
        return Prediction(guided(network, x, labels, self.null_label, sampling.guidance))

    def check_decoder(self) -> None:
        stage = self._first_stage
        if stage is not None and stage.post_quant_conv.weight.is_meta:
            raise UsageError(
                "Latents cannot be decoded, for a missing VAE: the checkpoint has no tensors "
                "first_stage_model.decoder.*.",
                "Sample with decode=False, or use a checkpoint that holds the first stage.",
            )

    def decode(self, x: Tensor) -> Tensor:
        self.check_decoder()
        return self._decoder(x)

    def blocks(self) -> tuple[nn.Module, str]:
        return self._unet.network, "middle_block"

    def _epsilon(self, x: Tensor, labels: Tensor | None, level: Level) -> Tensor:
        """ε of the states, without guidance."""
        context = None
        if self._embedding is not None:
            context = self._embedding(labels)[:, None]
        times = x.new_full((len(x),), level.timestep)
        out = self._unet(x, times, None, context).to(x.dtype)
        if self._parameterization == "eps":
            return cast(Tensor, out)
        if self._parameterization == "x0":
            return cast(Tensor, (x - level.alpha * out) / level.sigma)
        # v = αε − σx0 (arXiv:2202.00512, app. D)
        return cast(Tensor, level.alpha * out + level.sigma * x)


def load(checkpoint: str, config: Config, device: torch.device) -> LDMModel:
    """Reads a Lightning checkpoint, or its tensors as safetensors.

    Arguments:
        checkpoint: a `.ckpt` or `.safetensors` file.
        config: LDM's YAML; None: `config.yaml` beside the checkpoint.
        device: where to compute.

    Raises:
        UsageError: if a file is missing, cannot be read, or does not fit the other.
    """
    path = find(checkpoint)
    beside = path.with_name("config.yaml")
    if config is None and beside.is_file():
        config = beside
    if config is None:
        tensors(read_checkpoint(path), str(path), _RECORDS)  # says what other file it is
        raise ConfigNeeded(
            f"{path} does not say what its network is, and there is no config.yaml beside it.",
            FRAMEWORK.needs,
        )
    params = read_params(read_config(config))
    state = tensors(read_checkpoint(path), str(path), _RECORDS)
    return LDMModel(params, state, sha256_of(path), str(path), device)


def build_unet(config: LDMConfig) -> UNet:
    """The U-Net without weights, on the meta device."""
    told = config.unet_config.params.model_dump()
    return built(lambda: UNet(**told), "LDM")


def build_first_stage(config: FirstStageConfig) -> FirstStage | None:
    """The first stage's decoding half without weights, on the meta device; None: the identity."""
    params = config.params
    if config.target.endswith("IdentityFirstStage"):
        return None
    assert params.ddconfig is not None
    assert params.embed_dim is not None
    told, width = params.ddconfig.model_dump(), params.embed_dim
    return built(lambda: FirstStage(Decoder(**told), width, config.codes), "LDM")


def _ready(network: N, state: Mapping[str, Tensor], source: str, device: torch.device) -> N:
    load_weights(network, state, source)
    network.eval().requires_grad_(False)
    # channels_last is what convolutions run fastest with
    network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    return network


def _weights(content: Any) -> Mapping[str, Tensor] | None:
    state = state_of(content, _RECORDS)
    if state is None or f"{UNET}input_blocks.0.0.weight" not in state or foreign(state):
        return None
    return sampling_state(state)


FRAMEWORK = Framework(
    load,
    LDMModel.samplers,
    _weights,
    needs="Pass its YAML as the config, or keep it as config.yaml beside the file.",
    licence="MIT (CompVis/latent-diffusion)",
)
