"""Optuna storages of the user's own, by their addresses."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from optuna.exceptions import StorageInternalError
from optuna.storages import BaseStorage
from optuna.storages import JournalStorage
from optuna.storages import RDBStorage
from optuna.storages.journal import JournalFileBackend
from sqlalchemy import URL
from sqlalchemy import create_engine
from sqlalchemy import inspect
from sqlalchemy import make_url
from sqlalchemy.exc import ArgumentError
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import NoSuchModuleError
from sqlalchemy.exc import SQLAlchemyError

from lambda_search.errors import LambdaSearchError
from lambda_search.errors import UsageError
from lambda_search.errors import first_line
from lambda_search.paths import store_url
from lambda_search.store.engine import VERSION_TABLE

__all__ = ["open_target"]

_SQLITE = b"SQLite format 3\x00"
_SUFFIXES = (".db", ".sqlite", ".sqlite3")
_FORMS = (
    "Name sqlite:///copy.db, postgresql://USER@HOST/NAME, or a journal file such as copy.log; "
    "Optuna makes what is not there."
)


def open_target(to: str) -> BaseStorage:
    """The Optuna storage at `to`, made if it is not there.

    Arguments:
        to: an SQLAlchemy URL of a database (a path that ends in .db or .sqlite, or is an SQLite
            file, is one too), or the path of a journal file.

    Raises:
        UsageError: if `to` is no address, or that of a store of lambda_search.
        LambdaSearchError: if it cannot be opened.
    """
    path = Path(to).expanduser()
    if "://" in to:
        return _database(lambda: make_url(store_url(to)))
    if _is_sqlite(path):
        return _database(lambda: URL.create("sqlite", database=str(path.absolute())))
    return _journal(path)


def _database(address: Callable[[], URL]) -> BaseStorage:
    shown = "the address"
    try:
        url = address()
        is_file = url.get_backend_name() == "sqlite"
        if is_file and url.database in (None, "", ":memory:"):
            raise ValueError("what lies in memory is gone at the end")
        if is_file:
            url = url.set(database=str(Path(str(url.database)).expanduser()))
        shown = url.render_as_string(hide_password=True)
        if not is_file or Path(str(url.database)).exists():
            _check_no_store(url, shown)
        return RDBStorage(url.render_as_string(hide_password=False))
    except (ArgumentError, ImportError, NoSuchModuleError, ValueError) as error:
        raise UsageError(
            f"The address of the Optuna storage cannot be used: {_said(error)}.", _FORMS
        ) from error
    except (SQLAlchemyError, StorageInternalError, RuntimeError, OSError) as error:
        raise LambdaSearchError(
            f"The Optuna storage {shown} cannot be opened: {_said(error)}.", _FORMS
        ) from error


def _check_no_store(url: URL, shown: str) -> None:
    engine = create_engine(url)
    try:
        is_ours = inspect(engine).has_table(VERSION_TABLE)
    finally:
        engine.dispose()
    if is_ours:
        raise UsageError(
            f"{shown} is a store of lambda_search; no table of Optuna's goes into it.",
            f"Give the copy a place of its own. {_FORMS}",
        )


def _said(error: Exception) -> str:
    """The reason alone: SQLAlchemy's own words around it may show a password."""
    reason = error.orig if isinstance(error, DBAPIError) and error.orig else error
    return first_line(reason)


def _journal(path: Path) -> BaseStorage:
    if path.is_dir() or not path.parent.is_dir():
        raise UsageError(f"{path} cannot be a journal file: {_why_not(path)}.", _FORMS)
    known = path.exists() and path.stat().st_size > 0
    try:
        if known and not _begins_a_journal(path):
            raise UsageError(
                f"{path} is a file of another kind, not a journal of Optuna's.", _FORMS
            )
        return JournalStorage(JournalFileBackend(str(path)))
    except (OSError, ValueError, KeyError) as error:  # the last two: it is damaged
        reason = error.strerror if isinstance(error, OSError) else "it is damaged"
        raise LambdaSearchError(
            f"The journal file {path} cannot be opened: {reason}.", _FORMS
        ) from error


def _why_not(path: Path) -> str:
    return "it is a folder" if path.is_dir() else f"there is no folder {path.parent}"


def _begins_a_journal(path: Path) -> bool:
    """Whether the file's first line is an entry as Optuna writes it."""
    with path.open("rb") as stream:
        return stream.read(64).lstrip().startswith(b'{"op_code"')


def _is_sqlite(path: Path) -> bool:
    if not path.is_file():
        return path.suffix in _SUFFIXES
    with path.open("rb") as stream:
        return stream.read(len(_SQLITE)) == _SQLITE or path.suffix in _SUFFIXES
