"""diffusers pipelines: a folder, a hub name, or a single file. Nothing in one is ever executed.

Without prompts: pipelines that sample pixels (DDPM, DDIM) or latents (LDM) from noise alone, or
from labels; DiT's in `from_labels`. With prompts: Stable Diffusion and Stable Diffusion XL, in
`text_to_image`.
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

from lambda_search.diffusion.schedulers import make_scheduler
from lambda_search.errors import UsageError
from lambda_search.files import sha256_of
from lambda_search.models.base import Model
from lambda_search.models.checkpoints import read_config
from lambda_search.models.decoders import autoencoder
from lambda_search.models.diffusers.files import all_weights
from lambda_search.models.diffusers.files import check_part
from lambda_search.models.diffusers.files import check_size
from lambda_search.models.diffusers.files import plain
from lambda_search.models.diffusers.files import read_index
from lambda_search.models.diffusers.files import read_part
from lambda_search.models.diffusers.from_labels import load_from_labels
from lambda_search.models.diffusers.hub_folder import HubFolder
from lambda_search.models.diffusers.model import DiffusersModel
from lambda_search.models.diffusers.networks import read_network
from lambda_search.models.diffusers.networks import read_state
from lambda_search.models.diffusers.parts import networks_of
from lambda_search.models.diffusers.parts import parts_of
from lambda_search.models.diffusers.prompts import NoiseConfig
from lambda_search.models.diffusers.prompts import read_noise_config
from lambda_search.models.diffusers.prompts import read_text_config
from lambda_search.models.diffusers.single_file import single_file_weights
from lambda_search.models.registry import Config
from lambda_search.models.registry import Framework
from lambda_search.paths import locate
from lambda_search.setting import fingerprint

__all__ = ["FRAMEWORK", "load"]


def load(checkpoint: str, config: Config, device: torch.device) -> Model:
    """Reads a pipeline's folder or single file, or fetches it from the hub, once.

    Arguments:
        checkpoint: the folder or file, or owner/repository.
        config: of a text-to-image pipeline `{prompts, negative_prompt, height, width}`, where
            `prompts` is a list or a text file with one prompt a line, and for a single file also
            `config`, a folder or hub name of a pipeline whose configuration it has; else None.
            `variant` chooses among weights.
        device: where to compute.

    Raises:
        UsageError: for a pipeline that is missing, incomplete or not known, and for a config that
            it cannot have.
    """
    found = locate(checkpoint)
    if found is not None and not found.is_dir():
        _check_transformers()
        from lambda_search.models.diffusers.text_pipelines import load_single_file

        return load_single_file(found, read_text_config(config), device)
    hub = None if found else HubFolder(checkpoint)
    folder = hub.folder if hub else cast(Path, found)
    index = _with_scheduler(read_index(folder), config)
    parts = parts_of(index, folder)
    text = read_text_config(config) if "tokenizer" in parts else None
    noise = read_noise_config(config) if text is None else NoiseConfig(variant=text.variant)
    if hub:
        folder = hub.whole(parts, noise.variant)
    for part, kind in parts.items():
        if part != "scheduler" or noise.scheduler is None:
            check_part(folder, part, kind)
    if "transformer" in parts:
        model: Model = load_from_labels(folder, parts, noise, device)
    elif text is None:
        model = _load_from_noise(folder, parts, noise, device)
    else:
        _check_transformers()
        from lambda_search.models.diffusers.text_pipelines import load_text_to_image

        model = load_text_to_image(folder, index, parts, text, device)
    if hub:
        model.revision = folder.name
    return model


def _load_from_noise(
    folder: Path, parts: Mapping[str, str], told: NoiseConfig, device: torch.device
) -> Model:
    """A UNet2DModel with its scheduler and, for latents, its decoder."""
    words = told.scheduler or read_part(folder, "scheduler")
    scheduler = make_scheduler(parts["scheduler"], words)
    files = all_weights(folder, dict.fromkeys(networks_of(parts), "diffusers"), told.variant)
    unet, *decoders = (
        read_network(
            getattr(diffusers, parts[part]),
            read_part(folder, part),
            read_state(held, str(folder)),
            str(folder),
        )
        for part, held in files.items()
    )
    config: Any = unet.config
    if config.sample_size is None or config.class_embed_type:
        raise UsageError(
            "Only networks with a sample_size and without class_embed_type are read.",
            "Use another folder.",
        )
    size = config.sample_size
    height, width = check_size((size, size) if isinstance(size, int) else size)
    channels = config.in_channels
    definition: list[object] = [plain(config), plain(scheduler.config)]
    if parts["scheduler"] not in ("DDPMScheduler", "DDIMScheduler"):
        definition.append(parts["scheduler"])
    definition += [plain(decoder.config) for decoder in decoders]
    return DiffusersModel(
        unet,
        scheduler,
        sha256_of(*(file for held in files.values() for file in held)),
        fingerprint(definition),
        (channels, height, width),
        device,
        decoder=autoencoder(decoders[0], channels, device) if decoders else None,
        classes=config.num_class_embeds,
    )


def _with_scheduler(index: Mapping[str, Any], config: Config) -> Mapping[str, Any]:
    """`index` with the scheduler that the config may tell."""
    told = None if config is None else read_config(config).get("scheduler")
    if not isinstance(told, Mapping):
        return index
    return {**index, "scheduler": ["diffusers", str(told.get("_class_name"))]}


def _check_transformers() -> None:
    if find_spec("transformers") is None:
        raise UsageError(
            "Text-to-image pipelines need the package transformers.",
            "pip install 'lambda-search[text]'",
        )


def _weights(content: Any) -> Mapping[str, Tensor] | None:
    if isinstance(content, Path):  # a folder holds safetensors already
        told = (content / name for name in ("model_index.json", "config.json"))
        return {} if any(path.is_file() for path in told) else None
    return single_file_weights(content)


FRAMEWORK = Framework(
    load,
    DiffusersModel.samplers,
    _weights,
    needs="A text-to-image folder needs its prompts as the config, {prompts: prompts.txt}; a "
    "single file also a pipeline whose configuration it has, {config: FOLDER, prompts: …}.",
    licence="its authors' page says it",
)
