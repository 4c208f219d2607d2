"""Frameworks by name; one registers with an entry point in `lambda_search.frameworks`.

A framework is one module: its `Model`, and a `FRAMEWORK` that says how its checkpoints are read
and recognised.
"""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any
from typing import Protocol
from typing import TypeAlias
from typing import cast

import torch
from torch import Tensor

from lambda_search.errors import MissingFile
from lambda_search.errors import UsageError
from lambda_search.fetching import obtained
from lambda_search.models.base import Model
from lambda_search.models.checkpoints import read_config
from lambda_search.paths import is_address
from lambda_search.paths import locate

__all__ = [
    "GROUP",
    "Config",
    "ConfigNeeded",
    "Framework",
    "Loader",
    "converted_config",
    "device_of",
    "framework_of",
    "frameworks",
    "load_model",
]

GROUP = "lambda_search.frameworks"
Config: TypeAlias = Mapping[str, Any] | str | Path | None


class ConfigNeeded(UsageError):
    """A model cannot be sampled without what only its user can tell.

    Arguments:
        cause, hint: as in `LambdaSearchError`.
        entry: of the config that is needed, such as `prompts`; "" where it is the config itself.
    """

    def __init__(self, cause: str, hint: str = "", entry: str = "") -> None:
        super().__init__(cause, hint)
        self.entry = entry


class Loader(Protocol):
    """Reads a checkpoint, executes nothing from it."""

    def __call__(self, checkpoint: str, config: Config, device: torch.device) -> Model: ...


def _nothing(content: Any) -> None:
    """Most files do not say what their network is."""


@dataclass(frozen=True)
class Framework:
    """What a framework registers.

    Arguments:
        load: reads a checkpoint.
        samplers: those that its models can be sampled with.
        weights: what a file holds, read as data → the tensors that sampling needs (moving averages
            where there are any) by the names that `load` reads from a `.safetensors` file; None
            if the file is not this framework's.
        config: what the file says of its network, as `load` takes it; None if it does not.
        needs: what `config` must be where the file does not say it.
        licence: of the weights that the authors publish.
    """

    load: Loader
    samplers: tuple[str, ...]
    weights: Callable[[Any], Mapping[str, Tensor] | None]
    config: Callable[[Any], dict[str, Any] | None] = _nothing
    needs: str = ""
    licence: str = "unknown"


def frameworks() -> tuple[str, ...]:
    """The names of all registered frameworks."""
    return tuple(sorted(entry_points(group=GROUP).names))


def framework_of(name: str) -> Framework:
    """The framework `name`.

    Raises:
        UsageError: if none of that name is registered.
    """
    found = {entry.name: entry for entry in entry_points(group=GROUP)}
    if name not in found:
        raise UsageError(f"There is no framework '{name}'.", f"Known: {', '.join(frameworks())}.")
    return cast(Framework, found[name].load())


def load_model(
    framework: str, checkpoint: str | Path, config: Config = None, device: str = "cpu"
) -> Model:
    """Loads a pretrained model.

    Arguments:
        framework: one of `frameworks()`.
        checkpoint: a file or folder in the framework's own format, its address (fetched once), or
            `bundled:NAME`.
        config: a mapping, or the path of a JSON or YAML file, in the framework's own names.
        device: a torch device.

    Raises:
        UsageError: for an unknown framework, or a checkpoint that is missing or cannot be read.
    """
    load = framework_of(framework).load
    if is_address(name := str(checkpoint)):
        found = obtained(name)
        if found is None:
            raise MissingFile(f"There is no checkpoint at {name}.", "Check the address.")
        name = str(found)
    if config is None:
        config = converted_config(locate(name) or Path(name))
    return load(name, config, device_of(device))


def device_of(name: str | None) -> torch.device:
    """The device `name`; unless given, CUDA where there is a GPU.

    Raises:
        UsageError: if there is none.
    """
    name = name or ("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise UsageError(
            f"There is no device '{name}' here.", "Choose cpu, or cuda where there is a GPU."
        ) from error
    return device


def converted_config(checkpoint: Path) -> dict[str, Any] | None:
    """The config that `lambda-search models convert` wrote beside a `.safetensors`, if it did."""
    if checkpoint.suffix != ".safetensors" or not checkpoint.with_suffix(".json").is_file():
        return None
    return read_config(checkpoint.with_suffix(".json"))
