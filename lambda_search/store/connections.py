"""Connections that lie in the pool, and that a server may have dropped meanwhile.

To ask first whether one is alive is a journey to the server, about as long as a read. So what only
reads goes on without, and is done anew if its connection was dropped; what writes asks first.
"""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TypeVar

from sqlalchemy import Connection
from sqlalchemy import Engine
from sqlalchemy.exc import DBAPIError

__all__ = ["anew", "living"]

T = TypeVar("T")


def anew(read: Callable[[], T]) -> T:
    """What `read` finds; it is asked once more, at once, where its connection was dropped.

    The pool then hands out none of those any more that are as old.
    """
    try:
        return read()
    except DBAPIError as error:
        if not error.connection_invalidated:
            raise
    return read()


@contextmanager
def living(engine: Engine) -> Iterator[Connection]:
    """A connection that answers, for what writes."""
    with engine.connect() as connection:
        if engine.dialect.name != "sqlite":
            raw = connection.connection.dbapi_connection
            assert raw is not None
            try:
                engine.dialect.do_ping(raw)
            except engine.dialect.loaded_dbapi.Error:
                engine.dispose()  # what lay beside it is as old
                connection.invalidate()  # the next statement has a new one
        yield connection
