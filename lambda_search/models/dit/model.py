"""DiT models (arXiv:2212.09748): a checkpoint in latent space, and optionally its decoder.

Noise levels and step grids are those of guided diffusion, whose respacing DiT's code took over;
guidance acts on the first three latent channels, as in the runs that DiT publishes.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any
from typing import Literal
from typing import Self
from typing import cast

import torch
from pydantic import Field
from pydantic import model_validator
from torch import Tensor
from torch import nn

from lambda_search.diffusion.grid import Level
from lambda_search.diffusion.samplers import Prediction
from lambda_search.files import sha256_of
from lambda_search.models.checkpoints import find
from lambda_search.models.checkpoints import load_weights
from lambda_search.models.checkpoints import read_config
from lambda_search.models.decoders import LatentDecoder
from lambda_search.models.decoders import read_autoencoder
from lambda_search.models.dit.network import DiTNetwork
from lambda_search.models.dit.network import sin_cos_positions
from lambda_search.models.guidance import guided
from lambda_search.models.inputs import Section
from lambda_search.models.inputs import read_checkpoint
from lambda_search.models.inputs import recorded
from lambda_search.models.inputs import refuse_misspelt
from lambda_search.models.inputs import validated
from lambda_search.models.options import filled
from lambda_search.models.pickles.read import InertObject
from lambda_search.models.registry import Config
from lambda_search.models.registry import ConfigNeeded
from lambda_search.models.registry import Framework
from lambda_search.models.respacing import DiscreteSchedule
from lambda_search.models.respacing import RespacedModel
from lambda_search.models.respacing import respacing_word
from lambda_search.models.running import Replayed
from lambda_search.models.sizes import Channels
from lambda_search.models.sizes import Classes
from lambda_search.models.sizes import Pixels
from lambda_search.models.sizes import Timesteps
from lambda_search.models.sizes import built
from lambda_search.models.sizes import check_parts
from lambda_search.models.states import state_of
from lambda_search.models.states import tensors
from lambda_search.setting import SamplerOptions
from lambda_search.setting import Sampling
from lambda_search.setting import fingerprint

__all__ = ["FRAMEWORK", "DiTConfig", "DiTModel", "load"]

_GUIDED = 3
"""Latent channels that guidance acts on."""
_SIZES = {"S": (384, 12, 6), "B": (768, 12, 12), "L": (1024, 24, 16), "XL": (1152, 28, 16)}
"""Width, blocks and heads (arXiv:2212.09748, tab. 1)."""
_SCALE_FACTOR = 0.18215
_MOST_POSITIONS = 1 << 24
"""Numbers of the position embedding, which is computed where a file leaves it out."""
_AVERAGED = ("ema",)


class DiTConfig(Section):
    """DiT's constructor arguments and its diffusion's, with the authors' defaults.

    Instead of the sizes, `model` (DiT-S/8 … DiT-XL/2) and `image_size` (8 pixels per latent
    pixel) may be given; sizes that are given as well win.

    Arguments:
        vae: a folder or hub name of a diffusers AutoencoderKL, for decoding.
    """

    input_size: Pixels
    patch_size: Pixels
    hidden_size: Channels = Field(multiple_of=4)
    depth: int = Field(ge=1)
    num_heads: int = Field(ge=1)
    in_channels: Channels = 4
    mlp_ratio: float = Field(default=4.0, gt=0, le=1024)
    class_dropout_prob: float = Field(default=0.1, ge=0, le=1)
    num_classes: Classes = 1000
    learn_sigma: bool = True
    noise_schedule: Literal["linear", "squaredcos_cap_v2"] = "linear"
    diffusion_steps: Timesteps = 1000
    clip_denoised: bool = False
    vae: str | None = None

    @model_validator(mode="before")
    @classmethod
    def _sizes_by_name(cls, given: dict[str, Any]) -> dict[str, Any]:
        given = {name: value for name, value in given.items() if isinstance(name, str)}
        name, pixels = given.pop("model", None), given.pop("image_size", None)
        sizes: dict[str, int] = {}
        if name is not None:
            known = re.fullmatch(r"DiT-(S|B|L|XL)/([248])", name) if type(name) is str else None
            if known is None:
                raise ValueError("model must be DiT-S, -B, -L or -XL with /2, /4 or /8")
            names = ("hidden_size", "depth", "num_heads")
            sizes = dict(zip(names, _SIZES[known[1]], strict=True)) | {"patch_size": int(known[2])}
        if pixels is not None:
            if type(pixels) is not int or pixels % 8:
                raise ValueError("image_size must be a multiple of 8")
            sizes["input_size"] = pixels // 8
        return sizes | given

    @model_validator(mode="after")
    def _divides_evenly(self) -> Self:
        if self.input_size % self.patch_size or self.hidden_size % self.num_heads:
            raise ValueError("patch_size must divide input_size, and num_heads hidden_size")
        check_parts(1, self.depth)
        tokens = (self.input_size // self.patch_size) ** 2
        if tokens * self.hidden_size > _MOST_POSITIONS:
            raise ValueError(
                f"{tokens:,} tokens of {self.hidden_size:,} are more than any DiT has"
            )
        return self


class DiTModel(RespacedModel):
    """A class-conditional transformer that predicts ε, and v where it learned its variance.

    Arguments:
        network: told original timesteps and labels.
        config: its sizes and noise schedule.
        sha256: of the weights.
        device: where to compute.
        decoder: makes images of latents; None where no `vae` was given.
    """

    samplers = ("ancestral", "ddim")
    latent = True

    def __init__(
        self,
        network: DiTNetwork,
        config: DiTConfig,
        sha256: str,
        device: torch.device,
        decoder: LatentDecoder | None = None,
    ) -> None:
        told = config.model_dump(mode="json", exclude={"vae"})
        super().__init__(
            "dit",
            sha256,
            fingerprint([told, decoder and decoder.sha256]),
            (config.in_channels, config.input_size, config.input_size),
            device,
            classes=config.num_classes,
            null_label=config.num_classes if config.class_dropout_prob > 0 else None,
        )
        self._network = Replayed(network, device)
        self._config = config
        self._decoder = decoder
        self.schedule = DiscreteSchedule.of(config.noise_schedule, config.diffusion_steps)

    def filled(self, sampling: Sampling) -> SamplerOptions:
        learned = self._config.learn_sigma
        return filled(
            sampling,
            grid=respacing_word(sampling.options.grid, sampling.steps),
            clip=self._config.clip_denoised,
            variance="learned" if learned else "large",
            learned=learned,
        )

    def predict(
        self, x: Tensor, level: Level, labels: Tensor | None, sampling: Sampling
    ) -> Prediction:
        assert labels is not None

        def network(states: Tensor, labels: Tensor) -> Tensor:
            times = torch.full((len(states),), level.timestep, device=x.device)
            return cast(Tensor, self._network(states, times, labels).to(x.dtype))

        out = guided(network, x, labels, self.null_label, sampling.guidance, _GUIDED)
        if not self._config.learn_sigma:
            return Prediction(out)
        epsilon, variance_logit = out.chunk(2, dim=1)
        return Prediction(epsilon, variance_logit)

    def blocks(self) -> tuple[nn.Module, str]:
        return self._network.network, f"blocks.{(self._config.depth - 1) // 2}"

    def check_decoder(self) -> None:
        if self._decoder is None:
            raise ConfigNeeded(
                "This DiT model has no decoder: its config has no entry `vae`.",
                "Set vae to a folder or hub name of an AutoencoderKL, such as "
                "stabilityai/sd-vae-ft-ema, or pass decode=False for latents.",
                "vae",
            )

    def decode(self, x: Tensor) -> Tensor:
        """Images around [−1, 1] of latents `x`.

        Raises:
            UsageError: if the config names no `vae`.
        """
        self.check_decoder()
        assert self._decoder is not None
        return self._decoder(x)


def load(checkpoint: str, config: Config, device: torch.device) -> DiTModel:
    """Reads a `.pt` or `.safetensors` file.

    The file holds a plain state dict, or the dict that training saves: {model, ema, opt, args}, of
    which the EMA is taken. Without `config`, the model that `args` names is built.

    Raises:
        UsageError: for a config or a checkpoint that is missing, broken, or does not match.
    """
    path = find(checkpoint)
    content = read_checkpoint(path)
    state = tensors(content, str(path), _AVERAGED)
    if config is None:
        given = _config(content)
        if not given:
            raise ConfigNeeded(
                f"{path} does not say which DiT it is.",
                "Give a config, such as {model: DiT-XL/2, image_size: 256}.",
            )
    else:
        given = read_config(config)
    known = {*DiTConfig.model_fields, "model", "image_size"}
    refuse_misspelt(given, known, "The DiT config: there is no argument")
    checked = validated(DiTConfig, given, "DiT")
    network = built(
        lambda: DiTNetwork(
            input_size=checked.input_size,
            patch_size=checked.patch_size,
            in_channels=checked.in_channels,
            out_channels=checked.in_channels * (1 + checked.learn_sigma),
            hidden_size=checked.hidden_size,
            depth=checked.depth,
            num_heads=checked.num_heads,
            mlp_ratio=checked.mlp_ratio,
            labels=checked.num_classes + (checked.class_dropout_prob > 0),
        ),
        "DiT",
    )
    # fixed, so that some files leave it out
    side = checked.input_size // checked.patch_size
    state.setdefault("pos_embed", sin_cos_positions(checked.hidden_size, side))
    load_weights(network, state, str(path))
    decoder = None
    if checked.vae is not None:
        decoder = read_autoencoder(checked.vae, checked.in_channels, _SCALE_FACTOR, device)
    return DiTModel(network, checked, sha256_of(path), device, decoder)


def _named_by(args: Any) -> dict[str, Any]:
    """The config in training's `args`, an argparse.Namespace that was read as data."""
    told = args.state if isinstance(args, InertObject) else None
    names = ("model", "image_size", "num_classes")
    named = {name: told[name] for name in names if name in told} if isinstance(told, dict) else {}
    return recorded(named, "The settings that training recorded")


def _weights(content: Any) -> Mapping[str, Tensor] | None:
    state = state_of(content, _AVERAGED)
    return state if state is not None and "x_embedder.proj.weight" in state else None


def _config(content: Any) -> dict[str, Any] | None:
    return (_named_by(content.get("args")) or None) if isinstance(content, Mapping) else None


FRAMEWORK = Framework(
    load,
    DiTModel.samplers,
    _weights,
    _config,
    needs="Pass its sizes as the config, such as {model: DiT-XL/2, image_size: 256}.",
    licence="CC BY-NC 4.0 (facebookresearch/DiT)",
)
