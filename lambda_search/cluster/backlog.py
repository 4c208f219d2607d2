"""The tasks that wait: urgent ones first, the others in order, each for its kind of device."""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from dataclasses import dataclass

__all__ = ["Backlog", "Job"]


@dataclass(slots=True, eq=False)
class Job:
    """A task that has not ended.

    Arguments:
        task: its number; the order of submission.
        sort, kind, urgent: as submitted.
        lost: workers that ended while they ran it.
        held: how many workers have it now.
        doubted: whether a worker gave an answer for which itself may be to blame.
        done: whether it has ended after all, wherever it still stands in line.
    """

    task: int
    sort: str
    kind: str | None
    urgent: bool
    lost: int = 0
    held: int = 0
    doubted: bool = False
    done: bool = False


class Backlog:
    """One line for each kind, so that a kind which nobody has holds up nobody else.

    A task that was sent and comes back takes its old place.
    """

    def __init__(self) -> None:
        self._lines: dict[str | None, list[tuple[bool, int, Job]]] = {}

    def push(self, job: Job) -> None:
        """Puts a task in its place."""
        heapq.heappush(self._lines.setdefault(job.kind, []), (not job.urgent, job.task, job))

    def pop(self, kind: str) -> Job | None:
        """Takes the next task that a worker of `kind` can do."""
        lines = [line for line in (self._line(kind), self._line(None)) if line]
        return heapq.heappop(min(lines, key=lambda line: line[0]))[2] if lines else None

    def kinds(self) -> Iterator[str | None]:
        """The kinds that are waited for; None stands for any."""
        return (kind for kind in list(self._lines) if self._line(kind))

    def clear(self, kind: str | None) -> Iterator[Job]:
        """Takes every task that waits for `kind`."""
        while line := self._line(kind):
            yield heapq.heappop(line)[2]

    def _line(self, kind: str | None) -> list[tuple[bool, int, Job]]:
        """The line of `kind` with a task that has not ended in front; empty if there is none."""
        line = self._lines.get(kind, [])
        while line and line[0][2].done:
            heapq.heappop(line)
        if not line:
            self._lines.pop(kind, None)
        return line
