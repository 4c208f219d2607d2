"""Which weights a pipeline of diffusers has in memory: those of its files, or others.

A pipeline knows the folder or the repository that it was loaded from. Its files are hashed as
`load_model` hashes them, and what they hold is compared with what lies in memory: the first
entries of every tensor, in the precision of the memory. Adapters, and networks beside the
pipeline's own, make other weights of them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import Tensor
from torch import nn

from lambda_search.errors import LambdaSearchError
from lambda_search.errors import first_line
from lambda_search.files import sha256_of
from lambda_search.hub import NotOnHub
from lambda_search.hub import snapshot
from lambda_search.models.diffusers.files import read_index
from lambda_search.models.diffusers.files import weights
from lambda_search.models.diffusers.networks import read_state
from lambda_search.models.diffusers.parts import library_of
from lambda_search.models.diffusers.parts import networks_of
from lambda_search.models.diffusers.parts import parts_of
from lambda_search.paths import locate

__all__ = ["Loaded", "OtherWeights", "loaded"]

_ENTRIES = 8
"""Of a tensor's first row, that are compared."""
_BESIDE = ("controlnet", "image_encoder", "adapter", "prior", "unet_2", "transformer_2")


class OtherWeights(LambdaSearchError):
    """The weights in memory are not those of the pipeline's files, or it is not known whether."""


@dataclass(frozen=True)
class Loaded:
    """Where a pipeline's weights came from.

    Arguments:
        folder: of its files.
        digest: SHA-256 of the weights, as rows name them.
        repository, revision: on the hub, if they came from there.
    """

    folder: Path
    digest: str
    repository: str | None = None
    revision: str | None = None


def loaded(pipeline: Any) -> Loaded:
    """The weights that lie in a pipeline's memory.

    Raises:
        OtherWeights: if they are not those of its files; the text says how that is known.
    """
    _refuse_adapters(pipeline)
    name = getattr(pipeline, "name_or_path", None) or pipeline.config.get("_name_or_path")
    if not name:
        raise OtherWeights("the pipeline does not say where it was loaded from")
    folder = locate(str(name))
    try:
        repository = None if folder else str(name)
        folder = folder or snapshot(str(name), [], fetch=False)
        parts = parts_of(read_index(folder), folder)
        files = {
            part: tuple(weights(folder, part, library_of(part))) for part in networks_of(parts)
        }
    except (LambdaSearchError, NotOnHub, OSError) as error:
        raise OtherWeights(f"its files cannot be read: {first_line(error)}") from error
    for part, held in files.items():
        _compare(part, getattr(pipeline, part, None), held)
    every = [file for held in files.values() for file in held]
    digest = _digest(tuple((file, file.stat().st_mtime_ns) for file in every))
    return Loaded(folder, digest, repository, folder.name if repository else None)


@cache
def _digest(files: tuple[tuple[Path, int], ...]) -> str:
    return sha256_of(*(file for file, _ in files))


def _refuse_adapters(pipeline: Any) -> None:
    parts = pipeline.components.items()
    for name, part in parts:
        if not isinstance(part, nn.Module):
            continue
        if name in _BESIDE and part is not None:
            raise OtherWeights(f"its {name} steers the network, which no row knows of")
        known = getattr(part, "peft_config", None) or getattr(part, "_hf_peft_config_loaded", None)
        if known or any("lora" in key.lower() for key, _ in part.named_modules()):
            raise OtherWeights(f"its {name} has an adapter (LoRA)")
        if getattr(part, "encoder_hid_proj", None) is not None:
            raise OtherWeights(f"its {name} has an IP-Adapter")


def _compare(part: str, network: Any, files: tuple[Path, ...]) -> None:
    """Raises OtherWeights unless the network holds what the files do, as far as is looked."""
    if not isinstance(network, nn.Module):
        raise OtherWeights(f"it has no {part}")
    held = network.state_dict()
    seen = 0
    for name, stored in _beginnings(files):
        if name not in held:
            continue
        own = held[name].detach().flatten()[: len(stored)].cpu()
        if not torch.equal(own, stored.to(own.dtype)):
            raise OtherWeights(f"the weights of its {part} were changed ({name})")
        seen += 1
    if not seen:
        raise OtherWeights(f"the weights of its {part} have other names than in their file")


def _beginnings(files: tuple[Path, ...]) -> Iterator[tuple[str, Tensor]]:
    """The first entries of every tensor."""
    for file in files:
        if file.suffix != ".safetensors":  # a pickle, which is read as data
            for name, whole in read_state([file], str(file)).items():
                yield name, whole.flatten()[:_ENTRIES]
            continue
        with safe_open(file, framework="pt") as content:
            for name in content.keys():
                part = content.get_slice(name)
                first = part[:1] if part.get_shape() else content.get_tensor(name)
                yield name, first.flatten()[:_ENTRIES]
