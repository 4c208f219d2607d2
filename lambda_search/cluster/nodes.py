"""The nodes of the cluster: where the next worker is started, and where none is for a while.

A node that failed is left alone for a pause that doubles each time, and is then tried with one
worker. A node knows its kind of device from the first worker that came up there.
"""

from __future__ import annotations

from collections.abc import Collection
from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Mapping
from dataclasses import dataclass

from lambda_search.cluster.policy import Policy
from lambda_search.errors import LambdaSearchError
from lambda_search.errors import first_line

__all__ = ["Node", "Nodes"]


@dataclass(slots=True, eq=False)
class Node:
    """One host.

    Arguments:
        name: the cluster's.
        room: how many workers it can have.
        workers, starting: how many it has, and how many of those are not up yet.
        kind: of its devices; None as long as nobody came up.
        host: what it calls itself; "" as long.
        gpu_driver: the version of its GPUs' driver; "" where none is known.
        failures: in a row.
        not_before: when it may be tried again.
        trouble: what was wrong last; "" if all is well.
        refused: whether its libraries differ from the driver's, or it is unfit.
        unfit: what a task found wrong with it; None until a worker here has proved itself again.
    """

    name: str
    room: int
    workers: int = 0
    starting: int = 0
    kind: str | None = None
    host: str = ""
    gpu_driver: str = ""
    failures: int = 0
    not_before: float = 0.0
    trouble: str = ""
    refused: bool = False
    unfit: LambdaSearchError | None = None

    def is_open(self, now: float) -> bool:
        """Whether a worker may be started here."""
        probing = self.failures > 0 and self.starting > 0
        return self.workers < self.room and now >= self.not_before and not probing

    def may_have(self, kind: str | None) -> bool:
        """Whether a worker here could be of `kind`, as far as is known."""
        return kind is None or self.kind in (None, kind)

    def shows(self, kind: str, host: str, gpu_driver: str) -> None:
        """A worker came up here and says what it found; only a task can tell who is unfit."""
        self.kind, self.host, self.gpu_driver = kind, host, gpu_driver
        if self.unfit is None:
            self.trouble, self.refused = "", False

    def is_well(self) -> None:
        """Forgets failures: a worker here has proved itself."""
        self.failures, self.trouble, self.refused, self.unfit = 0, "", False, None


class Nodes:
    """All nodes that the cluster has now.

    `remarks` and `troubles` are asked from other threads too, while nodes come and go: they look
    at a copy of the list.
    """

    def __init__(self, policy: Policy) -> None:
        self._policy = policy
        self._nodes: dict[str, Node] = {}

    def update(self, room: Mapping[str, int]) -> Collection[str]:
        """Takes over what the cluster says of its nodes; the names of those that are gone."""
        gone = self._nodes.keys() - room.keys()
        for name in gone:
            del self._nodes[name]
        for name, workers in room.items():
            self._nodes.setdefault(name, Node(name, workers)).room = workers
        return gone

    def best(self, kind: str | None, now: float) -> Node | None:
        """The node for a worker of `kind`: one known to have it rather than not, the emptiest."""
        return max(
            (node for node in self._nodes.values() if node.is_open(now) and node.may_have(kind)),
            key=lambda node: (
                node.kind is not None and node.kind == kind,
                node.room - node.workers,
            ),
            default=None,
        )

    def failed(self, node: Node, begun: float, now: float, trouble: str) -> None:
        """Leaves a node alone for a while; workers that were begun together fail as one."""
        if begun >= node.not_before:
            node.failures += 1
            node.not_before = now + self._policy.pause(node.failures)
        node.trouble = trouble

    def refuse(self, node: Node, now: float, trouble: str) -> None:
        """Leaves a node alone for as long as any is: its libraries differ from the driver's."""
        node.failures += 1
        node.not_before = now + self._policy.longest_backoff
        node.trouble, node.refused = trouble, True

    def refuse_unfit(self, node: Node, now: float, error: LambdaSearchError) -> None:
        """Likewise: a task found that it cannot do what the driver asks."""
        node.unfit = error
        self.refuse(node, now, first_line(error))

    def all_refused(self, kind: str | None = None) -> bool:
        """Whether there are nodes that may have workers of `kind`, and all are refused."""
        able = [node for node in self._nodes.values() if node.room and node.may_have(kind)]
        return bool(able) and all(node.refused for node in able)

    def unfitness(self, kind: str | None) -> LambdaSearchError | None:
        """Why no node can have workers of `kind`, if all are refused and a task found out why."""
        if not self.all_refused(kind):
            return None
        found = (node.unfit for node in self._nodes.values() if node.may_have(kind))
        return next((error for error in found if error is not None), None)

    def remarks(self) -> Iterator[str]:
        """Kinds whose nodes differ in what decides no bits, but is worth knowing."""
        found: dict[tuple[str, str], set[str]] = {}
        for node in list(self._nodes.values()):
            if node.kind is not None and node.gpu_driver:
                found.setdefault((node.kind, node.gpu_driver), set()).add(node.host)
        for kind in sorted({kind for kind, _ in found}):
            told = [
                f"{driver} on {', '.join(sorted(hosts))}"
                for (of, driver), hosts in sorted(found.items())
                if of == kind
            ]
            if len(told) > 1:
                yield f"hosts with {kind} have several GPU drivers: {'; '.join(told)}"

    def troubles(self) -> Iterable[str]:
        """What is wrong with those that are left alone, each thing once."""
        return dict.fromkeys(node.trouble for node in list(self._nodes.values()) if node.trouble)
