"""The tensors of a latent diffusion checkpoint, sorted by what they are for."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor
from torch import nn

from lambda_search.errors import UsageError
from lambda_search.models.ldm.config import LDMConfig

__all__ = [
    "UNET",
    "alpha_bar",
    "embedding_state",
    "first_stage_state",
    "sampling_state",
    "scale_factor",
    "unet_state",
]

UNET = "model.diffusion_model."
_EMA = "model_ema.diffusion_model"
_FIRST_STAGE = "first_stage_model."
_EMBEDDING = "cond_stage_model.embedding."


def unet_state(
    network: nn.Module, config: LDMConfig, state: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    """The U-Net's tensors under its own names: the moving averages where the YAML uses them."""
    raw = _under(UNET, state)
    averages = _averages(state)
    if not averages or not config.use_ema:
        return raw
    # training stores an average under its parameter's name without dots
    named = {name.replace(".", ""): name for name in (*raw, *network.state_dict())}
    return {named.get(name, name): tensor for name, tensor in averages.items()}


def sampling_state(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """All that sampling needs, under the names of `state`; moving averages replace the weights."""
    kept = {"scale_factor", "alphas_cumprod"}
    parts = (UNET, _FIRST_STAGE, "cond_stage_model.")
    own = {name: value for name, value in state.items() if name in kept or name.startswith(parts)}
    averages = _averages(state)
    named = {name.removeprefix(UNET).replace(".", ""): name for name in own}
    return own | {named[name]: value for name, value in averages.items() if name in named}


def embedding_state(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The class embedding's tensors under its own names."""
    return _under(_EMBEDDING, state)


def first_stage_state(network: nn.Module, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors for those parts of the first stage that `network` has."""
    parts = tuple(f"{name}." for name, _ in network.named_children())
    own = _under(_FIRST_STAGE, state)
    return {name: tensor for name, tensor in own.items() if name.startswith(parts)}


def alpha_bar(config: LDMConfig, state: Mapping[str, Tensor]) -> list[float]:
    """The config's ᾱ of every timestep; the table that the checkpoint may hold must agree.

    Raises:
        UsageError: if it does not.
    """
    told = config.alpha_bar()
    held = state.get("alphas_cumprod", told)
    held = held.to(told) if held.is_floating_point() else held.new_empty(0).to(told)
    # as near as a table in half precision can be
    if held.shape != told.shape or not torch.allclose(held, told, rtol=1e-2, atol=1e-6):
        raise UsageError(
            f"The checkpoint holds another noise schedule than the config's "
            f"'{config.beta_schedule}' of {config.timesteps} timesteps.",
            "Pass the YAML that came with the checkpoint.",
        )
    levels: list[float] = told.tolist()
    return levels


def scale_factor(config: LDMConfig, state: Mapping[str, Tensor]) -> float:
    """The latents' scale: what training has measured and stored, else the config's.

    Raises:
        UsageError: if neither is there.
    """
    if "scale_factor" in state:
        held = state["scale_factor"]
        scale = float(held) if held.numel() == 1 and not held.is_complex() else 0.0
        if not 0 < scale < math.inf:
            raise UsageError(
                "The checkpoint's scale_factor is not one positive number.",
                "Download or copy it again.",
            )
        return scale
    if config.scale_by_std and config.scale_factor is None:
        raise UsageError(
            "Training measured the latents' scale (scale_by_std), but the checkpoint does not "
            "hold it as scale_factor.",
            "Set model.params.scale_factor in the config.",
        )
    return 1.0 if config.scale_factor is None else config.scale_factor


def _averages(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The U-Net's moving averages; a wrapper that was in a name has lost its dot with the rest."""
    found = _under(_EMA, state)
    return {name.removeprefix("_orig_mod"): tensor for name, tensor in found.items()}


def _under(prefix: str, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    named = {name: tensor for name, tensor in state.items() if name.startswith(prefix)}
    return {name.removeprefix(prefix): tensor for name, tensor in named.items()}
