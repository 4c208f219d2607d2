"""Frameworks by name; one registers with an entry point in `lambda_search.frameworks`."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any
from typing import Protocol
from typing import TypeAlias
from typing import cast

import torch

from lambda_search.errors import UsageError
from lambda_search.models.base import Model

__all__ = ["GROUP", "Config", "Loader", "frameworks", "load_model"]

GROUP = "lambda_search.frameworks"
Config: TypeAlias = Mapping[str, Any] | str | Path | None


class Loader(Protocol):
    """What a framework registers: reads a checkpoint, executes nothing from it."""

    def __call__(self, checkpoint: str, config: Config, device: torch.device) -> Model: ...


def frameworks() -> tuple[str, ...]:
    """The names of all registered frameworks."""
    return tuple(sorted(entry_points(group=GROUP).names))


def load_model(
    framework: str, checkpoint: str | Path, config: Config = None, device: str = "cpu"
) -> Model:
    """Loads a pretrained model.

    Arguments:
        framework: one of `frameworks()`.
        checkpoint: a file or folder in the framework's own format, or `bundled:NAME`.
        config: a mapping, or the path of a JSON or YAML file, in the framework's own names.
        device: a torch device.

    Raises:
        UsageError: for an unknown framework, or a checkpoint that is missing or cannot be read.
    """
    found = {entry.name: entry for entry in entry_points(group=GROUP)}
    if framework not in found:
        raise UsageError(
            f"There is no framework '{framework}'.", f"Known: {', '.join(frameworks())}."
        )
    loader = cast(Loader, found[framework].load())
    return loader(str(checkpoint), config, torch.device(device))
