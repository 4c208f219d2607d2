"""Networks of the libraries, filled from files that this package reads itself.

The libraries' own loaders would choose the files again, unpickle them, and leave at random what a
file lacks. Here a network is first built without memory, no larger than its files could fill.
"""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Mapping
from contextlib import contextmanager
from pathlib import Path
from threading import get_ident
from typing import Any
from typing import TypeAlias
from typing import cast

import torch
from torch import Tensor
from torch import nn
from torch.nn.modules.module import register_module_parameter_registration_hook

from lambda_search.errors import UsageError
from lambda_search.errors import first_line
from lambda_search.models.checkpoints import load_weights
from lambda_search.models.inputs import read_checkpoint
from lambda_search.models.states import state_dict

__all__ = ["read_network", "read_pretrained", "read_state", "read_text_encoder"]

Rename: TypeAlias = Callable[[Mapping[str, Tensor]], dict[str, Tensor]]
_PARTS = 4
"""Parameters to a tensor of a file: OpenCLIP keeps three of an attention in one."""


class _TooLarge(ValueError):
    """A configuration asks for more than its weights hold."""


def read_state(files: Iterable[Path], source: str) -> dict[str, Tensor]:
    """The tensors of one or several files, by name; pickles are read as data.

    Arguments:
        files: the whole, or shards.
        source: where they lie, for messages.

    Raises:
        UsageError: if one cannot be read, or two name the same tensor.
    """
    found: dict[str, Tensor] = {}
    for file in files:
        try:
            held = state_dict(read_checkpoint(file), str(file))
        except UsageError as error:
            cause = f"The weights in {source} cannot be read: {error.cause}"
            raise UsageError(cause, error.hint) from error
        twice = next((name for name in held if name in found), None)
        if twice is not None:
            raise UsageError(
                f"{file} cannot be used: another shard has {twice} too.",
                "Fetch the shards again.",
            )
        found |= held
    return found


def read_network(
    kind: Any,
    config: Mapping[str, Any],
    state: dict[str, Tensor],
    source: str,
    rename: Rename | None = None,
) -> nn.Module:
    """A network of diffusers with `state` for weights, in float32.

    Arguments:
        kind: its class.
        config: in the class's own words.
        state: tensors by the library's names, old ones included.
        source: the checkpoint's name, for messages.
        rename: gives the names that `state` does not have yet; called for a sound configuration.

    Raises:
        UsageError: if the configuration makes no network, or the weights are not all its own.
    """
    network: nn.Module = _built(lambda: kind.from_config(dict(config)), state, source)
    state = _renamed(state, rename, source)
    cast(Any, network)._fix_state_dict_keys_on_load(state)  # attention had other names before 2023
    load_weights(network, state, source)
    if any(buffer.is_meta for buffer in network.buffers()):  # no file holds these
        _fill_buffers(network, kind.from_config(dict(config)))
    return network


def read_text_encoder(
    kind: Any,
    config: Mapping[str, Any],
    state: dict[str, Tensor],
    source: str,
    rename: Rename | None = None,
) -> nn.Module:
    """A text encoder of transformers, as `read_network`."""
    words = _own_words(kind.config_class, config, source)
    told = _built(lambda: kind(kind.config_class(**words)), state, source).config
    return read_pretrained(kind, told, _renamed(state, rename, source), source)


def read_pretrained(kind: Any, config: Any, state: Mapping[str, Tensor], source: str) -> nn.Module:
    """A network of transformers with `state` for weights, in float32.

    Arguments:
        kind: makes the network of its configuration.
        config: the library's object.
        state: tensors by the library's names, old ones included; others are left aside, as the
            library does.
        source: the checkpoint's name, for messages.

    Raises:
        UsageError: if the configuration makes no network, or a tensor is missing.
    """
    family = type(_built(lambda: kind(config), state, source))
    try:
        network, report = family.from_pretrained(
            None,
            config=config,
            state_dict=dict(state),
            dtype=torch.float32,
            output_loading_info=True,
        )
    except Exception as error:  # the library lets through whatever a config provokes
        raise _refused(source, first_line(error)) from error
    lacking = sorted(report["missing_keys"]) + sorted(map(str, report["mismatched_keys"]))
    if lacking:
        raise _refused(source, f"they lack {', '.join(lacking[:5])}")
    return cast(nn.Module, network)


def _own_words(kind: Any, config: Mapping[str, Any], source: str) -> dict[str, Any]:
    """The entries of `config` that say what the network is; others name code, or are for show."""
    named = config.get("model_type", kind.model_type)
    if named == "clip":  # of text and images
        return _own_words(kind, {**config.get("text_config", {})}, source)
    if named != kind.model_type:
        raise _refused(source, f"a text encoder is {ascii(named)[:80]}, not {kind.model_type}")
    return {name: config[name] for name in kind.__annotations__ if name in config}


def _renamed(state: dict[str, Tensor], rename: Rename | None, source: str) -> dict[str, Tensor]:
    try:
        return state if rename is None else rename(state)
    except Exception as error:  # whatever a configuration of another network brings about
        raise _refused(source, "they are of another configuration") from error


def _built(build: Any, state: Mapping[str, Tensor], source: str) -> Any:
    """A network on no device."""
    try:
        with _no_larger_than(state), torch.device("meta"):
            return build()
    except Exception as error:  # the libraries let through whatever a config provokes
        raise _refused(source, first_line(error)) from error


@contextmanager
def _no_larger_than(state: Mapping[str, Tensor]) -> Iterator[None]:
    """Ends the building of what `state` could not fill."""
    most = sum(tensor.numel() for tensor in state.values())
    parts, left, ours = _PARTS * len(state), most, get_ident()

    def count(module: nn.Module, name: str, parameter: nn.Parameter | None) -> None:
        nonlocal parts, left
        if parameter is None or get_ident() != ours:
            return
        parts, left = parts - 1, left - parameter.numel()
        if parts < 0 or left < 0:
            raise _TooLarge(
                f"the configuration asks for more than their {most:,} numbers "
                f"in {len(state):,} tensors"
            )

    handle = register_module_parameter_registration_hook(count)
    try:
        yield
    finally:
        handle.remove()


def _fill_buffers(network: nn.Module, computed: nn.Module) -> None:
    """Gives `network` the buffers that its class computes for itself."""
    for name, buffer in computed.named_buffers():
        owner, _, last = name.rpartition(".")
        if network.get_buffer(name).is_meta:
            setattr(network.get_submodule(owner), last, buffer)


def _refused(source: str, why: str) -> UsageError:
    return UsageError(
        f"The weights in {source} cannot be read: {why}.",
        "The file may be truncated, or of another configuration; fetch or copy it again.",
    )
