"""A whole store is copied to another database: all its tables, ids and moments as they are.

It is read in one state, whatever is written to it meanwhile, and never changed: tables of an older
release are not brought up to date for it. The copy is one transaction. Who drives a study goes on
in the store that it opened; in the copy its lease ends like that of a driver that died.
"""

from __future__ import annotations

import os
import sqlite3
import tempfile
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

from sqlalchemy import Connection
from sqlalchemy import Engine
from sqlalchemy import Table
from sqlalchemy import delete
from sqlalchemy import func
from sqlalchemy import insert
from sqlalchemy import select
from sqlalchemy import text

from lambda_search.errors import UsageError
from lambda_search.files import saving
from lambda_search.paths import store_url
from lambda_search.shell import command
from lambda_search.store.address import Address
from lambda_search.store.condition import Condition
from lambda_search.store.condition import condition
from lambda_search.store.engine import HEAD
from lambda_search.store.engine import connected
from lambda_search.store.engine import explain
from lambda_search.store.engine import one_at_a_time
from lambda_search.store.engine import open_engine
from lambda_search.store.engine import writing
from lambda_search.store.tables import Base
from lambda_search.store.tables import ScheduleRow
from lambda_search.store.tables import StudyRow

__all__ = ["backup", "copy"]

_ROWS = 1000
"""That are held at a time."""

_TABLES = Base.metadata.sorted_tables


def copy(source: str, target: str) -> dict[str, int]:
    """Copies the store at `source` to the database at `target`.

    Arguments:
        source, target: URLs. The target may hold no studies, nor rows other than the catalogue's,
            which are replaced by the source's.

    Returns:
        The number of rows by table.

    Raises:
        UsageError: if there is no store at `source`, it is of another release, both are the same,
            or the target holds something already.
        LambdaSearchError: if one of them cannot be opened or fails; the target has nothing then.
    """
    if _is_same(Address.of(source), Address.of(target)):
        raise UsageError(
            "Both addresses name the same store.", "Name another database to copy it to."
        )
    was = _there(source)
    if not was.is_current:
        upgrading = command("db", "upgrade", "--store", was.address)
        raise UsageError(
            f"The tables at {was.address} are of schema {was.schema}; {HEAD} is what is copied.",
            "Update lambda_search." if was.is_newer else f"Bring them up to date: {upgrading}",
        )
    there = connected(source)
    try:
        here = open_engine(target)
        try:
            with (
                explain(there),
                _in_one_state(there).connect() as reader,
                explain(here),
                writing(here).begin() as writer,
            ):
                one_at_a_time(writer)
                _check_empty(writer, target)
                return _copied(reader, writer)
        finally:
            here.dispose()
    finally:
        there.dispose()


def backup(source: str, file: Path) -> Mapping[str, int]:
    """Copies the store at `source` to a new SQLite file.

    One that lies in a file is copied page by page, of whatever release it is (SQLite's online
    backup); of a server's all rows are, as `copy` does it.

    Arguments:
        source: its URL.
        file: is there whole or not at all, for its user alone.

    Returns:
        The number of rows by table.

    Raises:
        UsageError: if there is no store at `source`, or there is such a file.
        LambdaSearchError: as `copy`.
    """
    if file.exists():
        raise UsageError(f"{file} is there already.", "Name a new file, or move that one away.")
    _there(source)
    with (
        saving(file, "Choose another place for it."),
        tempfile.TemporaryDirectory(dir=file.parent, prefix=f"{file.name}.") as folder,
    ):
        made = Path(folder) / "store.db"
        url = store_url(str(made))
        if Address.of(source).file is None:
            copy(source, url)
        else:
            made.touch(mode=0o600)
            _copy_pages(source, made)
        counts = condition(url).rows
        os.replace(made, file)  # its log is part of it since the last connection was closed
    return counts


def _copy_pages(source: str, made: Path) -> None:
    there = connected(source)
    try:
        with explain(there), there.connect() as reader, closing(sqlite3.connect(made)) as writer:
            driver: Any = reader.connection.driver_connection
            driver.backup(writer)
    finally:
        there.dispose()


def _there(source: str) -> Condition:
    """The condition of the store at `source`.

    Raises:
        UsageError: if there is none.
    """
    found = condition(source)
    if found.schema is None:
        raise UsageError(
            f"There are no tables of lambda_search at {found.address}.",
            "Name the store that is to be copied first.",
        )
    return found


def _is_same(one: Address, other: Address) -> bool:
    if one.file is None or other.file is None:
        return one.url == other.url
    if one.file.exists() and other.file.exists():
        return one.file.samefile(other.file)
    return one.file == other.file


def _in_one_state(engine: Engine) -> Engine:
    """`engine` with transactions that see one state from their first statement on, as a file's."""
    if engine.dialect.name == "sqlite":
        return engine
    return engine.execution_options(isolation_level="REPEATABLE READ")


def _check_empty(writer: Connection, target: str) -> None:
    """Raises UsageError if there is more than the catalogue."""
    studies = writer.scalar(select(func.count()).select_from(StudyRow))
    measured = select(func.count()).where(ScheduleRow.status != "published")
    rows = writer.scalar(measured.select_from(ScheduleRow))
    if studies or rows:
        raise UsageError(
            f"The store {Address.of(target)} holds {studies:,} studies and {rows:,} rows that "
            "were measured.",
            "Copy to an empty database; rows alone go into any store, by export and db import.",
        )


def _copied(reader: Connection, writer: Connection) -> dict[str, int]:
    for table in reversed(_TABLES):
        writer.execute(delete(table))
    return {table.name: _copy_table(table, reader, writer) for table in _TABLES}


def _copy_table(table: Table, reader: Connection, writer: Connection) -> int:
    count, order = 0, table.primary_key.columns.values()
    for part in reader.execute(select(table).order_by(*order)).mappings().partitions(_ROWS):
        writer.execute(insert(table), [dict(row) for row in part])
        count += len(part)
    if writer.dialect.name == "postgresql" and count:
        _go_on_counting(table, writer)
    return count


def _go_on_counting(table: Table, writer: Connection) -> None:
    """The next id that PostgreSQL gives is one that no row has."""
    for column in table.primary_key.columns:
        sequence = writer.scalar(
            text("SELECT pg_get_serial_sequence(:table, :column)"),
            {"table": table.name, "column": column.name},
        )
        if sequence is not None:
            highest = writer.scalar(select(func.max(column)))
            writer.execute(
                text("SELECT setval(CAST(:sequence AS regclass), :highest)"),
                {"sequence": sequence, "highest": highest},
            )
