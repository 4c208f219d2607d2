"""The Ray actor: one device, with models kept loaded; it never sees the database."""

from __future__ import annotations

import socket
import time
import traceback
from contextlib import suppress
from typing import NamedTuple
from typing import TypeVar

import ray
import torch

from lambda_search.cluster.courier import carried
from lambda_search.cluster.messages import GPU_DRIVER
from lambda_search.paths import carry
from lambda_search.spec import StudySpec
from lambda_search.work.context import WorkerContext
from lambda_search.work.identity import device_kind
from lambda_search.work.identity import gpu_driver
from lambda_search.work.identity import library_versions
from lambda_search.work.identity import own_versions
from lambda_search.work.memory import too_large
from lambda_search.work.tasks import Task

__all__ = ["Introduction", "Worker"]

T = TypeVar("T")


class Introduction(NamedTuple):
    """What a worker says of itself when it is up.

    Arguments:
        kind: of its device.
        host: its name.
        versions: of the libraries that may change bits, of Python and of this package; and of a
            GPU's driver.
    """

    kind: str
    host: str
    versions: dict[str, str]


class Worker:
    """Runs tasks, one after the other; `ray.remote` makes an actor of it."""

    def __init__(self) -> None:
        carry(carried)
        torch.set_num_threads(1)
        torch.backends.cudnn.benchmark = False
        torch.backends.cudnn.deterministic = True
        torch.backends.cudnn.allow_tf32 = False
        torch.backends.cuda.matmul.allow_tf32 = False
        gpu = bool(ray.get_runtime_context().get_accelerator_ids().get("GPU"))
        self._context = WorkerContext(torch.device("cuda" if gpu else "cpu"))

    def ready(self) -> Introduction:
        """Who it is; the answer says that the worker is up."""
        kind = device_kind(self._context.device)
        versions = library_versions() | own_versions()
        if self._context.device.type == "cuda" and (driver := gpu_driver()) is not None:
            versions[GPU_DRIVER] = driver
        return Introduction(kind, socket.gethostname(), versions)

    def get_ready(self, study: StudySpec) -> None:
        """Loads what the study will need. What fails here is told by the task that needs it."""
        with suppress(Exception):
            self._context.get_ready(study)

    def run(self, task: Task[T]) -> tuple[T, float]:
        """Runs one task; its answer, and the seconds that it took.

        Raises:
            LambdaSearchError: if the device's memory is too small for it; and what it raises.
        """
        begin = time.perf_counter()
        try:
            answer = task.run(self._context)
        except torch.OutOfMemoryError as error:
            traceback.clear_frames(error.__traceback__)  # which hold what fills the memory
            raise too_large(task, self._context) from None
        return answer, time.perf_counter() - begin
