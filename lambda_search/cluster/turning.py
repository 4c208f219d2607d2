"""The dispatcher's thread: Ray's answers become events, the dispatcher's instructions calls.

What is decided, and why, is in `dispatch`. Ray pushes its answers here, so that a turn costs the
same for one worker and for a thousand. Answers are copied as they come, because Ray hands out
views that would keep its object store full.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures import InvalidStateError
from contextlib import suppress
from typing import TypeAlias

from lambda_search.cluster.actors import Actors
from lambda_search.cluster.answers import Done
from lambda_search.cluster.answers import Raised
from lambda_search.cluster.answers import Reply
from lambda_search.cluster.autoscaler import Autoscaler
from lambda_search.cluster.connection import nodes
from lambda_search.cluster.dispatch import Dispatcher
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
from lambda_search.cluster.messages import Tick
from lambda_search.cluster.messages import Unsendable
from lambda_search.cluster.promises import Promises
from lambda_search.errors import PoolLost
from lambda_search.errors import first_line

__all__ = ["Inbox", "Turning"]

Inbox: TypeAlias = "queue.SimpleQueue[Event | Reply]"
"""What Ray, and those who submit, have to say."""

_TICK_SECONDS = 0.25
_LOOK_FOR_NODES_SECONDS = 5.0


class Turning:
    """Turns until no more promises are given.

    Arguments:
        dispatcher: decides; only this thread tells it what happens.
        inbox: what it is told.
        gpus: that each worker takes.
        actors: the workers.
        promises: the tasks, and who waits for them.
        autoscaler: of the cluster, if it has one.
        lose: is called with what ended the turning, if that was not the end of the promises.

    `started` ends when the first worker is up, or with the reason why none comes. `busy_seconds`
    is what the workers' tasks took in all.
    """

    def __init__(
        self,
        dispatcher: Dispatcher,
        inbox: Inbox,
        gpus: float,
        actors: Actors,
        promises: Promises,
        autoscaler: Autoscaler | None,
        lose: Callable[[PoolLost], None],
    ) -> None:
        self._dispatcher = dispatcher
        self._inbox = inbox
        self._gpus = gpus
        self._actors = actors
        self._promises = promises
        self._autoscaler = autoscaler
        self._lose = lose
        self._thread = threading.Thread(target=self._run, name="pool", daemon=True)
        self.started: Future[None] = Future()
        self.busy_seconds = 0.0

    def begin(self) -> None:
        """Starts the thread."""
        self._thread.start()

    def join(self) -> None:
        """Waits a moment for the thread's end, once no more promises are given."""
        self._inbox.put(Tick())
        self._thread.join(timeout=1)

    def give_up(self, error: Exception) -> None:
        """Who waits for the first worker gets this error, unless that was there."""
        with suppress(InvalidStateError):
            self.started.set_exception(error)

    def _run(self) -> None:
        looked = ticked = -_LOOK_FOR_NODES_SECONDS
        try:
            while not self._promises.are_over:
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
        if self._promises.are_over:
            return
        for instruction in self._dispatcher.handle(event, time.monotonic()):
            self._obey(instruction)
        if isinstance(event, Ready) and self._dispatcher.kind:
            with suppress(InvalidStateError):  # it has started, or is lost
                self.started.set_result(None)

    def _obey(self, instruction: Instruction) -> None:
        match instruction:
            case Send(worker, task):
                self._send(worker, task)
            case Revoke(worker, task):
                self._actors.revoke(worker, task)
            case Resolve(task, answer):
                self.busy_seconds += answer.seconds if isinstance(answer, Done) else 0.0
                self._promises.settle(task, answer)
            case Fail(task, error):
                self._promises.settle(task, Raised(error))
            case Start(worker, node):
                self._actors.start(worker, node)
            case Stop(worker):
                self._actors.stop(worker)
            case Ask(wanted) if self._autoscaler is not None:
                self._autoscaler.ask(wanted)
            case GiveUp(error):
                self.give_up(error)

    def _send(self, worker: int, number: int) -> None:
        task = self._promises.task(number)
        if task is None:  # withdrawn meanwhile: the worker is free again
            self._inbox.put(Unsendable(worker, number, "nobody waits for it"))
        else:
            self._actors.send(worker, number, task)
