"""A part of a machine is taken for that part."""

import os
import subprocess
import sys

import psutil
import pytest

from lambda_search import machine


@pytest.fixture
def limits(tmp_path, monkeypatch):
    """Has the process lie in groups that the test writes: `limits(groups, mounts, files)`."""
    monkeypatch.setattr(machine, "_PROCESS", tmp_path)
    monkeypatch.setattr(os, "cpu_count", lambda: 128)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(128)), raising=False)

    def write(groups, mounts, files):
        (tmp_path / "cgroup").write_text(groups)
        (tmp_path / "mountinfo").write_text(mounts.replace("TREE", f"{tmp_path}/tree"))
        for name, content in files.items():
            path = tmp_path / "tree" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content)

    return write


V2 = "30 20 0:26 / TREE rw,nosuid shared:4 - cgroup2 cgroup2 rw\n"
V1 = (
    "31 20 0:27 {root} TREE/cpu rw - cgroup cgroup rw,cpu,cpuacct\n"
    "32 20 0:28 {root} TREE/memory rw - cgroup cgroup rw,memory\n"
    "33 20 8:1 / /data\\040disk rw - ext4 /dev/sda rw,cpu\n"
)


def test_the_tightest_of_nested_groups_holds(limits):
    files = {
        "cpu.max": "max 100000\n",
        "job/cpu.max": "850000 100000\n",
        "job/step/cpu.max": "max 100000\n",
        "job/memory.max": "2147483648\n",
        "job/step/memory.max": "max\n",
    }
    limits("0::/job/step\n", V2, files)
    assert machine.cores() == 8
    assert machine.memory() == min(2 * 2**30, psutil.virtual_memory().total)


@pytest.mark.parametrize(
    ("root", "groups"), [("/", "{}:/"), ("/docker/a", "{}:/docker/a"), ("/", "{}:/../../b")]
)
def test_a_container_sees_its_own_group_at_the_top(limits, root, groups):
    lines = [groups.format(name) for name in ("4:cpu,cpuacct", "5:memory")]
    files = {
        "cpu/cpu.cfs_quota_us": "150000",
        "cpu/cpu.cfs_period_us": "100000",
        "memory/memory.limit_in_bytes": "1000000000",
    }
    limits("\n".join(lines) + "\n", V1.format(root=root), files)
    assert machine.cores() == 1
    assert machine.memory() == 1_000_000_000


def test_without_limits_all_of_it_is_there(limits):
    files = {"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}
    limits("4:cpu,cpuacct:/\n0::/\n", V1.format(root="/"), files)
    assert machine.cores() == 128
    assert machine.memory() == psutil.virtual_memory().total
    limits("nonsense\n", "nonsense\n", {})
    assert machine.cores() == 128


def test_half_a_core_is_one(limits):
    limits("0::/\n", V2, {"cpu.max": "50000 100000"})
    assert machine.cores() == 1


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="needs Linux")
def test_affinity_counts_wherever_cores_are_counted():
    code = (
        "import os; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})\n"
        "from lambda_search import machine; print(machine.cores())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout == "1\n", done.stderr
