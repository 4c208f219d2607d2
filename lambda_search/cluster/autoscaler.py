"""The autoscaler of a running cluster: whether there is one, and what it is asked for.

What is asked (`ray.autoscaler.sdk.request_resources`) holds for the whole cluster until the next
call, whoever makes it, and outlives a driver that is killed: the next one's first call takes its
place. It counts what the cluster is to have in all, what is in use included.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterable
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import ray
from ray._private.accelerators.nvidia_gpu import NvidiaGPUAcceleratorManager
from ray._private.ray_constants import DEBUG_AUTOSCALING_STATUS
from ray.autoscaler import sdk
from ray.autoscaler.v2 import sdk as sdk_v2
from ray.autoscaler.v2.utils import is_autoscaler_v2
from ray.experimental import internal_kv

__all__ = ["Autoscaler", "bundles"]

_RAY: Any = ray
_KV: Any = internal_kv
_SDK_V2: Any = sdk_v2
_IS_V2: Any = is_autoscaler_v2
_NVIDIA: Any = NvidiaGPUAcceleratorManager

_MARK = "accelerator_type:"
"""Nodes have a resource of this name and their GPU's; asked for by the smallest amount of it."""

_LEAST = 0.001
_ANONYMOUS = "node_"
"""How the types of nodes begin that somebody started by hand (Ray 2.60, autoscaler util.py)."""

_POLL_SECONDS = 0.5


class Autoscaler:
    """The autoscaler of the cluster that this process is connected to.

    Arguments:
        gpus: that a worker takes.
    """

    def __init__(self, gpus: float) -> None:
        self._gpus = gpus
        self._marks: set[str] = set()
        self._lock = threading.Lock()
        self._is_over = False

    @staticmethod
    def is_there(patience: float = 0.0) -> bool:
        """Whether the cluster has one that can add nodes; one that has just begun is waited for.

        A cluster whose nodes were started by hand has a monitor that looks like one.
        """
        until = time.monotonic() + patience
        try:
            while not (types := list(_node_types())) and time.monotonic() < until:
                time.sleep(_POLL_SECONDS)
        except Exception:  # ray raises many kinds; from outside, through ray://, it does not say
            return False
        return any(not one.startswith(_ANONYMOUS) for one in types)

    def ask(self, wanted: Mapping[str | None, int]) -> None:
        """Has the cluster make room for so many workers of each kind, and for nothing else.

        A call that fails changes nothing; what is still needed is asked for again.
        """
        with self._lock, suppress(Exception):  # ray raises many kinds
            if self._is_over:
                return
            for node in _RAY.nodes():
                self._marks |= {one for one in node["Resources"] if one.startswith(_MARK)}
            sdk.request_resources(bundles=bundles(wanted, self._gpus, self._marks))

    def let_go(self) -> None:
        """Asks for nothing, from now on: another thread's call that comes late is not heeded."""
        with self._lock, suppress(Exception):
            self._is_over = True
            sdk.request_resources(bundles=[])


def bundles(
    wanted: Mapping[str | None, int], gpus: float, marks: Iterable[str]
) -> list[dict[str, float]]:
    """What workers take, one for each.

    Arguments:
        wanted: how many of each kind; None stands for any.
        gpus: that each takes.
        marks: resources `accelerator_type:NAME` that the cluster's nodes have had. A kind's own
            is asked for only where there are others: not every autoscaler's file has them.
    """
    needs = {"CPU": 1.0} | ({"GPU": gpus} if gpus else {})
    found: list[dict[str, float]] = []
    for kind, count in wanted.items():
        mark = _mark(kind) if kind is not None and gpus else None
        is_mixed = mark is not None and set(marks) - {mark}
        needed = needs | ({mark: _LEAST} if mark is not None and is_mixed else {})
        found += [dict(needed) for _ in range(count)]
    return found


def _mark(kind: str) -> str | None:
    """The resource of nodes with GPUs of that name, as Ray names it there."""
    name = _NVIDIA._gpu_name_to_accelerator_type(kind)
    return None if name is None else f"{_MARK}{name}"


def _node_types() -> Iterable[str]:
    """The types of the nodes that the autoscaler, or what looks like one, has seen."""
    if _IS_V2():
        status = _SDK_V2.get_cluster_status(_KV.internal_kv_get_gcs_client().address)
        seen = [*status.active_nodes, *status.idle_nodes]
        return [node.ray_node_type_name or _ANONYMOUS for node in seen]
    told = json.loads(_KV._internal_kv_get(DEBUG_AUTOSCALING_STATUS) or "{}")
    types: Mapping[str, int] = told.get("autoscaler_report", {}).get("active_nodes", {})
    return types
