"""Tasks from their submission to their end: which wait, which worker has which, what each came to.

- Lost: the tasks of a worker that ended go back to their places; only the one that it was doing
  is to blame, and one that costs three workers fails. A host that calls its workers back blames
  none.
- Slow: where a worker has nothing else to do, it is given what others have not begun, and a second
  copy of what one takes much longer over than usual. The first answer counts: answers do not
  depend on who gives them.
- Doubtful: where the worker itself may be to blame for an answer, another one is asked; what that
  says counts.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from collections.abc import Iterator

from lambda_search.cluster.backlog import Backlog
from lambda_search.cluster.backlog import Job
from lambda_search.cluster.crew import Crew
from lambda_search.cluster.crew import Worker
from lambda_search.cluster.helping import helped
from lambda_search.cluster.messages import Answered
from lambda_search.cluster.messages import Fail
from lambda_search.cluster.messages import Instruction
from lambda_search.cluster.messages import Resolve
from lambda_search.cluster.messages import Revoke
from lambda_search.cluster.messages import Send
from lambda_search.cluster.messages import Submitted
from lambda_search.cluster.messages import Unsendable
from lambda_search.cluster.policy import Policy
from lambda_search.cluster.policy import Speeds
from lambda_search.cluster.refusals import poisonous
from lambda_search.cluster.refusals import unsendable
from lambda_search.errors import LambdaSearchError

__all__ = ["Assignments"]


class Assignments:
    """The tasks that have not ended.

    Arguments:
        crew: the workers that they are given to; who comes and goes is not decided here.
        policy: how many workers a task may cost, and when it is slow or late.
        order: is called with each `Send`, `Revoke`, `Resolve` and `Fail`.

    `counts` is how many there are for each kind of device; None stands for any.
    """

    def __init__(self, crew: Crew, policy: Policy, order: Callable[[Instruction], None]) -> None:
        self._crew = crew
        self._order = order
        self._losses = policy.losses
        self._jobs: dict[int, Job] = {}
        self._backlog = Backlog()
        self._speeds = Speeds(policy)
        self.counts: Counter[str | None] = Counter()

    def has(self, task: int) -> bool:
        """Whether a task has not ended."""
        return task in self._jobs

    def awaited(self) -> Iterator[str | None]:
        """The kinds that tasks wait for; None stands for any."""
        return self._backlog.kinds()

    def limit(self, worker: Worker) -> float | None:
        """The seconds that a worker which is up has for what it is doing; None if it is idle."""
        job = worker.current()
        if job is None or worker.kind is None:
            return None
        return self._speeds.limit(worker.kind, job.sort, job.sort not in worker.met, job.lost)

    def submit(self, event: Submitted, now: float) -> None:
        """Takes a task on."""
        job = Job(event.task, event.sort, event.kind, event.urgent)
        self._jobs[job.task] = job
        self.counts[job.kind] += 1
        self._place(job, now)

    def serve(self, worker: Worker, now: float) -> None:
        """Sends a worker which is up what it can have."""
        assert worker.kind is not None
        while self._crew.has_room(worker) and (job := self._backlog.pop(worker.kind)):
            self._send(worker, job, now)

    def help(self, now: float) -> None:
        """Gives those who have nothing to do what others have not begun, or are slow with."""
        for holder, job, helper in helped(self._crew, self._speeds, now):
            if holder.current() is not job:
                self._revoke(holder, job)
            self._send(helper, job, now)

    def answered(self, event: Answered, now: float) -> None:
        """A worker did a task."""
        worker = self._crew.get(event.worker)
        job = worker.jobs.get(event.task) if worker else None
        if worker is not None and job is not None and worker.kind is not None:
            if worker.current() is job:
                self._time(worker, worker.kind, job, now)
            worker.met.add(job.sort)
            worker.node.is_well()
            self._crew.take(worker, job)
            if event.is_doubtful and self._is_doubted(worker, job, now):
                self.serve(worker, now)
                return
        self._end(event.task, Resolve(event.task, event.answer), now)
        if worker is not None and worker.kind is not None:
            self.serve(worker, now)

    def unsendable(self, event: Unsendable, now: float) -> None:
        """A task could not be sent: it fails."""
        worker = self._crew.get(event.worker)
        job = worker.jobs.get(event.task) if worker else None
        if worker is not None and job is not None:
            self._crew.take(worker, job)
        self._end(event.task, Fail(event.task, unsendable(event.reason)), now)
        if worker is not None and worker.kind is not None:
            self.serve(worker, now)

    def withdraw(self, task: int, now: float) -> None:
        """Nobody waits for a task any more."""
        if (job := self._closed(task)) is not None:
            self._recall(job, now)

    def pass_over(self, worker: Worker, task: int, now: float) -> None:
        """A worker which is up goes on from a task that has ended, and that it could not do."""
        if (job := worker.jobs.get(task)) is not None:
            self._crew.take(worker, job)
            worker.since = now
        self.serve(worker, now)

    def hand_on(self, worker: Worker, blamed: Job | None, reason: str, now: float) -> None:
        """The tasks of a worker that is gone go back to their places; `reason` says why it is.

        `blamed` is the one that may have cost it, if any.
        """
        for job in worker.jobs.values():
            if job.done:
                continue
            job.lost += job is blamed
            if job.lost >= self._losses:
                self._end(job.task, Fail(job.task, poisonous(job.lost, reason)), now)
            elif not job.held:
                self._place(job, now)

    def fail_waiting(self, kind: str | None, error: LambdaSearchError, now: float) -> None:
        """All that wait for `kind` get an error."""
        for job in self._backlog.clear(kind):
            self._end(job.task, Fail(job.task, error), now)

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
        self._order(Send(worker.number, job.task))

    def _revoke(self, worker: Worker, job: Job) -> None:
        self._crew.take(worker, job)
        self._order(Revoke(worker.number, job.task))

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

    def _end(self, task: int, how: Resolve | Fail, now: float) -> None:
        """A task ends, once: a second answer is as good as the first, and not needed."""
        if (job := self._closed(task)) is not None:
            self._order(how)
            self._recall(job, now)

    def _closed(self, task: int) -> Job | None:
        """Takes a task off the books, if it is there."""
        job = self._jobs.pop(task, None)
        if job is not None:
            job.done = True
            self.counts[job.kind] -= 1
        return job

    def _recall(self, job: Job, now: float) -> None:
        """Takes a task that has ended from those who have not begun it."""
        for worker in self._crew.holders(job):
            if worker.current() is not job:
                self._revoke(worker, job)
                self.serve(worker, now)
