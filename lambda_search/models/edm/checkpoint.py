"""Networks of NVlabs' persistent-class pickles (EDM, PFGM++): class, arguments and tensors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from lambda_search.errors import UsageError
from lambda_search.models.checkpoints import read_config
from lambda_search.models.inputs import holds_safetensors
from lambda_search.models.inputs import read_safetensors
from lambda_search.models.inputs import recorded
from lambda_search.models.pickles.read import InertObject
from lambda_search.models.pickles.read import PersistentObject
from lambda_search.models.pickles.read import read_pickle
from lambda_search.models.pickles.read import state_dict_of
from lambda_search.models.registry import Config
from lambda_search.models.states import state_of
from lambda_search.models.states import summary
from lambda_search.models.states import tensors
from lambda_search.models.states import unwrapped
from lambda_search.shell import command

__all__ = ["PersistentNetwork", "config_of", "network_of", "read_network", "weights_of"]

_MOST_WRAPPERS = 8


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
    if holds_safetensors(path):
        return _converted(path, config)
    content = read_pickle(path)
    found = network_of(content)
    if found is not None and config is not None:
        raise UsageError("This file knows its own network.", "Leave model.config out.")
    if found is None:
        told = _tensors_of_denoiser(content)
        if told is not None:
            return _described(path, config, told)
        raise UsageError(
            f"{path.name} holds no network of EDM's or PFGM++'s kind under 'ema': "
            f"{summary(content)}.",
            f"See what the file is with: {command('models', 'inspect', path)}",
        )
    return found


def network_of(content: Any) -> PersistentNetwork | None:
    """The averaged network (`ema`) in what a pickle holds, or None."""
    network = _unwrapped(content.get("ema") if isinstance(content, Mapping) else content)
    if not isinstance(network, PersistentObject):
        return None
    arguments = recorded(network.arguments, "The network's recorded arguments")
    state = {unwrapped(name): value for name, value in state_dict_of(network).items()}
    return PersistentNetwork(network.class_name, arguments, state)


def _unwrapped(network: Any) -> Any:
    """The network that DistributedDataParallel and torch.compile have wrapped."""
    for _ in range(_MOST_WRAPPERS):
        state = network.state if isinstance(network, InertObject) else None
        parts = state.get("_modules") if isinstance(state, dict) else None
        if isinstance(network, PersistentObject) or not isinstance(parts, dict):
            return network
        network = next((parts[name] for name in ("module", "_orig_mod") if name in parts), None)
    return None


def weights_of(content: Any, augmented: bool = False) -> Mapping[str, Tensor] | None:
    """The tensors in what a file holds, if it is a network of EDM's: of PFGM++ if `augmented`."""
    found = network_of(content)
    if found is None:
        return _tensors_of_denoiser(content)
    return found.state if bool(found.arguments.get("pfgmpp")) == augmented else None


def config_of(content: Any) -> dict[str, Any] | None:
    """What a file says of its network; None if it does not."""
    found = network_of(content)
    return None if found is None else found.definition


def _tensors_of_denoiser(content: Any) -> Mapping[str, Tensor] | None:
    """A converted file's tensors, or None if they are no denoiser's."""
    state = state_of(content, ("ema",))
    return state if state is not None and "model.map_layer0.weight" in state else None


def _converted(path: Path, config: Config) -> PersistentNetwork:
    return _described(path, config, tensors(read_safetensors(path), str(path)))


def _described(path: Path, config: Config, state: Mapping[str, Tensor]) -> PersistentNetwork:
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
    return PersistentNetwork(class_name, arguments, dict(state))
