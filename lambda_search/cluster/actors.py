"""The workers as Ray knows them: actors, and the calls to them whose answers come to an inbox."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import ray
from ray.exceptions import RayActorError
from ray.exceptions import RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from lambda_search.cluster.answers import Reply
from lambda_search.cluster.answers import reason
from lambda_search.cluster.courier import start_courier
from lambda_search.cluster.messages import Event
from lambda_search.cluster.messages import Lost
from lambda_search.cluster.messages import Unsendable
from lambda_search.cluster.worker import Worker
from lambda_search.downloads import offline
from lambda_search.errors import first_line
from lambda_search.spec import StudySpec
from lambda_search.work.tasks import Task

__all__ = ["Actors"]

_OFFLINE = {"LAMBDA_SEARCH_OFFLINE": "1", "HF_HUB_OFFLINE": "1"}
"""For workers on other hosts, which do not inherit this process's environment."""


class Actors:
    """The actors of one pool; used on the dispatcher's thread until that has ended.

    Arguments:
        gpus: that each takes.
        first: a study that they get ready for as they come up, with its files' places.
        tell: is called with answers as they come, on threads of Ray's, and with what is lost.
    """

    def __init__(
        self, gpus: float, first: StudySpec | None, tell: Callable[[Event | Reply], None]
    ) -> None:
        as_actor: Any = ray.remote(
            num_cpus=1,
            num_gpus=gpus,
            max_restarts=0,
            max_task_retries=0,
            runtime_env={"env_vars": _OFFLINE} if offline() else {},
        )
        self._actor = as_actor(Worker)
        self._first = first
        self._tell = tell
        self._actors: dict[int, Any] = {}
        self._calls: dict[tuple[int, int], Any] = {}
        self._courier: Any = None

    def start(self, worker: int, node: str) -> None:
        """Starts a worker on a node."""
        place = NodeAffinitySchedulingStrategy(node, soft=False)
        actor = self._actor.options(scheduling_strategy=place).remote()
        self._actors[worker] = actor
        self._listen(worker, None, actor.ready.remote())
        if self._first is not None:
            actor.get_ready.remote(self._first)

    def start_courier(self) -> None:
        """Has files carried to where they are not, unless that is so already."""
        if self._courier is None:
            self._courier = start_courier()

    def send(self, worker: int, number: int, task: Task[Any]) -> None:
        """Gives a worker a task."""
        try:
            answer = self._actors[worker].run.remote(task)
            self._calls[worker, number] = answer
        except RayActorError as error:
            self._tell(Lost(worker, reason(error)))
        except Exception as error:  # it cannot travel; others may
            self._tell(Unsendable(worker, number, first_line(error)))
        else:
            self._listen(worker, number, answer)

    def answered(self, worker: int, number: int) -> None:
        """Forgets a call whose answer has come."""
        self._calls.pop((worker, number), None)

    def revoke(self, worker: int, number: int) -> None:
        """Takes a task back that a worker has not begun."""
        call = self._calls.get((worker, number))
        with suppress(RayError):
            if call is not None:
                ray.cancel(call)

    def stop(self, worker: int) -> None:
        """Ends a worker at once."""
        _kill(self._actors.pop(worker))

    def close(self) -> None:
        """Ends them all at once."""
        while self._actors:
            _kill(self._actors.popitem()[1])
        if self._courier is not None:
            _kill(self._courier)

    def _listen(self, worker: int, number: int | None, answer: Any) -> None:
        tell = self._tell
        answer.future().add_done_callback(lambda done: tell(Reply(worker, number, done)))


def _kill(actor: Any) -> None:
    with suppress(RayError):
        ray.kill(actor)
