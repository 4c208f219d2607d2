"""The connection to Ray: a private cluster on this machine, or one that runs; and its nodes."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from typing import Any

import ray
from ray._private import state

from lambda_search.cluster.private import ADDRESS
from lambda_search.cluster.private import private_cluster
from lambda_search.cluster.signals import sigterm_kept
from lambda_search.errors import UsageError
from lambda_search.errors import first_line
from lambda_search.machine import cores

__all__ = ["connect", "gpus_each", "head_address", "joined", "knock", "nodes"]

_RAY: Any = ray
_STATE: Any = state  # the only place that knows what is free on each node

_CLIENTS = "ray://"
_KNOCK_SECONDS = 5.0
_LEAVE_SECONDS = 5.0

_STORE_BYTES = 256 * 2**20
"""Room for what travels; answers are copied out of it as they come."""


def connect(workers: int | None, address: str | None) -> Callable[[], None]:
    """Joins the cluster at `address`, or starts a private one for `workers` on this machine.

    Returns:
        What leaves it again, and ends a private one.

    Raises:
        UsageError: if there is none, or it is one of Ray Client's (ray://).
    """
    if (address or "").startswith(_CLIENTS):
        raise UsageError(*_no_client(str(address)))
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR"}
    with sigterm_kept(), ExitStack() as stack:
        try:
            if address is not None:
                os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
                knock(address)
                stack.callback(ray.shutdown)
                ray.init(address=address, **quiet)
            else:
                folder = stack.enter_context(private_cluster())
                stack.callback(ray.shutdown)
                ray.init(
                    address="local",
                    num_cpus=workers or cores(),
                    include_dashboard=False,
                    object_store_memory=_STORE_BYTES,
                    _temp_dir=str(folder),
                    _node_ip_address=ADDRESS,
                    **quiet,
                )
        except UsageError:
            raise
        except Exception as error:  # ray raises many kinds here
            raise UsageError(*_unreachable(address, error)) from error
        return partial(_leave, stack.pop_all().close)


def _leave(close: Callable[[], None]) -> None:
    """Leaves a cluster; one that has no head any more is not waited for, since Ray may do so."""
    if not _RAY.is_initialized() or _answers(head_address()):
        close()
        return
    leaving = threading.Thread(target=close, name="leaving", daemon=True)
    leaving.start()
    leaving.join(_LEAVE_SECONDS)


def joined(workers: int | None, address: str | None) -> Callable[[], None]:
    """As `connect`; a process that is connected to a cluster already stays there."""
    return _stay if ray.is_initialized() else connect(workers, address)


def _stay() -> None:
    """Leaves the cluster to whoever connected to it."""


def _unreachable(address: str | None, error: Exception) -> tuple[str, str]:
    if address is not None:
        return (
            f"Ray cannot be reached at {address}: {first_line(error)}.",
            "Check the address (ray status), and RAY_AUTH_MODE if the cluster uses tokens.",
        )
    return (
        f"Ray cannot be started on this machine: {first_line(error)}.",
        "Check that /dev/shm and the temporary folder have room, and the limits that ulimit -a "
        "shows; or name a running cluster with --ray-address.",
    )


def _no_client(address: str) -> tuple[str, str]:
    host = address.removeprefix(_CLIENTS).rpartition(":")[0] or "HOST"
    return (
        f"{address} is an address of Ray Client, which does not tell what is free on each node, "
        "and whose workers end when its connection drops.",
        f"Submit it as a job instead: --submit http://{host}:8265; or start it on a node of the "
        "cluster with --ray-address auto.",
    )


def gpus_each(wanted: float | None) -> float:
    """The GPUs that each worker takes: as wanted; unless given one where there are any.

    Raises:
        UsageError: if there are fewer.
    """
    resources: dict[str, float] = _RAY.cluster_resources()
    there = resources.get("GPU", 0.0)
    if wanted and there < wanted:
        raise UsageError(
            f"{wanted:g} GPU for each worker is asked for, and Ray sees {there:g}.",
            "Check nvidia-smi and CUDA_VISIBLE_DEVICES, or leave --gpus out to use the CPU.",
        )
    return (1.0 if there else 0.0) if wanted is None else wanted


def nodes(gpus: float, mine: dict[str, int]) -> dict[str, int]:
    """How many workers of one CPU and `gpus` each node has room for, by its id.

    Arguments:
        gpus: that a worker takes.
        mine: workers of this pool that are up, by node; what others took is not room.
    """
    needs = {"CPU": 1.0} | ({"GPU": gpus} if gpus else {})
    free = _STATE.available_resources_per_node()
    found: dict[str, int] = {}
    for node in _RAY.nodes():
        if not node["Alive"]:
            continue
        name = node["NodeID"]
        left = _workers_in(free.get(name, {}), needs) + mine.get(name, 0)
        found[name] = min(left, _workers_in(node["Resources"], needs))
    return found


def _workers_in(resources: dict[str, float], needs: dict[str, float]) -> int:
    return min(int(resources.get(name, 0.0) / need + 1e-6) for name, need in needs.items())


def head_address() -> str:
    """Where the head of the cluster listens that this process is connected to, HOST:PORT."""
    return str(_RAY.get_runtime_context().gcs_address)


def _answers(address: str) -> bool:
    try:
        knock(address)
    except OSError:
        return False
    return True


def knock(address: str) -> None:
    """Raises OSError if nobody listens at HOST:PORT; Ray itself would wait for minutes."""
    host, _, port = address.rpartition(":")
    if host and port.isdigit():
        socket.create_connection((host.strip("[]"), int(port)), _KNOCK_SECONDS).close()
