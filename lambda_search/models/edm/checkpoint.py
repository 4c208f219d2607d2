"""Networks of NVlabs' persistent-class pickles (EDM, PFGM++): class, arguments and tensors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from lambda_search.errors import UsageError
from lambda_search.models.checkpoints import read_config
from lambda_search.models.pickles.read import PersistentObject
from lambda_search.models.pickles.read import read_pickle
from lambda_search.models.pickles.read import state_dict_of
from lambda_search.models.registry import Config
from lambda_search.shell import command

__all__ = ["PersistentNetwork", "network_of", "read_network", "tensors_of_denoiser"]


@dataclass(frozen=True)
class PersistentNetwork:
    """What such a file says of its network.

    Arguments:
        class_name: as recorded, `training.networks.EDMPrecond` for one.
        arguments: of its constructor, by name, as JSON has them.
        state: its tensors by name.
    """

    class_name: str
    arguments: dict[str, Any]
    state: dict[str, Tensor]

    @property
    def definition(self) -> dict[str, Any]:
        """Class and arguments as one mapping: the config of a converted file."""
        return {"class_name": self.class_name, **self.arguments}


def read_network(path: Path, config: Config = None) -> PersistentNetwork:
    """The averaged weights (`ema`) of a pickle, or a converted file with its config.

    Raises:
        UsageError: if the file cannot be read, or holds no such network.
    """
    if path.suffix == ".safetensors":
        return _converted(path, config)
    if config is not None:
        raise UsageError("This file knows its own network.", "Leave model.config out.")
    found = network_of(read_pickle(path))
    if found is None:
        raise UsageError(
            f"{path.name} holds no network of EDM's or PFGM++'s kind under 'ema'.",
            f"See what the file is with: {command('models', 'inspect', path)}",
        )
    return found


def network_of(content: Any) -> PersistentNetwork | None:
    """The averaged network (`ema`) in what a pickle holds, or None."""
    network = content.get("ema") if isinstance(content, Mapping) else content
    if not isinstance(network, PersistentObject):
        return None
    arguments = {name: _plain(value) for name, value in network.arguments.items()}
    return PersistentNetwork(network.class_name, arguments, state_dict_of(network))


def tensors_of_denoiser(content: Any) -> Mapping[str, Tensor] | None:
    """A converted file's tensors, or None if they are no denoiser's."""
    own = isinstance(content, Mapping) and "model.map_layer0.weight" in content
    return content if own else None


def _converted(path: Path, config: Config) -> PersistentNetwork:
    if config is None:
        raise UsageError(
            f"{path.name} does not say what its network is.",
            f"Keep the .json that {command('models', 'convert')} wrote beside it.",
        )
    arguments = read_config(config)
    class_name = arguments.pop("class_name", None)
    if not isinstance(class_name, str):
        raise UsageError(
            "The config names no class_name.", "Use the .json that was written with the weights."
        )
    try:
        return PersistentNetwork(class_name, arguments, load_file(path))
    except (SafetensorError, OSError) as error:
        raise UsageError(
            f"{path.name} cannot be read: {error}.", "Convert or copy it again."
        ) from error


def _plain(value: Any) -> Any:
    """Numbers and lists as JSON has them."""
    if isinstance(value, np.generic | np.ndarray):
        return _plain(value.tolist())
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value
