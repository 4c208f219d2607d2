"""Whether the head node of the cluster still answers.

Ray waits a minute for a head that is gone, and then ends the process from within, with no word to
Python. So the driver knocks at the head's door itself, and gives up well before: what it says, and
the leases that it gives back, are its own.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from contextlib import suppress

from lambda_search.cluster.connection import knock
from lambda_search.errors import PoolLost

__all__ = ["Head"]

_RAYS_PATIENCE = "RAY_gcs_rpc_server_reconnect_timeout_s"
"""Ray's own variable: after so many seconds without a head it ends the process, 60 unless set."""
_SHARE = 3.0
"""What part of that is waited; the rest is for giving studies back and leaving."""
_KNOCK_SECONDS = 2.0


def _patience() -> float:
    """The seconds that a head may be away, for a restart of its own."""
    with suppress(ValueError):
        return float(os.environ.get(_RAYS_PATIENCE, "")) / _SHARE
    return 60.0 / _SHARE


class Head:
    """Knocks at the head's door until it is closed or lost, on a thread of its own.

    Arguments:
        address: where it listens, HOST:PORT.
        tell: is called once, on that thread, with what is to be said when it is lost.
    """

    def __init__(self, address: str, tell: Callable[[PoolLost], None]) -> None:
        self._address = address
        self._tell = tell
        self._closed = threading.Event()
        threading.Thread(target=self._run, name="head", daemon=True).start()

    def close(self) -> None:
        """Ends the knocking."""
        self._closed.set()

    def _run(self) -> None:
        patience, since = _patience(), None
        while not self._closed.wait(_KNOCK_SECONDS):
            try:
                knock(self._address)
            except OSError:
                now = time.monotonic()
                since = now if since is None else since
                if now - since >= patience:
                    self._tell(_lost(self._address, now - since))
                    return
            else:
                since = None


def _lost(address: str, seconds: float) -> PoolLost:
    return PoolLost(
        f"The head node of the Ray cluster is lost: nobody has answered at {address} for "
        f"{seconds:.0f} s.",
        "Nothing that was computed is lost: the same command goes on, on a new cluster.",
    )
