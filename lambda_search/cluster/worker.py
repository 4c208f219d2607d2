"""The Ray actor: one device, with models kept loaded; it never sees the database."""

from __future__ import annotations

import time
from typing import TypeVar

import ray
import torch

from lambda_search.work.context import WorkerContext
from lambda_search.work.identity import device_kind
from lambda_search.work.tasks import Task

__all__ = ["Worker"]

T = TypeVar("T")


class Worker:
    """Runs tasks, one after the other; `ray.remote` makes an actor of it."""

    def __init__(self) -> None:
        torch.set_num_threads(1)
        torch.backends.cudnn.benchmark = False
        torch.backends.cudnn.deterministic = True
        torch.backends.cudnn.allow_tf32 = False
        torch.backends.cuda.matmul.allow_tf32 = False
        gpu = bool(ray.get_runtime_context().get_accelerator_ids().get("GPU"))
        self._context = WorkerContext(torch.device("cuda" if gpu else "cpu"))

    def ready(self) -> str:
        """The kind of device; the answer says that the worker is up."""
        return device_kind(self._context.device)

    def run(self, task: Task[T]) -> tuple[T, float]:
        """Runs one task; its answer, and the seconds that it took."""
        begin = time.perf_counter()
        return task.run(self._context), time.perf_counter() - begin
