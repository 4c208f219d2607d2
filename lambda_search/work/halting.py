"""Waiting for workers, until somebody says that it is enough."""

from __future__ import annotations

from concurrent.futures import FIRST_COMPLETED
from concurrent.futures import Future
from concurrent.futures import InvalidStateError
from concurrent.futures import wait
from contextlib import suppress
from typing import Any
from typing import TypeVar

__all__ = ["Halt"]

T = TypeVar("T")


class Halt:
    """Ends all waiting of one study at once, from another thread."""

    def __init__(self) -> None:
        self._reason: Future[Any] = Future()

    def halt(self, error: Exception) -> None:
        """From now on all who wait raise `error`; the first reason counts."""
        with suppress(InvalidStateError):
            self._reason.set_exception(error)

    @property
    def reason(self) -> Exception | None:
        """Why it was ended; None unless it was."""
        found = self._reason.exception() if self._reason.done() else None
        return found if isinstance(found, Exception) else None

    def check(self) -> None:
        """Raises the reason, if there is one."""
        if self._reason.done():
            self._reason.result()

    def result(self, future: Future[T]) -> T:
        """The result of `future`, or the reason to wait no longer."""
        if not future.done():
            both: set[Future[Any]] = {future, self._reason}
            wait(both, return_when=FIRST_COMPLETED)
        self.check()
        return future.result()
