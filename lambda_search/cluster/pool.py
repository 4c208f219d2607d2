"""One queue over Ray actors: Ray's answers become events, the dispatcher's instructions calls.

What is decided, and why, is in `dispatch`. A thread of its own carries it out; Ray pushes its
answers there, so that a turn costs the same for one worker and for a thousand. Answers are copied
as they come, because Ray hands out views that would keep its object store full; futures are
settled on another thread, because their callbacks may take their time.
"""

from __future__ import annotations

import itertools
import queue
import threading
import time
from concurrent.futures import Future
from concurrent.futures import InvalidStateError
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any
from typing import TypeVar

from lambda_search.cluster.actors import Actors
from lambda_search.cluster.answers import Done
from lambda_search.cluster.answers import Raised
from lambda_search.cluster.answers import Reply
from lambda_search.cluster.autoscaler import Autoscaler
from lambda_search.cluster.connection import gpus_each
from lambda_search.cluster.connection import head_address
from lambda_search.cluster.connection import joined
from lambda_search.cluster.connection import nodes
from lambda_search.cluster.dispatch import Dispatcher
from lambda_search.cluster.head import Head
from lambda_search.cluster.messages import Ask
from lambda_search.cluster.messages import Event
from lambda_search.cluster.messages import Fail
from lambda_search.cluster.messages import GiveUp
from lambda_search.cluster.messages import Instruction
from lambda_search.cluster.messages import Ready
from lambda_search.cluster.messages import Resolve
from lambda_search.cluster.messages import Revoke
from lambda_search.cluster.messages import Room
from lambda_search.cluster.messages import Send
from lambda_search.cluster.messages import Start
from lambda_search.cluster.messages import Stop
from lambda_search.cluster.messages import Submitted
from lambda_search.cluster.messages import Tick
from lambda_search.cluster.messages import Unsendable
from lambda_search.cluster.messages import Withdrawn
from lambda_search.cluster.policy import Policy
from lambda_search.errors import Interrupted
from lambda_search.errors import LambdaSearchError
from lambda_search.errors import PoolLost
from lambda_search.errors import UsageError
from lambda_search.errors import first_line
from lambda_search.spec import StudySpec
from lambda_search.work.halting import Halt
from lambda_search.work.identity import library_versions
from lambda_search.work.identity import own_versions
from lambda_search.work.pool import sort_of
from lambda_search.work.tasks import Task

__all__ = ["RayPool"]

T = TypeVar("T")

_TICK_SECONDS = 0.25
_LOOK_FOR_NODES_SECONDS = 5.0
_AUTOSCALER_SECONDS = 10.0
"""In which the autoscaler of a cluster that has just begun says something of itself."""


@dataclass(frozen=True)
class _Job:
    task: Task[Any]
    future: Future[Any]


class RayPool:
    """Workers on a Ray cluster: one a GPU (or a fraction of one), or one a core without GPUs.

    A running cluster's autoscaler, if it has one, is asked for what the tasks need, and for
    nothing more once the pool is closed.

    Arguments:
        workers: how many of each kind; as many as the cluster has room for unless given.
        address: of a running cluster; a private one on this machine unless given. A process that
            is connected to a cluster already stays there.
        gpus: GPUs for each worker, fractions allowed; 0 = CPU; 1 where there are any unless given.
        policy: when it loses patience with tasks, workers and nodes.
        first: a study that workers get ready for as they come up, with its files' places.
        halt: ends the wait for the first worker from another thread.

    Raises:
        UsageError: if there is no GPU where one is asked for, or no cluster at `address`.
        LambdaSearchError: if no worker comes up; the reason of `halt`, if that comes first.

    `busy_seconds` is what the workers' tasks took in all.
    """

    def __init__(
        self,
        workers: int | None = None,
        address: str | None = None,
        gpus: float | None = None,
        policy: Policy | None = None,
        first: StudySpec | None = None,
        halt: Halt | None = None,
    ) -> None:
        self._leave = joined(workers, address)
        self._autoscaler: Autoscaler | None = None
        try:
            if Autoscaler.is_there(0.0 if address is None else _AUTOSCALER_SECONDS):
                self._gpus = _gpus_to_come(gpus)
                self._autoscaler = Autoscaler(self._gpus)
            else:
                self._gpus = gpus_each(gpus)
        except UsageError:
            self._leave()
            raise
        grows = self._autoscaler is not None
        self._dispatcher = Dispatcher(library_versions() | own_versions(), workers, policy, grows)
        self._count = itertools.count()
        self._jobs: dict[int, _Job] = {}
        self._lock = threading.Lock()
        self._inbox: queue.SimpleQueue[Event | Reply] = queue.SimpleQueue()
        self._actors = Actors(self._gpus, first, self._inbox.put)
        self._settling = ThreadPoolExecutor(1, "pool-answers")
        self._closing = False
        self._lost: PoolLost | None = None
        self._started: Future[None] = Future()
        self.busy_seconds = 0.0
        self._head = Head(head_address(), self._lose)
        self._thread = threading.Thread(target=self._run, name="pool", daemon=True)
        self._thread.start()
        try:
            (halt or Halt()).result(self._started)
        except BaseException:
            self.close()
            raise

    @property
    def device_kind(self) -> str:
        """The main kind of hardware: that of most workers, of the first among equals."""
        return self._dispatcher.kind

    @property
    def size(self) -> int:
        """Workers that are up or starting."""
        return self._dispatcher.size

    def kinds(self) -> dict[str, int]:
        """How many workers of each kind are up."""
        return self._dispatcher.kinds()

    def places(self) -> list[tuple[str, str, int]]:
        """Where they are: host, kind of device, how many."""
        return self._dispatcher.places()

    def coming(self) -> int:
        """How many workers are starting."""
        return self._dispatcher.starting

    def check(self) -> None:
        """Raises PoolLost if the cluster has no head any more, or Ray has stopped working."""
        if self._lost is not None:
            raise self._lost

    def notes(self) -> list[str]:
        """What its user should know of hosts: those left out, as for other versions, and why."""
        return self._dispatcher.notes()

    def submit(self, task: Task[T], urgent: bool = False, kind: str | None = None) -> Future[T]:
        """Queues a task; urgent ones go first, the others in order.

        Callbacks of the future run one after the other on a thread that does nothing else. If it
        is cancelled before its end, the task is withdrawn.
        """
        future: Future[T] = Future()
        with self._lock:
            if self._closing:
                raise self._lost or Interrupted("The workers were stopped.")
            number = next(self._count)
            self._jobs[number] = _Job(task, future)
            self._inbox.put(Submitted(number, sort_of(task), kind, urgent))
        future.add_done_callback(partial(self._withdraw, number))
        return future

    def close(self) -> None:
        """Stops the workers at once; what is queued or under way is cancelled."""
        self._head.close()
        self._end(Interrupted("The workers were stopped."))
        self._inbox.put(Tick())
        self._thread.join(timeout=1)
        if self._lost is None:  # without a head nobody could be told
            self._actors.close()
            if self._autoscaler is not None:
                self._autoscaler.let_go()
        self._leave()

    def _lose(self, error: PoolLost) -> None:
        """All that is queued, under way or waited for ends with `error`."""
        self._lost = self._lost or error
        self._end(self._lost)
        with suppress(InvalidStateError):
            self._started.set_exception(self._lost)

    def _withdraw(self, number: int, future: Future[Any]) -> None:
        """Forgets a task whose future was cancelled."""
        if future.cancelled():
            with self._lock:
                self._jobs.pop(number, None)
            self._inbox.put(Withdrawn(number))

    def _end(self, error: LambdaSearchError) -> None:
        """Takes no more tasks; those that have not ended get `error`."""
        with self._lock:
            self._closing = True
            jobs = list(self._jobs.values())
            self._jobs.clear()
        for job in jobs:
            self._settle(job, Raised(error))
        self._settling.shutdown(wait=False)

    def _settle(self, job: _Job, answer: Done | Raised) -> None:
        try:
            self._settling.submit(_settle, job.future, answer)
        except RuntimeError:  # that thread has ended: the pool was closed meanwhile
            _settle(job.future, answer)

    # The dispatcher's thread

    def _run(self) -> None:
        looked = ticked = -_LOOK_FOR_NODES_SECONDS
        try:
            while not self._closing:
                if time.monotonic() - looked >= _LOOK_FOR_NODES_SECONDS:
                    looked = time.monotonic()
                    self._look()
                self._receive()
                if time.monotonic() - ticked >= _TICK_SECONDS:
                    ticked = time.monotonic()
                    self._handle(Tick())
        except Exception as error:  # the cluster itself is gone
            self._lose(PoolLost(f"Ray stopped working: {first_line(error)}.", "Launch again."))

    def _look(self) -> None:
        """Tells what nodes there are; with a second one, files may have to be carried there."""
        found = nodes(self._gpus, self._dispatcher.up_by_node())
        if len(found) > 1:
            self._actors.start_courier()
        self._handle(Room(found))

    def _receive(self) -> None:
        """Handles what has come by now; waits a little if nothing has."""
        timeout = _TICK_SECONDS
        for _ in range(self._inbox.qsize() + 1):
            try:
                news = self._inbox.get(timeout=timeout)
            except queue.Empty:
                return
            timeout = 0.0
            if not isinstance(news, Reply):
                self._handle(news)
                continue
            if news.task is not None:
                self._actors.answered(news.worker, news.task)
            if (event := news.event()) is not None:
                self._handle(event)

    def _handle(self, event: Event) -> None:
        if self._closing:
            return
        for instruction in self._dispatcher.handle(event, time.monotonic()):
            self._obey(instruction)
        if isinstance(event, Ready) and self._dispatcher.kind:
            with suppress(InvalidStateError):  # it has started, or is lost
                self._started.set_result(None)

    def _obey(self, instruction: Instruction) -> None:
        match instruction:
            case Send(worker, task):
                self._send(worker, task)
            case Revoke(worker, task):
                self._actors.revoke(worker, task)
            case Resolve(task, answer):
                self.busy_seconds += answer.seconds if isinstance(answer, Done) else 0.0
                self._finish(task, answer)
            case Fail(task, error):
                self._finish(task, Raised(error))
            case Start(worker, node):
                self._actors.start(worker, node)
            case Stop(worker):
                self._actors.stop(worker)
            case Ask(wanted) if self._autoscaler is not None:
                self._autoscaler.ask(wanted)
            case GiveUp(error):
                with suppress(InvalidStateError):
                    self._started.set_exception(error)

    def _send(self, worker: int, task: int) -> None:
        job = self._jobs.get(task)
        if job is None:  # withdrawn meanwhile: the worker is free again
            self._inbox.put(Unsendable(worker, task, "nobody waits for it"))
        else:
            self._actors.send(worker, task, job.task)

    def _finish(self, task: int, answer: Done | Raised) -> None:
        with self._lock:
            job = self._jobs.pop(task, None)
        if job is not None:
            self._settle(job, answer)


def _gpus_to_come(wanted: float | None) -> float:
    """The GPUs that each worker takes where there need not be any yet.

    Raises:
        UsageError: if that was not said, and the nodes that are there do not show it.
    """
    gpus = gpus_each(None) if wanted is None else wanted
    if wanted is None and not gpus:
        raise UsageError(
            "This cluster grows when it is asked to, and has no GPU yet.",
            "Say what each worker takes: --gpus 1 for a GPU, --gpus 0 for the CPU alone.",
        )
    return gpus


def _settle(future: Future[Any], answer: Done | Raised) -> None:
    with suppress(InvalidStateError):  # whoever waited has cancelled it
        if isinstance(answer, Raised):
            future.set_exception(answer.error)
        else:
            future.set_result(answer.value)
