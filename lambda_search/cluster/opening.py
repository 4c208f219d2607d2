"""A pool of workers that starts while studies are being read.

Ray's start, the workers' imports and their load of the model take about as long as the driver's
own imports and its load of the same model, and neither waits for the other's outcome. Nothing
heavy is imported here before a pool is asked for; then Ray comes first, because its processes
start by themselves while torch is imported.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from contextlib import suppress
from threading import Event
from threading import Thread
from typing import TYPE_CHECKING

from lambda_search.errors import Interrupted
from lambda_search.spec import StudySpec
from lambda_search.work.halting import Halt

if TYPE_CHECKING:
    from lambda_search.cluster.pool import RayPool

__all__ = ["Opening", "worker_pool"]


@contextmanager
def worker_pool(
    workers: int | None,
    address: str | None,
    gpus: float | None,
    first: StudySpec | None = None,
    halt: Halt | None = None,
) -> Iterator[RayPool]:
    """A pool on Ray that is closed whatever happens.

    Arguments:
        workers, address, gpus, halt: as `RayPool` takes them.
        first: the study that workers may get ready for, with its files' places.
    """
    from lambda_search.cluster.connection import joined

    halt = halt or Halt()
    leave = joined(workers, address)
    try:
        halt.check()  # before torch is loaded for nothing
        from lambda_search.cluster.pool import RayPool

        pool = RayPool(workers, address, gpus, first=first, halt=halt)
        try:
            yield pool
        finally:
            pool.close()
    finally:
        leave()


class Opening:
    """A pool that is opened on a thread of its own, and closed with the block that this is for.

    Arguments:
        workers, address, gpus: as `RayPool` takes them.
    """

    def __init__(self, workers: int | None, address: str | None, gpus: float | None) -> None:
        self._options = (workers, address, gpus)
        self._found: Future[RayPool] = Future()
        self._closed = Event()
        self._ended = Event()
        self._halt = Halt()
        self._thread: Thread | None = None

    def begin(self, first: StudySpec | None = None) -> None:
        """Begins to open it, unless that was done; `first` as in `worker_pool`."""
        if self._thread is None:
            self._thread = Thread(target=self._run, args=(first,), name="opening", daemon=True)
            self._thread.start()

    def pool(self) -> RayPool:
        """The pool, when it is there; raises what its start raised."""
        self.begin()
        return self._found.result()

    def __enter__(self) -> Opening:
        return self

    def __exit__(self, *_: object) -> None:
        """Closes the pool; its workers are not waited for where they are not up yet.

        The start of Ray itself cannot be left half-way: its processes would stay. So whoever is
        impatient meanwhile, with a second Ctrl-C, is not heeded.
        """
        if self._thread is None:
            return
        self._halt.halt(Interrupted("The workers were stopped."))
        self._closed.set()
        while not self._ended.is_set():
            with suppress(KeyboardInterrupt):
                self._ended.wait()

    def _run(self, first: StudySpec | None) -> None:
        try:
            with worker_pool(*self._options, first, self._halt) as pool:
                self._found.set_result(pool)
                self._closed.wait()
        except BaseException as error:
            if not self._found.done():
                self._found.set_exception(error)
        finally:
            self._ended.set()
