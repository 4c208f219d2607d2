"""Running a service: its server, its driver if it has one beside it, and how they end.

On SIGTERM or Ctrl-C open streams end first, then what is under way, then the driver, which
gives its studies back.
"""

from __future__ import annotations

import ctypes
import logging
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from collections.abc import Sequence
from contextlib import suppress
from types import FrameType

import uvicorn
from fastapi import FastAPI

from lambda_search.errors import UsageError
from lambda_search.paths import store_url
from lambda_search.service.connections import Connection
from lambda_search.service.context import Context
from lambda_search.service.settings import Settings
from lambda_search.service.watch import log_to_stderr
from lambda_search.shell import speak_to_others

__all__ = ["Driver", "give_memory_back", "run"]

_GRACE_SECONDS = 20
_DRIVER_GRACE_SECONDS = 60.0
_FIRST_PAUSE, _LONGEST_PAUSE = 2.0, 60.0
_STEADY_SECONDS = 120.0
_MOST_CONNECTIONS = 1000
_HEAPS = {-8: 2, -3: 128 * 1024, -1: 1024 * 1024}
"""mallopt(3): M_ARENA_MAX, M_MMAP_THRESHOLD and M_TRIM_THRESHOLD."""
_TRIM_SECONDS = 60.0
_log = logging.getLogger("lambda_search.service")


def run(app: FastAPI, settings: Settings, started: Callable[[], None]) -> None:
    """Serves `app` until it is told to stop.

    Arguments:
        app: of `create_app`.
        settings: the same.
        started: is called when it listens.

    Raises:
        UsageError: if the address cannot be used.
    """
    log_to_stderr(settings.log_json)
    speak_to_others()
    give_memory_back()
    config = uvicorn.Config(
        app,
        host=settings.host,
        port=settings.port,
        log_config=None,
        access_log=False,
        server_header=False,
        date_header=True,
        limit_concurrency=_MOST_CONNECTIONS,
        timeout_graceful_shutdown=_GRACE_SECONDS,
        http=Connection,
        ws="none",
    )
    try:
        listening = config.bind_socket()
    except SystemExit:
        raise UsageError(
            f"{settings.host}:{settings.port} cannot be used.",
            "Choose another --host or --port.",
        ) from None
    server, ending = _Server(config, app.state.context, started), threading.Event()
    threading.Thread(target=_trim, args=(ending,), name="trim", daemon=True).start()
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with listening, suppress(KeyboardInterrupt):  # which uvicorn repeats when it has ended
            server.run(sockets=[listening])
    finally:
        ending.set()
        signal.signal(signal.SIGTERM, before)


def give_memory_back() -> None:
    """Has glibc return what pages took for a moment.

    By itself it has a heap for each thread, and raises these thresholds as it goes.
    """
    with suppress(OSError, AttributeError):  # another system's library
        allocator = ctypes.CDLL(None)
        for parameter, value in _HEAPS.items():
            allocator.mallopt(parameter, value)


def _trim(ending: threading.Event) -> None:
    """Has glibc return what lies free inside of its heaps, now and then."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    while trim is not None and not ending.wait(_TRIM_SECONDS):
        trim(0)


class _Server(uvicorn.Server):
    """uvicorn's, which tells the service that it is about to end, so that its streams do."""

    def __init__(
        self, config: uvicorn.Config, service: Context, started: Callable[[], None]
    ) -> None:
        super().__init__(config)
        self._service, self._started = service, started

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            self._started()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        self._service.stopping.set()
        super().handle_exit(sig, frame)


class Driver:
    """A `drive` process beside the service; it is started again, more and more slowly, if it ends.

    Arguments:
        store, features: the store's URL, and where features are kept. They go to the process in
            its environment, not in its command line, which others can read.
        options: of `drive`.
    """

    def __init__(
        self, store: str | None, options: Sequence[str], features: str | None = None
    ) -> None:
        beside = ["--beside", str(os.getpid())]
        self._command = [sys.executable, "-m", "lambda_search", "drive", *options, *beside]
        self._environment = {**os.environ, "LAMBDA_SEARCH_STORE": store_url(store)}
        if features is not None:
            self._environment["LAMBDA_SEARCH_FEATURES"] = features
        self._environment.pop("LAMBDA_SEARCH_TOKEN", None)
        self._ending = threading.Event()
        self._process: subprocess.Popen[bytes] | None = None
        self._thread = threading.Thread(target=self._keep, name="driver", daemon=True)

    def __enter__(self) -> Driver:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Ends it; it gives its studies back."""
        self._ending.set()
        self._thread.join(_DRIVER_GRACE_SECONDS)
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait()

    def _keep(self) -> None:
        pause = _FIRST_PAUSE
        while not self._ending.is_set():
            began = time.monotonic()
            self._process = subprocess.Popen(
                self._command,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                start_new_session=True,  # Ctrl-C is for the service, which then ends it
            )
            while self._process.poll() is None and not self._ending.wait(0.2):
                pass
            if self._ending.is_set():
                break
            if time.monotonic() - began > _STEADY_SECONDS:
                pause = _FIRST_PAUSE
            _log.error(
                "the driver ended with %s; it is started again in %.0f s",
                self._process.returncode,
                pause,
            )
            self._ending.wait(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
            self._process.wait()
