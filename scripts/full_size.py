"""Models of published sizes with random weights, for measuring speed without a download."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from typing import TypeVar

import torch
from torch import nn

from lambda_search.models.adm.config import read_flags
from lambda_search.models.adm.model import ADMModel
from lambda_search.models.base import Model
from lambda_search.models.ddim.model import DDIMConfig
from lambda_search.models.ddim.model import DDIMModel
from lambda_search.models.ddim.network import DDIMNetwork
from lambda_search.models.dit.model import DiTConfig
from lambda_search.models.dit.model import DiTModel
from lambda_search.models.dit.network import DiTNetwork
from lambda_search.models.edm.model import EdmModel
from lambda_search.models.edm.model import build
from lambda_search.models.edm.pfgmpp import PfgmppModel
from lambda_search.models.ldm.config import read_params
from lambda_search.models.ldm.model import LDMModel
from lambda_search.models.ldm.model import build_unet
from lambda_search.models.networks.unet import UNet

__all__ = ["FULL_SIZE"]

N = TypeVar("N", bound=nn.Module)

DDIM_CIFAR10 = {
    "data": {"image_size": 32},
    "model": {
        "in_channels": 3,
        "out_ch": 3,
        "ch": 128,
        "ch_mult": [1, 2, 2, 2],
        "num_res_blocks": 2,
        "attn_resolutions": [16],
    },
    "diffusion": {
        "beta_schedule": "linear",
        "beta_start": 0.0001,
        "beta_end": 0.02,
        "num_diffusion_timesteps": 1000,
    },
}
EDM_CIFAR10 = {
    "class_name": "training.networks.EDMPrecond",
    "img_resolution": 32,
    "img_channels": 3,
    "model_type": "SongUNet",
    "model_channels": 128,
    "channel_mult": [2, 2, 2],
}
LDM_CELEBAHQ = {
    "model": {
        "target": "ldm.models.diffusion.ddpm.LatentDiffusion",
        "params": {
            "linear_start": 0.0015,
            "linear_end": 0.0195,
            "timesteps": 1000,
            "image_size": 64,
            "channels": 3,
            "unet_config": {
                "target": "ldm.modules.diffusionmodules.openaimodel.UNetModel",
                "params": {
                    "image_size": 64,
                    "in_channels": 3,
                    "out_channels": 3,
                    "model_channels": 224,
                    "attention_resolutions": [8, 4, 2],
                    "num_res_blocks": 2,
                    "channel_mult": [1, 2, 3, 4],
                    "num_head_channels": 32,
                },
            },
            "first_stage_config": {"target": "ldm.models.autoencoder.IdentityFirstStage"},
            "cond_stage_config": "__is_unconditional__",
        },
    }
}


def _filled(network: N, device: torch.device) -> N:
    """Weights small enough for finite outputs; speed does not depend on them."""
    network = network.to_empty(device=device)
    for tensor in (*network.parameters(), *network.buffers()):
        nn.init.normal_(tensor, std=0.02)
    return network


def _adm(device: torch.device) -> Model:
    flags, _ = read_flags({"preset": "adm-cifar10"})
    with torch.device("meta"):
        network = UNet(**flags.network())
    return ADMModel(_filled(network, device), flags, "random", "random", device, None)


def _ddim(device: torch.device) -> Model:
    config = DDIMConfig.model_validate(DDIM_CIFAR10)
    with torch.device("meta"):
        network = DDIMNetwork(resolution=32, **config.model.model_dump(exclude={"ema"}))
    return DDIMModel(_filled(network, device), config, "random", device)


def _edm(device: torch.device) -> Model:
    with torch.device("meta"):
        network = build(*_split(EDM_CIFAR10))
    return EdmModel(_filled(network, device), EDM_CIFAR10, "random", device)


def _pfgmpp(device: torch.device) -> Model:
    definition = EDM_CIFAR10 | {"pfgmpp": True, "D": 2048}
    with torch.device("meta"):
        network = build(*_split(definition))
    return PfgmppModel(_filled(network, device), definition, "random", device)


def _dit(device: torch.device) -> Model:
    config = DiTConfig.model_validate({"model": "DiT-XL/2", "image_size": 256})
    with torch.device("meta"):
        network = DiTNetwork(
            input_size=config.input_size,
            patch_size=config.patch_size,
            in_channels=config.in_channels,
            out_channels=2 * config.in_channels,
            hidden_size=config.hidden_size,
            depth=config.depth,
            num_heads=config.num_heads,
            mlp_ratio=config.mlp_ratio,
            labels=config.num_classes + 1,
        )
    return DiTModel(_filled(network, device), config, "random", device)


def _ldm(device: torch.device) -> Model:
    config = read_params(LDM_CELEBAHQ)
    unet = _filled(build_unet(config), device)
    state = {f"model.diffusion_model.{name}": value for name, value in unet.state_dict().items()}
    return LDMModel(config, state, "random", "random weights", device)


def _split(definition: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    arguments = dict(definition)
    return arguments.pop("class_name"), arguments


FULL_SIZE: dict[str, tuple[Callable[[torch.device], Model], str, str]] = {
    "ADM CIFAR-10": (_adm, "ancestral", "57 M"),
    "DDIM CIFAR-10": (_ddim, "ddim", "36 M"),
    "EDM CIFAR-10": (_edm, "heun", "56 M"),
    "LDM CelebA-HQ 256": (_ldm, "ddim", "274 M"),
    "DiT-XL/2 256": (_dit, "ancestral", "675 M"),
    "PFGM++ CIFAR-10": (_pfgmpp, "heun", "56 M"),
}
"""Builder on a device, sampler, and size, by name."""
