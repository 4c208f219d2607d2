"""The parts that a pipeline is sampled with: their classes, all of them known here."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any
from typing import cast

from lambda_search.diffusion.schedulers import SCHEDULERS
from lambda_search.errors import UsageError

__all__ = ["library_of", "networks_of", "parts_of", "tokenizers_of"]

_Parts = Mapping[str, tuple[str, ...]]
_TOKENIZERS = ("CLIPTokenizer", "CLIPTokenizerFast")
_FROM_NOISE: _Parts = {"unet": ("UNet2DModel",), "scheduler": SCHEDULERS}
_FROM_LABELS: _Parts = {
    "transformer": ("DiTTransformer2DModel", "Transformer2DModel"),
    "scheduler": SCHEDULERS,
    "vae": ("AutoencoderKL",),
}
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
_FLOW = (
    "it predicts a flow's velocity, from prompts that T5 reads, which this package does not load; "
    "and λ has no meaning at σ = 1, where a flow begins"
)
_NOT_SEARCHED = {
    ("PixArt",): "its prompts are read by T5, which this package does not load",
    ("StableDiffusion3", "Flux"): _FLOW,
}
"""Pipelines by how their names begin, and why not."""
_LIBRARIES = ("diffusers", "transformers")


def parts_of(index: Mapping[str, Any], folder: Path) -> dict[str, str]:
    """The class of every part that sampling needs.

    Arguments:
        index: what model_index.json holds.
        folder: for messages.

    Raises:
        UsageError: for a part that is missing or not known, and for code of the folder's own.
    """
    unet, kind = _class_of(index, "unet", folder), index.get("_class_name")
    if kind is not None and not isinstance(kind, str):
        raise _own_code(folder, "_class_name", kind)
    known: _Parts = _FROM_NOISE
    if kind == "DiTPipeline":
        known = _FROM_LABELS
    elif unet is None and (transformer := _class_of(index, "transformer", folder)) is not None:
        raise _of_transformer(folder, kind, transformer)
    elif unet in _FROM_TEXT["unet"]:
        if kind is None or kind not in _TEXT_PIPELINES:
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
    found = {part: _class_of(index, part, folder) for part in known}
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


def networks_of(parts: Mapping[str, str]) -> list[str]:
    """Those of the parts that have weights."""
    return [part for part in parts if part != "scheduler" and not part.startswith("tokenizer")]


def tokenizers_of(parts: Mapping[str, str]) -> list[str]:
    """Those of the parts that make tokens of text."""
    return [part for part in parts if part.startswith("tokenizer")]


def library_of(part: str) -> str:
    """The library whose network a part is."""
    return "transformers" if part.startswith("text_encoder") else "diffusers"


def _class_of(index: Mapping[str, Any], part: str, folder: Path) -> str | None:
    """The library class of a part; None where the index names none."""
    named = index.get(part)
    match named:
        case [str(library), str(name)] if library in _LIBRARIES:
            return name
        case [str(_), str(_)]:
            raise _own_code(folder, part, named)
    return None


def _own_code(folder: Path, name: str, told: object) -> UsageError:
    words = told if isinstance(told, list) else [told]
    shown = ascii(".".join(str(word) for word in words[:2] if isinstance(word, str)))[1:-1][:80]
    return UsageError(
        f"{folder} cannot be sampled: its {name} is code of its own ({shown or 'unnamed'}), and "
        "none is ever run.",
        f"Use a folder whose parts are classes of {' and '.join(_LIBRARIES)}.",
    )


def _of_transformer(folder: Path, kind: str | None, network: str) -> UsageError:
    """Why a pipeline with a transformer is not searched, DiT's apart."""
    why = next(
        (why for names, why in _NOT_SEARCHED.items() if kind and kind.startswith(names)),
        f"its network is a {network}",
    )
    return UsageError(
        f"{folder} cannot be searched: it is a {kind or 'pipeline'}; {why}.",
        "ls.scale_epsilon(pipe, schedule) applies a λ of your own to it; searched are those of "
        f"pixels and latents, DiTPipeline, {' and '.join(_TEXT_PIPELINES)}.",
    )


def _other_unets(part: str) -> tuple[str, ...]:
    return _FROM_TEXT["unet"] if part == "unet" else ()
