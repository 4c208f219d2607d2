"""Opening the database: engine, schema, and errors that say what to do."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

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

from lambda_search.errors import LambdaSearchError
from lambda_search.errors import UsageError

__all__ = [
    "HEAD",
    "VERSION_TABLE",
    "explain",
    "missing_file",
    "one_at_a_time",
    "open_engine",
    "upgrade",
    "writing",
]

HEAD = "0002"
"""The newest migration; a test holds it to the files."""

VERSION_TABLE = "ls_alembic_version"


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
            options["connect_args"] = {"timeout": 60}
            if parsed.database not in (None, "", ":memory:"):
                Path(str(parsed.database)).parent.mkdir(parents=True, exist_ok=True)
        else:
            options |= {"pool_size": 2, "max_overflow": 4, "connect_args": {"connect_timeout": 10}}
        engine = create_engine(parsed, **options)
    except (ArgumentError, NoSuchModuleError, ImportError) as error:
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
    database = make_url(url).database if url.startswith("sqlite") else None
    if not database or database == ":memory:" or Path(database).exists():
        return None
    return Path(database)


def upgrade(engine: Engine) -> None:
    """Runs the migrations that are missing, one process at a time."""
    from alembic import command  # Alembic is slow to import and rarely needed
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", "lambda_search.store:migrations")
    with writing(engine).begin() as connection:
        one_at_a_time(connection)
        config.attributes["connection"] = connection
        command.upgrade(config, "head")


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
    except DBAPIError as error:
        reason = str(error.orig).strip().splitlines()[0]
        address = engine.url.render_as_string(hide_password=True)
        if "full" in reason:
            hint = "Free some space and run it again; nothing that was stored is lost."
        else:
            hint = "Check --store (or LAMBDA_SEARCH_STORE), the server, and its permissions."
        raise LambdaSearchError(f"The store {address} failed: {reason}.", hint) from error


def _version(engine: Engine) -> str | None:
    with engine.connect() as connection:
        if not inspect(connection).has_table(VERSION_TABLE):
            return None
        return connection.execute(text(f"SELECT version_num FROM {VERSION_TABLE}")).scalar()


def _configure_sqlite(connection: Any, _record: object) -> None:
    connection.isolation_level = None  # transactions begin in _begin_sqlite, not in the driver
    cursor = connection.cursor()
    cursor.execute("PRAGMA busy_timeout = 60000")
    cursor.execute("PRAGMA journal_mode = WAL")
    cursor.execute("PRAGMA synchronous = NORMAL")
    cursor.execute("PRAGMA foreign_keys = ON")
    cursor.close()


def _begin_sqlite(connection: Connection) -> None:
    immediate = connection.get_execution_options().get("writing", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if immediate else "BEGIN")
