"""Who does what: a state machine of events in and instructions out.

It knows no Ray, no threads and no clock: the time comes with each event. So every history can be
tested, and it keeps its promise in each: a submitted task ends exactly once, with an answer or
with an error, as long as ticks go on.

Three parts decide, each on its own matters: which task goes where (`assignments`), which workers
there are (`staff`), and when who waits is told that nobody comes (`patience`). Here is what
concerns more than one of them:

- Late: a worker that takes many times longer than its sort of task ever took counts as lost. If
  it answers after all, that counts if it is the first.
- Starts: a node where workers fail or have other libraries is left alone, longer each time.
- Unfit: a host that cannot do what is asked of it, such as one without the features' place, would
  be free at once for the next task, and fail them all. Its worker counts as lost, no task is to
  blame, and the node is left alone; tasks fail where all nodes that they may go to are so.
"""

from __future__ import annotations

from collections.abc import Mapping

from lambda_search.cluster.assignments import Assignments
from lambda_search.cluster.crew import Crew
from lambda_search.cluster.crew import Worker
from lambda_search.cluster.demand import Demand
from lambda_search.cluster.messages import GPU_DRIVER
from lambda_search.cluster.messages import Answered
from lambda_search.cluster.messages import Event
from lambda_search.cluster.messages import Instruction
from lambda_search.cluster.messages import Lost
from lambda_search.cluster.messages import Ready
from lambda_search.cluster.messages import Room
from lambda_search.cluster.messages import Submitted
from lambda_search.cluster.messages import Tick
from lambda_search.cluster.messages import Unfit
from lambda_search.cluster.messages import Unsendable
from lambda_search.cluster.messages import Withdrawn
from lambda_search.cluster.nodes import Nodes
from lambda_search.cluster.patience import Patience
from lambda_search.cluster.policy import Policy
from lambda_search.cluster.staff import Staff

__all__ = ["Dispatcher"]


class Dispatcher:
    """Decides on starts, stops and who is sent which task.

    Arguments:
        versions: of the driver's libraries; a worker must have the same of those that both have.
        most: workers of each kind; all that the nodes have room for unless given.
        policy: when it loses patience.
        grows: whether an autoscaler adds nodes when it is asked to.
    """

    def __init__(
        self,
        versions: Mapping[str, str],
        most: int | None = None,
        policy: Policy | None = None,
        grows: bool = False,
    ) -> None:
        policy = policy or Policy()
        demand = Demand(most, policy.lull, policy.again) if grows else None
        self._versions = versions
        self._start = policy.start
        self._out: list[Instruction] = []
        order = self._out.append
        self._crew = Crew(policy.ahead)
        self._nodes = Nodes(policy)
        self._tasks = Assignments(self._crew, policy, order)
        self._staff = Staff(self._crew, self._nodes, most, demand, order)
        self._patience = Patience(policy, grows, self._crew, self._nodes, self._tasks, order)

    @property
    def kind(self) -> str:
        """The main kind of device: that of most workers, of the first among equals.

        "" before anybody is up.
        """
        return self._staff.kind

    @property
    def size(self) -> int:
        """Workers that are up or starting."""
        return len(self._crew)

    @property
    def starting(self) -> int:
        """Workers that are not up yet."""
        return self._crew.starting

    def kinds(self) -> dict[str, int]:
        """How many workers of each kind are up."""
        return dict(self._crew.up)

    def up_by_node(self) -> dict[str, int]:
        """How many workers are up on each node."""
        return self._crew.up_by_node()

    def places(self) -> list[tuple[str, str, int]]:
        """Host, kind and number of the workers that are up, hosts in order."""
        return self._crew.places()

    def troubles(self) -> list[str]:
        """What is wrong with nodes that are left alone for now."""
        return list(self._nodes.troubles())

    def notes(self) -> list[str]:
        """What its user should know of nodes: those that are left out, and how others differ."""
        left_out = (f"left out for now: {trouble}" for trouble in self._nodes.troubles())
        return [*left_out, *self._nodes.remarks()]

    def handle(self, event: Event, now: float) -> list[Instruction]:
        """What is to be done now; `now` in seconds, never going back."""
        match event:
            case Answered():
                self._tasks.answered(event, now)
            case Submitted():
                self._tasks.submit(event, now)
            case Tick():
                self._tick(now)
            case Ready():
                self._ready(event, now)
            case Lost():
                worker = self._crew.get(event.worker)
                if worker is not None:
                    self._lose(worker, event.reason, now, event.is_recalled)
            case Unfit():
                self._unfit(event, now)
            case Unsendable():
                self._tasks.unsendable(event, now)
            case Withdrawn():
                self._tasks.withdraw(event.task, now)
            case Room():
                self._room(event, now)
        out = list(self._out)
        self._out.clear()
        return out

    def _ready(self, event: Ready, now: float) -> None:
        worker = self._crew.get(event.worker)
        if worker is None or worker.kind is not None:
            return
        differing = event.differences(self._versions)
        if differing:
            self._staff.dismiss(worker)
            trouble = f"{event.host} has {', '.join(differing)}"
            self._nodes.refuse(worker.node, now, trouble)
            self._patience.refused(now)
            return
        worker.node.shows(event.kind, event.host, event.versions.get(GPU_DRIVER, ""))
        if worker.node.unfit is None:  # else only a task can tell that it is well again
            self._patience.start_succeeded()
        worker.since = now
        self._staff.welcome(worker, event.kind)
        self._tasks.serve(worker, now)

    def _lose(self, worker: Worker, reason: str, now: float, is_recalled: bool = False) -> None:
        """A worker is gone: its tasks go to others, its node is left alone for a moment."""
        self._staff.lose(worker)
        self._nodes.failed(worker.node, worker.since, now, reason)
        if worker.kind is None:
            self._patience.start_failed(worker.since, now)
            return
        self._tasks.hand_on(worker, None if is_recalled else worker.current(), reason, now)

    def _unfit(self, event: Unfit, now: float) -> None:
        worker = self._crew.get(event.worker)
        if worker is None or worker.kind is None:
            return
        if not self._tasks.has(event.task):  # what it needs may have gone since it ended
            self._tasks.pass_over(worker, event.task, now)
            return
        self._staff.lose(worker)
        self._nodes.refuse_unfit(worker.node, now, event.error)
        self._tasks.hand_on(worker, None, "", now)
        self._patience.despair(now)

    def _room(self, event: Room, now: float) -> None:
        gone = self._nodes.update(event.nodes)
        for worker in [worker for worker in self._crew if worker.node.name in gone]:
            if worker.kind is None:  # not a failure to start
                self._staff.dismiss(worker)
            else:
                self._lose(worker, "its host has left the cluster", now)
        self._staff.fill(self._tasks.awaited, now)

    def _tick(self, now: float) -> None:
        for worker in self._crew:
            limit = self._start if worker.kind is None else self._tasks.limit(worker)
            if limit is not None and now - worker.since > limit:
                verb = "did not come up" if worker.kind is None else "gave no answer"
                self._lose(worker, f"a worker {verb} in {now - worker.since:.0f} s", now)
        self._staff.scale(self._tasks.counts, now)
        self._staff.fill(self._tasks.awaited, now)
        self._patience.watch(not self.kind, now)
        self._tasks.help(now)
