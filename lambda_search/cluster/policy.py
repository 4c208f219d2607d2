"""The numbers behind the dispatcher's decisions, and how long a task may take."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

__all__ = ["Policy", "Speeds"]

_REMEMBERED = 32
"""Durations kept of a sort of task: enough to know it, few enough to forget a freak."""

_ENOUGH = 5
"""Durations that make a median."""


@dataclass(frozen=True)
class Policy:
    """When the dispatcher loses patience; all times in seconds.

    Arguments:
        ahead: tasks with a worker at a time, so that it never waits for the queue.
        losses: workers that a task may cost before it counts as poisonous.
        failed_starts: in a row, after which those who wait are told, if nobody is up.
        start: in which a worker must come up.
        patience: that a task waits for a kind of device of which no worker is there.
        growing: the same where an autoscaler was asked for it: machines boot, and install.
        lull, again: where there is one, what the queue needed still counts for so long, and is
            asked for once more after so long.
        backoff, longest_backoff: before a node is tried again: the first time, and at most.
        unmeasured: for a task of a sort of which no duration is known.
        loading: added for the first task of its sort on a worker, which loads models.
        shortest: the least that any task is given.
        slack: a task is late at this many times the slowest of its sort.
        slow: at this many times what its sort usually takes, a task is given to a second worker
            that has nothing else to do; and who took as long is sent no task ahead.
    """

    ahead: int = 2
    losses: int = 3
    failed_starts: int = 3
    start: float = 180.0
    patience: float = 60.0
    growing: float = 1800.0
    lull: float = 60.0
    again: float = 60.0
    backoff: float = 1.0
    longest_backoff: float = 60.0
    unmeasured: float = 1800.0
    loading: float = 300.0
    shortest: float = 60.0
    slack: float = 10.0
    slow: float = 2.0

    def pause(self, failures: int) -> float:
        """How long a node is left alone after that many failures in a row."""
        return float(min(self.longest_backoff, self.backoff * 2.0 ** min(failures - 1, 30)))


class Speeds:
    """How long each sort of task took on each kind of device, and so how long it may take."""

    def __init__(self, policy: Policy) -> None:
        self._policy = policy
        self._took: dict[tuple[str, str], deque[float]] = {}

    def add(self, kind: str, sort: str, seconds: float) -> None:
        """Remembers a duration."""
        took = self._took.get((kind, sort))
        if took is None:
            took = self._took[kind, sort] = deque(maxlen=_REMEMBERED)
        took.append(seconds)

    def limit(self, kind: str, sort: str, first: bool, lost: int) -> float:
        """The longest that a task may run.

        Arguments:
            kind, sort: where it runs, and what it is.
            first: whether it is the first of its sort on its worker.
            lost: workers that it has cost; each doubles the limit, should it be slow, not stuck.
        """
        took = self._took.get((kind, sort))
        if took is None:
            limit = self._policy.unmeasured
        else:
            limit = max(self._policy.shortest, self._policy.slack * max(took))
            limit += self._policy.loading if first else 0.0
        return limit * 2.0**lost

    def is_slow(self, kind: str, sort: str, seconds: float) -> bool:
        """Whether a task of that sort should have ended by then, as most did; no if few are known.

        The median is not moved by a few slow workers.
        """
        took = self._took.get((kind, sort))
        if took is None or len(took) < _ENOUGH:
            return False
        return seconds > self._policy.slow * sorted(took)[len(took) // 2]
