"""Stable Diffusion and Stable Diffusion XL as one file, in the names of their authors' code.

The tensors are read as data, and renamed by diffusers' own functions. What the file does not say
(the networks' configurations, the scheduler, the tokenizers) is that of a pipeline of its kind.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from diffusers.loaders import single_file_utils as library
from torch import Tensor

from lambda_search.errors import UsageError
from lambda_search.models.inputs import read_checkpoint
from lambda_search.models.states import state_of

__all__ = ["kind_of", "read_single_file", "renamed", "single_file_weights", "usual_pipeline"]

_UNET = "model.diffusion_model."
_CLIP, _OPEN_CLIP = "cond_stage_model.transformer.text_model.", "cond_stage_model.model."
_OPEN_CLIP_XL = "conditioner.embedders.1.model."
_KINDS = {  # by the beginning of a text encoder's names
    _OPEN_CLIP_XL: ("StableDiffusionXLPipeline", "xl_base"),
    _CLIP: ("StableDiffusionPipeline", "v1"),
    _OPEN_CLIP: ("StableDiffusionPipeline", None),  # of version 2; some predict ε, others v
}
_SAMPLED = (_UNET, "first_stage_model.", "cond_stage_model.", "conditioner.")
_MOST_BLOCKS = 1000
"""Of a network, by the first two words of its tensors' names; SDXL has 24."""


def single_file_weights(content: Any) -> Mapping[str, Tensor] | None:
    """The tensors that sampling needs; None for what is no such file."""
    held = state_of(content, ("state_dict",))
    if held is None or _marked(held) is None:
        return None
    return {name: value for name, value in held.items() if name.startswith(_SAMPLED)}


def read_single_file(path: Path) -> Mapping[str, Tensor]:
    """The tensors that sampling needs.

    Raises:
        UsageError: if it cannot be read, or is no such file.
    """
    found = single_file_weights(read_checkpoint(path))
    if found is None:
        raise UsageError(
            f"{path} is no Stable Diffusion or Stable Diffusion XL in one file.",
            "Pass a pipeline's folder, or choose the framework that the file belongs to.",
        )
    blocks = {tuple(name.split(".")[2:4]) for name in found if name.startswith(_UNET)}
    if len(blocks) > _MOST_BLOCKS:
        raise UsageError(
            f"{path} cannot be read: its network would have {len(blocks):,} blocks.",
            "Fetch or copy it again.",
        )
    return found


def kind_of(state: Mapping[str, Tensor]) -> str:
    """The class of the pipeline that the file is."""
    return _KINDS[_marked(state) or _CLIP][0]


def usual_pipeline(state: Mapping[str, Tensor]) -> str | None:
    """The hub's name of a pipeline with the same configuration; None where that is open."""
    version = _KINDS[_marked(state) or _CLIP][1]
    if version is None:
        return None
    return str(library.DIFFUSERS_DEFAULT_PIPELINE_PATHS[version]["pretrained_model_name_or_path"])


def renamed(
    part: str, state: Mapping[str, Tensor], config: Mapping[str, Any]
) -> dict[str, Tensor]:
    """A part's tensors by diffusers' or transformers' names.

    Arguments:
        part: unet, vae, text_encoder or text_encoder_2.
        state: of the whole file.
        config: of the part.

    Raises:
        Exception: whatever a configuration of another network brings about.
    """
    given, told = dict(state), dict(config)
    if part == "unet":
        found = library.convert_ldm_unet_checkpoint(given, told)  # type: ignore[no-untyped-call]
    elif part == "vae":
        found = library.convert_ldm_vae_checkpoint(given, told)  # type: ignore[no-untyped-call]
    elif part == "text_encoder" and not any(name.startswith(_OPEN_CLIP) for name in given):
        found = library.convert_ldm_clip_checkpoint(given)  # type: ignore[no-untyped-call]
    else:
        # all that the function looks at in a network
        network = SimpleNamespace(config=SimpleNamespace(hidden_size=told.get("hidden_size")))
        prefix = _OPEN_CLIP if part == "text_encoder" else _OPEN_CLIP_XL
        found = library.convert_open_clip_checkpoint(network, given, prefix=prefix)  # type: ignore[no-untyped-call]
    return {name: value for name, value in found.items() if value is not None}


def _marked(held: Mapping[Any, Any]) -> str | None:
    """The beginning of names by which a file is known."""
    names = [name for name in held if isinstance(name, str)]
    if not any(name.startswith(_UNET) for name in names):
        return None
    return next((mark for mark in _KINDS if any(n.startswith(mark) for n in names)), None)
