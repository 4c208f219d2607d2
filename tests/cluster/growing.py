"""A Ray cluster of processes that grows by Ray's own autoscaler, and a pool on it; run by itself.

Ray's `AutoscalingCluster` ends every Ray of the host when it starts, and lacks a file in Ray's
wheel; so the head is started here, with the same fake node provider.
"""

import json
import os
import socket
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

HEAD = "fffffffffffffffffffffffffffffffffffffffffffffffffff00000"
WHOLE = {"CPU": 1.0, "GPU": 1.0}


@dataclass(frozen=True)
class Slow:
    """A square that takes until a file is there."""

    value: int
    end: Path

    def run(self, bench):
        while not self.end.exists():
            time.sleep(0.1)
        return self.value**2


def start(folder):
    """The head, without room for workers; up to four nodes with a GPU come when asked for."""
    os.environ |= {
        "AUTOSCALER_UPDATE_INTERVAL_S": "1",
        "RAY_AUTH_MODE": "disabled",
        "RAY_FAKE_CLUSTER": "1",
        "RAY_OVERRIDE_NODE_ID_FOR_TESTING": HEAD,
        "RAY_USAGE_STATS_ENABLED": "0",
    }
    from ray._private.services import get_node_ip_address
    from ray.autoscaler._private.monitor import BASE_READONLY_CONFIG
    from ray.cluster_utils import Cluster

    with socket.socket() as probe:
        probe.bind(("", 0))
        port = probe.getsockname()[1]
    kinds = {"resources": {**WHOLE, "object_store_memory": 80_000_000}, "node_config": {}}
    config = BASE_READONLY_CONFIG | {
        "max_workers": 4,
        "idle_timeout_minutes": 0.05,
        "provider": {
            "type": "fake_multinode",
            "head_node_id": HEAD,
            "gcs_address": f"{get_node_ip_address()}:{port}",
            "disable_launch_config_check": True,
            "disable_node_updaters": True,
            "launch_multiple": True,
            "use_node_id_as_ip": True,
        },
        "available_node_types": {
            "ray.head.default": {"resources": {"CPU": 0}, "node_config": {}, "max_workers": 0},
            "gpu": kinds | {"min_workers": 0, "max_workers": 4},
        },
    }
    file = folder / "autoscaler.json"
    file.write_text(json.dumps(config))
    cluster = Cluster(
        initialize_head=True,
        head_node_args={
            "num_cpus": 0,
            "gcs_server_port": port,
            "include_dashboard": False,
            "autoscaling_config": str(file),
            "object_store_memory": 80_000_000,
        },
    )
    del os.environ["RAY_OVERRIDE_NODE_ID_FOR_TESTING"]
    return cluster


def asked():
    """What the autoscaler finds that it is asked for."""
    from ray.experimental.internal_kv import _internal_kv_get

    return json.loads(_internal_kv_get("autoscaler_resource_request") or "null")


def gpus():
    import ray

    return ray.cluster_resources().get("GPU", 0)


def until(what, seconds=60):
    end = time.monotonic() + seconds
    while not what() and time.monotonic() < end:
        time.sleep(0.2)
    return what()


def tell(folder):
    """The whole story, as values."""
    import ray
    from ray.autoscaler.sdk import request_resources

    from lambda_search.cluster import actors
    from lambda_search.cluster import pool as pools
    from lambda_search.cluster import turning
    from lambda_search.cluster.autoscaler import Autoscaler
    from lambda_search.cluster.policy import Policy
    from lambda_search.errors import UsageError
    from tests.cluster.light import VERSIONS
    from tests.cluster.light import light_worker

    actors.Worker, pools.library_versions = light_worker(folder), lambda: VERSIONS
    turning._LOOK_FOR_NODES_SECONDS = 1.0
    told = {"is there": Autoscaler.is_there(20.0)}
    request_resources(bundles=[WHOLE] * 9)
    told["before"] = asked()
    try:
        pools.RayPool(address="auto")
        told["without --gpus"] = True
    except UsageError:
        told["without --gpus"] = False
    pool = pools.RayPool(address="auto", gpus=1.0, policy=Policy(lull=4.0))
    told["begun"] = asked()
    tasks = [pool.submit(Slow(i, folder / "end")) for i in range(3)]
    until(lambda: pool.size == 3 and gpus() == 3)
    told |= {"busy": asked(), "GPUs busy": gpus()}
    (folder / "end").touch()
    told["answers"] = [task.result(60) for task in tasks]
    until(lambda: gpus() == 0)
    told |= {"idle": asked(), "GPUs idle": gpus()}
    told["again"] = pool.submit(Slow(7, folder / "end"), kind=pool.device_kind).result(60)
    pool.close()
    told["closed"] = asked()
    ray.shutdown()
    return told


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(prefix="ls-", dir="/tmp") as name:
        os.environ["RAY_TMPDIR"] = name
        cluster = start(Path(name))
        import ray

        ray.init(address=cluster.address, log_to_driver=False, logging_level="ERROR")
        Path(sys.argv[1]).write_text(json.dumps(tell(Path(name))))
        cluster.shutdown()
