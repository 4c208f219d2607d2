"""Stores that are looked into again and again: opened once a process, their files left alone.

A file is closed after each look, so that nothing of it stays in use; what was found about it, its
schema and its catalogue, is kept as long as it is the same file.
"""

from __future__ import annotations

import copy
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from lambda_search.paths import store_url
from lambda_search.remote import Service
from lambda_search.remote import no_store
from lambda_search.remote import service_at
from lambda_search.store.address import missing_file
from lambda_search.store.store import Store

__all__ = ["asking", "looking"]

_IN_MEMORY = "sqlite://"
_known: dict[tuple[int, str], Store] = {}
_lock = threading.Lock()


@contextmanager
def looking(store: Store | Service | str | None) -> Iterator[Store]:
    """A store, or the one at a URL, for who only reads.

    Where there is no file yet, none is made: it then lies in memory, with the published rows
    alone, and `missing` is the file.

    Raises:
        UsageError: if it is a service.
    """
    if isinstance(store, Store):
        yield store
        return
    if isinstance(store, Service):
        raise no_store()
    url = store_url(store)
    missing = missing_file(url)
    if missing is not None:
        opened = copy.copy(_opened(_IN_MEMORY))
        opened.missing = missing
        yield opened
        return
    opened = _opened(url)
    try:
        yield opened
    finally:
        if opened.is_file:
            opened.close()


@contextmanager
def asking(store: Store | str | None) -> Iterator[Store | Service]:
    """A store for who only reads, as `looking` has it, or the service at that address."""
    service = service_at(store)
    if service is not None:
        yield service
        return
    with looking(store) as opened:
        yield opened


def _opened(url: str) -> Store:
    key = os.getpid(), url  # connections are of one process
    with _lock:
        if key in _known and not _known[key].is_there:
            del _known[key]
        if key not in _known:
            _known[key] = Store(url)
        return _known[key]
