"""The pool on real Ray: same digits for any number of workers, lost workers replaced."""

import os
import signal
import time
from dataclasses import dataclass

import psutil
import pytest

from lambda_search.cluster.pool import RayPool
from lambda_search.errors import Interrupted
from lambda_search.errors import LambdaSearchError
from lambda_search.errors import UsageError
from lambda_search.launching import plans_of
from lambda_search.launching import run_studies
from lambda_search.spec import parse_specs
from lambda_search.store.store import Store
from lambda_search.work.pool import SerialPool
from tests.search.test_driver import record


@dataclass(frozen=True)
class Square:
    value: int

    def run(self, bench):
        return self.value**2


@dataclass(frozen=True)
class Refuse:
    def run(self, bench):
        raise UsageError("No such thing.", "Ask for another.")


@dataclass(frozen=True)
class Crash:
    def run(self, bench):
        raise ZeroDivisionError("by nothing")


@dataclass(frozen=True)
class Die:
    def run(self, bench):
        os.kill(os.getpid(), signal.SIGKILL)


@dataclass(frozen=True)
class Sleep:
    seconds: float

    def run(self, bench):
        time.sleep(self.seconds)


@pytest.fixture
def pool(cluster):
    pool = RayPool(workers=2)
    yield pool
    pool.close()


def test_tasks_come_back_and_errors_keep_their_words(pool):
    futures = [pool.submit(Square(i)) for i in range(30)]
    assert [future.result(60) for future in futures] == [i**2 for i in range(30)]
    with pytest.raises(LambdaSearchError, match=r"No such thing\.") as caught:
        pool.submit(Refuse()).result(60)
    assert caught.value.hint == "Ask for another."
    with pytest.raises(LambdaSearchError, match="ZeroDivisionError: by nothing"):
        pool.submit(Crash()).result(60)


@pytest.mark.slow
def test_a_task_that_kills_workers_fails_and_the_others_do_not(pool):
    futures = [pool.submit(Square(i)) for i in range(6)]
    with pytest.raises(LambdaSearchError, match="has lost its worker 3 times"):
        pool.submit(Die()).result(120)
    assert [future.result(60) for future in futures] == [i**2 for i in range(6)]
    assert pool.submit(Square(9)).result(120) == 81


@pytest.mark.slow
def test_closing_cancels_what_waits(cluster):
    pool = RayPool(workers=1)
    futures = [pool.submit(Sleep(60)) for _ in range(4)]
    pool.close()
    for future in futures:
        with pytest.raises(Interrupted):
            future.result(1)
    with pytest.raises(Interrupted):
        pool.submit(Square(1))


def test_a_gpu_that_is_not_there_is_said_at_once(cluster):
    with pytest.raises(UsageError, match="1 GPU for each worker is asked for, and Ray sees 0"):
        RayPool(workers=1, gpus=1.0)


def kill_one_worker():
    """SIGKILL to a worker process of ours, as the kernel does when memory runs out."""
    for process in psutil.process_iter(["cmdline"]):
        if "ray::Worker.run" in " ".join(process.info["cmdline"] or []):
            process.kill()
            return True
    return False


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2])
def test_any_number_of_workers_gives_the_same_digits(workers, cluster, study_text, tmp_path):
    plans = plans_of(parse_specs(study_text))
    serial = Store(f"{tmp_path}/serial.db")
    run_studies(plans, serial, SerialPool())
    parallel = Store(f"{tmp_path}/parallel.db")
    pool = RayPool(workers=workers)
    killed = []

    def watch(studies):
        if workers == 2 and not killed and studies[0].trials_done >= 3 and kill_one_worker():
            killed.append(True)

    try:
        run_studies(plans, parallel, pool, watch)
    finally:
        pool.close()
    assert record(parallel) == record(serial)


@pytest.mark.slow
def test_two_studies_share_one_pool(pool, study_text, tmp_path):
    text = study_text.replace("steps: 4", "steps: [3, 4]")
    rows = run_studies(plans_of(parse_specs(text)), Store(), pool)
    assert [row.setting.steps for row in rows] == [3, 4]
