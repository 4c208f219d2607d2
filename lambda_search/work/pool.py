"""The pool of workers, as the driver sees it."""

from __future__ import annotations

import socket
from concurrent.futures import Future
from typing import Any
from typing import Protocol
from typing import TypeVar

import torch

from lambda_search.errors import LambdaSearchError
from lambda_search.work.context import WorkerContext
from lambda_search.work.identity import device_kind
from lambda_search.work.tasks import Task

__all__ = ["Pool", "SerialPool", "sort_of"]

T = TypeVar("T")


class Pool(Protocol):
    """Workers, and one queue for all studies."""

    @property
    def device_kind(self) -> str:
        """The main kind of device: what a study that is begun now should ask for."""
        ...

    def kinds(self) -> dict[str, int]:
        """How many workers of each kind are up."""
        ...

    def places(self) -> list[tuple[str, str, int]]:
        """Where they are: host, kind of device, how many; hosts in order."""
        ...

    def coming(self) -> int:
        """How many workers are starting: of which kind they are is not known yet."""
        ...

    def check(self) -> None:
        """Raises PoolLost if it is lost; so does every future then."""
        ...

    def submit(self, task: Task[T], urgent: bool = False, kind: str | None = None) -> Future[T]:
        """Queues a task.

        Arguments:
            task: what to do; its errors, and the pool's, come through the future.
            urgent: whether it goes before those that are not.
            kind: the kind of device that it needs; any unless given.
        """
        ...


class SerialPool:
    """No workers: every task runs at once in this process, on the CPU."""

    def __init__(self) -> None:
        self._context = WorkerContext(torch.device("cpu"))
        self._kind = device_kind(self._context.device)

    @property
    def device_kind(self) -> str:
        return self._kind

    def kinds(self) -> dict[str, int]:
        return {self._kind: 1}

    def places(self) -> list[tuple[str, str, int]]:
        return [(socket.gethostname(), self._kind, 1)]

    def coming(self) -> int:
        return 0

    def check(self) -> None:
        """It lasts as long as this process."""

    def submit(self, task: Task[T], urgent: bool = False, kind: str | None = None) -> Future[T]:
        future: Future[T] = Future()
        try:
            if kind not in (None, self._kind):
                raise LambdaSearchError(
                    f"A worker on {kind} is needed; there: 1 on {self._kind}.",
                    "Launch it where there is such a device.",
                )
            future.set_result(task.run(self._context))
        except Exception as error:
            future.set_exception(error)
        return future


def sort_of(task: Task[Any]) -> str:
    """What a task is like: tasks of one sort take about as long, so that a stuck one is known.

    A task may say it itself, as `sort`; otherwise its class is its sort.
    """
    return str(getattr(task, "sort", type(task).__name__))
