"""Rows as JSON: one object, `format`, `version` and then `rows`, a line each.

It is read piece by piece, so that memory is bounded by one row's text, however long the file is;
white space does not matter.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Iterator
from typing import Any
from typing import Literal

from pydantic import ConfigDict

from lambda_search.records import Row
from lambda_search.records.row_json import RowJson
from lambda_search.setting import FrozenModel

__all__ = [
    *("FORMAT", "VERSION", "RowsFile", "escaped", "framed", "json_pieces", "json_texts"),
    *("row_text", "schema"),
]

FORMAT: Literal["lambda-search-rows"] = "lambda-search-rows"
VERSION: Literal[1] = 1
_LARGEST_ROW = 1 << 22
"""Characters; a row of 4,000 steps has a tenth of it."""

_SPACE = " \t\r\n"


class RowsFile(FrozenModel):
    """Rows of a lookup table for Epsilon Scaling schedules λ(i) = b + k·i."""

    model_config = ConfigDict(defer_build=True)

    format: Literal["lambda-search-rows"]
    version: Literal[1]
    rows: tuple[RowJson, ...]


def schema() -> dict[str, Any]:
    """The JSON schema of a file."""
    told = {"$schema": "https://json-schema.org/draft/2020-12/schema"}
    return told | RowsFile.model_json_schema(by_alias=True)


def json_pieces(rows: Iterable[Row]) -> Iterator[str]:
    """The text of a file."""
    return framed(map(row_text, rows))


def row_text(row: Row) -> str:
    """A row's own line."""
    return escaped(json.dumps(row.to_json(), ensure_ascii=False))


def framed(lines: Iterable[str]) -> Iterator[str]:
    """The text of a file of these rows' lines."""
    yield f'{{"format": "{FORMAT}", "version": {VERSION}, "rows": ['
    between = "\n"
    for line in lines:
        yield between + line
        between = ",\n"
    yield "\n]}\n"


def escaped(text: str) -> str:
    """JSON in which characters that are not seen are escaped."""
    if text.isprintable():
        return text
    return "".join(one if one.isprintable() else json.dumps(one)[1:-1] for one in text)


def json_texts(more: Callable[[], str]) -> Iterator[str]:
    """The JSON of each row of a file.

    Arguments:
        more: the next piece of the file's text, "" at its end.

    Raises:
        ValueError: for what is no such file, or one of another version.
    """
    scanner = _Scanner(more)
    scanner.take("{")
    found: dict[str, Any] = {}
    while True:
        name = str(scanner.value()[0])
        scanner.take(":")
        if name == "rows" and "rows" not in found:
            _check(found | {"version": found.get("version", VERSION)})  # it may come behind
            found["rows"] = True
            yield from scanner.values()
        else:
            found[name] = scanner.value()[0]
        if not scanner.has(","):
            break
        scanner.take(",")
    scanner.take("}")
    scanner.end()
    _check(found)
    if "rows" not in found:
        raise ValueError("it has no rows")


def _check(found: dict[str, Any]) -> None:
    if found.get("format") != FORMAT or set(found) - {"format", "version", "rows"}:
        raise ValueError("it is no file of rows")
    version = found.get("version")
    if version != VERSION:
        raise ValueError(f"it has version {version}, and this release reads version {VERSION}")


class _Scanner:
    """JSON values, one after the other, of a text that comes in pieces."""

    def __init__(self, more: Callable[[], str]) -> None:
        self._more = more
        self._text, self._at = "", 0
        self._decoder = json.JSONDecoder(parse_constant=_no_number)

    def has(self, mark: str) -> bool:
        """Whether the next character, white space apart, is `mark`."""
        return self._next() == mark

    def take(self, mark: str) -> None:
        """Goes past `mark`."""
        if self._next() != mark:
            raise ValueError(f"there is no '{mark}' where one must be; the file is broken")
        self._at += 1

    def end(self) -> None:
        """Raises ValueError if something follows."""
        if self._next():
            raise ValueError("something follows after its end")

    def value(self) -> tuple[Any, str]:
        """The next value, and its text."""
        self._next()
        while True:
            try:
                found, end = self._decoder.raw_decode(self._text, self._at)
                text = self._text[self._at : end]
                if end < len(self._text) or not self._read():  # a number may go on
                    break
            except RecursionError:
                raise ValueError("it is nested too deeply") from None
            except json.JSONDecodeError as error:
                if len(self._text) - self._at > _LARGEST_ROW:
                    raise ValueError("a row of it is too large, or broken") from error
                if not self._read():
                    raise ValueError(f"it is broken, or breaks off: {error.msg}") from error
        self._at += len(text)
        return found, text

    def values(self) -> Iterator[str]:
        """The texts of the values of a list."""
        self.take("[")
        while not self.has("]"):
            yield self.value()[1]
            if not self.has(","):
                break
            self.take(",")
        self.take("]")

    def _next(self) -> str:
        while True:
            while self._at < len(self._text) and self._text[self._at] in _SPACE:
                self._at += 1
            if self._at < len(self._text):
                return self._text[self._at]
            if not self._read():
                return ""

    def _read(self) -> bool:
        piece = self._more()
        self._text, self._at = self._text[self._at :] + piece, 0
        return bool(piece)


def _no_number(word: str) -> float:
    raise ValueError(f"{word} is no number")
