"""The store that a service stands on: opened when it is first asked for, and anew when it is gone.

A server that is away must not keep the service from starting, nor end it.
"""

from __future__ import annotations

import threading

from lambda_search.errors import LambdaSearchError
from lambda_search.store.engine import StoreAway
from lambda_search.store.store import Store

__all__ = ["Stores"]


class Stores:
    """The store at `url`.

    Arguments:
        url: the store's; the default store unless given.
    """

    def __init__(self, url: str | None) -> None:
        self._url = url
        self._lock = threading.Lock()
        self._opened: Store | None = None

    def __call__(self) -> Store:
        """The store.

        Raises:
            StoreAway: if it cannot be opened now.
        """
        with self._lock:
            if self._opened is None:
                try:
                    self._opened = Store(self._url)
                except LambdaSearchError as error:
                    raise StoreAway(error.cause, error.hint) from error
            return self._opened

    def forget(self) -> None:
        """Has it opened anew: its file was removed or replaced."""
        with self._lock:
            if self._opened is not None and not self._opened.is_there:
                self._opened.close()
                self._opened = None

    def close(self) -> None:
        """Closes it."""
        with self._lock:
            if self._opened is not None:
                self._opened.close()
                self._opened = None
