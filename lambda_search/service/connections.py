"""Connections that ask nothing are closed, so that nobody can hold all of them."""

from __future__ import annotations

import asyncio
import time

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

__all__ = ["Connection"]

HEAD_SECONDS = 20.0
"""For which a request's head may take; between requests uvicorn waits 5 s."""
LOOK_SECONDS = 5.0


class Connection(H11Protocol):
    """uvicorn's, which waits for ever for the head of a request; this does not."""

    _waits_since: float | None = None
    _look: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._look_again()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._look is not None:
            self._look.cancel()
        super().connection_lost(exc)

    def _look_again(self) -> None:
        now = time.monotonic()
        answered = self.cycle is None or self.cycle.response_complete
        if not (answered and self.conn.their_state is h11.IDLE):
            self._waits_since = None
        elif self._waits_since is None:
            self._waits_since = now
        elif now - self._waits_since > HEAD_SECONDS:
            self.transport.close()
            return
        self._look = self.loop.call_later(LOOK_SECONDS, self._look_again)
