"""Connections that ask nothing are closed, so that nobody can hold all of them.

And what is answered leaves at once: a head and its body are two small packets, and TCP holds the
second back until the first is acknowledged, some 40 ms. asyncio forbids that for sockets that name
their protocol alone, which uvicorn's do not.
"""

from __future__ import annotations

import asyncio
import socket
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
    _last: object = None
    """The request that was the last one at the last look."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        connected = transport.get_extra_info("socket")
        if connected is not None and connected.family in (socket.AF_INET, socket.AF_INET6):
            connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
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
        elif self._waits_since is None or self.cycle is not self._last:
            self._waits_since = now
        elif now - self._waits_since > HEAD_SECONDS:
            self.transport.close()
            return
        self._last = self.cycle
        self._look = self.loop.call_later(LOOK_SECONDS, self._look_again)
