"""One queue over Ray actors.

Workers may join, leave or be killed at any time: lost tasks are queued again, dead workers
replaced, new GPUs used as they appear. A task that kills its worker three times fails.
"""

from __future__ import annotations

import heapq
import itertools
import os
import socket
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from dataclasses import field
from functools import partial
from typing import Any
from typing import TypeVar
from typing import cast

import ray
from ray.exceptions import RayError
from ray.exceptions import RayTaskError

from lambda_search.cluster.worker import Worker
from lambda_search.downloads import offline
from lambda_search.errors import Interrupted
from lambda_search.errors import LambdaSearchError
from lambda_search.errors import UsageError
from lambda_search.work.tasks import Task

__all__ = ["RayPool"]

T = TypeVar("T")

_AHEAD = 2
"""Tasks sent to a worker at a time, so that it never waits for the queue."""

_OFFLINE = {"LAMBDA_SEARCH_OFFLINE": "1", "HF_HUB_OFFLINE": "1"}
"""For workers on other hosts, which do not inherit this process's environment."""

_ATTEMPTS = 3
_START_SECONDS = 180.0
_LOOK_FOR_NODES_SECONDS = 5.0
_KNOCK_SECONDS = 5.0


@dataclass(order=True)
class _Job:
    priority: tuple[int, int]
    task: Task[Any] = field(compare=False)
    future: Future[Any] = field(compare=False)
    lost: int = field(default=0, compare=False)


@dataclass
class _Seat:
    """A worker and the jobs it has."""

    actor: Any
    starting: Any
    jobs: dict[Any, _Job] = field(default_factory=dict)


class RayPool:
    """Workers on a Ray cluster: one a GPU (or a fraction of one), or one a core without GPUs.

    Arguments:
        workers: how many; as many as the cluster has room for unless given.
        address: of a running cluster; a private one on this machine unless given. A process that
            is connected to a cluster already stays there.
        gpus: GPUs for each worker, fractions allowed; 0 = CPU; 1 where there are any unless given.

    Raises:
        UsageError: if there is no GPU where one is asked for, or no cluster at `address`.
        LambdaSearchError: if no worker comes up.

    `device_kind` names the workers' hardware; `busy_seconds` is what their tasks took in all.
    """

    def __init__(
        self, workers: int | None = None, address: str | None = None, gpus: float | None = None
    ) -> None:
        self._own_ray = not ray.is_initialized()
        if self._own_ray:
            _connect(workers, address)
        available = _resources().get("GPU", 0.0)
        if gpus and available < gpus:
            if self._own_ray:
                ray.shutdown()
            raise UsageError(
                f"{gpus:g} GPU for each worker is asked for, and Ray sees {available:g}.",
                "Check nvidia-smi and CUDA_VISIBLE_DEVICES, or leave --gpus out to use the CPU.",
            )
        self._gpus = (1.0 if available else 0.0) if gpus is None else gpus
        self._workers = workers
        options: dict[str, Any] = {"env_vars": _OFFLINE} if offline() else {}
        as_actor: Any = ray.remote(
            num_cpus=1,
            num_gpus=self._gpus,
            max_restarts=0,
            max_task_retries=0,
            runtime_env=options,
        )
        self._actor = as_actor(Worker)
        self._queue: list[_Job] = []
        self._count = itertools.count()
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self._closing = False
        self._seats: list[_Seat] = []
        self._up: list[_Seat] = []
        self._failed_starts = 0
        self._alone_since = time.monotonic()
        self.device_kind = ""
        self.busy_seconds = 0.0
        self._started = threading.Event()
        self._failure: LambdaSearchError | None = None
        self._thread = threading.Thread(target=self._dispatch, name="pool", daemon=True)
        self._thread.start()
        try:
            self._started.wait()
        except BaseException:
            self.close()
            raise
        self._raise_failure()

    @property
    def size(self) -> int:
        """Workers that are up or starting."""
        return len(self._seats)

    def _raise_failure(self) -> None:
        if self._failure is not None:
            self.close()
            raise self._failure

    def submit(self, task: Task[T], urgent: bool = False) -> Future[T]:
        """Queues a task; urgent ones go first, the others in order."""
        future: Future[T] = Future()
        with self._lock:
            if self._closing:
                raise self._failure or Interrupted("The workers were stopped.")
            job = _Job((0 if urgent else 1, next(self._count)), task, future)
            heapq.heappush(self._queue, job)
        self._wake.set()
        return future

    def close(self) -> None:
        """Stops the workers at once; what is queued or under way is cancelled."""
        with self._lock:
            self._closing = True
        self._wake.set()
        self._thread.join(timeout=1)
        for seat in self._seats:
            _quietly(partial(ray.kill, seat.actor))
        if self._own_ray:
            ray.shutdown()
        stopped = Interrupted("The workers were stopped.")
        for job in [*self._queue, *(job for seat in self._seats for job in seat.jobs.values())]:
            if not job.future.done():
                job.future.set_exception(stopped)

    # The dispatcher's thread

    def _dispatch(self) -> None:
        looked = 0.0
        try:
            while not self._closing:
                if time.monotonic() - looked > _LOOK_FOR_NODES_SECONDS:
                    self._hire()
                    looked = time.monotonic()
                self._hand_out()
                self._collect()
        except Exception as error:  # the cluster itself is gone
            self._fail(
                LambdaSearchError(f"Ray stopped working: {_first_line(error)}", "Launch again.")
            )

    def _hire(self) -> None:
        """Creates workers up to what the cluster has room for."""
        for _ in range(self._target() - len(self._seats)):
            actor = self._actor.remote()
            self._seats.append(_Seat(actor, actor.ready.remote()))

    def _target(self) -> int:
        if self._workers is not None:
            return self._workers
        resources = _resources()
        if self._gpus:
            return int(resources.get("GPU", 0.0) / self._gpus)
        return max(1, int(resources.get("CPU", 1.0)))

    def _hand_out(self) -> None:
        for depth in range(_AHEAD):
            for seat in self._up:
                if len(seat.jobs) > depth:
                    continue
                with self._lock:
                    if not self._queue:
                        return
                    job = heapq.heappop(self._queue)
                try:
                    seat.jobs[seat.actor.run.remote(job.task)] = job
                except Exception as error:  # it cannot travel; the others may
                    job.future.set_exception(
                        LambdaSearchError(f"A task cannot be sent: {_first_line(error)}", _DOCTOR)
                    )

    def _collect(self) -> None:
        """Waits a little for any answer, and takes it."""
        answers = {
            reference: seat
            for seat in self._seats
            for reference in ([] if seat.starting is None else [seat.starting]) + list(seat.jobs)
        }
        if not answers:
            self._wake.wait(0.1)
            self._wake.clear()
            return
        ready, _ = ray.wait(list(answers), num_returns=1, timeout=0.02)
        for reference in ready:
            self._take(answers[reference], reference)
        self._check_start()

    def _take(self, seat: _Seat, reference: Any) -> None:
        job = seat.jobs.get(reference)
        try:
            answer = ray.get(reference)
        except RayTaskError as error:
            if job is None:
                self._lose(seat, error)
                return
            del seat.jobs[reference]
            job.future.set_exception(_own_error(error))
        except RayError as error:
            self._lose(seat, error)
        else:
            if job is None:
                self._welcome(seat, answer)
            else:
                del seat.jobs[reference]
                value, seconds = answer
                self.busy_seconds += seconds
                job.future.set_result(value)

    def _welcome(self, seat: _Seat, kind: str) -> None:
        """A worker is up; it must have the device of the others, or its bits would differ."""
        seat.starting = None
        if self.device_kind not in ("", kind):
            self._seats.remove(seat)
            ray.kill(seat.actor)
            self._workers = len(self._seats)
            return
        self.device_kind = kind
        self._up.append(seat)
        self._failed_starts = 0
        self._started.set()

    def _lose(self, seat: _Seat, error: RayError) -> None:
        """A worker is lost: its jobs go back to the queue, and another is hired in its place.

        Only the job that it was running is to blame. A pool whose first workers all fail to start
        gives up.
        """
        self._seats.remove(seat)
        _quietly(partial(ray.kill, seat.actor))
        if seat in self._up:
            self._up.remove(seat)
        else:
            self._failed_starts += 1
            if not self._up and self._failed_starts >= _ATTEMPTS:
                reason = _first_line(error)
                self._fail(LambdaSearchError(f"A worker cannot start: {reason}", _DOCTOR))
        for place, job in enumerate(seat.jobs.values()):
            job.lost += place == 0
            if job.lost < _ATTEMPTS:
                with self._lock:
                    heapq.heappush(self._queue, job)
            else:
                job.future.set_exception(
                    LambdaSearchError(
                        f"A task has lost its worker {_ATTEMPTS} times: {_first_line(error)}",
                        "Usually memory: take a smaller sampler.batch, or fewer workers.",
                    )
                )
        if not self._closing:
            self._hire()

    def _check_start(self) -> None:
        """Gives up if nobody has been up for long."""
        if self._up or not self._seats:
            self._alone_since = time.monotonic()
        elif time.monotonic() - self._alone_since > _START_SECONDS:
            self._fail(LambdaSearchError(f"No worker came up in {_START_SECONDS:.0f} s.", _DOCTOR))

    def _fail(self, error: LambdaSearchError) -> None:
        """Gives up: everyone who waits gets `error`."""
        self._failure = error
        with self._lock:
            self._closing = True
            jobs = [*self._queue, *(job for seat in self._seats for job in seat.jobs.values())]
        for job in jobs:
            if not job.future.done():
                job.future.set_exception(error)
        self._started.set()


_DOCTOR = "See what is missing with: lambda-search doctor"


def _resources() -> dict[str, float]:
    found: dict[str, float] = cast(Any, ray).cluster_resources()
    return found


def _connect(workers: int | None, address: str | None) -> None:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR"}
    try:
        if address is not None:
            _knock(address)
            ray.init(address=address, **quiet)
        else:
            ray.init(
                address="local",
                num_cpus=workers,
                include_dashboard=False,
                object_store_memory=256 * 1024 * 1024,
                **quiet,
            )
    except Exception as error:  # ray raises many kinds here
        where = f"at {address}" if address else "on this machine"
        raise UsageError(
            f"Ray cannot be reached {where}: {_first_line(error)}",
            "Check the address (ray status), and RAY_AUTH_MODE if the cluster uses tokens."
            if address
            else _DOCTOR,
        ) from error


def _knock(address: str) -> None:
    """Raises OSError if nobody listens at HOST:PORT; Ray itself would wait for minutes."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if host and port.isdigit():
        socket.create_connection((host.strip("[]"), int(port)), _KNOCK_SECONDS).close()


def _own_error(error: RayTaskError) -> Exception:
    """What the task raised: our own errors as they are, others with their cause."""
    cause = error.cause
    if isinstance(cause, LambdaSearchError):
        own = type(cause)(cause.cause, cause.hint)
    else:
        own = LambdaSearchError(
            f"A worker failed: {type(cause).__name__}: {_first_line(cause)}",
            "Launch again with --debug to see where; nothing that was computed is lost.",
        )
    own.__cause__ = error
    return own


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__


def _quietly(action: Callable[[], object]) -> None:
    try:
        action()
    except RayError:
        pass
