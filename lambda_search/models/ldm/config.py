"""What the YAML of a latent diffusion model says (CompVis/latent-diffusion).

Targets are names that select this package's code; nothing is imported by them.
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

from lambda_search.diffusion.betas import Law
from lambda_search.diffusion.betas import betas
from lambda_search.errors import UsageError
from lambda_search.errors import printable
from lambda_search.models.inputs import Section
from lambda_search.models.inputs import validated
from lambda_search.models.sizes import MOST_CLASSES
from lambda_search.models.sizes import MOST_TIMESTEPS
from lambda_search.models.sizes import Channels
from lambda_search.models.sizes import Classes
from lambda_search.models.sizes import Multipliers
from lambda_search.models.sizes import Pixels
from lambda_search.models.sizes import Resolutions
from lambda_search.models.sizes import check_parts

__all__ = ["ClassCondition", "FirstStageConfig", "LDMConfig", "read_params"]

_LAWS: Mapping[str, Law] = {
    "linear": "scaled_linear",
    "sqrt_linear": "linear",
    "sqrt": "root",
    "cosine": "cosine",
}
"""What the authors call the laws of β."""
_MODEL = "ldm.models.diffusion.ddpm.LatentDiffusion"
_CLASSES = "ldm.modules.encoders.modules.ClassEmbedder"
_UNCONDITIONAL = "__is_unconditional__"
_ELSEWHERE = "Run models with text, image or layout conditions through the diffusers framework."


class UNetParams(Section):
    """The U-Net's arguments; those that sampling does not need are ignored."""

    in_channels: Channels
    out_channels: Channels
    model_channels: Channels = Field(multiple_of=32)
    num_res_blocks: int = Field(ge=1)
    attention_resolutions: Resolutions
    channel_mult: Multipliers = (1, 2, 4, 8)
    conv_resample: bool = True
    num_heads: int = -1
    num_head_channels: int = -1
    num_heads_upsample: int = -1
    use_scale_shift_norm: bool = False
    resblock_updown: bool = False
    use_new_attention_order: bool = False
    use_spatial_transformer: bool = False
    transformer_depth: int = Field(default=1, ge=1)
    context_dim: Channels | None = None
    legacy: bool = True

    @model_validator(mode="after")
    def _is_small(self) -> Self:
        check_parts(len(self.channel_mult), self.num_res_blocks, self.transformer_depth)
        return self


class _Impossible(Section):
    dims: Literal[2] = 2
    num_classes: None = None
    n_embed: None = None


class UNetConfig(Section):
    """The U-Net."""

    target: Literal["ldm.modules.diffusionmodules.openaimodel.UNetModel"]
    params: UNetParams

    @model_validator(mode="before")
    @classmethod
    def _is_sampled_from(cls, config: Any) -> Any:
        """Arguments that change the network, with the only value that is supported."""
        if isinstance(config, Mapping) and isinstance(config.get("params"), Mapping):
            validated(_Impossible, config["params"], "LDM U-Net's")
        return config


class DecoderConfig(Section):
    """The decoder's arguments; those of the encoder and of the training are ignored."""

    ch: Channels = Field(multiple_of=32)
    out_ch: Channels
    num_res_blocks: int = Field(ge=0)
    attn_resolutions: Resolutions
    resolution: int = Field(ge=1, le=1 << 16)
    z_channels: Channels
    ch_mult: Multipliers = (1, 2, 4, 8)
    resamp_with_conv: bool = True
    attn_type: Literal["vanilla", "none"] = "vanilla"
    tanh_out: bool = False

    @model_validator(mode="after")
    def _is_small(self) -> Self:
        check_parts(len(self.ch_mult), self.num_res_blocks + 1)
        return self


class FirstStageParams(Section):
    """The first stage's arguments that decoding needs."""

    embed_dim: Channels | None = None
    n_embed: Classes | None = None
    ddconfig: DecoderConfig | None = None


class FirstStageConfig(Section):
    """The first stage."""

    target: Literal[
        "ldm.models.autoencoder.VQModelInterface",
        "ldm.models.autoencoder.VQModel",
        "ldm.models.autoencoder.AutoencoderKL",
        "ldm.models.autoencoder.IdentityFirstStage",
    ]
    params: FirstStageParams = FirstStageParams()

    @property
    def codes(self) -> int | None:
        """Codes that latents are moved to; `VQModel`, unlike its interface, moves none."""
        return self.params.n_embed if self.target.endswith("VQModelInterface") else None

    @model_validator(mode="after")
    def _can_decode(self) -> Self:
        if self.target.endswith("IdentityFirstStage"):
            return self
        params = self.params
        if params.ddconfig is None or params.embed_dim is None:
            raise ValueError("params.embed_dim and params.ddconfig are required")
        if self.target.endswith("VQModelInterface") and params.n_embed is None:
            raise ValueError("params.n_embed is required")
        return self


class ClassParams(Section):
    """The class embedding's arguments; without n_classes it has ImageNet's 1000."""

    embed_dim: Channels
    n_classes: int | None = Field(default=None, ge=2, le=MOST_CLASSES)


class ClassCondition(Section):
    """Labels that reach the U-Net as the one token of its cross-attention."""

    target: Literal["ldm.modules.encoders.modules.ClassEmbedder"]
    params: ClassParams

    @property
    def rows(self) -> int:
        """Rows of the embedding."""
        return self.params.n_classes or 1000

    @property
    def null_label(self) -> int | None:
        """The last of an explicit `n_classes` stands for no class; the default 1000 are all real.

        So it is in the authors' models: `cin256-v2` has n_classes: 1001 and is guided, `cin256`
        (VQ-f8) names none and is not.
        """
        return None if self.params.n_classes is None else self.params.n_classes - 1

    @property
    def classes(self) -> int:
        """Labels that samples are drawn from."""
        return self.rows if self.null_label is None else self.null_label


class LDMConfig(Section):
    """`model.params`, with the authors' defaults."""

    image_size: Pixels
    channels: Channels
    unet_config: UNetConfig
    first_stage_config: FirstStageConfig
    cond_stage_config: ClassCondition | Literal["__is_unconditional__"]
    timesteps: int = Field(default=1000, ge=10, le=MOST_TIMESTEPS)
    beta_schedule: Literal["linear", "cosine", "sqrt_linear", "sqrt"] = "linear"
    linear_start: float = Field(default=1e-4, gt=0, lt=1)
    linear_end: float = Field(default=2e-2, gt=0, lt=1)
    cosine_s: float = Field(default=8e-3, gt=0)
    given_betas: None = None
    parameterization: Literal["eps", "x0", "v"] = "eps"
    scale_factor: float | None = Field(default=None, gt=0)
    scale_by_std: bool = False
    use_ema: bool = True

    @property
    def condition(self) -> ClassCondition | None:
        """How labels enter; None: unconditional."""
        condition = self.cond_stage_config
        return condition if isinstance(condition, ClassCondition) else None

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        unet = self.unet_config.params
        if (unet.in_channels, unet.out_channels) != (self.channels, self.channels):
            raise ValueError("the U-Net's in_channels and out_channels must be channels")
        if unet.use_spatial_transformer != (unet.context_dim is not None):
            raise ValueError("use_spatial_transformer and context_dim go together")
        if unet.context_dim != (self.condition and self.condition.params.embed_dim):
            raise ValueError("the U-Net's context_dim must be the embed_dim of cond_stage_config")
        most = 2 ** (len(unet.channel_mult) - 1)
        if self.image_size % most:
            raise ValueError(f"image_size must be a multiple of {most}, by channel_mult")
        embed_dim = self.first_stage_config.params.embed_dim
        if embed_dim not in (None, self.channels):
            raise ValueError("the embed_dim of first_stage_config must be channels")
        return self

    def alpha_bar(self) -> Tensor:
        """ᾱ of every timestep, float32 [timesteps], from float64 as the authors have it."""
        law, total = _LAWS[self.beta_schedule], self.timesteps
        table = betas(law, total, self.linear_start, self.linear_end, self.cosine_s)
        return torch.from_numpy((1 - table).cumprod()).float()


class _Model(Section):
    params: LDMConfig


class _File(Section):
    model: _Model


def read_params(config: Mapping[str, Any]) -> LDMConfig:
    """`model.params` of the YAML `config`.

    Raises:
        UsageError: if a section is missing, or names what this framework does not have.
    """
    _check_supported(config.get("model"))
    return validated(_File, config, "LDM").model.params


def _check_supported(model: Any) -> None:
    """Tells users of the authors' other models what to do instead."""
    params = model.get("params") if isinstance(model, Mapping) else None
    if not isinstance(params, Mapping):
        return
    if model.get("target", _MODEL) != _MODEL:
        raise UsageError(
            f"The LDM framework does not run {printable(str(model['target']))}.", _ELSEWHERE
        )
    condition = params.get("cond_stage_config", _UNCONDITIONAL)
    name = condition.get("target") if isinstance(condition, Mapping) else condition
    if name == _UNCONDITIONAL:
        return
    if name != _CLASSES:
        raise UsageError(
            f"The LDM framework does not condition on {printable(str(name))}.", _ELSEWHERE
        )
    usual = "concat" if params.get("concat_mode", True) else "crossattn"
    way = params.get("conditioning_key") or usual
    if way != "crossattn":
        raise UsageError(
            f"The LDM framework has no conditioning_key '{printable(str(way))}'.", _ELSEWHERE
        )
