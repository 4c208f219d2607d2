"""Who does what: a state machine of events in and instructions out.

It knows no Ray, no threads and no clock: the time comes with each event. So every history can be
tested, and it keeps its promise in each: a submitted task ends exactly once, with an answer or
with an error, as long as ticks go on.

- Lost: the tasks of a worker that ended go back to their places; only the one that it was doing
  is to blame, and one that costs three workers fails. A host that calls its workers back blames
  none.
- Slow: where a worker has nothing else to do, it is given what others have not begun, and a second
  copy of what one takes much longer over than usual. The first answer counts: answers do not
  depend on who gives them.
- Doubtful: where the worker itself may be to blame for an answer, another one is asked; what that
  says counts.
- Late: a worker that takes many times longer than its sort of task ever took counts as lost. If
  it answers after all, that counts if it is the first.
- Kinds: a worker serves the tasks of its kind of device. One that waits while nobody of its kind
  is there or comes fails after a while.
- Starts: a node where workers fail or have other libraries is left alone, longer each time.
- Unfit: a host that cannot do what is asked of it, such as one without the features' place, would
  be free at once for the next task, and fail them all. Its worker counts as lost, no task is to
  blame, and the node is left alone; tasks fail where all nodes that they may go to are so.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Mapping

from lambda_search.cluster.absences import Absences
from lambda_search.cluster.backlog import Backlog
from lambda_search.cluster.backlog import Job
from lambda_search.cluster.crew import Crew
from lambda_search.cluster.crew import Worker
from lambda_search.cluster.demand import Demand
from lambda_search.cluster.helping import helped
from lambda_search.cluster.messages import GPU_DRIVER
from lambda_search.cluster.messages import Answered
from lambda_search.cluster.messages import Ask
from lambda_search.cluster.messages import Event
from lambda_search.cluster.messages import Fail
from lambda_search.cluster.messages import GiveUp
from lambda_search.cluster.messages import Instruction
from lambda_search.cluster.messages import Lost
from lambda_search.cluster.messages import Ready
from lambda_search.cluster.messages import Resolve
from lambda_search.cluster.messages import Revoke
from lambda_search.cluster.messages import Room
from lambda_search.cluster.messages import Send
from lambda_search.cluster.messages import Start
from lambda_search.cluster.messages import Stop
from lambda_search.cluster.messages import Submitted
from lambda_search.cluster.messages import Tick
from lambda_search.cluster.messages import Unfit
from lambda_search.cluster.messages import Unsendable
from lambda_search.cluster.messages import Withdrawn
from lambda_search.cluster.nodes import Node
from lambda_search.cluster.nodes import Nodes
from lambda_search.cluster.policy import Policy
from lambda_search.cluster.policy import Speeds
from lambda_search.cluster.refusals import cannot_start
from lambda_search.cluster.refusals import missing
from lambda_search.cluster.refusals import poisonous
from lambda_search.cluster.refusals import unsendable
from lambda_search.errors import LambdaSearchError

__all__ = ["Dispatcher"]


class Dispatcher:
    """Decides on starts, stops and who is sent which task.

    Arguments:
        versions: of the driver's libraries; a worker must have the same of those that both have.
        most: workers of each kind; all that the nodes have room for unless given.
        policy: when it loses patience.
        grows: whether an autoscaler adds nodes when it is asked to.

    `kind` is the main kind of device: that of most workers, of the first among equals; "" before
    anybody is up.
    """

    def __init__(
        self,
        versions: Mapping[str, str],
        most: int | None = None,
        policy: Policy | None = None,
        grows: bool = False,
    ) -> None:
        self._versions = versions
        self._most = most
        self._policy = policy or Policy()
        self._numbers = itertools.count()
        self._jobs: dict[int, Job] = {}
        self._tasks: Counter[str | None] = Counter()
        self._backlog = Backlog()
        self._crew = Crew(self._policy.ahead)
        self._nodes = Nodes(self._policy)
        self._speeds = Speeds(self._policy)
        self._failed_starts, self._failed_at = 0, float("-inf")
        self._patience = self._policy.growing if grows else self._policy.patience
        self._absences = Absences(self._patience)
        self._demand = Demand(most, self._policy.lull, self._policy.again) if grows else None
        self._out: list[Instruction] = []
        self.kind = ""

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
        return dict(Counter(worker.node.name for worker in self._crew if worker.kind is not None))

    def places(self) -> list[tuple[str, str, int]]:
        """Host, kind and number of the workers that are up, hosts in order."""
        up = Counter((one.node.host, one.kind) for one in self._crew if one.kind is not None)
        return [(host, kind, count) for (host, kind), count in sorted(up.items())]

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
                self._answered(event, now)
            case Submitted():
                self._submitted(event, now)
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
                self._unsendable(event, now)
            case Withdrawn():
                self._withdrawn(event, now)
            case Room():
                self._room(event, now)
        out, self._out = self._out, []
        return out

    # Tasks

    def _submitted(self, event: Submitted, now: float) -> None:
        job = Job(event.task, event.sort, event.kind, event.urgent)
        self._jobs[job.task] = job
        self._tasks[job.kind] += 1
        self._place(job, now)

    def _place(self, job: Job, now: float) -> None:
        """Sends a task to a free worker, or lets it wait. Where one is free, nobody waits."""
        worker = self._crew.free(job.kind)
        if worker is None:
            self._backlog.push(job)
        else:
            self._send(worker, job, now)

    def _send(self, worker: Worker, job: Job, now: float) -> None:
        if not worker.jobs:
            worker.since = now
        self._crew.give(worker, job)
        self._out.append(Send(worker.number, job.task))

    def _serve(self, worker: Worker, now: float) -> None:
        """Sends a worker what it can have."""
        assert worker.kind is not None
        while self._crew.has_room(worker) and (job := self._backlog.pop(worker.kind)):
            self._send(worker, job, now)

    def _answered(self, event: Answered, now: float) -> None:
        worker = self._crew.get(event.worker)
        job = worker.jobs.get(event.task) if worker else None
        if worker is not None and job is not None and worker.kind is not None:
            if worker.current() is job:
                self._time(worker, worker.kind, job, now)
            worker.met.add(job.sort)
            worker.node.is_well()
            self._crew.take(worker, job)
            if event.is_doubtful and self._is_doubted(worker, job, now):
                self._serve(worker, now)
                return
        self._end(event.task, Resolve(event.task, event.answer), now)
        if worker is not None and worker.kind is not None:
            self._serve(worker, now)

    def _is_doubted(self, worker: Worker, job: Job, now: float) -> bool:
        """Asks another worker, if there is one and none was asked yet; whether that is so."""
        other = None if job.done or job.doubted else self._crew.another(worker, job.kind)
        if other is None:
            return False
        job.doubted = True
        if not job.held:
            self._send(other, job, now)
        return True

    def _time(self, worker: Worker, kind: str, job: Job, now: float) -> None:
        """Learns from how long a worker took over a task; its first of a sort loads models too."""
        seconds, worker.since = now - worker.since, now
        if job.sort in worker.met:
            self._crew.judge(worker, self._speeds.is_slow(kind, job.sort, seconds))
        self._speeds.add(kind, job.sort, seconds)

    def _unsendable(self, event: Unsendable, now: float) -> None:
        worker = self._crew.get(event.worker)
        job = worker.jobs.get(event.task) if worker else None
        if worker is not None and job is not None:
            self._crew.take(worker, job)
        self._end(event.task, Fail(event.task, unsendable(event.reason)), now)
        if worker is not None and worker.kind is not None:
            self._serve(worker, now)

    def _withdrawn(self, event: Withdrawn, now: float) -> None:
        if (job := self._closed(event.task)) is not None:
            self._recall(job, now)

    def _end(self, task: int, how: Resolve | Fail, now: float) -> None:
        """A task ends, once: a second answer is as good as the first, and not needed."""
        if (job := self._closed(task)) is not None:
            self._out.append(how)
            self._recall(job, now)

    def _closed(self, task: int) -> Job | None:
        """Takes a task off the books, if it is there."""
        job = self._jobs.pop(task, None)
        if job is not None:
            job.done = True
            self._tasks[job.kind] -= 1
        return job

    def _recall(self, job: Job, now: float) -> None:
        """Takes a task that has ended from those who have not begun it."""
        for worker in self._crew.holders(job):
            if worker.current() is not job:
                self._revoke(worker, job)
                self._serve(worker, now)

    def _revoke(self, worker: Worker, job: Job) -> None:
        self._crew.take(worker, job)
        self._out.append(Revoke(worker.number, job.task))

    def _help(self, now: float) -> None:
        """Gives those who have nothing to do what others have not begun, or are slow with."""
        for holder, job, helper in helped(self._crew, self._speeds, now):
            if holder.current() is not job:
                self._revoke(holder, job)
            self._send(helper, job, now)

    # Workers

    def _ready(self, event: Ready, now: float) -> None:
        worker = self._crew.get(event.worker)
        if worker is None or worker.kind is not None:
            return
        differing = event.differences(self._versions)
        if differing:
            self._forget(worker)
            self._failed_starts += 1
            trouble = f"{event.host} has {', '.join(differing)}"
            self._nodes.refuse(worker.node, now, trouble)
            self._despair(now)
            return
        worker.node.kind, worker.node.host = event.kind, event.host
        worker.node.gpu_driver = event.versions.get(GPU_DRIVER, "")
        if worker.node.unfit is None:  # else only a task can tell that it is well again
            worker.node.trouble, worker.node.refused = "", False
            self._failed_starts = 0
        worker.since = now
        self._crew.welcome(worker, event.kind)
        self._choose_kind()
        self._serve(worker, now)

    def _forget(self, worker: Worker) -> None:
        self._crew.remove(worker)
        self._out.append(Stop(worker.number))

    def _choose_kind(self) -> None:
        up = self._crew.up
        self.kind = max(up, key=lambda kind: up[kind], default=self.kind)

    def _lose(self, worker: Worker, reason: str, now: float, is_recalled: bool = False) -> None:
        """A worker is gone: its tasks go to others, its node is left alone for a moment."""
        self._forget(worker)
        self._nodes.failed(worker.node, worker.since, now, reason)
        if worker.kind is None:
            # an autoscaler may take several hosts away at once: then they fail as one
            if self._demand is None or worker.since > self._failed_at:
                self._failed_starts, self._failed_at = self._failed_starts + 1, now
            self._despair(now)
            return
        self._choose_kind()
        self._hand_on(worker, None if is_recalled else worker.current(), reason, now)

    def _unfit(self, event: Unfit, now: float) -> None:
        worker = self._crew.get(event.worker)
        if worker is None or worker.kind is None:
            return
        if event.task not in self._jobs:  # it has ended, and what it needs may have gone since
            if (job := worker.jobs.get(event.task)) is not None:
                self._crew.take(worker, job)
                worker.since = now
            self._serve(worker, now)
            return
        self._forget(worker)
        self._nodes.refuse_unfit(worker.node, now, event.error)
        self._choose_kind()
        self._hand_on(worker, None, "", now)
        self._despair(now)

    def _hand_on(self, worker: Worker, blamed: Job | None, reason: str, now: float) -> None:
        """The tasks of a worker that is gone go back to their places; `reason` says why it is."""
        for job in worker.jobs.values():
            if job.done:
                continue
            job.lost += job is blamed
            if job.lost >= self._policy.losses:
                self._end(job.task, Fail(job.task, poisonous(job.lost, reason)), now)
            elif not job.held:
                self._place(job, now)

    def _room(self, event: Room, now: float) -> None:
        gone = self._nodes.update(event.nodes)
        for worker in [worker for worker in self._crew if worker.node.name in gone]:
            if worker.kind is None:  # not a failure to start
                self._forget(worker)
            else:
                self._lose(worker, "its host has left the cluster", now)
        self._staff(now)

    def _staff(self, now: float) -> None:
        """Starts workers where there is room."""
        while (node := self._vacancy(now)) is not None:
            worker = Worker(next(self._numbers), node, now)
            self._crew.begin(worker)
            self._out.append(Start(worker.number, node.name))

    def _vacancy(self, now: float) -> Node | None:
        """The node for the next worker, if there is to be one."""
        if self._demand is not None:
            found = (self._nodes.best(kind, now) for kind in self._demand.short_of(self._crew))
            return next((node for node in found if node is not None), None)
        if self._most is None:
            return self._nodes.best(None, now)
        for kind in [self.kind or None, *self._backlog.kinds()]:
            if self._crew.count(kind) < self._most and (node := self._nodes.best(kind, now)):
                return node
        return None

    # Time

    def _tick(self, now: float) -> None:
        for worker in self._crew:
            limit = self._limit(worker)
            if limit is not None and now - worker.since > limit:
                verb = "did not come up" if worker.kind is None else "gave no answer"
                self._lose(worker, f"a worker {verb} in {now - worker.since:.0f} s", now)
        if self._demand is not None:
            self._scale(self._demand, now)
        self._staff(now)
        self._miss(now)
        self._help(now)

    def _scale(self, demand: Demand, now: float) -> None:
        """Asks for what the tasks need, and ends workers who are of no use."""
        asked = demand.follow(self._tasks, not self.kind, now)
        if asked is not None:
            self._out.append(Ask(asked))
        while (worker := demand.surplus(self._crew, now)) is not None:
            self._forget(worker)

    def _limit(self, worker: Worker) -> float | None:
        """The seconds that a worker has for what it is doing; None if it is idle."""
        if worker.kind is None:
            return self._policy.start
        job = worker.current()
        if job is None:
            return None
        return self._speeds.limit(worker.kind, job.sort, job.sort not in worker.met, job.lost)

    def _miss(self, now: float) -> None:
        """Fails tasks that wait for a kind which nobody has had for long."""
        up = self._crew.up
        waited = set(self._backlog.kinds()) | ({None} if not self.kind else set())
        missed = waited - up.keys() - ({None} if up else set())
        for kind in self._absences.expired(missed, self._crew.may_come, now):
            self._fail_waiting(kind, now)

    def _fail_waiting(self, kind: str | None, now: float) -> None:
        """Those that wait for `kind` get an error; so does the pool, if it is any kind at all."""
        error = self._nodes.unfitness(kind) or missing(
            kind, self._patience, self._crew.up, self.troubles()
        )
        self._clear(kind, error, now)
        if kind is None:
            self._out.append(GiveUp(error))

    def _despair(self, now: float) -> None:
        """Tells those who wait, if nobody is up or coming, and starts fail again and again.

        So are those told who wait for a kind of which all nodes are unfit.
        """
        for kind in self._backlog.kinds():
            unfit = self._nodes.unfitness(kind)
            if unfit is not None and not self._crew.count(kind):
                self._clear(kind, unfit, now)
        if self._crew.up or self._crew.starting:
            return
        if self._failed_starts < self._policy.failed_starts and not self._nodes.all_refused():
            return
        error = self._nodes.unfitness(None) or cannot_start(self.troubles())
        for kind in self._backlog.kinds():
            self._clear(kind, error, now)
        self._out.append(GiveUp(error))

    def _clear(self, kind: str | None, error: LambdaSearchError, now: float) -> None:
        """All that wait for `kind` get an error."""
        for job in self._backlog.clear(kind):
            self._end(job.task, Fail(job.task, error), now)
