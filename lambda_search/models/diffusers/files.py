"""The files of a diffusers pipeline: a folder or a hub snapshot, opened as data."""

from __future__ import annotations

import json
import math
from collections.abc import Collection
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lambda_search.downloads import NotOnHub
from lambda_search.downloads import snapshot
from lambda_search.errors import MissingFile
from lambda_search.errors import UsageError
from lambda_search.errors import first_line

__all__ = [
    "check_part",
    "fetch",
    "patterns",
    "plain",
    "read_index",
    "read_part",
    "weights",
]

_PASSING = ("_name_or_path", "_diffusers_version", "transformers_version", "torch_dtype", "dtype")
"""What a config says of the file rather than of the network."""


def read_index(folder: Path) -> Mapping[str, Any]:
    """What model_index.json holds."""
    try:
        index = json.loads((folder / "model_index.json").read_text())
        if not isinstance(index, dict):
            raise ValueError("model_index.json holds no names")
    except (OSError, ValueError) as error:
        said = "model_index.json is missing" if isinstance(error, OSError) else first_line(error)
        raise UsageError(
            f"{folder} is not a diffusers pipeline: {said.rstrip('.')}.",
            "It needs model_index.json and a folder for each part that this names.",
        ) from error
    return index


def read_part(folder: Path) -> dict[str, Any]:
    """A part's configuration, as its file has it."""
    name = "scheduler_config.json" if folder.name == "scheduler" else "config.json"
    told = json.loads((folder / name).read_text())
    return {key: _finite(value) for key, value in told.items() if key not in _PASSING}


def weights(folder: Path) -> list[Path]:
    """The files that the libraries read a part's weights from, variants left out."""
    whole = [folder / "diffusion_pytorch_model.safetensors", folder / "model.safetensors"]
    found = [file for file in whole if file.is_file()]
    return found or sorted(folder.glob("*model-*-of-*.safetensors"))


def check_part(folder: Path, part: str) -> None:
    """Raises UsageError if a part is missing, or has no weights that are safe to open."""
    if not (folder / part).is_dir():
        raise UsageError(
            f"{folder} has no folder {part}.", "Fetch or copy the whole pipeline again."
        )
    with_weights = part != "scheduler" and not part.startswith("tokenizer")
    if with_weights and not weights(folder / part):
        raise UsageError(
            f"The weights in {folder} cannot be read: {part} has no safetensors file.",
            "Fetch the pipeline's safetensors; pickles (.bin) could run anything and stay closed.",
        )


def plain(config: Any) -> dict[str, Any]:
    """A configuration without what the library adds for itself."""
    kept = {name: value for name, value in config.items() if not name.startswith("_")}
    return {name: list(v) if isinstance(v, tuple) else _finite(v) for name, v in kept.items()}


def patterns(parts: Collection[str]) -> list[str]:
    """The files of the parts, without weights in other precisions."""
    names = ("*.json", "*.txt", "*model.safetensors", "*model-*-of-*.safetensors")
    return ["model_index.json", *(f"{part}/{name}" for part in parts for name in names)]


def fetch(name: str, patterns: list[str]) -> Path:
    """A hub snapshot of those files of the pipeline `name` (owner/repository)."""
    try:
        return snapshot(name, patterns)
    except NotOnHub as error:
        if not error.reason:
            raise MissingFile(
                f"There is no checkpoint at {name}.",
                "Check the path; relative paths start at the study file's folder.",
            ) from error
        raise MissingFile(
            f"There is no folder {name}, and the hub did not give it: {error.reason}",
            "Check the name and the network, or copy the pipeline folder to this machine.",
        ) from error


def _finite(value: Any) -> Any:
    """An infinite number, which JSON has not, as a word."""
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value
