"""diffusers pipelines: a folder, or a hub name. Nothing in one is ever executed.

Without a config: pipelines that sample pixels (DDPM, DDIM) or latents (LDM) from noise alone, or
from labels. With prompts: Stable Diffusion and Stable Diffusion XL, in `text_to_image`.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from typing import cast

import diffusers
import torch
from torch import Tensor

from lambda_search.diffusion.schedulers import SCHEDULERS
from lambda_search.errors import UsageError
from lambda_search.errors import first_line
from lambda_search.files import sha256_of
from lambda_search.models.base import Model
from lambda_search.models.checkpoints import locate
from lambda_search.models.decoders import autoencoder
from lambda_search.models.diffusers.files import check_part
from lambda_search.models.diffusers.files import fetch
from lambda_search.models.diffusers.files import patterns
from lambda_search.models.diffusers.files import plain
from lambda_search.models.diffusers.files import read_index
from lambda_search.models.diffusers.files import weights
from lambda_search.models.diffusers.model import DiffusersModel
from lambda_search.models.diffusers.prompts import TextConfig
from lambda_search.models.diffusers.prompts import read_text_config
from lambda_search.models.registry import Config
from lambda_search.models.registry import Framework
from lambda_search.setting import fingerprint

__all__ = ["FRAMEWORK", "load"]

_Parts = Mapping[str, tuple[str, ...]]
_TOKENIZERS = ("CLIPTokenizer", "CLIPTokenizerFast")
_FROM_NOISE: _Parts = {"unet": ("UNet2DModel",), "scheduler": SCHEDULERS}
_DECODERS: _Parts = {"vqvae": ("VQModel",), "vae": ("AutoencoderKL",)}
_FROM_TEXT: _Parts = {
    "unet": ("UNet2DConditionModel",),
    "scheduler": SCHEDULERS,
    "vae": ("AutoencoderKL",),
    "text_encoder": ("CLIPTextModel",),
    "tokenizer": _TOKENIZERS,
}
_SECOND: _Parts = {
    "text_encoder_2": ("CLIPTextModelWithProjection",),
    "tokenizer_2": _TOKENIZERS,
}
_TEXT_PIPELINES: Mapping[str, _Parts] = {
    "StableDiffusionPipeline": _FROM_TEXT,
    "StableDiffusionXLPipeline": {**_FROM_TEXT, **_SECOND},
}


def load(checkpoint: str, config: Config, device: torch.device) -> Model:
    """Reads a pipeline folder, or fetches it from the hub (once; HF_HUB_OFFLINE is respected).

    Arguments:
        checkpoint: the folder, or owner/repository.
        config: of a text-to-image pipeline `{prompts, negative_prompt, height, width}`, where
            `prompts` is a list or a text file with one prompt a line; else None.
        device: where to compute.

    Raises:
        UsageError: for a pipeline that is missing, incomplete or not known, and for a config that
            it cannot have.
    """
    found = locate(checkpoint)
    folder = found or fetch(checkpoint, ["model_index.json"])
    index = read_index(folder)
    parts = _parts(index, folder)
    text = read_text_config(config) if "tokenizer" in parts else None
    if text is None and config is not None:
        raise UsageError(
            "A diffusers folder that samples from noise alone needs no config.",
            "Leave model.config out.",
        )
    if found is None:
        folder = fetch(checkpoint, patterns(parts))
    for part in parts:
        check_part(folder, part)
    model = _of_parts(folder, index, parts, text, device)
    if found is None:
        model.revision = folder.name
    return model


def _of_parts(
    folder: Path,
    index: Mapping[str, Any],
    parts: Mapping[str, str],
    text: TextConfig | None,
    device: torch.device,
) -> Model:
    if text is not None:
        if find_spec("transformers") is None:
            raise UsageError(
                "Text-to-image pipelines need the package transformers.",
                "pip install 'lambda-search[text]'",
            )
        from lambda_search.models.diffusers.text_to_image import load_text_to_image

        return load_text_to_image(folder, index["_class_name"], list(parts), text, device)
    return _load_from_noise(folder, parts, device)


def _load_from_noise(folder: Path, parts: Mapping[str, str], device: torch.device) -> Model:
    """A UNet2DModel with its scheduler and, for latents, its decoder."""
    safely = {"use_safetensors": True, "low_cpu_mem_usage": False}
    try:
        unet, scheduler, *decoders = (
            getattr(diffusers, name).from_pretrained(
                folder / part, **({} if part == "scheduler" else safely)
            )
            for part, name in parts.items()
        )
    except Exception as error:  # the library lets through whatever a broken file provokes
        raise UsageError(
            f"The weights in {folder} cannot be read: {first_line(error)}",
            "The file may be truncated; fetch or copy it again.",
        ) from error
    size = unet.config.sample_size
    if size is None or unet.config.class_embed_type:
        raise UsageError(
            "Only networks with a sample_size and without class_embed_type are read.",
            "Use another folder.",
        )
    height, width = (size, size) if isinstance(size, int) else size
    channels = unet.config.in_channels
    told: list[object] = [plain(unet.config), plain(scheduler.config)]
    if parts["scheduler"] not in ("DDPMScheduler", "DDIMScheduler"):
        told.append(parts["scheduler"])
    told += [plain(decoder.config) for decoder in decoders]
    files = [file for part in parts if part != "scheduler" for file in weights(folder / part)]
    return DiffusersModel(
        unet,
        scheduler,
        sha256_of(*files),
        fingerprint(told),
        (channels, height, width),
        device,
        decoder=autoencoder(decoders[0], channels, device) if decoders else None,
        classes=unet.config.num_class_embeds,
    )


def _parts(index: Mapping[str, Any], folder: Path) -> dict[str, str]:
    """The class of every part that sampling needs, all of them known here."""
    unet, kind = _class_of(index, "unet"), str(index.get("_class_name"))
    known: _Parts = _FROM_NOISE
    if unet in _FROM_TEXT["unet"]:
        if kind not in _TEXT_PIPELINES:
            raise UsageError(
                f"{folder} cannot be sampled: it is a {kind}.",
                f"Known with a {unet}: {', '.join(_TEXT_PIPELINES)}.",
            )
        known = _TEXT_PIPELINES[kind]
    else:
        decoders = {part: names for part, names in _DECODERS.items() if index.get(part)}
        if kind == "LDMPipeline" and not decoders:
            decoders = {"vqvae": _DECODERS["vqvae"]}
        known = {**known, **decoders}
    found = {part: _class_of(index, part) for part in known}
    for part, name in found.items():
        if name is None:
            raise UsageError(
                f"{folder} cannot be sampled: model_index.json names no {part}.",
                f"It must be one of: {', '.join(known[part])}.",
            )
        if name not in known[part]:
            of = "; of a discrete variance-preserving process" if part == "scheduler" else ""
            raise UsageError(
                f"{folder} cannot be sampled: its {part} is a {name}.",
                f"Known{of}: {', '.join((*known[part], *_other_unets(part)))}.",
            )
    return cast(dict[str, str], found)


def _class_of(index: Mapping[str, Any], part: str) -> str | None:
    """The library class of a part; code of the folder's own counts as none."""
    match index.get(part):
        case ["diffusers" | "transformers", str(name)]:
            return name
    return None


def _other_unets(part: str) -> tuple[str, ...]:
    return _FROM_TEXT["unet"] if part == "unet" else ()


def _weights(content: Any) -> Mapping[str, Tensor] | None:
    pipeline = isinstance(content, Path) and (content / "model_index.json").is_file()
    return {} if pipeline else None  # a folder holds safetensors already


FRAMEWORK = Framework(
    load,
    DiffusersModel.samplers,
    _weights,
    needs="A text-to-image folder needs its prompts as the config: {prompts: prompts.txt}.",
    licence="the folder's README says it",
)
