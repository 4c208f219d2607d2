"""Vision models of the transformers library: CLIP, DINOv2, and the user's own folders."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from typing import Literal
from typing import cast

import torch
from torch import Tensor
from torch import nn
from torch.nn.functional import interpolate

from lambda_search.downloads import offline
from lambda_search.errors import MissingFile
from lambda_search.errors import NotFetched
from lambda_search.errors import UsageError
from lambda_search.errors import first_line
from lambda_search.files import sha256_of
from lambda_search.hub import NotOnHub
from lambda_search.hub import snapshot
from lambda_search.metrics.extractors.base import Known
from lambda_search.metrics.extractors.base import NetworkExtractor
from lambda_search.metrics.extractors.base import Weights
from lambda_search.metrics.preprocessing import Preprocessing
from lambda_search.models.diffusers.networks import read_pretrained
from lambda_search.models.diffusers.networks import read_state
from lambda_search.models.json_files import read_json

__all__ = ["PUBLISHED", "clip_vit_b32", "dinov2", "from_folder"]

_CONFIG, _WEIGHTS, _PREPROCESSOR = "config.json", "model.safetensors", "preprocessor_config.json"
_PICKLE = "pytorch_model.bin"  # read as data
_CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
_CLIP_STD = (0.26862954, 0.26130258, 0.27577711)
_IMAGENET_MEAN = (0.485, 0.456, 0.406)
_IMAGENET_STD = (0.229, 0.224, 0.225)
_VISION = (
    "clip",
    "clip_vision_model",
    "dinov2",
    "dinov2_with_registers",
    "dinov3_vit",
    "vit",
    "deit",
    "beit",
    "swin",
    "swinv2",
    "convnext",
    "convnextv2",
    "resnet",
    "siglip_vision_model",
)
"""Types whose configuration names no other model's."""

_LARGEST_SIZE, _LARGEST_SIDE = 1 << 24, 1 << 12
_STEPS = ("do_resize", "do_rescale", "do_normalize")
_FILTERS: dict[int, Literal["bicubic", "bilinear"]] = {2: "bilinear", 3: "bicubic"}
"""Pillow's numbers of the filters."""


@dataclass(frozen=True)
class _Hub:
    """A model on the hub, at one revision.

    Arguments:
        name: owner/repository.
        revision: the commit.
        weights: the file of the weights.
        sha256: of that file, hexadecimal.
    """

    name: str
    revision: str
    weights: str
    sha256: str


_CLIP = _Hub(
    "openai/clip-vit-base-patch32",
    "3d74acf9a28c67741b2f4f2ea7635f0aaf6f0268",
    _PICKLE,
    "a63082132ba4f97a80bea76823f544493bffa8082296d62d71581a4feff1576f",
)
_DINOV2 = _Hub(
    "facebook/dinov2-large",
    "47b73eefe95e8d44ec3623f8890bd894b6ea2d6c",
    _WEIGHTS,
    "399fba97a95f22c36834418bc69373364a99af3a1153da1c0fb31db567c92e23",
)
PUBLISHED = {
    "clip-vit-b32": Known("clip-vit-b32", "", 512, "clean_clip_vit_b_32"),
    "dinov2": Known("dinov2", "", 1024),
}
"""What is known of these without their weights."""


def clip_vit_b32(device: torch.device, weights: Weights) -> NetworkExtractor:
    """CLIP-FID as clean-fid has it: image embeddings of CLIP ViT-B/32, 512 features.

    The shorter side to 224 by an 8-bit bicubic resize, then the middle (Kynkäänniemi et al. 2023,
    arXiv:2203.06026; Radford et al. 2021, arXiv:2103.00020).
    """
    folder = weights.path or _fetch(_CLIP, weights.fetch)
    preprocessing = Preprocessing(
        size=(224, 224),
        fit="crop",
        quantise=True,
        mean=_bytes(_CLIP_MEAN),
        std=_bytes(_CLIP_STD),
    )
    held = folder / _CLIP.weights
    known = held.is_file() and sha256_of(held) == _CLIP.sha256
    published = "clean_clip_vit_b_32" if known else ""
    return _extractor("clip-vit-b32", folder, preprocessing, device, published)


def dinov2(device: torch.device, weights: Weights) -> NetworkExtractor:
    """FD-DINOv2: the class token of DINOv2 ViT-L/14, 1024 features.

    Stretched to 224 × 224 (Stein et al. 2023, arXiv:2306.04675; Oquab et al. 2023,
    arXiv:2304.07193).
    """
    folder = weights.path or _fetch(_DINOV2, weights.fetch)
    preprocessing = Preprocessing(
        size=(224, 224), mean=_bytes(_IMAGENET_MEAN), std=_bytes(_IMAGENET_STD)
    )
    return _extractor("dinov2", folder, preprocessing, device)


def from_folder(folder: Path, device: torch.device) -> NetworkExtractor:
    """The user's own vision model, with the preprocessing that lies beside it.

    Raises:
        UsageError: if the folder has none that this library reads.
    """
    return _extractor(folder.name, folder, _preprocessing(folder / _PREPROCESSOR), device)


def _fetch(hub: _Hub, fetch: bool) -> Path:
    """The hub's copy of a model, from its cache where it is there; the hub's library locks it.

    Raises:
        NotFetched: if it is not there, and it is `fetch` alone that forbids to fetch it.
        MissingFile: if it is not there, and cannot or may not be fetched.
        UsageError: if its weights are not those that are published.
    """
    try:
        folder = snapshot(hub.name, [_CONFIG, hub.weights], hub.revision, fetch)
    except NotOnHub as error:
        raise (MissingFile if fetch or offline() else NotFetched)(
            f"The weights {hub.name} are not on this machine: {error.reason.rstrip('.')}.",
            f"{error.step} Or copy the folder here and name the extractor NAME:FOLDER "
            f"(https://huggingface.co/{hub.name}/tree/{hub.revision}).",
        ) from error
    if sha256_of(folder / hub.weights) != hub.sha256:
        raise UsageError(
            f"{folder / hub.weights} is not the file that {hub.name} publishes: its SHA-256 is "
            f"not {hub.sha256[:12]}….",
            "Delete it from the hub's cache, and it is fetched again.",
        )
    return folder


def _weights(folder: Path) -> Path | None:
    return next((folder / n for n in (_WEIGHTS, _PICKLE) if (folder / n).is_file()), None)


def _extractor(
    name: str,
    folder: Path,
    preprocessing: Preprocessing,
    device: torch.device,
    published: str = "",
) -> NetworkExtractor:
    weights = _weights(folder) if folder.is_dir() else None
    if weights is None or not (folder / _CONFIG).is_file():
        raise UsageError(
            f"{folder} has no {_CONFIG} with {_WEIGHTS}.",
            "Name a folder as transformers' save_pretrained writes it.",
        )
    try:
        network = _network(folder, weights, preprocessing).eval().requires_grad_(False).to(device)
        probe = torch.zeros(2, 3, *(preprocessing.size or (224, 224)), device=device)
        dim = network(probe).shape[1]
    except Exception as error:  # the library lets through whatever a broken folder provokes
        raise UsageError(
            f"The model in {folder} cannot be used: {first_line(error)}.",
            "It must be a vision model of the transformers library, for images of this size.",
        ) from error
    sha256 = sha256_of(folder / _CONFIG, weights)
    return NetworkExtractor(name, network, preprocessing, sha256, dim, device, published)


class _Pooled(nn.Module):
    """One vector an image: a projected embedding where the model has one, else its pooling."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    @torch.inference_mode()
    def forward(self, x: Tensor) -> Tensor:
        found = self.model(pixel_values=x)
        vector = getattr(found, "image_embeds", None)
        return cast(Tensor, found.pooler_output if vector is None else vector).flatten(1)


def _network(folder: Path, weights: Path, preprocessing: Preprocessing) -> nn.Module:
    import transformers
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING

    kind = read_json(folder / _CONFIG, highest=_LARGEST_SIZE).get("model_type")
    if kind not in _VISION:
        raise ValueError(f"its model_type {ascii(kind)[:80]} is none of {', '.join(_VISION)}")
    state = read_state([weights], str(folder))
    clip = transformers.CLIPVisionModelWithProjection
    family: Any = clip if kind.startswith("clip") else transformers.AutoModel.from_config
    words: Any = clip.config_class if kind.startswith("clip") else CONFIG_MAPPING[kind]
    config = words.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    model: Any = read_pretrained(family, config, state, str(folder))
    if kind == "dinov2" and preprocessing.size is not None:
        _fit_positions(model.embeddings, preprocessing.size)
    return _Pooled(model)


def _fit_positions(embeddings: Any, size: tuple[int, int]) -> None:
    """Interpolates position embeddings to an input of `size` as DINOv2's own code does.

    It adds 0.1 to the number of patches a side before it takes the scale; transformers does not.
    """
    whole = embeddings.position_embeddings.detach()
    across = round((whole.shape[1] - 1) ** 0.5)
    patch = embeddings.patch_embeddings.patch_size
    wanted = [length // p for length, p in zip(size, patch, strict=True)]
    if wanted == [across, across]:
        return
    grid = whole[:, 1:].reshape(1, across, across, -1).permute(0, 3, 1, 2)
    scale = tuple((count + 0.1) / across for count in wanted)
    fitted = interpolate(grid, scale_factor=scale, mode="bicubic")
    fitted = fitted.permute(0, 2, 3, 1).flatten(1, 2)
    embeddings.position_embeddings = nn.Parameter(torch.cat([whole[:, :1], fitted], dim=1))


def _preprocessing(path: Path) -> Preprocessing:
    """What a `preprocessor_config.json` asks for."""
    try:
        config = read_json(path, highest=_LARGEST_SIDE)
        size, crop = config["size"], config.get("crop_size")
        if not all(config.get(step, True) for step in _STEPS):
            raise ValueError(f"one of {', '.join(_STEPS)} is off")
        scale = 1 / config.get("rescale_factor", 1 / 255)
        shorter = size.get("shortest_edge") if isinstance(size, Mapping) else size
        cropped = bool(config.get("do_center_crop")) and crop is not None
        if shorter is not None and not cropped:
            raise ValueError("images of other shapes would keep theirs")
        return Preprocessing(
            size=_pair(crop if cropped else size),
            fit="crop" if cropped else "stretch",
            resize=shorter,
            filter=_FILTERS[config.get("resample", 3)],
            quantise=True,
            mean=tuple(scale * value for value in config["image_mean"]),
            std=tuple(scale * value for value in config["image_std"]),
        )
    except (UsageError, KeyError, TypeError, ArithmeticError, ValueError) as error:
        said = error.cause if isinstance(error, UsageError) else first_line(error)
        raise UsageError(
            f"{path} does not say how images are resized to one size: {said.rstrip('.')}.",
            "It must name size or crop_size, image_mean, image_std, and a bicubic or bilinear "
            "resample.",
        ) from error


def _pair(size: Any) -> tuple[int, int]:
    return (size["height"], size["width"]) if isinstance(size, Mapping) else (size, size)


def _bytes(values: tuple[float, ...]) -> tuple[float, ...]:
    """From units of [0, 1] to units of bytes."""
    return tuple(255 * value for value in values)
