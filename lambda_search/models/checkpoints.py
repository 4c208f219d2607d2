"""Finding checkpoints, naming them by SHA-256, and filling networks from them.

Checkpoints are data: nothing in one is ever executed.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any

import yaml
from torch import Tensor
from torch import nn

from lambda_search.errors import MissingFile
from lambda_search.errors import UsageError
from lambda_search.spec import CONFIG_PATHS

__all__ = [
    "BUNDLED",
    "bundled_folder",
    "find",
    "load_weights",
    "locate",
    "read_config",
]

BUNDLED = "bundled:"
_SHOWN = 5
_CHECK = "Check the path; relative paths start at the study file's folder."


def bundled_folder(name: str) -> Path:
    """The folder `name` among the data that ships with the package.

    Raises:
        UsageError: if nothing of that name ships.
    """
    root = Path(str(resources.files("lambda_search.models"))) / "bundled"
    folder = root / name
    if not folder.is_dir():
        names = sorted(path.name for path in root.iterdir() if path.is_dir())
        raise UsageError(f"Nothing named '{name}' is bundled.", f"Bundled: {', '.join(names)}.")
    return folder


def locate(checkpoint: str, base: Path | None = None) -> Path | None:
    """The local file or folder that `checkpoint` names, or None where there is none.

    Arguments:
        checkpoint: `bundled:NAME`, or a path, relative to `base` (the study file's folder).
    """
    if checkpoint.startswith(BUNDLED):
        return bundled_folder(checkpoint.removeprefix(BUNDLED))
    path = Path(checkpoint).expanduser()
    path = path if path.is_absolute() or base is None else base / path
    return path.resolve() if path.exists() else None


def find(checkpoint: str) -> Path:
    """The file that `checkpoint` names.

    Raises:
        MissingFile: if there is none.
        UsageError: if it is a folder.
    """
    path = locate(checkpoint)
    if path is None:
        raise MissingFile(f"There is no checkpoint at {checkpoint}.", _CHECK)
    if not path.is_file():
        raise UsageError(f"This is a folder, not a file: {checkpoint}.", _CHECK)
    return path


def read_config(config: Mapping[str, Any] | str | Path) -> dict[str, Any]:
    """A framework's options: a mapping as it is, or what a JSON or YAML file holds.

    Raises:
        UsageError: if the file is missing, cannot be read, or holds no mapping.
    """
    if isinstance(config, Mapping):
        return dict(config)
    path = locate(str(config))
    try:
        if path is None:
            raise FileNotFoundError("there is no such file")
        text = path.read_text()
        found = json.loads(text) if path.suffix == ".json" else yaml.safe_load(text)
        if not isinstance(found, dict):
            raise ValueError("it holds no mapping of names to values")
        if isinstance(found.get("config"), dict) and "framework" in found:
            return _absolute(found["config"], path.parent)  # as `models convert` writes it
    except (OSError, ValueError, yaml.YAMLError) as error:
        cause = str(error).splitlines()[0].rstrip(".")
        raise UsageError(
            f"The config {config} cannot be read: {cause}.",
            "It must be a JSON or YAML file with the framework's own option names.",
        ) from error
    return _absolute(found, path.parent)


def _absolute(config: dict[str, Any], base: Path) -> dict[str, Any]:
    """`config` with the files that it names made absolute, where they lie beside it."""
    return {
        name: _absolute(value, base)
        if isinstance(value, dict)
        else str(base / value)
        if name in CONFIG_PATHS and isinstance(value, str) and (base / value).exists()
        else value
        for name, value in config.items()
    }


def load_weights(network: nn.Module, state: Mapping[str, Tensor], source: str) -> None:
    """Fills `network`, which may lie on the meta device, with `state`; all of it must fit.

    Arguments:
        network: its parameters and buffers are replaced by the state's tensors as float32.
        state: tensors by their names in `network`.
        source: the checkpoint's name, for messages.

    Raises:
        UsageError: with the first names that are missing, left over, or of another shape.
    """
    wanted = network.state_dict()
    differences = [f"{name} is missing" for name in wanted if name not in state]
    differences += [f"{name} is left over" for name in state if name not in wanted]
    differences += [
        f"{name} is {_shape(state[name])} and should be {_shape(wanted[name])}"
        for name in wanted
        if name in state and state[name].shape != wanted[name].shape
    ]
    if differences:
        more = len(differences) - _SHOWN
        listed = "; ".join(differences[:_SHOWN]) + (f"; and {more} more" if more > 0 else "")
        raise UsageError(
            f"The weights in {source} do not fit the configuration: {listed}.",
            "Check the model's config, or the framework.",
        )
    network.load_state_dict({name: state[name].float() for name in wanted}, assign=True)


def _shape(tensor: Tensor) -> str:
    return "×".join(str(size) for size in tensor.shape) or "one number"
