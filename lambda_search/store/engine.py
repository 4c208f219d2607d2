"""Opening the database: engine, schema, and errors that say what to do."""

from __future__ import annotations

import time
from collections.abc import Callable
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from typing import TypeVar

from sqlalchemy import Column
from sqlalchemy import Connection
from sqlalchemy import Engine
from sqlalchemy import MetaData
from sqlalchemy import PrimaryKeyConstraint
from sqlalchemy import String
from sqlalchemy import Table
from sqlalchemy import create_engine
from sqlalchemy import event
from sqlalchemy import insert
from sqlalchemy import inspect
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import OperationalError
from sqlalchemy.exc import TimeoutError as NoConnection

from lambda_search.errors import LambdaSearchError
from lambda_search.errors import UsageError
from lambda_search.store.address import Address
from lambda_search.store.address import shown
from lambda_search.store.sqlite import File
from lambda_search.store.sqlite import configure

__all__ = [
    "HEAD",
    "VERSION_TABLE",
    "StoreAway",
    "can_only_be_read",
    "connected",
    "explain",
    "is_file",
    "one_at_a_time",
    "open_engine",
    "patiently",
    "reading",
    "schema_of",
    "still_there",
    "upgrade",
    "writing",
]

HEAD = "0010"
"""The newest migration; a test holds it to the files."""

VERSION_TABLE = "ls_alembic_version"

T = TypeVar("T")
_FIRST_PAUSE, _LONGEST_PAUSE = 0.2, 5.0
_FILE = "lambda_search_file"
_GO_ON = "When it answers again, go on with the same command; nothing that was stored is lost."
_POOL = {"pool_use_lifo": True}
"""Few connections are at work, each with what it has cached."""
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
    """Connects to `url` and brings the schema up to date, unless it can only be read.

    Arguments:
        url: an SQLAlchemy URL, SQLite or PostgreSQL.

    Raises:
        UsageError: for a URL that is none, or names another kind of database.
        LambdaSearchError: if the database cannot be reached, or is of no use as it is.
    """
    engine = connected(url)
    version = schema_of(engine)
    if version is not None and version > HEAD:
        raise UsageError(
            f"The store {Address.of(url)} was made by a newer lambda_search (schema {version}).",
            "Update lambda_search, or name another store.",
        )
    if version != HEAD:
        if can_only_be_read(engine):
            holds = "no tables" if version is None else f"tables of an older one ({version})"
            raise UsageError(
                f"The store {Address.of(url)} can only be read, and holds {holds} of "
                "lambda_search.",
                "Copy it to where it can be written, and name the copy with --store.",
            )
        with explain(engine):
            upgrade(engine)
    return engine


def connected(url: str) -> Engine:
    """The database at `url` as it is; arguments and errors as in `open_engine`."""
    address = Address.of(url)
    options: dict[str, Any] = {}
    if address.file is not None:
        file = File(address.file, address.for_reading)
        options |= {"creator": file.connect, "execution_options": {_FILE: file}, **_POOL}
    elif address.url.get_backend_name() == "postgresql":
        options |= {"pool_size": 2, "max_overflow": 3, "connect_args": _CONNECTING, **_POOL}
    engine = create_engine(address.url, **options)
    if engine.dialect.name == "sqlite":
        for_reading = can_only_be_read(engine)
        event.listen(engine, "connect", lambda raw, _: configure(raw, for_reading))
        event.listen(engine, "begin", _begin_sqlite)
    return engine


def schema_of(engine: Engine) -> str | None:
    """The migration that its tables are of; None without any of ours."""
    with explain(engine), engine.connect() as connection:
        return _version(connection)


def can_only_be_read(engine: Engine) -> bool:
    """Whether it is a file that cannot be written, or whose address asks for that."""
    file: File | None = engine.get_execution_options().get(_FILE)
    return file is not None and file.for_reading


def is_file(engine: Engine) -> bool:
    """Whether it is a file that SQLite keeps."""
    return engine.get_execution_options().get(_FILE) is not None


def still_there(engine: Engine) -> None:
    """Raises LambdaSearchError if a store's file was removed or replaced since it was opened."""
    file: File | None = engine.get_execution_options().get(_FILE)
    if file is not None:
        file.check()


def upgrade(engine: Engine) -> None:
    """Makes the tables, or runs the migrations that are missing, one process at a time."""
    with writing(engine).connect() as connection, _tables_may_move(connection):
        with connection.begin():
            one_at_a_time(connection)
            if _version(connection) is None:
                _make(connection)
            else:
                _migrate(connection)


def _make(connection: Connection) -> None:
    """Today's tables in a database without ours: what all migrations would make of it."""
    from lambda_search.store.tables import Base  # they are not needed to open a store

    Base.metadata.create_all(connection, checkfirst=False)
    version = Table(
        VERSION_TABLE,
        MetaData(),
        Column("version_num", String(32), nullable=False),
        PrimaryKeyConstraint("version_num", name=f"{VERSION_TABLE}_pkc"),
    )
    version.create(connection)
    connection.execute(insert(version).values(version_num=HEAD))


def _migrate(connection: Connection) -> None:
    from alembic import command  # Alembic is slow to import and rarely needed
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", "lambda_search.store:migrations")
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
    """`engine` for transactions that write: SQLite then takes its write lock at their start.

    Raises:
        LambdaSearchError: if it can only be read.
    """
    if can_only_be_read(engine):
        raise LambdaSearchError(
            f"The store {shown(engine.url)} can only be read.",
            "Copy it to where it can be written, or name another with --store.",
        )
    return engine.execution_options(writing=True)


@contextmanager
def explain(engine: Engine) -> Iterator[None]:
    """Turns database errors into messages with a next step."""
    try:
        yield
    except (DBAPIError, NoConnection) as error:
        told = str(getattr(error, "orig", error)).strip()
        reason = next(iter(told.splitlines()), type(error).__name__).rstrip(".")
        address = shown(engine.url)
        if "full" in reason or "No space" in reason:
            hint = "Free some space and run it again; nothing that was stored is lost."
        else:
            hint = "Check --store (or LAMBDA_SEARCH_STORE), the server, and its permissions."
        raise LambdaSearchError(f"The store {address} failed: {reason}.", hint) from error
    except UnicodeEncodeError as error:
        raise LambdaSearchError(
            f"{error.object!r} is not valid Unicode, which no store takes.",
            "Rename the file or folder of that name, or use a UTF-8 locale.",
        ) from error


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


def reading(engine: Engine) -> Engine:
    """`engine` for what only reads.

    A server's statements see one state each even in a transaction (READ COMMITTED), so that its
    beginning and its end would only be two more journeys. A file's see one state together.
    """
    if engine.dialect.name == "sqlite":
        return engine
    return engine.execution_options(isolation_level="AUTOCOMMIT")


def _version(connection: Connection) -> str | None:
    if not inspect(connection).has_table(VERSION_TABLE):
        return None
    return connection.execute(text(f"SELECT version_num FROM {VERSION_TABLE}")).scalar()


def _begin_sqlite(connection: Connection) -> None:
    still_there(connection.engine)
    immediate = connection.get_execution_options().get("writing", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if immediate else "BEGIN")
