"""What a private cluster needs of its surroundings; Ray itself is not started here."""

import json
import os
import stat
import subprocess
import sys

import pytest
from ray._private.node import Node

from lambda_search.cluster import connection
from lambda_search.cluster.private import private_cluster
from lambda_search.errors import UsageError

SOCKET = "session_2026-01-01_00-00-00_123456_1234567/sockets/plasma_store"


@pytest.fixture
def beside_the_tests_own_ray(monkeypatch):
    """The cluster of this folder's other tests, which may be up, keeps its settings."""
    monkeypatch.setattr("lambda_search.cluster.private._look_again", lambda: None)


@pytest.mark.usefixtures("beside_the_tests_own_ray")
def test_a_long_temporary_folder_is_not_used_for_sockets(tmp_path, monkeypatch):
    long = tmp_path / ("a_user_name_that_is_long/" * 4)
    long.mkdir(parents=True)
    monkeypatch.setattr("tempfile.tempdir", str(long))
    monkeypatch.delenv("RAY_TMPDIR", raising=False)
    with private_cluster() as folder:
        assert len(str(folder / SOCKET)) <= 107
        assert not folder.is_relative_to(long)
    monkeypatch.setenv("RAY_TMPDIR", str(long))
    with pytest.raises(UsageError, match="longer than") as caught, private_cluster():
        pass
    assert "RAY_TMPDIR=/tmp" in caught.value.hint and "doctor" not in caught.value.hint


@pytest.mark.usefixtures("beside_the_tests_own_ray")
def test_folder_and_token_are_for_this_user_alone():
    with private_cluster() as folder:
        token = os.environ["RAY_AUTH_TOKEN_PATH"]
        assert stat.S_IMODE(os.stat(token).st_mode) == 0o600
        assert len(open(token).read()) == 64
        assert stat.S_IMODE(folder.parent.stat().st_mode) == 0o700
        folder.mkdir(mode=0o777)
        os.chmod(folder, 0o777)  # as Ray does
    assert not folder.parent.exists() and not os.path.exists(token)


@pytest.mark.usefixtures("beside_the_tests_own_ray")
def test_the_environment_of_a_surrounding_ray_job_is_left_outside(monkeypatch):
    outside = {
        "RAY_ADDRESS": "10.0.0.1:6379",
        "RAY_AUTH_MODE": "disabled",
        "RAY_AUTH_TOKEN": "theirs",
        "RAY_JOB_CONFIG_JSON_ENV_VAR": '{"runtime_env": {"working_dir": "gcs://x.zip"}}',
        "RAY_REDIS_ADDRESS": "10.0.0.1:6380",
        "RAY_RUNTIME_ENV_HOOK": "nowhere.hook",
    }
    for name, value in outside.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("RAY_memory_usage_threshold", "0.9")
    with private_cluster():
        inside = dict(os.environ)
    for name, value in outside.items():
        assert inside.get(name) != value
        assert os.environ[name] == value
    assert inside["RAY_AUTH_MODE"] == "token"
    assert inside["RAY_memory_usage_threshold"] == "0.9"
    assert "RAY_AUTH_TOKEN_PATH" not in os.environ


@pytest.mark.usefixtures("beside_the_tests_own_ray")
@pytest.mark.parametrize(("workers", "cpus"), [(None, 3), (2, 2)])
def test_a_private_cluster_has_the_cores_that_may_be_used(monkeypatch, workers, cpus):
    """A batch job on a part of a machine does not start workers for all of it."""
    asked = {}
    monkeypatch.setattr(os, "cpu_count", lambda: 128)
    monkeypatch.setattr(connection, "cores", lambda: 3)
    monkeypatch.setattr(connection.ray, "init", lambda **options: asked.update(options))
    monkeypatch.setattr(connection.ray, "shutdown", lambda: None)
    connection.connect(workers, None)()
    assert asked["num_cpus"] == cpus
    assert asked["address"] == "local" and asked["_node_ip_address"] == "127.0.0.1"


def test_ray_client_is_refused_with_the_roads_that_lead_there():
    with pytest.raises(UsageError, match="Ray Client") as caught:
        connection.connect(1, "ray://head:10001")
    assert "--submit http://head:8265" in caught.value.hint and "auto" in caught.value.hint


LISTENING = """
import json, psutil, ray
from lambda_search.cluster.connection import connect
leave = connect(1, None)

@ray.remote
def busy():
    return 1

ray.get(busy.remote())
me = psutil.Process()
found = []
for process in [me, *me.children(recursive=True)]:
    for one in process.net_connections("inet"):
        if one.status == psutil.CONN_LISTEN or (one.type.name == "SOCK_DGRAM" and one.laddr):
            found.append([process.name(), one.laddr.ip, one.laddr.port])
words = [" ".join(process.cmdline()) for process in me.children(recursive=True)]
leave()
print(json.dumps([found, words]))
"""


@pytest.mark.slow
def test_a_private_cluster_listens_on_loopback_alone_and_has_only_what_it_needs():
    done = subprocess.run([sys.executable, "-c", LISTENING], capture_output=True, text=True)
    found, words = json.loads(done.stdout.splitlines()[-1])
    assert {"gcs_server", "raylet"} <= {name for name, _, _ in found}, done.stderr
    assert {ip for _, ip, _ in found} <= {"127.0.0.1", "::1", "::ffff:127.0.0.1"}, found
    for spared in ("dashboard/dashboard.py", "log_monitor.py", "autoscaler/_private/monitor.py"):
        assert not [line for line in words if spared in line]


@pytest.mark.usefixtures("beside_the_tests_own_ray")
def test_clusters_of_others_start_as_ray_starts_them():
    """What a private cluster leaves out is there again when it has ended."""
    whole = {name: value for name, value in vars(Node).items() if name.startswith("start_")}
    with private_cluster():
        spared = {name for name, value in whole.items() if getattr(Node, name) is not value}
        assert spared == {"start_api_server", "start_log_monitor", "start_monitor"}
    assert whole.items() <= vars(Node).items()
