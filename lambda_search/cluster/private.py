"""A cluster of one's own on this machine, which nobody else can reach.

Ray listens on all of a host's addresses, writes its token where others may read it, and lays its
sockets into a folder whose path may be too long for them; and it takes settings from the
environment, where those of a surrounding Ray job name that job's cluster and files. A private
cluster listens on loopback alone, and has a token, a folder and settings of its own. What of Ray
nobody would ask there is not started: that is half of the processor time of Ray's start.
"""

from __future__ import annotations

import os
import secrets
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ray import _raylet
from ray._private import node
from ray._private import ray_constants

from lambda_search.errors import UsageError

__all__ = ["ADDRESS", "private_cluster"]

ADDRESS = "127.0.0.1"
"""Where it listens: Ray binds its ports to loopback for this very address."""

_RAYLET: Any = _raylet
_CONSTANTS: Any = ray_constants
_NODE: Any = node.Node

_SPARED = ("start_api_server", "start_log_monitor", "start_monitor")
"""Steps of Ray's start that serve a dashboard, the showing of workers' logs in the driver, and an
autoscaler: here there is none of them. `ray.init` has no word for the last two, and waits for the
first although it is told not to include a dashboard (Ray 2.60, node.py)."""

_TUNING = (
    "RAY_BACKEND_LOG_LEVEL",
    "RAY_OBJECT_STORE_ALLOW_SLOW_STORAGE",
    "RAY_memory_monitor_refresh_ms",
    "RAY_memory_usage_threshold",
)
"""Settings of the environment that are about this machine, not about some cluster."""

_LONGEST_SOCKET = 103 if sys.platform == "darwin" else 107
_SOCKET = "/ls-12345678/r/session_2026-01-01_00-00-00_123456_1234567/sockets/plasma_store.1"


@contextmanager
def private_cluster() -> Iterator[Path]:
    """The folder for a cluster that is started in the block; it goes with what Ray leaves there.

    Ray opens that folder to all, so it lies in one that nobody else may enter.

    Raises:
        UsageError: if no folder can be made whose path is short enough for sockets.
    """
    folder = _folder()
    token = folder / "token"
    token.touch(mode=0o600)
    token.write_text(secrets.token_hex(32))
    before = {name: value for name, value in os.environ.items() if name.startswith("RAY_")}
    listens = _CONSTANTS.ENABLE_RAY_CLUSTER
    steps = {name: getattr(_NODE, name) for name in _SPARED}
    try:
        for name in before.keys() - set(_TUNING):
            del os.environ[name]
        os.environ |= {
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN_PATH": str(token),
            "RAY_USAGE_STATS_ENABLED": "0",
            # Ray's word for a cluster that no other host can join, on any system
            ray_constants.ENABLE_RAY_CLUSTERS_ENV_VAR: "0",
        }
        _CONSTANTS.ENABLE_RAY_CLUSTER = False
        for name in steps:
            setattr(_NODE, name, _not_here)
        _look_again()
        yield folder / "r"
    finally:
        for name in [name for name in os.environ if name.startswith("RAY_")]:
            del os.environ[name]
        os.environ |= before
        _CONSTANTS.ENABLE_RAY_CLUSTER = listens
        for name, step in steps.items():
            setattr(_NODE, name, step)
        _look_again()
        shutil.rmtree(folder, ignore_errors=True)


def _not_here(node: Any, **options: Any) -> None:
    """A step of Ray's start that is left out."""


def _look_again() -> None:
    """Has Ray read its settings and its token anew."""
    _RAYLET.Config.initialize("")
    _RAYLET.AuthenticationTokenLoader.instance().reset_cache()


def _folder() -> Path:
    """A new folder, mode 0700, in the first place that is short enough for sockets' paths."""
    named = os.environ.get("RAY_TMPDIR")
    places = [named] if named else [tempfile.gettempdir(), "/tmp", "/var/tmp", "/dev/shm"]
    for place in places:
        if len(os.fsencode(place)) + len(_SOCKET) <= _LONGEST_SOCKET:
            try:
                return Path(tempfile.mkdtemp(prefix="ls-", dir=place))
            except OSError:
                continue
    raise UsageError(
        f"No folder for Ray's sockets can be made in {' or '.join(places)}: they cannot be "
        f"written, or their paths are longer than {_LONGEST_SOCKET - len(_SOCKET)} bytes.",
        "Name a short one that can be written with RAY_TMPDIR, like RAY_TMPDIR=/tmp.",
    )
