"""SQLite's files: made for their user alone, and read where nothing can be written."""

from __future__ import annotations

import os
import sqlite3
import stat
import time
from pathlib import Path
from typing import Any
from urllib.parse import quote

from lambda_search.errors import LambdaSearchError
from lambda_search.errors import UsageError
from lambda_search.files import close_to_others
from lambda_search.files import private_folder
from lambda_search.paths import home

__all__ = ["BUSY_SECONDS", "File", "configure"]

BUSY_SECONDS = 60
_PAUSE = 0.2
_STATEMENTS = 48
"""That a connection keeps; a list of each length is one."""


class File:
    """A database in a file.

    Arguments:
        path: is made, unless only reading is wanted, with what is missing above it.
        for_reading: whether nothing is to be written, even if it could be.

    Raises:
        UsageError: if something else lies there.
        LambdaSearchError: if it cannot be made.
    """

    def __init__(self, path: Path, for_reading: bool = False) -> None:
        self.path = path
        try:
            if path.exists() and not stat.S_ISREG(path.stat().st_mode):
                what = "a folder" if path.is_dir() else "not a file"
                raise UsageError(f"The store {path} is {what}.", "Name a file with --store.")
            if not for_reading:
                self._make()
            self.for_reading = for_reading or not _writable(path)
            self._was = self._identity()
        except OSError as error:
            raise LambdaSearchError(
                f"The store {path} cannot be opened: {error.strerror}.",
                "Choose another place with --store or LAMBDA_SEARCH_HOME.",
            ) from error

    def connect(self) -> sqlite3.Connection:
        """A connection; the file is never made anew."""
        if not self.for_reading:
            return self._connection("mode=rw")
        try:
            connection = self._connection("mode=ro")
            connection.execute("PRAGMA schema_version")
            return connection
        except sqlite3.OperationalError:  # readers of a file with a log have to write beside it
            if self._has_log():
                raise LambdaSearchError(
                    f"The store {self.path} has changes in {self.path.name}-wal, which cannot be "
                    "read where nothing can be written.",
                    "Copy both files to where they can be written, and name the copy.",
                ) from None
        return self._connection("immutable=1")

    def check(self) -> None:
        """Raises LambdaSearchError if the file is not the one any more that was opened."""
        try:
            if self._identity() == self._was:
                return
        except OSError:
            pass
        raise LambdaSearchError(
            f"The store {self.path} was removed or replaced while it was in use.",
            "Put it back if it was moved, or launch again: what was stored in it is lost.",
        )

    def _make(self) -> None:
        private_folder(self.path.parent)
        if not self.path.exists():
            os.close(os.open(self.path, os.O_CREAT | os.O_WRONLY, 0o600))
        elif self.path.parent == home().absolute():  # elsewhere, who named it decides
            for name in ("", self.path.name, f"{self.path.name}-wal", f"{self.path.name}-shm"):
                close_to_others(self.path.parent / name)

    def _identity(self) -> tuple[int, int]:
        found = self.path.stat()
        return found.st_dev, found.st_ino

    def _has_log(self) -> bool:
        log = self.path.with_name(f"{self.path.name}-wal")
        return log.exists() and log.stat().st_size > 0

    def _connection(self, how: str) -> sqlite3.Connection:
        address = f"file:{quote(os.fsencode(self.path))}?{how}"
        return sqlite3.connect(
            address,
            timeout=BUSY_SECONDS,
            uri=True,
            check_same_thread=False,
            cached_statements=_STATEMENTS,
        )


def configure(connection: Any, for_reading: bool) -> None:
    """Sets up a connection that was just made."""
    connection.isolation_level = None  # transactions begin where the engine begins them
    cursor = connection.cursor()
    cursor.execute(f"PRAGMA busy_timeout = {BUSY_SECONDS * 1000}")
    if for_reading:
        cursor.execute("PRAGMA query_only = ON")
    else:
        _write_ahead(cursor)
    cursor.execute("PRAGMA synchronous = NORMAL")
    cursor.execute("PRAGMA foreign_keys = ON")
    cursor.close()


def _write_ahead(cursor: Any) -> None:
    """Has the file keep a write-ahead log, once for all.

    SQLite does not wait where another connection does the same, or writes meanwhile.
    """
    deadline = time.monotonic() + BUSY_SECONDS
    while True:
        try:
            cursor.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > deadline:
                raise
        time.sleep(_PAUSE)


def _writable(path: Path) -> bool:
    """Whether it can be written, and its folder, where SQLite keeps its log."""
    return os.access(path, os.W_OK) and os.access(path.resolve().parent, os.W_OK)
