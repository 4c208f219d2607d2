"""Import: a file of rows, from this machine or an address, read whole before anything is written.

The file is bounded, and so is each row's text; ids must be those of the contents, and rows that
contradict themselves are refused (`records/possible`).
"""

from __future__ import annotations

import io
import os
import re
import tempfile
from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Sequence
from dataclasses import astuple
from dataclasses import dataclass
from dataclasses import replace
from datetime import UTC
from datetime import datetime
from itertools import chain
from operator import add
from pathlib import Path
from typing import IO
from typing import Any

from pydantic import ValidationError

from lambda_search.downloads import Download
from lambda_search.downloads import offline
from lambda_search.downloads import receive
from lambda_search.errors import LambdaSearchError
from lambda_search.errors import MissingFile
from lambda_search.errors import UsageError
from lambda_search.errors import first_line
from lambda_search.errors import without_secrets
from lambda_search.exchange.csv_form import csv_values
from lambda_search.exchange.json_form import framed
from lambda_search.exchange.json_form import json_texts
from lambda_search.exchange.json_form import row_text
from lambda_search.records import Arrival
from lambda_search.records import Row
from lambda_search.remote import Service
from lambda_search.remote import service_at
from lambda_search.store.store import Store

__all__ = ["Imported", "import_rows", "import_stream", "read_file", "read_rows"]

_MOST_BYTES = 1 << 28
"""Of a file; about 60,000 rows."""

_PIECE = 1 << 20
_SENT_BYTES = 8 << 20
"""Of rows that are sent to a service at once: about 1,000."""
_LONGEST_LINE = 1 << 24
_ADDRESS = re.compile(r"[a-z][a-z0-9+.-]*://", re.IGNORECASE)


@dataclass(frozen=True)
class Imported:
    """What became of a file's rows.

    Arguments:
        new: rows that are in the store now and were not.
        doubles: rows that were there already, or twice in the file.
        taken_back: rows that were there, and that the file says are taken back.
    """

    new: int
    doubles: int
    taken_back: int


def import_rows(source: str | Path, store: Store | Service | str | None = None) -> Imported:
    """Reads a file of rows into a store, all of it or nothing; nothing in a row is changed.

    A service gets a long file in pieces, each whole or not at all.

    Rows keep their ids, status, origin and time, and say where they were imported from. What is
    there already stays, but for rows that the file says are taken back.

    Arguments:
        source: a file that `export_rows` wrote, JSON or CSV, or its http(s) address.
        store: a store or its URL, or the address of a service (http://…); the default store
            unless given.

    Raises:
        UsageError: for a file that is broken, of another version, or has an impossible row.
        MissingFile: if it is not there, or the network may not be asked.
        LambdaSearchError: if the store cannot be written.
    """
    rows = read_rows(source)
    if isinstance(store, Store):
        return _added(rows, _shown(source), store)
    if (service := service_at(store)) is not None:
        return _sent(rows, service)
    assert not isinstance(store, Service)
    opened = Store(store)
    try:
        return _added(rows, _shown(source), opened)
    finally:
        opened.close()


def _sent(rows: Sequence[Row], service: Service) -> Imported:
    """Sends rows to a service, piece by piece: it takes no file as large as some are.

    Raises:
        LambdaSearchError: for what is wrong with a piece; it says which rows are there then.
    """
    counts, done = Imported(0, 0, 0), 0
    for piece in _batches(rows):
        text = "".join(framed(piece)).encode()
        try:
            told = Imported(**service.import_rows(io.BytesIO(text)))
        except LambdaSearchError as error:
            if not done:
                raise
            raise type(error)(
                f"{error.cause} The first {done:,} of {len(rows):,} rows are there, the others "
                "are not.",
                f"{error.hint} Then send the file again: what is there is not doubled.",
            ) from error
        counts = Imported(*map(add, astuple(counts), astuple(told)))
        done += len(piece)
    return counts


def _batches(rows: Iterable[Row]) -> Iterator[list[str]]:
    """Rows' lines in pieces of a bounded size, at least one piece."""
    batch: list[str] = []
    size = 0
    for line in map(row_text, rows):
        if batch and size + len(line) > _SENT_BYTES:
            yield batch
            batch, size = [], 0
        batch.append(line)
        size += len(line)
    yield batch


def import_stream(stream: IO[bytes], name: str, store: Store) -> Imported:
    """Reads a file that is open; `name` is what rows say that they were imported from.

    Errors as of `import_rows`.
    """
    return _added(read_file(stream, name), name, store)


def _added(rows: Sequence[Row], source: str, store: Store) -> Imported:
    arrival = Arrival(source, datetime.now(UTC))
    added = store.add([replace(row, arrival=arrival) for row in rows])
    new = len({row.id for row in rows}) - len(added.there)
    return Imported(new, len(rows) - new, len(added.taken_back))


def read_rows(source: str | Path) -> list[Row]:
    """The rows of a file; arguments and errors as in `import_rows`."""
    address = str(source)
    if not _ADDRESS.match(address):
        try:
            with Path(source).expanduser().open("rb") as file:
                return read_file(file, _shown(source))
        except OSError as error:
            raise MissingFile(
                f"{_shown(source)} cannot be read: {error.strerror}.", "Check its name."
            ) from error
    if not address.lower().startswith(("http://", "https://")):
        raise UsageError(
            f"{without_secrets(address)} is no address of a file.", "Name a file, or https://…"
        )
    if offline():
        raise MissingFile(
            f"The network may not be asked for {without_secrets(address)}.",
            "Fetch the file elsewhere, and import it from here.",
        )
    with tempfile.TemporaryFile() as stream:
        receive(Download("the rows", address, most=_MOST_BYTES), stream)
        stream.seek(0)
        return read_file(stream, _shown(source))


def read_file(stream: IO[bytes], name: str) -> list[Row]:
    """The rows of an open file, which errors name so; errors as in `import_rows`."""
    rows: list[Row] = []
    text = io.TextIOWrapper(stream, encoding="utf-8-sig", newline="")
    more = _bounded(text.read)
    try:
        first = more()
        pieces = chain([first], iter(more, ""))
        is_json = first.lstrip().startswith("{")
        told = json_texts(lambda: next(pieces, "")) if is_json else csv_values(_lines(pieces))
        for one in told:
            rows.append(Row.from_json(one))
    except (ValueError, RecursionError) as error:
        raise UsageError(
            f"{name} is not imported, and nothing of it: after {len(rows):,} good rows, "
            f"{_reason(error)}.",
            "Export it anew where it comes from, with a release that writes this version.",
        ) from error
    return rows


def _bounded(read: Callable[[int], str]) -> Callable[[], str]:
    """Reads piece by piece, and no more than a file may have."""
    left = _MOST_BYTES

    def more() -> str:
        nonlocal left
        piece = read(_PIECE)
        left -= len(piece)
        if left < 0:
            raise ValueError(f"it has more than {_MOST_BYTES:,} characters")
        return piece

    return more


def _lines(pieces: Iterable[str]) -> Iterator[str]:
    """The lines of a text that comes in pieces."""
    rest = ""
    for piece in pieces:
        *lines, rest = (rest + piece).split("\n")
        yield from (f"{line}\n" for line in lines)
        if len(rest) > _LONGEST_LINE:
            raise ValueError("a line of it is too long")
    if rest:
        yield rest


def _reason(error: BaseException) -> str:
    if isinstance(error, ValidationError):
        told: Any = error.errors(include_url=False, include_context=False)[0]
        return ": ".join(filter(None, (".".join(map(str, told["loc"])), told["msg"])))
    return first_line(error).rstrip(".")


def _shown(source: str | Path) -> str:
    """A source for people, without secrets, in characters that every store takes."""
    return without_secrets(os.fsencode(source).decode("utf-8", "replace"))
