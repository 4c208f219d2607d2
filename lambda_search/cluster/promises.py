"""Tasks that somebody waits for: each is numbered for the dispatcher, and its future is kept.

Futures are settled on a thread that does nothing else, because their callbacks may take their
time.
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures import InvalidStateError
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any
from typing import TypeVar

from lambda_search.cluster.answers import Done
from lambda_search.cluster.answers import Raised
from lambda_search.cluster.messages import Submitted
from lambda_search.cluster.messages import Withdrawn
from lambda_search.errors import LambdaSearchError
from lambda_search.work.pool import sort_of
from lambda_search.work.tasks import Task

__all__ = ["Promises"]

T = TypeVar("T")


@dataclass(frozen=True)
class _Job:
    task: Task[Any]
    future: Future[Any]


class Promises:
    """What was submitted and has not ended; used from any thread.

    Arguments:
        tell: is called with each `Submitted` and `Withdrawn`.
    """

    def __init__(self, tell: Callable[[Submitted | Withdrawn], None]) -> None:
        self._tell = tell
        self._count = itertools.count()
        self._jobs: dict[int, _Job] = {}
        self._lock = threading.Lock()
        self._settling = ThreadPoolExecutor(1, "pool-answers")
        self._over: LambdaSearchError | None = None

    @property
    def are_over(self) -> bool:
        """Whether none is given any more."""
        return self._over is not None

    def submit(self, task: Task[T], urgent: bool, kind: str | None) -> Future[T]:
        """The future of a task, as `RayPool.submit`; raises what `end` was called with."""
        future: Future[T] = Future()
        with self._lock:
            if self._over is not None:
                raise self._over
            number = next(self._count)
            self._jobs[number] = _Job(task, future)
            self._tell(Submitted(number, sort_of(task), kind, urgent))
        future.add_done_callback(partial(self._withdraw, number))
        return future

    def task(self, number: int) -> Task[Any] | None:
        """What a number stands for; None if nobody waits for it any more."""
        job = self._jobs.get(number)
        return None if job is None else job.task

    def settle(self, number: int, answer: Done | Raised) -> None:
        """Gives who waits for a task its answer, if anybody does."""
        with self._lock:
            job = self._jobs.pop(number, None)
        if job is not None:
            self._settle(job, answer)

    def end(self, error: LambdaSearchError) -> None:
        """Takes no more tasks; those that have not ended get `error`."""
        with self._lock:
            self._over = self._over or error
            jobs = list(self._jobs.values())
            self._jobs.clear()
        for job in jobs:
            self._settle(job, Raised(error))
        self._settling.shutdown(wait=False)

    def _withdraw(self, number: int, future: Future[Any]) -> None:
        """Forgets a task whose future was cancelled."""
        if future.cancelled():
            with self._lock:
                self._jobs.pop(number, None)
            self._tell(Withdrawn(number))

    def _settle(self, job: _Job, answer: Done | Raised) -> None:
        try:
            self._settling.submit(_settle, job.future, answer)
        except RuntimeError:  # that thread has ended: the pool was closed meanwhile
            _settle(job.future, answer)


def _settle(future: Future[Any], answer: Done | Raised) -> None:
    with suppress(InvalidStateError):  # whoever waited has cancelled it
        if isinstance(answer, Raised):
            future.set_exception(answer.error)
        else:
            future.set_result(answer.value)
