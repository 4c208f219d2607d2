"""How many workers the queue needs, where an autoscaler makes room for them.

Each task that has not ended can fill one worker, so there is never use for more. What was needed
a moment ago still counts: between a study's generations its queue is empty for as long as it
proposes, and a machine that was let go of takes minutes to come again.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from collections.abc import Mapping

from lambda_search.cluster.crew import Crew
from lambda_search.cluster.crew import Worker

__all__ = ["Demand"]

_MOST = 1000
"""Workers of a kind that are asked for at most: what is asked has to travel."""


class Demand:
    """Follows the queue.

    Arguments:
        most: workers of each kind, at most.
        lull: seconds for which what was needed still counts.
        again: seconds after which what is needed is asked for once more, since whoever else asks
            takes the place of what was asked.
    """

    def __init__(self, most: int | None, lull: float, again: float) -> None:
        self._most = min(most or _MOST, _MOST)
        self._lull = lull
        self._again = again
        self._peaks: dict[str | None, deque[tuple[float, int]]] = {}
        self._asked: tuple[float, dict[str | None, int]] | None = None
        self.wanted: dict[str | None, int] = {}

    def follow(
        self, tasks: Mapping[str | None, int], first: bool, now: float
    ) -> dict[str | None, int] | None:
        """Takes over how many tasks there are for each kind; None stands for any.

        Arguments:
            tasks: that have not ended.
            first: whether nobody has come up yet: then one worker is wanted in any case.
            now: the time.

        Returns:
            How many workers of each are to be asked for; None if that was said lately.
        """
        for kind in self._peaks.keys() | tasks.keys():
            self._note(kind, min(tasks.get(kind, 0), self._most), now)
        self.wanted = {kind: peaks[0][1] for kind, peaks in self._peaks.items() if peaks[0][1]}
        if first and not self.wanted:
            self.wanted = {None: 1}
        if self._asked is not None:
            when, what = self._asked
            if what == self.wanted and (not what or now - when < self._again):
                return None
        self._asked = now, dict(self.wanted)
        return dict(self.wanted)

    def _note(self, kind: str | None, count: int, now: float) -> None:
        """Keeps what was largest in the last while: falling counts, each with its last time."""
        peaks = self._peaks.setdefault(kind, deque())
        while peaks and peaks[-1][1] <= count:
            peaks.pop()
        peaks.append((now, count))
        while peaks[0][0] <= now - self._lull:
            peaks.popleft()

    def short_of(self, crew: Crew) -> Iterator[str | None]:
        """The kinds of which there are fewer workers than are wanted; None stands for any."""
        for kind in self.wanted:
            wanted = sum(self.wanted.values()) if kind is None else self.wanted[kind]
            if crew.count(kind) < wanted:
                yield kind

    def surplus(self, crew: Crew, now: float) -> Worker | None:
        """One that has nothing to do and will not be needed; it would keep its machine from going.

        One that just came up may have been started for what is about to be asked, such as a pool's
        first. Those go first that have the fewest others beside them.
        """
        whole, any_kind = sum(self.wanted.values()), self.wanted.get(None, 0)
        idle = []
        for worker in crew:
            is_new = not worker.met and now - worker.since < self._lull
            if worker.kind is not None and not worker.jobs and not is_new:
                there, wanted = crew.up[worker.kind], self.wanted.get(worker.kind, 0)
                if there > wanted + any_kind or (len(crew) > whole and there > wanted):
                    idle.append(worker)
        return min(idle, key=lambda worker: worker.node.workers, default=None)
