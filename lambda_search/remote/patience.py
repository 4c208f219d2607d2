"""Who waits for long asks a service that is away for a short while again, and says so once."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from lambda_search.remote.connection import ServiceAway
from lambda_search.remote.service import Service

__all__ = ["PatientService"]

_PAUSE_SECONDS = 2.0
_AWAY_SECONDS = 600.0
"""A restart of the service, or of its database, takes less."""


class PatientService(Service):
    """A service that is asked again while it is away, if it ever answered.

    Arguments:
        address: of the service.
        tell: is told, once, that it is away.
    """

    def __init__(self, address: str, tell: Callable[[str], None]) -> None:
        super().__init__(address)
        self._tell = tell
        self._answered = self._told = False

    def json(self, *asked: Any, **more: Any) -> dict[str, Any]:
        until = time.monotonic() + _AWAY_SECONDS
        while True:
            try:
                found = super().json(*asked, **more)
            except ServiceAway as error:
                if not self._answered or time.monotonic() > until:
                    raise
                if not self._told:
                    minutes = f"{_AWAY_SECONDS / 60:g} minutes"
                    self._tell(f"{error.cause} It is asked again, for {minutes} at most.")
                self._told = True
                time.sleep(_PAUSE_SECONDS)
            else:
                self._answered = True
                return found
