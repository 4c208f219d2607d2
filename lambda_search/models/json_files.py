"""JSON files beside weights, read within bounds: what they hold is data, and little of it."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lambda_search.errors import UsageError
from lambda_search.errors import first_line
from lambda_search.errors import printable
from lambda_search.files import open_regular

__all__ = ["MOST_BYTES", "Unreadable", "check_json", "loads", "read_bytes", "read_json"]

MOST_BYTES = 1 << 20
"""Of a configuration; published ones have a few thousand."""

_DEEPEST = 32
_LONGEST_INTEGER = 40  # the libraries write 10³⁰ for "no limit"


class Unreadable(ValueError):
    """A file cannot be read; the text says why."""


def read_json(path: Path, most: int = MOST_BYTES, highest: int | None = None) -> dict[str, Any]:
    """What the file says: a mapping of names to values.

    Arguments:
        path: a regular file.
        most: bytes.
        highest: whole number that it may hold.

    Raises:
        UsageError: if it cannot be read, is too large or too deep, says a thing twice, holds a
            number that is none, or names code that a library would import.
    """
    try:
        return loads(read_bytes(path, most), highest)
    except OSError as error:
        cause = f"{path} cannot be read: {error.strerror or error}."
        raise UsageError(cause, "Fetch or copy it again.") from error
    except Unreadable as error:
        raise UsageError(
            f"{path} cannot be read: {error}.", "Fetch or copy it again from the model's authors."
        ) from error


def read_bytes(path: Path, most: int) -> bytes:
    """The whole of a regular file.

    Raises:
        OSError: if it cannot be opened, or is another thing.
        Unreadable: if it has more than `most` bytes.
    """
    with open_regular(path) as stream:
        content = stream.read(most + 1)
    if len(content) > most:
        raise Unreadable(f"it has more than {most:,} bytes")
    return content


def loads(content: bytes, highest: int | None = None) -> dict[str, Any]:
    """As `read_json`, of bytes.

    Raises:
        Unreadable: as it raises UsageError.
    """

    def integer(text: str) -> int:
        if len(text) > _LONGEST_INTEGER:
            raise Unreadable(f"it holds a number of {len(text):,} digits")
        if highest is not None and int(text) > highest:
            raise Unreadable(f"it holds {text}, and at most {highest:,} is sensible")
        return int(text)

    try:
        found = json.loads(
            content.decode("utf-8-sig"),
            object_pairs_hook=_unique,
            parse_int=integer,
            parse_float=_number,
            parse_constant=_constant,
        )
    except Unreadable:
        raise
    except RecursionError as error:
        raise Unreadable(f"it is more than {_DEEPEST} levels deep") from error
    except ValueError as error:
        raise Unreadable(f"it is no JSON ({first_line(error)})") from error
    if not isinstance(found, dict):
        raise Unreadable("it holds no names")
    check_json(found)
    return found


def check_json(told: Any) -> None:
    """Raises Unreadable for what is too deep, or names code that is not the libraries' own."""
    for name, value, depth in _entries(told):
        if depth > _DEEPEST:
            raise Unreadable(f"it is more than {_DEEPEST} levels deep")
        if name == "auto_map" and value:
            raise Unreadable("its auto_map names code of its own, and none is ever run")
        plain = value is None or (isinstance(value, str) and "/" not in value)
        if name.endswith("attn_implementation") and not plain:
            raise Unreadable(f"its {name} names code of the hub's, and none is ever run")


def _entries(told: Any) -> Iterator[tuple[str, Any, int]]:
    """(name, value, depth) of all entries; what stands in a list has the name ""."""
    waiting = [("", told, 0)]
    while waiting:
        name, value, depth = waiting.pop()
        yield name, value, depth
        if depth > _DEEPEST:
            return
        if isinstance(value, dict):
            waiting += [(key, item, depth + 1) for key, item in value.items()]
        elif isinstance(value, list):
            waiting += [("", item, depth + 1) for item in value]


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        left = list(found)[::-1]  # in the order of their first mention
        twice = next(name for name, _ in pairs if not left or name != left.pop())
        raise Unreadable(f"it says '{printable(twice)}' twice")
    return found


def _number(text: str) -> float:
    if not math.isfinite(number := float(text)):
        raise Unreadable("it holds a number that is too large")
    return number


def _constant(text: str) -> float:
    if text == "NaN":
        raise Unreadable("it holds NaN, which is no number")
    return float(text)  # the schedulers' own word for "no limit"
