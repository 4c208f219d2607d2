"""Configuration files read as data, within bounds: nothing in one is ever constructed.

Training that dumps its own settings leaves Python's tags in the YAML, such as
`!!python/object:argparse.Namespace`: here a tag is but a word, and what follows it a mapping, a
list or a text.
"""

from __future__ import annotations

import json
import stat
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import yaml

__all__ = ["plain", "read_data"]

_MOST_BYTES = 1 << 20
_DEEPEST, _MOST_NAMES, _MOST_VALUES, _MOST_EVENTS = 32, 1000, 100_000, 50_000
_MOST_DIGITS, _MOST_MERGED, _LONGEST_NAME = 40, 16, 200
_YAML = "tag:yaml.org,2002:"
_SCALARS = {
    "bool": "bool",
    "float": "float",
    "int": "int",
    "long": "int",
    "none": "null",
    "str": "str",
    "unicode": "str",
}


_Safe: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # the first is many times faster


class _Loader(_Safe):  # type: ignore[misc]
    """YAML 1.1 as PyYAML reads it, but no number is of base 60 and no name is said twice."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._flat: set[int] = set()

    def flatten_mapping(self, node: yaml.MappingNode) -> None:
        """Puts in what a mapping merges, which may be mappings that merge others."""
        if id(node) in self._flat:
            return
        self._flat.add(id(node))
        names = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
        if len(set(names)) < len(names):
            raise self._refused(f"it says '{Counter(names).most_common(1)[0][0]}' twice", node)
        merged = [value for key, value in node.value if key.tag == f"{_YAML}merge"]
        lists = [value for value in merged if isinstance(value, yaml.SequenceNode)]
        if any(len(each.value) > _MOST_MERGED for each in lists):
            raise self._refused("it merges too many mappings", node)
        super().flatten_mapping(node)
        if len(node.value) > _MOST_NAMES:
            raise self._refused(f"it has a mapping of more than {_MOST_NAMES:,} names", node)

    def whole(self, node: yaml.ScalarNode) -> Any:
        """A whole number."""
        self._check_number(node)
        return self.construct_yaml_int(node)

    def number(self, node: yaml.ScalarNode) -> Any:
        """Any other number."""
        self._check_number(node)
        return self.construct_yaml_float(node)

    def tagged(self, suffix: str, node: yaml.Node) -> Any:
        """What stands behind one of Python's tags, by its own form."""
        if isinstance(node, yaml.ScalarNode):
            kind = _SCALARS.get(suffix)
            make = kind and self.yaml_constructors[_YAML + kind]
            return make(self, node) if make else self.construct_scalar(node)
        if isinstance(node, yaml.SequenceNode):
            return self.construct_sequence(node, deep=True)
        assert isinstance(node, yaml.MappingNode)  # the third form that there is
        found = self.construct_mapping(node, deep=True)
        if suffix.startswith("object/new:"):  # a class that is a mapping, such as EasyDict
            return found.get("dictitems", found.get("state", found))
        return found

    def _check_number(self, node: yaml.ScalarNode) -> None:
        text = self.construct_scalar(node)
        if len(text) > _MOST_DIGITS or ":" in text:  # of base 60, a megabyte would take hours
            raise self._refused("it has a huge number", node)

    def _refused(self, why: str, node: yaml.Node) -> yaml.MarkedYAMLError:
        return yaml.MarkedYAMLError(problem=why, problem_mark=node.start_mark)


_Loader.add_constructor(f"{_YAML}int", _Loader.whole)
_Loader.add_constructor(f"{_YAML}float", _Loader.number)
_Loader.add_multi_constructor(f"{_YAML}python/", _Loader.tagged)


def read_data(path: Path) -> dict[str, Any]:
    """What a JSON or YAML file says: a mapping of names to plain values.

    The content decides which of the two it is.

    Raises:
        OSError: if it cannot be read.
        ValueError: for what is neither, or too much; the text says what.
    """
    if not stat.S_ISREG(path.stat().st_mode):
        raise ValueError("it is not a file")
    with path.open("rb") as stream:
        raw = stream.read(_MOST_BYTES + 1)
    if len(raw) > _MOST_BYTES:
        raise ValueError(f"it has more than {_MOST_BYTES:,} bytes")
    try:
        return _mapping(plain(_parsed(raw.decode("utf-8-sig"))))
    except UnicodeDecodeError as error:
        raise ValueError("it is not text in UTF-8") from error
    except RecursionError as error:
        raise ValueError(f"it is more than {_DEEPEST} levels deep") from error


def plain(value: Any) -> Any:
    """`value` of numbers, texts, lists and mappings by name, as JSON has them; NumPy's become so.

    Raises:
        ValueError: for anything else, and for what is too deep, too much, or holds itself.
    """
    left = _MOST_VALUES

    def copied(value: Any, depth: int) -> Any:
        nonlocal left
        left -= 1
        if depth > _DEEPEST:
            raise ValueError(f"it is more than {_DEEPEST} levels deep")
        if isinstance(value, np.generic | np.ndarray):
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
            return json.loads(text)
        except ValueError:
            pass  # YAML begins like that too
    try:
        _check_events(text)
        return yaml.load(text, _Loader)
    except yaml.YAMLError as error:
        raise ValueError(_told(error)) from error
    except (LookupError, TypeError, AttributeError, ArithmeticError) as error:
        raise ValueError("it has a value that is not what its tag says") from error


def _check_events(text: str) -> None:
    """Raises ValueError for YAML too deep or too long to be put together, one word at a time."""
    depth = 0
    for count, event in enumerate(yaml.parse(text, _Safe)):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        if depth > _DEEPEST:
            raise ValueError(f"it is more than {_DEEPEST} levels deep")
        if count > _MOST_EVENTS:
            raise ValueError(f"it is YAML of more than {_MOST_EVENTS:,} words")


def _told(error: yaml.YAMLError) -> str:
    """What is wrong, and in which line."""
    if not isinstance(error, yaml.MarkedYAMLError) or error.problem_mark is None:
        return str(error)
    return f"{error.problem or error.context} (line {error.problem_mark.line + 1})"


def _mapping(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ValueError("it holds no mapping of names to values")
    return value


def _name(key: Any) -> str:
    if not isinstance(key, str | int | float | bool | None) or len(str(key)) > _LONGEST_NAME:
        raise ValueError("it has a name that is none")
    return key if isinstance(key, str) else str(key)


def _scalar(value: Any) -> Any:
    if isinstance(value, int) and value.bit_length() > 128:
        raise ValueError("it has a huge number")
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise ValueError(f"it has a {type(value).__name__} among its values")
