"""Opening the database: engine, schema, and errors that say what to do."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from typing import TypeVar

from sqlalchemy import Connection
from sqlalchemy import Engine
from sqlalchemy import create_engine
from sqlalchemy import event
from sqlalchemy import inspect
from sqlalchemy import make_url
from sqlalchemy import text
from sqlalchemy.exc import ArgumentError
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import NoSuchModuleError
from sqlalchemy.exc import OperationalError
from sqlalchemy.exc import TimeoutError as NoConnection

from lambda_search.errors import LambdaSearchError
from lambda_search.errors import UsageError

__all__ = [
    "HEAD",
    "VERSION_TABLE",
    "StoreAway",
    "explain",
    "missing_file",
    "one_at_a_time",
    "open_engine",
    "patiently",
    "upgrade",
    "writing",
]

HEAD = "0003"
"""The newest migration; a test holds it to the files."""

VERSION_TABLE = "ls_alembic_version"

T = TypeVar("T")
_FIRST_PAUSE, _LONGEST_PAUSE = 0.2, 5.0
_BUSY_SECONDS = 60
_GO_ON = "When it answers again, go on with the same command; nothing that was stored is lost."
_CONNECTING = {
    "connect_timeout": 10,
    "keepalives_idle": 30,
    "keepalives_interval": 10,
    "keepalives_count": 3,
    "tcp_user_timeout": 60_000,
}
"""libpq's own words, seconds and milliseconds: a network that is cut is noticed in a minute."""


class StoreAway(LambdaSearchError):
    """The store's server could not be reached for longer than the patience."""


def open_engine(url: str) -> Engine:
    """Connects to `url` and brings the schema up to date.

    Arguments:
        url: an SQLAlchemy URL, SQLite or PostgreSQL.

    Raises:
        UsageError: for a URL that is none, or names another kind of database.
        LambdaSearchError: if the database cannot be reached or written.
    """
    shown = url
    try:
        parsed = make_url(url)
        shown = parsed.render_as_string(hide_password=True)
        if parsed.get_backend_name() not in ("sqlite", "postgresql"):
            raise ArgumentError(f"{parsed.get_backend_name()} is neither SQLite nor PostgreSQL")
        options: dict[str, Any] = {"pool_pre_ping": True}
        if parsed.get_backend_name() == "sqlite":
            options["connect_args"] = {"timeout": _BUSY_SECONDS}
            if parsed.database not in (None, "", ":memory:"):
                Path(str(parsed.database)).parent.mkdir(parents=True, exist_ok=True)
        else:
            options |= {"pool_size": 2, "max_overflow": 3, "connect_args": _CONNECTING}
        engine = create_engine(parsed, **options)
    except (ArgumentError, ValueError, NoSuchModuleError, ImportError) as error:
        raise UsageError(
            f"The store's address {shown} cannot be used: {error}.",
            "Use sqlite:///PATH or postgresql://USER@HOST/NAME (needs the extra 'postgres').",
        ) from error
    except OSError as error:
        raise LambdaSearchError(
            f"The folder of the store {shown} cannot be made: {error.strerror}.",
            "Choose another place with --store or LAMBDA_SEARCH_HOME.",
        ) from error
    if parsed.get_backend_name() == "sqlite":
        event.listen(engine, "connect", _configure_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
    with explain(engine):
        version = _version(engine)
        if version is not None and version > HEAD:
            raise UsageError(
                f"The store {shown} was made by a newer lambda_search (schema {version}).",
                "Update lambda_search, or name another store.",
            )
        if version != HEAD:
            upgrade(engine)
    return engine


def missing_file(url: str) -> Path | None:
    """The SQLite file that `url` names, if it is not there: looking up makes no files."""
    try:
        database = make_url(url).database if url.startswith("sqlite") else None
    except (ArgumentError, ValueError):  # opening it will say what is wrong
        return None
    if not database or database == ":memory:" or Path(database).exists():
        return None
    return Path(database)


def upgrade(engine: Engine) -> None:
    """Runs the migrations that are missing, one process at a time."""
    from alembic import command  # Alembic is slow to import and rarely needed
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", "lambda_search.store:migrations")
    with writing(engine).connect() as connection, _tables_may_move(connection):
        with connection.begin():
            one_at_a_time(connection)
            config.attributes["connection"] = connection
            command.upgrade(config, "head")


@contextmanager
def _tables_may_move(connection: Connection) -> Iterator[None]:
    """SQLite changes a table by making it anew, which rows that refer to it must not prevent.

    Its switch for that acts between transactions alone.
    """
    if connection.dialect.name != "sqlite":
        yield
        return
    driver: Any = connection.connection.driver_connection
    driver.execute("PRAGMA foreign_keys = OFF")
    try:
        yield
    finally:
        driver.execute("PRAGMA foreign_keys = ON")


def one_at_a_time(connection: Connection) -> None:
    """Lets one transaction that writes begin after the other; SQLite's write lock does already."""
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(5308011)"))


def writing(engine: Engine) -> Engine:
    """`engine` for transactions that write: SQLite then takes its write lock at their start."""
    return engine.execution_options(writing=True)


@contextmanager
def explain(engine: Engine) -> Iterator[None]:
    """Turns database errors into messages with a next step."""
    try:
        yield
    except (DBAPIError, NoConnection) as error:
        told = str(getattr(error, "orig", error)).strip()
        reason = next(iter(told.splitlines()), type(error).__name__).rstrip(".")
        address = engine.url.render_as_string(hide_password=True)
        if "full" in reason:
            hint = "Free some space and run it again; nothing that was stored is lost."
        else:
            hint = "Check --store (or LAMBDA_SEARCH_STORE), the server, and its permissions."
        raise LambdaSearchError(f"The store {address} failed: {reason}.", hint) from error


def patiently(engine: Engine, patience: float, action: Callable[[], T]) -> T:
    """What `action` returns; it is done again while a server is away, for `patience` seconds.

    `action` is one transaction, and does nothing if it is committed already: where the connection
    breaks in the commit, nobody knows whether it was.

    Raises:
        StoreAway: if it stays away.
        LambdaSearchError: with a next step, for what does not pass.
    """
    began, pause = time.monotonic(), _FIRST_PAUSE
    while True:
        try:
            with explain(engine):
                return action()
        except LambdaSearchError as error:
            if not _may_pass(engine, error.__cause__):
                raise
            if time.monotonic() - began + pause > patience:
                hint = _GO_ON if patience else error.hint
                raise StoreAway(error.cause, hint) from error.__cause__
        time.sleep(pause)
        pause = min(2 * pause, _LONGEST_PAUSE)


def _may_pass(engine: Engine, error: BaseException | None) -> bool:
    """Whether the error says that a server is away: it restarts, or the network is broken."""
    if isinstance(error, NoConnection):
        return True
    if engine.dialect.name != "postgresql" or not isinstance(error, DBAPIError):
        return False
    state = getattr(error.orig, "sqlstate", None) or ""
    refused = state.startswith(("28", "3D", "53100"))  # password, no such database, disk full
    return (error.connection_invalidated or isinstance(error, OperationalError)) and not refused


def _version(engine: Engine) -> str | None:
    with engine.connect() as connection:
        if not inspect(connection).has_table(VERSION_TABLE):
            return None
        return connection.execute(text(f"SELECT version_num FROM {VERSION_TABLE}")).scalar()


def _configure_sqlite(connection: Any, _record: object) -> None:
    connection.isolation_level = None  # transactions begin in _begin_sqlite, not in the driver
    cursor = connection.cursor()
    cursor.execute(f"PRAGMA busy_timeout = {_BUSY_SECONDS * 1000}")
    _write_ahead(cursor)
    cursor.execute("PRAGMA synchronous = NORMAL")
    cursor.execute("PRAGMA foreign_keys = ON")
    cursor.close()


def _write_ahead(cursor: Any) -> None:
    """Has the file keep a write-ahead log, once for all.

    SQLite does not wait where another connection does the same, or writes meanwhile.
    """
    deadline = time.monotonic() + _BUSY_SECONDS
    while True:
        try:
            cursor.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > deadline:
                raise
        time.sleep(_FIRST_PAUSE)


def _begin_sqlite(connection: Connection) -> None:
    immediate = connection.get_execution_options().get("writing", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if immediate else "BEGIN")
