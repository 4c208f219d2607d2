"""The workers, and which of them have a hand free.

One that is slow is sent a task when it has none, and only where no other has none.
"""

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
        since: when it was started; then, when it came up; then, when it began its first task.
        kind: of its device; None as long as it is not up.
        jobs: what was sent to it, by number; it does the first.
        met: sorts of tasks that it has done.
        is_slow: whether its last task took much longer than such tasks take.
    """

    number: int
    node: Node
    since: float
    kind: str | None = None
    jobs: dict[int, Job] = field(default_factory=dict)
    met: set[str] = field(default_factory=set)
    is_slow: bool = False

    def current(self) -> Job | None:
        """What it is doing."""
        return next(iter(self.jobs.values()), None)


class Crew:
    """All workers by number; those that can be sent a task by kind and by how many they have.

    Arguments:
        ahead: how many tasks a worker has at most, beside those that another's doubtful answers
            have it asked for again.
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

    def up_by_node(self) -> dict[str, int]:
        """How many workers are up on each node."""
        return dict(Counter(worker.node.name for worker in self if worker.kind is not None))

    def places(self) -> list[tuple[str, str, int]]:
        """Host, kind and number of the workers that are up, hosts in order."""
        up = Counter((one.node.host, one.kind) for one in self if one.kind is not None)
        return [(host, kind, count) for (host, kind), count in sorted(up.items())]

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
        self._enter(worker)

    def remove(self, worker: Worker) -> None:
        """It is gone, and has no tasks any more."""
        for job in worker.jobs.values():
            job.held -= 1
        del self._workers[worker.number]
        worker.node.workers -= 1
        if worker.kind is None:
            self.starting -= 1
            worker.node.starting -= 1
            return
        self.up[worker.kind] -= 1
        if not self.up[worker.kind]:
            del self.up[worker.kind]
        self._leave(worker)

    def give(self, worker: Worker, job: Job) -> None:
        """It is sent a task."""
        self._leave(worker)
        worker.jobs[job.task] = job
        job.held += 1
        self._enter(worker)

    def take(self, worker: Worker, job: Job) -> None:
        """It has that task no more."""
        self._leave(worker)
        del worker.jobs[job.task]
        job.held -= 1
        self._enter(worker)

    def judge(self, worker: Worker, is_slow: bool) -> None:
        """Says whether it is slow."""
        self._leave(worker)
        worker.is_slow = is_slow
        self._enter(worker)

    def free(self, kind: str | None) -> Worker | None:
        """A worker for a task of `kind`, one of those with the fewest tasks, slow ones last."""
        kinds = self._free if kind is None else [kind] if kind in self._free else []
        for place in range(self._ahead + 1):
            for each in kinds:
                if found := self._free[each][place]:
                    return next(iter(found.values()))
        return None

    def has_room(self, worker: Worker) -> bool:
        """Whether it can be sent another task."""
        return len(worker.jobs) < (1 if worker.is_slow else self._ahead)

    def holders(self, job: Job) -> list[Worker]:
        """Those that have a task."""
        if not job.held:
            return []
        return [worker for worker in self._workers.values() if job.task in worker.jobs]

    def another(self, worker: Worker, kind: str | None) -> Worker | None:
        """One of `kind` that is not `worker`: on another node if there is one, the least busy."""
        return min(
            (
                one
                for one in self._workers.values()
                if one is not worker and one.kind is not None and kind in (None, one.kind)
            ),
            key=lambda one: (one.node is worker.node, one.is_slow, len(one.jobs)),
            default=None,
        )

    def idle(self) -> list[Worker]:
        """Those that have nothing to do, and are not slow."""
        return [worker for places in self._free.values() for worker in places[0].values()]

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

    def _leave(self, worker: Worker) -> None:
        """Takes it from where it stands among those with a hand free."""
        if self.has_room(worker):
            del self._place_of(worker)[worker.number]

    def _enter(self, worker: Worker) -> None:
        if self.has_room(worker):
            self._place_of(worker)[worker.number] = worker

    def _place_of(self, worker: Worker) -> dict[int, Worker]:
        """Those idle first, the slow ones of them next, then those with one task and more."""
        assert worker.kind is not None
        places = self._free.setdefault(worker.kind, [{} for _ in range(self._ahead + 1)])
        return places[len(worker.jobs) + (1 if worker.jobs or worker.is_slow else 0)]
