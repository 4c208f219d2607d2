"""Transactions on the database of a store."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Self
from typing import TypeVar

from sqlalchemy.orm import Session

from lambda_search.paths import store_url
from lambda_search.store.address import shown
from lambda_search.store.connections import anew
from lambda_search.store.connections import living
from lambda_search.store.engine import open_engine
from lambda_search.store.engine import patiently
from lambda_search.store.engine import reading
from lambda_search.store.engine import still_there
from lambda_search.store.engine import writing
from lambda_search.store.leases import Lease

__all__ = ["Transactions"]

T = TypeVar("T")


class Transactions:
    """The database at `url`, read and written in whole transactions.

    A write that finds itself done already changes nothing, so that it can be tried again when a
    server was away.

    Arguments:
        url: SQLAlchemy URL; the default store unless given.
        patience: seconds for which a server may be away in the middle of work.

    Raises:
        LambdaSearchError: if it cannot be opened; every method, if it fails later.
    """

    def __init__(self, url: str | None = None, patience: float = 0.0) -> None:
        self.url = store_url(url)
        self._patience = patience
        self._engine = open_engine(self.url)
        self._reading = reading(self._engine)
        self._session: Session | None = None
        self._is_writing = False

    def check_writable(self) -> None:
        """Raises LambdaSearchError if it is known, without trying, that nothing can be written."""
        writing(self._engine)

    @property
    def address(self) -> str:
        """The URL without its password, for people."""
        return shown(self._engine.url)

    def impatient(self) -> Self:
        """The same store for who is about to leave: it is not waited for."""
        hurried = copy.copy(self)
        hurried._patience = 0.0
        return hurried

    def close(self) -> None:
        """Closes all connections."""
        self._engine.dispose()

    def read(self, query: Callable[[Session], T]) -> T:
        """What `query` finds; it is asked again where a server had dropped the connection."""
        if self._session is not None:
            return query(self._session)

        def once() -> T:
            with Session(self._reading, expire_on_commit=False) as session:
                return query(session)

        return patiently(self._engine, self._patience, lambda: anew(once))

    def together(self, question: Callable[[Self], T]) -> T:
        """What `question` makes of this store, all that it reads of it in one go.

        A file is in one state then; on a server it has one connection.
        """

        def ask(session: Session) -> T:
            same = copy.copy(self)
            same._session = session
            return question(same)

        return self.read(ask)

    def at_once(self, changes: Callable[[Self], T]) -> T:
        """What `changes` makes of this store, all that it writes committed together."""

        def change(session: Session) -> T:
            same = copy.copy(self)
            same._session, same._is_writing = session, True
            return changes(same)

        return self.write(change)

    def write(self, change: Callable[[Session], T], lease: Lease | None = None) -> T:
        """What `change` returns, once it is committed; under `lease` if one is given."""

        def guarded(session: Session) -> T:
            if lease is not None:
                lease.guard(session)
            changed = change(session)
            session.flush()
            return changed

        def once() -> T:
            with (
                living(writing(self._engine)) as connection,
                Session(connection, expire_on_commit=False) as session,
                session.begin(),
            ):
                changed = guarded(session)
            still_there(self._engine)
            return changed

        if self._session is not None and self._is_writing:
            return guarded(self._session)

        return patiently(self._engine, self._patience, once)
