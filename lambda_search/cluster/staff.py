"""Which workers there are: starts where there is room for them, and ends of those of no use."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Mapping

from lambda_search.cluster.crew import Crew
from lambda_search.cluster.crew import Worker
from lambda_search.cluster.demand import Demand
from lambda_search.cluster.messages import Ask
from lambda_search.cluster.messages import Instruction
from lambda_search.cluster.messages import Start
from lambda_search.cluster.messages import Stop
from lambda_search.cluster.nodes import Node
from lambda_search.cluster.nodes import Nodes

__all__ = ["Staff"]


class Staff:
    """Hires and dismisses.

    Arguments:
        crew: all workers; they come and go here alone.
        nodes: where they may be started.
        most: workers of each kind; all that the nodes have room for unless given.
        demand: how many are needed, where an autoscaler makes room for them; else None.
        order: is called with each `Start`, `Stop` and `Ask`.

    `kind` is the main kind of device: that of most workers, of the first among equals; "" before
    anybody is up.
    """

    def __init__(
        self,
        crew: Crew,
        nodes: Nodes,
        most: int | None,
        demand: Demand | None,
        order: Callable[[Instruction], None],
    ) -> None:
        self._crew = crew
        self._nodes = nodes
        self._most = most
        self._demand = demand
        self._order = order
        self._numbers = itertools.count()
        self.kind = ""

    def fill(self, awaited: Callable[[], Iterable[str | None]], now: float) -> None:
        """Starts workers where there is room.

        Arguments:
            awaited: says which kinds tasks wait for; None stands for any.
            now: the time.
        """
        while (node := self._vacancy(awaited, now)) is not None:
            worker = Worker(next(self._numbers), node, now)
            self._crew.begin(worker)
            self._order(Start(worker.number, node.name))

    def scale(self, tasks: Mapping[str | None, int], now: float) -> None:
        """Asks an autoscaler for what the tasks need, and ends workers who are of no use.

        Arguments:
            tasks: how many have not ended, for each kind; None stands for any.
            now: the time.
        """
        if self._demand is None:
            return
        asked = self._demand.follow(tasks, not self.kind, now)
        if asked is not None:
            self._order(Ask(asked))
        while (worker := self._demand.surplus(self._crew, now)) is not None:
            self.dismiss(worker)

    def welcome(self, worker: Worker, kind: str) -> None:
        """A worker is up, on a device of `kind`."""
        self._crew.welcome(worker, kind)
        self._choose_kind()

    def dismiss(self, worker: Worker) -> None:
        """Ends a worker; the main kind stays what it is."""
        self._crew.remove(worker)
        self._order(Stop(worker.number))

    def lose(self, worker: Worker) -> None:
        """A worker is gone, or is to be: what is the main kind may be another now."""
        self.dismiss(worker)
        if worker.kind is not None:
            self._choose_kind()

    def _choose_kind(self) -> None:
        up = self._crew.up
        self.kind = max(up, key=lambda kind: up[kind], default=self.kind)

    def _vacancy(self, awaited: Callable[[], Iterable[str | None]], now: float) -> Node | None:
        """The node for the next worker, if there is to be one."""
        if self._demand is not None:
            found = (self._nodes.best(kind, now) for kind in self._demand.short_of(self._crew))
            return next((node for node in found if node is not None), None)
        if self._most is None:
            return self._nodes.best(None, now)
        for kind in [self.kind or None, *awaited()]:
            if self._crew.count(kind) < self._most and (node := self._nodes.best(kind, now)):
                return node
        return None
