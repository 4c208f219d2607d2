"""The workers, and which of them have a hand free."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from dataclasses import field

from lambda_search.cluster.backlog import Job
from lambda_search.cluster.nodes import Node

__all__ = ["Crew", "Worker"]


@dataclass(slots=True, eq=False)
class Worker:
    """One worker.

    Arguments:
        number: of the worker.
        node: where it is.
        since: when it was started; once it has tasks, when it began the first of them.
        kind: of its device; None as long as it is not up.
        jobs: what was sent to it, by number; it does the first.
        met: sorts of tasks that it has done.
    """

    number: int
    node: Node
    since: float
    kind: str | None = None
    jobs: dict[int, Job] = field(default_factory=dict)
    met: set[str] = field(default_factory=set)

    def current(self) -> Job | None:
        """What it is doing."""
        return next(iter(self.jobs.values()), None)


class Crew:
    """All workers by number; those that can be sent a task by kind and by how many they have.

    Arguments:
        ahead: how many tasks a worker has at most.
    """

    def __init__(self, ahead: int) -> None:
        self._ahead = ahead
        self._workers: dict[int, Worker] = {}
        self._free: dict[str, list[dict[int, Worker]]] = {}
        self.up: Counter[str] = Counter()
        self.starting = 0

    def __len__(self) -> int:
        return len(self._workers)

    def __iter__(self) -> Iterator[Worker]:
        return iter(list(self._workers.values()))

    def get(self, number: int) -> Worker | None:
        """The worker of that number, if it is there."""
        return self._workers.get(number)

    def begin(self, worker: Worker) -> None:
        """A worker is started."""
        self._workers[worker.number] = worker
        self.starting += 1
        worker.node.workers += 1
        worker.node.starting += 1

    def welcome(self, worker: Worker, kind: str) -> None:
        """It is up."""
        self.starting -= 1
        worker.node.starting -= 1
        worker.kind = kind
        self.up[kind] += 1
        self._levels(kind)[0][worker.number] = worker

    def remove(self, worker: Worker) -> None:
        """It is gone."""
        del self._workers[worker.number]
        worker.node.workers -= 1
        if worker.kind is None:
            self.starting -= 1
            worker.node.starting -= 1
            return
        self.up[worker.kind] -= 1
        if not self.up[worker.kind]:
            del self.up[worker.kind]
        if len(worker.jobs) < self._ahead:
            del self._levels(worker.kind)[len(worker.jobs)][worker.number]

    def give(self, worker: Worker, job: Job) -> None:
        """It is sent a task."""
        self._change(worker, 1)
        worker.jobs[job.task] = job

    def take(self, worker: Worker, job: Job) -> None:
        """It has that task no more."""
        self._change(worker, -1)
        del worker.jobs[job.task]

    def free(self, kind: str | None) -> Worker | None:
        """A worker for a task of `kind`, one of those with the fewest tasks."""
        kinds = self._free if kind is None else [kind] if kind in self._free else []
        for level in range(self._ahead):
            for each in kinds:
                if found := self._free[each][level]:
                    return next(iter(found.values()))
        return None

    def has_room(self, worker: Worker) -> bool:
        """Whether it can be sent another task."""
        return len(worker.jobs) < self._ahead

    def count(self, kind: str | None) -> int:
        """Workers that are of `kind`, or may be once they are up."""
        return sum(
            worker.node.may_have(kind) if worker.kind is None else kind in (None, worker.kind)
            for worker in self._workers.values()
        )

    def may_come(self, kind: str | None, begun_by: float) -> bool:
        """Whether a worker that was started by then is not up yet, and may be of `kind`."""
        return any(
            worker.kind is None and worker.since <= begun_by and worker.node.may_have(kind)
            for worker in self._workers.values()
        )

    def _change(self, worker: Worker, by: int) -> None:
        assert worker.kind is not None
        levels, before = self._levels(worker.kind), len(worker.jobs)
        if before < self._ahead:
            del levels[before][worker.number]
        if before + by < self._ahead:
            levels[before + by][worker.number] = worker

    def _levels(self, kind: str) -> list[dict[int, Worker]]:
        return self._free.setdefault(kind, [{} for _ in range(self._ahead)])
