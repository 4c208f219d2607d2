"""The address of a store: what it names, and how it is shown."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote_to_bytes

from sqlalchemy import URL
from sqlalchemy import make_url
from sqlalchemy.exc import ArgumentError
from sqlalchemy.exc import NoSuchModuleError

from lambda_search.errors import UsageError
from lambda_search.paths import store_url
from lambda_search.remote import no_store

__all__ = ["Address", "missing_file", "shown"]

_USE = "Use sqlite:///PATH or postgresql://USER@HOST/NAME (needs the extra 'postgres')."
_OPTIONS = {"mode", "uri", "immutable"}
"""Of an SQLite URL, as SQLite itself has them."""
_PLAIN = {*_OPTIONS, "host", "port", "user", "dbname", "sslmode", "connect_timeout"}
"""Options that may be shown."""


@dataclass(frozen=True)
class Address:
    """An address that can be used.

    Arguments:
        url: SQLAlchemy's.
        file: SQLite's database, with its whole path; None in memory, and on a server.
        for_reading: whether it asks that nothing is written.
    """

    url: URL
    file: Path | None = None
    for_reading: bool = False

    @classmethod
    def of(cls, text: str) -> Address:
        """Reads an address.

        Arguments:
            text: an SQLAlchemy URL, SQLite or PostgreSQL.

        Raises:
            UsageError: if it is none, or its driver is not installed.
        """
        url = _parsed(text)
        if url is None:
            raise UsageError("The store's address is not a valid URL.", _USE)
        told = shown(url)
        backend = url.drivername.split("+")[0]
        if backend in ("http", "https"):
            raise no_store()
        if backend not in ("sqlite", "postgresql"):
            raise _unusable(told, f"{backend} is neither SQLite nor PostgreSQL")
        if backend != "sqlite" and text.partition("?")[0].count("@") > 1:
            raise UsageError(
                "The store's address has more than one @.", "Write %40 for an @ in the password."
            )
        try:
            dialect = url.get_dialect()
            dialect.import_dbapi()
        except (ArgumentError, NoSuchModuleError) as error:
            raise _unusable(told, f"there is no driver {url.drivername}") from error
        except ImportError as error:
            raise _unusable(told, f"{error.name} is not installed") from error
        if dialect.is_async:
            raise _unusable(told, f"{url.drivername} is an asynchronous driver")
        return cls._on_disk(url, text, told) if backend == "sqlite" else cls(url)

    @classmethod
    def _on_disk(cls, url: URL, text: str, told: str) -> Address:
        if url.host or url.username or url.port:
            raise _unusable(told, "SQLite has no host; a path begins after three strokes")
        unknown = set(url.query) - _OPTIONS
        if unknown:
            raise _unusable(told, f"SQLite has no option {', '.join(sorted(unknown))}")
        # SQLAlchemy's reading loses bytes that are not UTF-8
        raw = text.partition(":///")[2].partition("?")[0]
        path = os.fsdecode(unquote_to_bytes(os.fsencode(raw))).removeprefix("file:")
        for_reading = url.query.get("mode") == "ro" or url.query.get("immutable") == "1"
        if path in ("", ":memory:"):
            return cls(url)
        if "\0" in path:
            raise _unusable("(a path with a null byte)", "no file is named so")
        try:
            return cls(url, Path(path).expanduser().absolute(), for_reading)
        except RuntimeError as error:
            raise _unusable(told, "there is no such user's home folder") from error

    def __str__(self) -> str:
        return shown(self.url)


def missing_file(text: str) -> Path | None:
    """The SQLite file that `text` names, if it is not there: looking up makes no files."""
    try:
        file = Address.of(store_url(text)).file
        return file if file is not None and not file.exists() else None
    except (UsageError, OSError):  # opening it will say what is wrong
        return None


def shown(url: URL) -> str:
    """A URL for people: its password, and options that may be secrets, as ***."""
    hidden = {name: value if name in _PLAIN else "***" for name, value in url.query.items()}
    told = url.set(query={}).render_as_string(hide_password=True)
    return f"{told}?{'&'.join(f'{name}={value}' for name, value in hidden.items())}".rstrip("?")


def _parsed(text: str) -> URL | None:
    """The URL; of an error not even the words, which may hold a password taken for a port."""
    try:
        return make_url(text)
    except (ArgumentError, ValueError):
        return None


def _unusable(told: str, why: str) -> UsageError:
    return UsageError(f"The store's address {told} cannot be used: {why}.", _USE)
