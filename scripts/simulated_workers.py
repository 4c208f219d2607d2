"""A pool whose workers live in simulated time: the real dispatcher decides, nobody computes.

A worker takes as long over a task as a random number says, and answers with a score that was made
up. What the driver does takes its real time (`simulated_time`); what the simulation of workers
costs this process takes none, and is told apart.
"""

from __future__ import annotations

import heapq
import itertools
import math
import queue
import random
import threading
import time
from collections import Counter
from collections import deque
from concurrent.futures import Future
from concurrent.futures import InvalidStateError
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from dataclasses import field
from functools import partial
from typing import Any

import numpy as np
import torch
from simulated_time import Clock

from lambda_search.cluster.dispatch import Dispatcher
from lambda_search.cluster.messages import Answered
from lambda_search.cluster.messages import Event
from lambda_search.cluster.messages import Fail
from lambda_search.cluster.messages import Instruction
from lambda_search.cluster.messages import Lost
from lambda_search.cluster.messages import Ready
from lambda_search.cluster.messages import Resolve
from lambda_search.cluster.messages import Room
from lambda_search.cluster.messages import Send
from lambda_search.cluster.messages import Start
from lambda_search.cluster.messages import Stop
from lambda_search.cluster.messages import Submitted
from lambda_search.cluster.messages import Tick
from lambda_search.cluster.messages import Withdrawn
from lambda_search.metrics.evidence import Score
from lambda_search.records import Extras
from lambda_search.schedule import LambdaSchedule
from lambda_search.work.pool import sort_of
from lambda_search.work.scoring import Scored
from lambda_search.work.scoring import ScoreFeatures
from lambda_search.work.tasks import Preview
from lambda_search.work.tasks import Rehearse
from lambda_search.work.tasks import SampleShard
from lambda_search.work.tasks import ShardResult
from lambda_search.work.tasks import Task

__all__ = ["WIDTH", "Habits", "SimulatedPool", "Span"]

WIDTH = 2048
"""d of the features that nobody makes."""

_KIND = "simulated"
_A_NODE = 8
_TICK_SECONDS = 0.25
_MOMENT = 0.004
"""Real seconds between two looks at the clock: simulated time goes in steps of so many × speed."""
_NOISE = np.random.default_rng(0).normal(0.0, 8.0, 2**17)


@dataclass(frozen=True)
class Habits:
    """What the workers are like; all times in simulated seconds.

    Arguments:
        shard: the median time of a shard.
        spread: σ of its logarithm.
        scoring: of a score of 10,000 images; half of it is the distance, whatever n.
        slow: share of the workers that take `slower` times as long for everything.
        failing: share of the tasks in which the worker is lost, somewhere on the way.
        start: that a worker takes to come up.
    """

    shard: float = 20.0
    spread: float = 0.2
    scoring: float = 6.0
    slow: float = 0.02
    slower: float = 10.0
    failing: float = 0.01
    start: float = 15.0


@dataclass(frozen=True, slots=True)
class Span:
    """A piece of a worker's life that a task took.

    Arguments:
        begin, end: simulated seconds.
        counted: whether its answer came first; else it was a second copy, or lost on the way.
        is_shard: whether images were sampled; else they were scored.
    """

    begin: float
    end: float
    counted: bool
    is_shard: bool


@dataclass(slots=True)
class _Worker:
    """A worker: the tasks that it was sent, and since when it is at the first."""

    is_slow: bool
    tasks: deque[int] = field(default_factory=deque)
    begun: float = 0.0
    turn: int = 0


@dataclass(slots=True)
class _Job:
    task: Task[Any]
    future: Future[Any]


class SimulatedPool:
    """Keeps the contract of pools.

    Arguments:
        workers: how many.
        habits: what they are like.
        speed: simulated seconds in a real one while nothing is computed.
        seed: of all that is random.

    `spans` is what the workers did; `lost` how many of them ended; `worker_cpu` the real seconds
    that the simulation of workers took.
    """

    def __init__(self, workers: int, habits: Habits, speed: float, seed: int = 0) -> None:
        self._workers_wanted = workers
        self._habits = habits
        self.clock = Clock(speed)
        self._random = random.Random(seed)
        self._dispatcher = Dispatcher({}, workers)
        self._workers: dict[int, _Worker] = {}
        self._agenda: list[tuple[float, int, int, int]] = []  # when, tie, worker, its turn
        self._count = itertools.count()
        self._tie = itertools.count()
        self._jobs: dict[int, _Job] = {}
        self._inbox: queue.SimpleQueue[Event] = queue.SimpleQueue()
        self._settling = ThreadPoolExecutor(1, "pool-answers")
        self._closing = threading.Event()
        self._up = threading.Event()
        self._shards: dict[str, tuple[LambdaSchedule, int]] = {}
        self.spans: list[Span] = []
        self.lost = 0
        self.answers = 0
        self.dispatching_cpu = 0.0
        self.worker_cpu = 0.0
        self.rounds = Rounds()
        self._thread = threading.Thread(target=self._run, name="simulation", daemon=True)
        self._thread.start()
        self._up.wait()

    @property
    def device_kind(self) -> str:
        return _KIND

    def kinds(self) -> dict[str, int]:
        return self._dispatcher.kinds()

    def places(self) -> list[tuple[str, str, int]]:
        return self._dispatcher.places()

    def coming(self) -> int:
        return self._dispatcher.starting

    def check(self) -> None:
        """It lasts as long as this process."""

    def submit(
        self, task: Task[Any], urgent: bool = False, kind: str | None = None
    ) -> Future[Any]:
        future: Future[Any] = Future()
        number = next(self._count)
        self._jobs[number] = _Job(task, future)
        self._inbox.put(Submitted(number, sort_of(task), kind, urgent))
        future.add_done_callback(partial(self._withdraw, number))
        return future

    def close(self) -> None:
        """Ends the simulation."""
        self._closing.set()
        self._inbox.put(Tick())
        self._thread.join()
        self._settling.shutdown(wait=False, cancel_futures=True)

    def _withdraw(self, number: int, future: Future[Any]) -> None:
        if future.cancelled():
            self._inbox.put(Withdrawn(number))

    # The simulation's thread

    def _run(self) -> None:
        nodes = range(math.ceil(self._workers_wanted / _A_NODE))
        self._handle(Room({f"n{number}": _A_NODE for number in nodes}))
        ticked, apart = 0.0, 0.0
        while not self._closing.is_set():
            before, spent = time.thread_time(), self.dispatching_cpu
            self.clock.advance(apart)
            self._do_what_is_due()
            if self.clock.now - ticked >= _TICK_SECONDS:
                ticked = self.clock.now
                self._handle(Tick())
            self._receive()
            apart = time.thread_time() - before - (self.dispatching_cpu - spent)
            self.worker_cpu += apart

    def _receive(self) -> None:
        """Handles what was submitted; waits a moment for it."""
        timeout = _MOMENT
        for _ in range(self._inbox.qsize() + 1):
            try:
                event = self._inbox.get(timeout=timeout)
            except queue.Empty:
                return
            timeout = 0.0
            if isinstance(event, Submitted) and (job := self._jobs.get(event.task)):
                self.rounds.submitted(event.task, job.task)
            self._handle(event)

    def _do_what_is_due(self) -> None:
        while self._agenda and self._agenda[0][0] <= self.clock.now:
            when, _, number, turn = heapq.heappop(self._agenda)
            worker = self._workers.get(number)
            if worker is None or worker.turn != turn:
                continue
            if turn == 0:
                worker.turn = 1
                self._handle(Ready(number, _KIND, "host", {}))
                if self._dispatcher.kinds().get(_KIND, 0) >= min(self._workers_wanted, 1):
                    self._up.set()
            elif self._random.random() < self._habits.failing:
                self._span(worker, self._random.uniform(worker.begun, when), False)
                self.lost += 1
                self._handle(Lost(number, "simulated"))
            else:
                self._answer(number, worker, when)

    def _answer(self, number: int, worker: _Worker, when: float) -> None:
        task = worker.tasks[0]
        job = self._jobs.get(task)
        self._span(worker, when, job is not None)
        worker.tasks.popleft()
        self._begin(number, worker, when)
        self._handle(Answered(number, task, None if job is None else self._said(job.task)))

    def _said(self, task: Task[Any]) -> Any:
        """What a worker would have said; who scores features knows whose they are by name."""
        match task:
            case SampleShard():
                self._shards |= dict.fromkeys(task.names, (task.schedule, task.start))
                return ShardResult(task.recipe.batch, 1.0, 0.1)
            case ScoreFeatures():
                schedule, first = self._shards[task.rows.names[0]]
                return Scored(_score(schedule, first, task.rows.n), 0.9)
            case Preview():
                return b"a picture"
            case _:
                return None

    def _span(self, worker: _Worker, until: float, counted: bool) -> None:
        job = self._jobs.get(worker.tasks[0])
        is_shard = job is None or isinstance(job.task, SampleShard)
        self.spans.append(Span(worker.begun, until, counted, is_shard))

    def _begin(self, number: int, worker: _Worker, now: float) -> None:
        """Goes to the next task, if there is one."""
        worker.turn += 1
        worker.begun = now
        if not worker.tasks:
            return
        job = self._jobs.get(worker.tasks[0])
        seconds = self._habits.shard * self._random.lognormvariate(0.0, self._habits.spread)
        if job is not None and isinstance(job.task, ScoreFeatures):
            seconds = self._habits.scoring * (0.5 + job.task.rows.n / 20_000)
        if job is not None and isinstance(job.task, Rehearse):
            seconds = self._habits.scoring
        seconds *= self._habits.slower if worker.is_slow else 1.0
        heapq.heappush(self._agenda, (now + seconds, next(self._tie), number, worker.turn))

    def _handle(self, event: Event) -> None:
        begin = time.thread_time()
        instructions = self._dispatcher.handle(event, self.clock.now)
        self.dispatching_cpu += time.thread_time() - begin
        for instruction in instructions:
            self._obey(instruction)

    def _obey(self, instruction: Instruction) -> None:
        match instruction:
            case Send(number, task):
                worker = self._workers[number]
                worker.tasks.append(task)
                self.rounds.sent(task, self.clock.now)
                if len(worker.tasks) == 1:
                    self._begin(number, worker, self.clock.now)
            case Resolve(task, answer):
                self.rounds.answered(task, self.clock.now)
                self._finish(task, answer, None)
            case Fail(task, error):
                self._finish(task, None, error)
            case Start(number, _):
                self._workers[number] = _Worker(self._random.random() < self._habits.slow)
                begin = self.clock.now + self._habits.start
                heapq.heappush(self._agenda, (begin, next(self._tie), number, 0))
            case Stop(number):
                worker = self._workers.pop(number)
                if worker.turn and worker.tasks and worker.begun < self.clock.now:
                    self._stopped(worker)

    def _stopped(self, worker: _Worker) -> None:
        """What a worker was at when it was ended was for nothing."""
        if not self.spans or self.spans[-1].begin != worker.begun:
            self._span(worker, self.clock.now, False)

    def _finish(self, task: int, answer: Any, error: Exception | None) -> None:
        job = self._jobs.pop(task, None)
        if job is not None:
            self.answers += isinstance(job.task, SampleShard)
            self._settling.submit(_settle, job.future, answer, error)


class Rounds:
    """How long rounds wait for their last shards.

    A round is all shards of one study that are under way together, until none is. `tails` are its
    simulated seconds from when its last shard was first sent until its last answer came.
    """

    def __init__(self) -> None:
        self._study: dict[int, int] = {}
        self._open: Counter[int] = Counter()
        self._sent: dict[int, float] = {}
        self._last: dict[int, float] = {}
        self.tails: list[float] = []

    def submitted(self, task: int, what: Task[Any]) -> None:
        """A task is submitted."""
        if isinstance(what, SampleShard):
            study = self._study[task] = what.recipe.seed
            self._open[study] += 1

    def sent(self, task: int, now: float) -> None:
        """A worker is sent a task, for the first time or again."""
        if task in self._study and task not in self._sent:
            self._sent[task] = self._last[self._study[task]] = now

    def answered(self, task: int, now: float) -> None:
        """Its first answer came."""
        study = self._study.pop(task, None)
        if study is None:
            return
        self._sent.pop(task, None)
        self._open[study] -= 1
        if not self._open[study]:
            self.tails.append(now - self._last[study])


def _settle(future: Future[Any], answer: Any, error: Exception | None) -> None:
    with suppress(InvalidStateError):  # whoever waited has cancelled it
        if error is None:
            future.set_result(answer)
        else:
            future.set_exception(error)


def _worth(schedule: LambdaSchedule) -> float:
    """The FID of a schedule of ten steps: a valley whose lowest point gains a tenth."""
    mean, slope = schedule.mean(10), schedule.k
    return 10.0 - math.exp(-(((mean - 1.02) / 0.02) ** 2) - ((slope - 0.001) / 0.004) ** 2)


def _score(schedule: LambdaSchedule, first: int, n: int) -> Score:
    """Of n images from index `first` on, whose noise all schedules share."""
    noise = torch.as_tensor(np.resize(np.roll(_NOISE, -(first % len(_NOISE))), n))
    found = _worth(schedule) + float(noise.mean())
    error = float(noise.std()) / n**0.5
    return Score(n, found, error, found, noise - noise.mean(), Extras(found, None), width=WIDTH)
