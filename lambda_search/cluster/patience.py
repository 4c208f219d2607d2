"""Those who wait for workers in vain are told so.

One that waits for a kind of device fails after a while in which nobody of that kind is there or
comes. All fail, and so does the wait for the pool itself, where starts fail again and again.
"""

from __future__ import annotations

from collections.abc import Callable

from lambda_search.cluster.absences import Absences
from lambda_search.cluster.assignments import Assignments
from lambda_search.cluster.crew import Crew
from lambda_search.cluster.messages import GiveUp
from lambda_search.cluster.messages import Instruction
from lambda_search.cluster.nodes import Nodes
from lambda_search.cluster.policy import Policy
from lambda_search.cluster.refusals import cannot_start
from lambda_search.cluster.refusals import missing

__all__ = ["Patience"]


class Patience:
    """How long there is hope.

    Arguments:
        policy: when it ends.
        grows: whether an autoscaler adds nodes, which takes longer, and takes them away.
        crew: the workers that are up or starting.
        nodes: where others might be.
        tasks: those that wait; they are failed here.
        order: is called with each `GiveUp`.
    """

    def __init__(
        self,
        policy: Policy,
        grows: bool,
        crew: Crew,
        nodes: Nodes,
        tasks: Assignments,
        order: Callable[[Instruction], None],
    ) -> None:
        self._crew = crew
        self._nodes = nodes
        self._tasks = tasks
        self._order = order
        self._grows = grows
        self._seconds = policy.growing if grows else policy.patience
        self._absences = Absences(self._seconds)
        self._most_failed = policy.failed_starts
        self._failed, self._failed_at = 0, float("-inf")

    def start_failed(self, begun: float, now: float) -> None:
        """A worker that was begun then did not come up.

        An autoscaler may take several hosts away at once: what they had begun fails as one.
        """
        if not self._grows or begun > self._failed_at:
            self._failed, self._failed_at = self._failed + 1, now
        self.despair(now)

    def refused(self, now: float) -> None:
        """A worker came up and cannot be used: its host's libraries are others."""
        self._failed += 1
        self.despair(now)

    def start_succeeded(self) -> None:
        """A worker came up that can be used."""
        self._failed = 0

    def despair(self, now: float) -> None:
        """Tells those who wait, if nobody is up or coming, and starts fail again and again.

        So are those told who wait for a kind of which all nodes are unfit.
        """
        for kind in self._tasks.awaited():
            unfit = self._nodes.unfitness(kind)
            if unfit is not None and not self._crew.count(kind):
                self._tasks.fail_waiting(kind, unfit, now)
        if self._crew.up or self._crew.starting:
            return
        if self._failed < self._most_failed and not self._nodes.all_refused():
            return
        error = self._nodes.unfitness(None) or cannot_start(self._troubles())
        for kind in self._tasks.awaited():
            self._tasks.fail_waiting(kind, error, now)
        self._order(GiveUp(error))

    def watch(self, nobody_yet: bool, now: float) -> None:
        """Fails tasks that wait for a kind which nobody has had for long.

        Arguments:
            nobody_yet: whether no worker has ever come up: then the pool itself waits for any.
            now: the time.
        """
        up = self._crew.up
        waited = set(self._tasks.awaited()) | ({None} if nobody_yet else set())
        missed = waited - up.keys() - ({None} if up else set())
        for kind in self._absences.expired(missed, self._crew.may_come, now):
            self._fail(kind, now)

    def _fail(self, kind: str | None, now: float) -> None:
        """Those that wait for `kind` get an error; so does the pool, if it is any kind at all."""
        error = self._nodes.unfitness(kind) or missing(
            kind, self._seconds, self._crew.up, self._troubles()
        )
        self._tasks.fail_waiting(kind, error, now)
        if kind is None:
            self._order(GiveUp(error))

    def _troubles(self) -> list[str]:
        return list(self._nodes.troubles())
