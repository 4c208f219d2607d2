"""Opening a store for commands that only look, or asking a service instead."""

from __future__ import annotations

from lambda_search.cli.console import err
from lambda_search.remote import Service
from lambda_search.remote import service_at
from lambda_search.store.store import Store

__all__ = ["ask", "look"]


def ask(url: str | None) -> Store | Service:
    """The service at `url`, or the store."""
    return service_at(url) or look(url)


def look(url: str | None) -> Store:
    """The store at `url`; where there is none yet this is said, and none is made."""
    opened = Store.look(url)
    if opened.missing is not None:
        err.print(f"There is no store at {opened.missing} yet.")
    return opened
