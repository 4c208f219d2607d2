"""One queue over Ray actors: the pool that work is given to, from its start to its close.

Who submits is in `promises`, who decides in `dispatch`, and what goes between both and Ray in
`turning`. Here these are joined on a cluster, and let go of again.
"""

from __future__ import annotations

import queue
from concurrent.futures import Future
from typing import TypeVar

from lambda_search.cluster.actors import Actors
from lambda_search.cluster.autoscaler import Autoscaler
from lambda_search.cluster.connection import gpus_each
from lambda_search.cluster.connection import head_address
from lambda_search.cluster.connection import joined
from lambda_search.cluster.dispatch import Dispatcher
from lambda_search.cluster.head import Head
from lambda_search.cluster.policy import Policy
from lambda_search.cluster.promises import Promises
from lambda_search.cluster.turning import Inbox
from lambda_search.cluster.turning import Turning
from lambda_search.errors import Interrupted
from lambda_search.errors import PoolLost
from lambda_search.errors import UsageError
from lambda_search.spec import StudySpec
from lambda_search.work.halting import Halt
from lambda_search.work.identity import library_versions
from lambda_search.work.identity import own_versions
from lambda_search.work.tasks import Task

__all__ = ["RayPool"]

T = TypeVar("T")

_AUTOSCALER_SECONDS = 10.0
"""In which the autoscaler of a cluster that has just begun says something of itself."""


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
                each = _gpus_to_come(gpus)
                self._autoscaler = Autoscaler(each)
            else:
                each = gpus_each(gpus)
        except UsageError:
            self._leave()
            raise
        grows = self._autoscaler is not None
        self._dispatcher = Dispatcher(library_versions() | own_versions(), workers, policy, grows)
        inbox: Inbox = queue.SimpleQueue()
        self._promises = Promises(inbox.put)
        self._actors = Actors(each, first, inbox.put)
        self._turning = Turning(
            self._dispatcher,
            inbox,
            each,
            self._actors,
            self._promises,
            self._autoscaler,
            self._lose,
        )
        self._lost: PoolLost | None = None
        self._head = Head(head_address(), self._lose)
        self._turning.begin()
        try:
            (halt or Halt()).result(self._turning.started)
        except BaseException:
            self.close()
            raise

    @property
    def busy_seconds(self) -> float:
        """What the workers' tasks took in all."""
        return self._turning.busy_seconds

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
        return self._promises.submit(task, urgent, kind)

    def close(self) -> None:
        """Stops the workers at once; what is queued or under way is cancelled."""
        self._head.close()
        self._promises.end(Interrupted("The workers were stopped."))
        self._turning.join()
        if self._lost is None:  # without a head nobody could be told
            self._actors.close()
            if self._autoscaler is not None:
                self._autoscaler.let_go()
        self._leave()

    def _lose(self, error: PoolLost) -> None:
        """All that is queued, under way or waited for ends with `error`."""
        self._lost = self._lost or error
        self._promises.end(self._lost)
        self._turning.give_up(self._lost)


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
