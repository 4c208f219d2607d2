"""Pools that start while studies are being read."""

import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import contextmanager

import psutil
import pytest

from lambda_search.cluster.opening import Opening
from lambda_search.errors import Interrupted
from lambda_search.errors import UsageError
from tests.shell import PATIENCE
from tests.shell import end_group
from tests.shell import start
from tests.shell import wait_until


@pytest.fixture
def told(monkeypatch):
    """What becomes of a pool that stands in for Ray's, in order."""
    told = []

    @contextmanager
    def worker_pool(workers, address, gpus, first=None, halt=None):
        told.append(("starts", workers, first, threading.current_thread().name))
        if address is not None:
            raise UsageError(f"Ray cannot be reached at {address}.")
        try:
            yield "pool"
        finally:
            told.append("closed")

    monkeypatch.setattr("lambda_search.cluster.opening.worker_pool", worker_pool)
    return told


def test_it_starts_once_on_a_thread_of_its_own_and_is_closed_with_its_block(told):
    with Opening(3, None, None) as opening:
        opening.begin("study")
        opening.begin("another")
        assert opening.pool() == opening.pool() == "pool"
        assert told == [("starts", 3, "study", "opening")]
    assert told[1:] == ["closed"]


def test_what_nobody_began_is_not_started(told):
    with Opening(1, None, None):
        pass
    assert told == []


def test_a_study_that_cannot_be_read_closes_what_was_started_for_it(told):
    with pytest.raises(UsageError, match="no weights"), Opening(1, None, None) as opening:
        opening.begin()
        raise UsageError("There are no weights.")
    assert told[-1] == "closed"


@pytest.mark.timeout(60)
def test_workers_that_are_not_up_yet_are_not_waited_for(flags):
    (flags / "hang").touch()
    with pytest.raises(UsageError, match="no weights"), Opening(1, None, None) as opening:
        opening.begin()
        wait_until(lambda: list(flags.glob("hangs-*")), 30)
        raise UsageError("There are no weights.")
    with pytest.raises(Interrupted):
        opening.pool()


@pytest.mark.timeout(60)
def test_a_second_interruption_leaves_nothing_half_started(monkeypatch, interruptible):
    told, main = [], threading.main_thread().ident

    @contextmanager
    def worker_pool(workers, address, gpus, first, halt):
        told.append("starts")
        wait_until(lambda: halt.reason, 30)
        for _ in range(2):
            time.sleep(0.2)  # until who interrupted waits
            signal.pthread_kill(main, signal.SIGINT)
        time.sleep(0.2)
        told.append("started")
        halt.check()
        yield

    monkeypatch.setattr("lambda_search.cluster.opening.worker_pool", worker_pool)
    with pytest.raises(UsageError, match="no weights"), Opening(1, None, None) as opening:
        opening.begin()
        raise UsageError("There are no weights.")
    assert told == ["starts", "started"]
    with pytest.raises(Interrupted):
        opening.pool()


def test_a_start_that_fails_is_told_to_who_asks_for_the_pool_alone(told):
    with Opening(1, "there:1", None) as opening:
        opening.begin()
        with pytest.raises(UsageError, match="cannot be reached at there:1"):
            opening.pool()
    with Opening(1, "there:1", None) as opening:
        opening.begin()  # the studies need no pool after all


def test_ray_starts_before_torch_is_there():
    code = "import lambda_search.cluster.opening, lambda_search.cluster.connection, sys; "
    code += "print({'torch', 'diffusers', 'optuna', 'scipy'} & sys.modules.keys())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout == "set()\n", done.stderr


@pytest.mark.slow
@pytest.mark.parametrize(
    ("number", "impatient"),
    [(signal.SIGINT, False), (signal.SIGINT, True), (signal.SIGTERM, True)],
)
def test_a_launch_that_is_ended_while_ray_starts_leaves_nothing(
    number, impatient, study_file, home, tmp_path, monkeypatch
):
    folder = tempfile.mkdtemp(prefix="ls", dir="/tmp")  # short, as paths of sockets have to be
    monkeypatch.setenv("RAY_TMPDIR", folder)
    process = start("launch", study_file, "--workers", 1, home=home)
    whole = psutil.Process(process.pid)
    begun = wait_until(lambda: [p for p in whole.children() if p.name() == "gcs_server"])
    if impatient:
        process.send_signal(number)
        time.sleep(0.5)
    _, err = end_group(process, number) if number == signal.SIGINT else ended(process)
    assert process.returncode == 130
    assert "Nothing that was computed is lost" in err and "Traceback" not in err
    psutil.wait_procs(begun, timeout=30)
    assert not any(one.is_running() for one in begun)
    os.rmdir(folder)


def ended(process):
    process.terminate()
    return process.communicate(timeout=PATIENCE)


TERMINATED = """
import os, signal, sys, time
from lambda_search.cluster.opening import Opening
signal.signal(signal.SIGTERM, signal.default_int_handler)
try:
    with Opening(1, None, None) as opening:
        opening.pool()
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(60)
except KeyboardInterrupt:
    time.sleep(4)  # who is interrupted may take longer than Ray would let it
    print("ended by itself")
"""


@pytest.mark.slow
def test_sigterm_is_not_taken_for_a_crash(home):
    done = subprocess.run(
        [sys.executable, "-c", TERMINATED], capture_output=True, text=True, timeout=PATIENCE
    )
    assert (done.returncode, done.stdout) == (0, "ended by itself\n"), done.stderr
    assert "SIGTERM" not in done.stderr
