"""What the dispatcher is told and what it orders: plain values, for any history to be tested.

Workers and tasks are numbers here. What a task does, what it answered and which actor a worker is
are known to the pool alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from lambda_search.errors import LambdaSearchError

__all__ = [
    "Answered",
    "Ask",
    "Event",
    "Fail",
    "GPU_DRIVER",
    "GiveUp",
    "Instruction",
    "Lost",
    "Ready",
    "Resolve",
    "Revoke",
    "Room",
    "Send",
    "Start",
    "Stop",
    "Submitted",
    "Tick",
    "Unfit",
    "Unsendable",
    "Withdrawn",
]


GPU_DRIVER = "GPU driver"
"""Among the versions that a worker tells. It decides no bits: it is only compared to be told."""


@dataclass(frozen=True, slots=True)
class Submitted:
    """A task is to be done.

    Arguments:
        task: a number that no task had before.
        sort: tasks of one sort take about as long on one kind of device.
        kind: the device kind that it needs; any unless given.
        urgent: whether it goes before those that are not.
    """

    task: int
    sort: str
    kind: str | None = None
    urgent: bool = False


@dataclass(frozen=True, slots=True)
class Room:
    """How many workers each node has room for, those that are there included."""

    nodes: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Ready:
    """A worker came up on a device of `kind`, with these versions of the libraries."""

    worker: int
    kind: str
    host: str
    versions: Mapping[str, str]

    def differences(self, here: Mapping[str, str]) -> list[str]:
        """The libraries that the driver has too, in another version."""
        return [
            f"{name} {there} (here {here[name]})"
            for name, there in self.versions.items()
            if name != GPU_DRIVER and here.get(name, there) != there
        ]


@dataclass(frozen=True, slots=True)
class Lost:
    """A worker ended, or could not start.

    Arguments:
        worker, reason: which, and why.
        is_recalled: whether its host called it back (preemption): no task is to blame.
    """

    worker: int
    reason: str
    is_recalled: bool = False


@dataclass(frozen=True, slots=True)
class Answered:
    """A worker did a task.

    Arguments:
        worker, task: who, and which.
        answer: its value or its own error, which is only passed on.
        is_doubtful: whether the worker itself may be to blame for it, as for images that are not
            finite: another one is asked, once.
    """

    worker: int
    task: int
    answer: Any
    is_doubtful: bool = False


@dataclass(frozen=True, slots=True)
class Unfit:
    """A task found that its worker's host cannot do what this driver asks, whatever the task.

    Arguments:
        worker, task: who, and which.
        error: what is wrong there, as those are told who wait where no host can.
    """

    worker: int
    task: int
    error: LambdaSearchError


@dataclass(frozen=True, slots=True)
class Unsendable:
    """A task cannot travel to the worker that it was to be sent to."""

    worker: int
    task: int
    reason: str


@dataclass(frozen=True, slots=True)
class Withdrawn:
    """Nobody waits for a task any more; if a worker is at it, its answer is not needed."""

    task: int


@dataclass(frozen=True, slots=True)
class Tick:
    """Time has passed. Without ticks nothing is started, and nothing found to be late."""


@dataclass(frozen=True, slots=True)
class Start:
    """Start a worker on a node; `worker` is a new number."""

    worker: int
    node: str


@dataclass(frozen=True, slots=True)
class Stop:
    """End a worker, if it has not ended by itself, and forget it."""

    worker: int


@dataclass(frozen=True, slots=True)
class Send:
    """Send a task to a worker, behind those that it has."""

    worker: int
    task: int


@dataclass(frozen=True, slots=True)
class Revoke:
    """Take a task back that a worker has not begun; if it has, its answer may still be first."""

    worker: int
    task: int


@dataclass(frozen=True, slots=True)
class Resolve:
    """A task is done, with this answer."""

    task: int
    answer: Any


@dataclass(frozen=True, slots=True)
class Fail:
    """A task ends with an error."""

    task: int
    error: LambdaSearchError


@dataclass(frozen=True, slots=True)
class Ask:
    """Have the autoscaler make room for so many workers of each kind in all; None is any kind."""

    workers: Mapping[str | None, int]


@dataclass(frozen=True, slots=True)
class GiveUp:
    """Nobody is up and nobody comes: who waits for the workers themselves gets this error."""

    error: LambdaSearchError


Event = Submitted | Room | Ready | Lost | Answered | Unfit | Unsendable | Withdrawn | Tick
Instruction = Start | Stop | Send | Revoke | Resolve | Fail | Ask | GiveUp
