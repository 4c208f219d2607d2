"""Configs of models read as data, within bounds: nothing in one is ever constructed.

Training that dumps its own settings leaves Python's tags in the YAML, such as
`!!python/object:argparse.Namespace`: here a tag is but a word, and what follows it a mapping, a
list or a text.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from lambda_search.errors import UsageError
from lambda_search.errors import first_line
from lambda_search.errors import printable
from lambda_search.files import open_regular
from lambda_search.spec.documents import DEEPEST
from lambda_search.spec.documents import LARGEST
from lambda_search.spec.documents import YAML
from lambda_search.spec.documents import Loader
from lambda_search.spec.documents import loaded
from lambda_search.spec.pretrained import CONFIG_PATHS

__all__ = ["plain", "read_config_file", "read_config_text", "read_options", "with_paths"]

_MOST_NAMES, _MOST_VALUES = 1000, 100_000
_LONGEST_NAME = 200
_LARGEST_NUMBER = 128  # bits
_PYTHON = f"{YAML}python/"
_PLAIN = ("bool", "float", "int", "null", "str")
_SCALARS = {"long": "int", "none": "null", "unicode": "str"}


class _ConfigLoader(Loader):
    """Values behind Python's tags by their own form; numbers and the like as keys are text."""

    def checked_tag(self, node: yaml.Node) -> str:
        if not node.tag.startswith(_PYTHON):
            return super().checked_tag(node)
        tag: str = node.tag.removeprefix(_PYTHON)
        if isinstance(node, yaml.MappingNode):
            if tag.startswith("object/new:"):  # a class that is a mapping, such as EasyDict
                node.value = _items(node)
            node.tag = f"{YAML}map"
        elif isinstance(node, yaml.SequenceNode):
            node.tag = f"{YAML}seq"
        else:
            known = _SCALARS.get(tag, tag)
            node.tag = YAML + (known if known in _PLAIN else "str")
        return super().checked_tag(node)

    def checked_key(self, key: yaml.Node) -> str:
        if isinstance(key, yaml.ScalarNode):
            key.tag = f"{YAML}str"
        return super().checked_key(key)


def _items(node: yaml.MappingNode) -> list[tuple[yaml.Node, yaml.Node]]:
    """What a class that is a mapping holds: its own items, or its attributes."""
    parts = {key.value: value for key, value in node.value}
    found = parts.get("dictitems", parts.get("state"))
    inside = found if isinstance(found, yaml.MappingNode) else node
    return list(inside.value)


def read_options(config: Path | bytes, name: str) -> dict[str, Any]:
    """A framework's options: what a config file of this name says, or what is read of one.

    What `models convert` wrote holds them under `config`.

    Raises:
        UsageError: if it cannot be read, or is no mapping.
    """
    try:
        found = read_config_text(config) if isinstance(config, bytes) else read_config_file(config)
    except (OSError, ValueError) as error:
        missing = isinstance(error, FileNotFoundError)
        cause = "there is no such file" if missing else printable(first_line(error), 200)
        raise UsageError(
            f"The config {name} cannot be read: {cause}.",
            "It must be a JSON or YAML file with the framework's own option names.",
        ) from error
    inner = found.get("config")
    return inner if isinstance(inner, dict) and "framework" in found else found


def with_paths(config: Mapping[str, Any], absolute: Callable[[str], str]) -> dict[str, Any]:
    """A framework's options, with `absolute` of the names of files among them."""
    return {
        name: with_paths(value, absolute)
        if isinstance(value, dict)
        else absolute(value)
        if name in CONFIG_PATHS and isinstance(value, str)
        else value
        for name, value in config.items()
    }


def read_config_file(path: Path) -> dict[str, Any]:
    """What a JSON or YAML file says: a mapping of names to plain values.

    Raises:
        OSError: if it cannot be read.
        ValueError: as `read_config_text`.
    """
    with open_regular(path) as stream:
        return read_config_text(stream.read(LARGEST + 1))


def read_config_text(content: bytes) -> dict[str, Any]:
    """What JSON or YAML says, which of the two its content decides.

    Raises:
        ValueError: for what is neither, no mapping, or beyond the limits of `read_yaml`.
    """
    if len(content) > LARGEST:
        raise ValueError(f"it has more than {LARGEST // 1024} KiB")
    try:
        found = plain(_parsed(content.decode("utf-8-sig")))
    except UnicodeDecodeError as error:
        raise ValueError("it is not text in UTF-8") from error
    except RecursionError as error:
        raise ValueError(f"it is nested deeper than {DEEPEST} levels") from error
    if not isinstance(found, dict):
        raise ValueError("it holds no mapping of names to values")
    return found


def plain(value: Any) -> Any:
    """`value` of numbers, texts, lists and mappings by name, as JSON has them; NumPy's become so.

    Raises:
        ValueError: for anything else, and for what is too deep, too much, or holds itself.
    """
    left = _MOST_VALUES

    def copied(value: Any, depth: int) -> Any:
        nonlocal left
        left -= 1
        if depth > DEEPEST:
            raise ValueError(f"it is nested deeper than {DEEPEST} levels")
        if type(value).__module__ == "numpy":  # a scalar or an array, from a pickle
            left -= value.size
            value = value.tolist() if left >= 0 else None
        if left < 0:
            raise ValueError(f"it unfolds to more than {_MOST_VALUES:,} values")
        if isinstance(value, Mapping):
            if len(value) > _MOST_NAMES:
                raise ValueError(f"it has a mapping of more than {_MOST_NAMES:,} names")
            return {_name(key): copied(item, depth + 1) for key, item in value.items()}
        if isinstance(value, list | tuple):
            return [copied(item, depth + 1) for item in value]
        return _scalar(value)

    return copied(value, 0)


def _parsed(text: str) -> Any:
    if text.lstrip().startswith(("{", "[")):
        try:
            return json.loads(text, object_pairs_hook=_unique)
        except json.JSONDecodeError:
            pass  # YAML begins like that too
    return loaded(text, _ConfigLoader)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name in found:
            raise ValueError(f"the key {name!a:.40} stands there twice")
        found[name] = value
    return found


def _name(key: Any) -> str:
    if not isinstance(key, str | int | float | bool | None) or len(str(key)) > _LONGEST_NAME:
        raise ValueError("it has a name that is none")
    return key if isinstance(key, str) else str(key)


def _scalar(value: Any) -> Any:
    if isinstance(value, int) and value.bit_length() > _LARGEST_NUMBER:
        raise ValueError("it has a huge number")
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise ValueError(f"it has a {type(value).__name__} among its values")
