"""Checkpoint files, configs, and networks that are filled from them.

Checkpoints are data: nothing in one is ever executed.
"""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torch import Tensor
from torch import nn

from lambda_search.errors import MissingFile
from lambda_search.errors import UsageError
from lambda_search.errors import printable
from lambda_search.paths import locate
from lambda_search.spec.configs import read_options
from lambda_search.spec.configs import with_paths

__all__ = [
    "find",
    "load_weights",
    "read_config",
]

_SHOWN, _LONGEST = 4, 200
_REPEATED = 1 << 24
_CHECK = "Check the path; relative paths start at the study file's folder."


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
        kind = "a folder" if path.is_dir() else "a device or a pipe"
        raise UsageError(f"This is {kind}, not a file: {checkpoint}.", _CHECK)
    return path


def read_config(config: Mapping[str, Any] | str | Path) -> dict[str, Any]:
    """A framework's options: a mapping as it is, or what a JSON or YAML file holds.

    Files beside that file are named in full.

    Raises:
        UsageError: if the file is missing, cannot be read, or holds no mapping.
    """
    if isinstance(config, Mapping):
        return dict(config)
    path = locate(str(config)) or Path(config)

    def beside(name: str) -> str:
        place = path.parent / name
        return str(place) if place.exists() else name

    return with_paths(read_options(path, str(config)), beside)


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
    missing = [f"{name} is missing" for name in wanted if name not in state]
    over = [f"{name} is left over" for name in state if name not in wanted]
    other = [
        f"{name} is {_shape(state[name])} and should be {_shape(wanted[name])}"
        for name in wanted
        if name in state and state[name].shape != wanted[name].shape
    ]
    differences = [_few(kind) for kind in (missing, over, other) if kind]
    if differences:
        raise UsageError(
            f"The weights in {source} do not fit the configuration: {'; '.join(differences)}.",
            "Check the model's config, or the framework.",
        )
    used = [state[name] for name in wanted]
    _check_stored(used, source)
    network.load_state_dict({name: state[name].float() for name in wanted}, assign=True)


def _check_stored(tensors: Sequence[Tensor], source: str) -> None:
    """Raises UsageError if the tensors would take far more memory than the file has numbers.

    Several names may share their numbers, and a view may repeat them.
    """
    held = {t.untyped_storage().data_ptr(): t.untyped_storage().nbytes() for t in tensors}
    asked = sum(tensor.numel() * tensor.element_size() for tensor in tensors)
    if asked > 2 * sum(held.values()) + _REPEATED:
        raise UsageError(
            f"The weights in {source} repeat the same numbers over and over.",
            "Save the network's state dict anew with torch.save.",
        )
    if any(tensor.is_complex() for tensor in tensors):
        raise UsageError(f"The weights in {source} are complex numbers.", "Take real ones.")


def _few(said: Sequence[str]) -> str:
    """The first of what is said of names from a file, and how much more there is."""
    more = len(said) - _SHOWN
    shown = "; ".join(printable(one, _LONGEST) for one in said[:_SHOWN])
    return shown + (f"; and {more} more" if more > 0 else "")


def _shape(tensor: Tensor) -> str:
    return "×".join(str(size) for size in tensor.shape) or "one number"
