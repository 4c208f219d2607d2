"""The condition of a store: what database it is, of which schema, and what it holds.

Nothing is made or changed by looking.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from sqlalchemy import func
from sqlalchemy import inspect
from sqlalchemy import select

from lambda_search.paths import store_url
from lambda_search.store.address import Address
from lambda_search.store.address import missing_file
from lambda_search.store.engine import HEAD
from lambda_search.store.engine import connected
from lambda_search.store.engine import explain
from lambda_search.store.engine import schema_of
from lambda_search.store.tables import Base

__all__ = ["Condition", "condition"]


@dataclass(frozen=True)
class Condition:
    """What a store is.

    Arguments:
        address: without its password.
        database: its kind and version; None where there is no file yet.
        schema: the migration that its tables are of; None without tables.
        rows: how many each table has that is there.
    """

    address: str
    database: str | None
    schema: str | None
    rows: Mapping[str, int]

    @property
    def is_current(self) -> bool:
        """Whether its tables are those that this release reads and writes."""
        return self.schema == HEAD

    @property
    def is_newer(self) -> bool:
        """Whether they are those of a release after this one."""
        return self.schema is not None and self.schema > HEAD


def condition(url: str | None = None) -> Condition:
    """Looks at the store at `url`, the default store unless given.

    Raises:
        UsageError: for an address that is of no use.
        LambdaSearchError: if the database cannot be reached.
    """
    address = Address.of(store_url(url))
    if missing_file(store_url(url)) is not None:
        return Condition(str(address), None, None, {})
    told = store_url(url)
    if address.file is not None and not address.url.query:
        told += "?mode=ro&uri=true"  # opened to be written, a file would be given a log
    engine = connected(told)
    try:
        schema = schema_of(engine)
        with explain(engine), engine.connect() as connection:
            there = set(inspect(connection).get_table_names())
            rows = {
                table.name: connection.scalar(select(func.count()).select_from(table)) or 0
                for table in Base.metadata.sorted_tables
                if table.name in there
            }
        version = ".".join(map(str, engine.dialect.server_version_info or ()))
        kind = "SQLite" if engine.dialect.name == "sqlite" else "PostgreSQL"
        return Condition(str(address), f"{kind} {version}", schema, rows)
    finally:
        engine.dispose()
