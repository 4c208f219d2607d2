"""The pool of workers, as the driver sees it."""

from __future__ import annotations

from concurrent.futures import Future
from typing import Protocol
from typing import TypeVar

import torch

from lambda_search.work.context import WorkerContext
from lambda_search.work.identity import device_kind
from lambda_search.work.tasks import Task

__all__ = ["Pool", "SerialPool"]

T = TypeVar("T")


class Pool(Protocol):
    """Workers of one kind of device, and one queue for all studies."""

    device_kind: str

    def submit(self, task: Task[T], urgent: bool = False) -> Future[T]:
        """Queues a task; urgent ones go first. Errors of the task come through the future."""
        ...


class SerialPool:
    """No workers: every task runs at once in this process, on the CPU."""

    def __init__(self) -> None:
        self._context = WorkerContext(torch.device("cpu"))
        self.device_kind = device_kind(self._context.device)

    def submit(self, task: Task[T], urgent: bool = False) -> Future[T]:
        future: Future[T] = Future()
        try:
            future.set_result(task.run(self._context))
        except Exception as error:
            future.set_exception(error)
        return future
