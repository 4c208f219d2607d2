"""Time, in UTC, and the database's own for leases."""

from __future__ import annotations

from datetime import UTC
from datetime import datetime

from sqlalchemy import Connection
from sqlalchemy import text

__all__ = ["aware", "database_seconds", "now"]

_SECONDS = {
    "sqlite": "SELECT (julianday('now') - 2440587.5) * 86400.0",
    "postgresql": "SELECT extract(epoch FROM clock_timestamp())::float8",
}


def now() -> datetime:
    """This moment, UTC."""
    return datetime.now(UTC)


def aware(value: datetime) -> datetime:
    """`value` in UTC; a time without a zone is taken as UTC."""
    return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


def database_seconds(connection: Connection) -> float:
    """The database server's clock, seconds since 1970."""
    return float(connection.execute(text(_SECONDS[connection.dialect.name])).scalar_one())
