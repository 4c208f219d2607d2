"""The store that a service stands on: opened when it is first asked for, and anew when it is gone.

A server that is away must not keep the service from starting, nor end it.
"""

from __future__ import annotations

import threading
import time

from lambda_search.errors import LambdaSearchError
from lambda_search.store.engine import StoreAway
from lambda_search.store.store import Store

__all__ = ["Stores"]

_REMEMBERED_SECONDS = 2.0


class Stores:
    """The store at `url`.

    Arguments:
        url: the store's; the default store unless given.
    """

    def __init__(self, url: str | None) -> None:
        self._url = url
        self._lock = threading.Lock()
        self._opened: Store | None = None
        self._failed: LambdaSearchError | None = None
        self._until = 0.0

    def __call__(self) -> Store:
        """The store.

        Of those who ask while it is known to be away, one in 2 s tries to reach it, which may take
        long; the others are told at once.

        Raises:
            StoreAway: if it cannot be opened now.
        """
        opened = self._opened
        if opened is not None:
            return opened
        failed = self._failed
        if failed is not None and time.monotonic() < self._until:
            raise _away(failed)
        if failed is None:
            with self._lock:
                return self._open()
        if not self._lock.acquire(blocking=False):
            raise _away(failed)
        try:
            return self._open()
        finally:
            self._lock.release()

    def sure(self) -> Store:
        """The store, as `self()`, looked at: anew if its file was removed or replaced."""
        opened = self()
        if opened.is_there:
            return opened
        self._drop(opened)
        return self()

    def forget(self) -> None:
        """Has it opened anew if its file was removed or replaced; takes as long as to reach it."""
        opened = self._opened
        if opened is not None and not opened.is_there:
            self._drop(opened)

    def close(self) -> None:
        """Closes it."""
        opened = self._opened
        if opened is not None:
            self._drop(opened)

    def _open(self) -> Store:
        if self._opened is not None:
            return self._opened
        if self._failed is not None and time.monotonic() < self._until:
            raise _away(self._failed)  # another has tried while this one waited
        try:
            self._opened = Store(self._url)
        except LambdaSearchError as error:
            self._until = time.monotonic() + _REMEMBERED_SECONDS
            self._failed = error
            raise _away(error) from error
        self._failed = None
        return self._opened

    def _drop(self, opened: Store) -> None:
        with self._lock:
            if self._opened is opened:
                self._opened = None
                opened.close()


def _away(error: LambdaSearchError) -> StoreAway:
    return StoreAway(error.cause, error.hint)
