"""Other ends of a command than Ctrl-C: a signal, and the end of who started it."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["end_with", "terminable"]


@contextmanager
def terminable() -> Iterator[None]:
    """SIGTERM, as service managers send it, ends the work like Ctrl-C: studies are given back."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def end_with(process: int) -> None:
    """Has SIGTERM end this process when its parent `process` is gone, however that ended."""
    threading.Thread(target=_end_after, args=(process,), daemon=True).start()


def _end_after(process: int) -> None:
    while os.getppid() == process:
        time.sleep(1)
    os.kill(os.getpid(), signal.SIGTERM)
