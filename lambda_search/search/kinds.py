"""Which kind of device each study is on: one for all its images, and no kind left idle.

A study's digits belong to one kind, so it stays on that which it was begun on. A new one goes
where the most workers are for each study that is there already, itself included.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from dataclasses import field

from lambda_search.work.halting import Halt
from lambda_search.work.pool import Pool

__all__ = ["Kinds"]

_POLL_SECONDS = 0.1


@dataclass
class Kinds:
    """The kinds of the studies that a driver has under way.

    Arguments:
        patience: seconds that a study waits for workers that are starting, and may be of a kind
            that it would have to itself.
    """

    patience: float = 30.0
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _of: dict[int, str] = field(default_factory=dict)

    def take(self, study: int, begun: str | None, pool: Pool, halt: Halt) -> str:
        """The kind for a study, until it ends.

        Arguments:
            study: its id.
            begun: the kind that it is on, if it was begun before.
            pool: the workers.
            halt: ends the waiting.
        """
        until = time.monotonic() + self.patience
        while True:
            with self._lock:
                kind = begun or self._best(pool)
                waits = begun is None and kind in self._of.values() and pool.coming()
                if not waits or time.monotonic() >= until:
                    self._of[study] = kind
                    return kind
            halt.check()
            time.sleep(_POLL_SECONDS)

    def leave(self, study: int) -> None:
        """A study has ended here."""
        with self._lock:
            self._of.pop(study, None)

    def _best(self, pool: Pool) -> str:
        """The kind with the most workers for one study more; the main one among equals."""
        there, main = pool.kinds(), pool.device_kind
        studies = list(self._of.values())
        return max(
            there,
            key=lambda kind: (there[kind] / (1 + studies.count(kind)), kind == main),
            default=main,
        )
