"""Reading Stable Diffusion and Stable Diffusion XL: a folder with its parts, or a single file."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import diffusers
import torch
import transformers
from torch import Tensor
from transformers.utils import logging as transformers_logging

from lambda_search.diffusion.schedulers import make_scheduler
from lambda_search.errors import MissingFile
from lambda_search.errors import UsageError
from lambda_search.errors import first_line
from lambda_search.files import sha256_of
from lambda_search.models.diffusers.files import all_weights
from lambda_search.models.diffusers.files import check_part
from lambda_search.models.diffusers.files import finite
from lambda_search.models.diffusers.files import read_index
from lambda_search.models.diffusers.files import read_part
from lambda_search.models.diffusers.hub_folder import HubFolder
from lambda_search.models.diffusers.networks import read_network
from lambda_search.models.diffusers.networks import read_state
from lambda_search.models.diffusers.networks import read_text_encoder
from lambda_search.models.diffusers.parts import library_of
from lambda_search.models.diffusers.parts import networks_of
from lambda_search.models.diffusers.parts import parts_of
from lambda_search.models.diffusers.parts import tokenizers_of
from lambda_search.models.diffusers.prompts import TextConfig
from lambda_search.models.diffusers.single_file import kind_of
from lambda_search.models.diffusers.single_file import read_single_file
from lambda_search.models.diffusers.single_file import renamed
from lambda_search.models.diffusers.single_file import usual_pipeline
from lambda_search.models.diffusers.text_to_image import TextToImageModel
from lambda_search.models.diffusers.tokenizers import read_tokenizer
from lambda_search.models.diffusers.tokenizers import tokenizer_files
from lambda_search.paths import locate

__all__ = ["load_single_file", "load_text_to_image"]


def load_text_to_image(
    folder: Path,
    index: Mapping[str, Any],
    parts: Mapping[str, str],
    text: TextConfig,
    device: torch.device,
) -> TextToImageModel:
    """Reads the pipeline in `folder`.

    Arguments:
        folder: with a folder for each part.
        index: what its model_index.json holds.
        parts: the classes of the parts that sampling needs.
        text: the prompts.
        device: where to compute.

    Raises:
        UsageError: for a file that is missing or broken, and for a size that cannot be.
    """
    if text.config is not None:
        raise UsageError(
            f"{folder} has its own configuration.", "Leave config out of model.config."
        )
    libraries = {part: library_of(part) for part in networks_of(parts)}
    held = all_weights(folder, libraries, text.variant)
    networks = {
        part: _network(part, parts[part], folder, read_state(files, str(folder)), str(folder))
        for part, files in held.items()
    }
    sha256 = sha256_of(*(file for files in held.values() for file in files))
    return _assembled(folder, index, parts, networks, sha256, text, device)


def load_single_file(path: Path, text: TextConfig, device: torch.device) -> TextToImageModel:
    """Reads a pipeline's weights from one file, and what they are from a pipeline of their kind.

    Arguments:
        path: the file.
        text: the prompts, and the folder or hub name of that pipeline; by default the one that
            its authors published the file's configuration with.
        device: where to compute.

    Raises:
        UsageError: for a file that cannot be read or is of another kind, and for a configuration
            that is not its own.
    """
    state = read_single_file(path)
    folder = _configuration(path, text.config, usual_pipeline(state))
    index = read_index(folder)
    parts = parts_of(index, folder)
    if index.get("_class_name") != kind_of(state):
        raise UsageError(
            f"{path} is of a {kind_of(state)}, and {folder} is a {index.get('_class_name')}.",
            "Name the folder of a pipeline of its kind as config in model.config.",
        )
    for part, kind in parts.items():
        check_part(folder, part, kind)
    networks = {
        part: _network(part, parts[part], folder, dict(state), str(path), partial(renamed, part))
        for part in networks_of(parts)
    }
    return _assembled(folder, index, parts, networks, sha256_of(path), text, device)


def _configuration(path: Path, named: str | None, usual: str | None) -> Path:
    """The folder that describes the networks of a single file."""
    name = named or usual
    if name is None:
        raise UsageError(
            f"{path} does not say what its network predicts, and pipelines of its kind differ.",
            "Name its pipeline's folder in model.config: {config: FOLDER, prompts: …}.",
        )
    found = locate(name)
    if found is not None:
        return found
    try:
        return HubFolder(name).configuration()
    except MissingFile as error:
        raise MissingFile(
            f"{path} needs the configuration of {name}, which is not here. {error.cause}",
            f"Fetch it (hf download {name} --include '*.json' '*.txt'), or name a pipeline's "
            f"folder in model.config: {{config: FOLDER, prompts: …}}. {error.hint}",
        ) from error


def _network(
    part: str,
    kind: str,
    folder: Path,
    state: dict[str, Tensor],
    source: str,
    rename: Callable[..., dict[str, Tensor]] | None = None,
) -> Any:
    """A part's network; `rename` is `renamed` of that part."""
    config = read_part(folder, part)
    told = None if rename is None else partial(rename, config=config)
    with _no_progress_bars():
        if library_of(part) == "transformers":
            return read_text_encoder(getattr(transformers, kind), config, state, source, told)
        return read_network(getattr(diffusers, kind), config, state, source, told)


def _assembled(
    folder: Path,
    index: Mapping[str, Any],
    parts: Mapping[str, str],
    networks: Mapping[str, Any],
    sha256: str,
    text: TextConfig,
    device: torch.device,
) -> TextToImageModel:
    """The model of networks, and of the tokenizers and the scheduler in `folder`."""
    kind = index["_class_name"]
    tokenizers = {
        part: read_tokenizer(parts[part], folder, part, _longest(networks, part))
        for part in tokenizers_of(parts)
    }
    scheduler = make_scheduler(parts["scheduler"], read_part(folder, "scheduler"))
    options: dict[str, Any] = {"feature_extractor": None, "image_encoder": None}
    if kind == "StableDiffusionPipeline":
        options |= {"safety_checker": None, "requires_safety_checker": False}
    elif "force_zeros_for_empty_prompt" in index:
        options["force_zeros_for_empty_prompt"] = index["force_zeros_for_empty_prompt"] is True
    try:
        pipeline = getattr(diffusers, kind)(
            **networks, **tokenizers, scheduler=scheduler, **options
        )
    except Exception as error:  # the library lets through whatever a broken file provokes
        raise UsageError(
            f"The pipeline in {folder} cannot be read: {first_line(error)}.",
            "A file may be missing or truncated; fetch or copy it again.",
        ) from error
    told = [part for part in parts if part not in tokenizers]
    configs: dict[str, Any] = {part: finite(read_part(folder, part)) for part in told}
    words = [file for part in tokenizers for file in tokenizer_files(folder, part)]
    configs["tokenizers"] = sha256_of(*words)
    configs["pipeline"] = [kind, pipeline.config.get("force_zeros_for_empty_prompt")]
    return TextToImageModel(pipeline, text, sha256, configs, device)


def _longest(networks: Mapping[str, Any], tokenizer: str) -> int:
    """How many tokens the text encoder takes that belongs to a tokenizer."""
    encoder = networks[tokenizer.replace("tokenizer", "text_encoder")]
    return int(encoder.config.max_position_embeddings)


@contextmanager
def _no_progress_bars() -> Iterator[None]:
    """Keeps the libraries' loading bars off the terminal."""
    ours: Any = diffusers.utils.logging
    shown = [
        library for library in (ours, transformers_logging) if library.is_progress_bar_enabled()
    ]
    for library in shown:
        library.disable_progress_bar()
    try:
        yield
    finally:
        for library in shown:
            library.enable_progress_bar()
