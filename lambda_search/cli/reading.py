"""Opening a store for commands that only look."""

from __future__ import annotations

from lambda_search.cli.console import err
from lambda_search.store.store import Store

__all__ = ["look"]


def look(url: str | None) -> Store:
    """The store at `url`; where there is none yet this is said, and none is made."""
    opened = Store.look(url)
    if opened.missing is not None:
        err.print(f"There is no store at {opened.missing} yet.")
    return opened
