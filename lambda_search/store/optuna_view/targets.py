"""Optuna storages of the user's own, by their addresses."""

from __future__ import annotations

from pathlib import Path

from optuna.exceptions import StorageInternalError
from optuna.storages import BaseStorage
from optuna.storages import JournalStorage
from optuna.storages import RDBStorage
from optuna.storages.journal import JournalFileBackend
from sqlalchemy import create_engine
from sqlalchemy import inspect
from sqlalchemy import make_url
from sqlalchemy.exc import ArgumentError
from sqlalchemy.exc import SQLAlchemyError

from lambda_search.errors import LambdaSearchError
from lambda_search.errors import UsageError
from lambda_search.errors import first_line
from lambda_search.paths import store_url
from lambda_search.store.engine import VERSION_TABLE
from lambda_search.store.engine import missing_file

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
    if "://" in to or _is_sqlite(Path(to).expanduser()):
        return _database(store_url(to))
    return _journal(Path(to).expanduser())


def _database(url: str) -> BaseStorage:
    try:
        parsed = make_url(url)
        shown = parsed.render_as_string(hide_password=True)
        if missing_file(url) is None:
            engine = create_engine(parsed)
            try:
                is_ours = inspect(engine).has_table(VERSION_TABLE)
            finally:
                engine.dispose()
            if is_ours:
                raise UsageError(
                    f"{shown} is a store of lambda_search; no table of Optuna's goes into it.",
                    f"Give the copy a place of its own. {_FORMS}",
                )
        return RDBStorage(url)
    except (ArgumentError, ImportError, ValueError) as error:
        raise UsageError(
            f"The address of the Optuna storage cannot be used: {first_line(error)}.", _FORMS
        ) from error
    except (SQLAlchemyError, StorageInternalError, RuntimeError, OSError) as error:
        cause = first_line(error.__cause__ or error)
        raise LambdaSearchError(
            f"The Optuna storage {shown} cannot be opened: {cause.rstrip('.')}.", _FORMS
        ) from error


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
    except OSError as error:
        raise LambdaSearchError(
            f"The journal file {path} cannot be opened: {error.strerror}.", _FORMS
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
