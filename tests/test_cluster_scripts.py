"""What of the example clusters can be run here: the Slurm script.

Slurm, Ray and the driver are stand-ins that write down how they were called.
"""

import os
import re
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.test_cluster_files import FOLDER
from tests.test_cluster_files import parse_ray_start

STORE = "postgresql://me:secret@db/studies"

STAND_INS = {
    "srun": 'while [ "$1" != ray ]; do echo "srun $1" >>"$LOG"; shift; done; exec "$@"',
    "ray": """
        if [ "$1" = status ]; then [ -e "$LOG.head" ]; exit; fi
        echo "ray $* token=$(stat -c %a "$RAY_AUTH_TOKEN_PATH") mode=$RAY_AUTH_MODE" \
            "home=$LAMBDA_SEARCH_HOME store=${LAMBDA_SEARCH_STORE-}" >>"$LOG"
        case $* in *--head*) touch "$LOG.head";; esac
        exec sleep 60""",
    "lambda-search": """
        echo "driver $* store=$LAMBDA_SEARCH_STORE mode=$RAY_AUTH_MODE" >>"$LOG"
        trap 'echo gave back >>"$LOG"; exit 3' TERM
        for _ in {1..300}; do sleep 0.1; done""",
}


@pytest.fixture
def allocation(tmp_path):
    """A home, and what Slurm would say of two nodes, for the script."""
    tools = tmp_path / "lambda-search" / "lambda_search" / ".venv" / "bin"
    tools.mkdir(parents=True)
    for name, body in STAND_INS.items():
        (tools / name).write_text(f"#!/usr/bin/env bash\n{body}\n")
        (tools / name).chmod(0o755)
    (tools / "python").symlink_to(sys.executable)
    secret = tmp_path / ".config" / "lambda_search" / "store"
    secret.parent.mkdir(parents=True)
    secret.write_text(f"{STORE}\n")
    yield {
        "HOME": str(tmp_path),
        "LOG": str(tmp_path / "log"),
        "PATH": os.environ["PATH"],
        "LAMBDA_SEARCH_STORE": "sqlite:///of-whoever-submits.db",
        "SLURM_JOB_ID": "1234567",
        "SLURM_JOB_NUM_NODES": "2",
        "SLURM_CPUS_PER_TASK": "16",
        "SLURMD_NODENAME": "node1",
    }


def lines(environment, beginning):
    log = Path(environment["LOG"])
    return [
        line
        for line in (log.read_text().splitlines() if log.exists() else [])
        if line.startswith(beginning)
    ]


def test_slurm_starts_a_head_and_workers_and_hands_its_end_on(allocation, tmp_path):
    script = subprocess.Popen(["bash", FOLDER / "slurm.sh"], env=allocation, cwd=tmp_path)
    try:
        deadline = time.monotonic() + 60
        while not (lines(allocation, "driver") and len(lines(allocation, "ray")) == 2):
            assert time.monotonic() < deadline and script.poll() is None
            time.sleep(0.05)
        script.send_signal(signal.SIGTERM)
        assert script.wait(30) == 3
    finally:
        script.kill()
    assert lines(allocation, "gave back")
    head, worker = sorted(lines(allocation, "ray"), key=lambda line: "--head" not in line)
    port = 20000 + 1234567 % 10000
    assert f"--port={port}" in head and f":{port}" in worker
    for line in (head, worker):
        parse_ray_start(line.partition(" token=")[0])
        assert "token=600 mode=token" in line and f"home={tmp_path}/lambda-search/home" in line
        assert line.endswith("store="), "workers are not told the store"
    assert {"srun --nodelist=node1", "srun --exclude=node1"} <= set(lines(allocation, "srun"))
    [driver] = lines(allocation, "driver")
    command, _, told = driver.partition(" store=")
    assert told == f"{STORE} mode=token" and "secret" not in command and f":{port} " in command
    assert not list((tmp_path / "lambda-search").glob("ray-*")), "the token stayed"


def test_the_slurm_script_can_be_submitted():
    assert (FOLDER / "slurm.sh").stat().st_mode & stat.S_IXUSR
    head = (FOLDER / "slurm.sh").read_text().partition("\nset -euo")[0]
    directives = re.findall(r"^#SBATCH (--[\w-]+)=(\S+)$", head, re.MULTILINE)
    assert dict(directives)["--signal"] == "B:TERM@180"
    before = head.rpartition("#SBATCH")[0]  # Slurm stops reading at the first command
    assert all(line.startswith("#") for line in before.splitlines() if line)
