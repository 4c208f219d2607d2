"""The pool on real Ray when hosts, devices and libraries are not as they should be."""

import os
import signal
import time
from contextlib import contextmanager

import numpy as np
import pytest
import ray

from lambda_search.cluster.policy import Policy
from lambda_search.cluster.pool import RayPool
from lambda_search.errors import Diverged
from lambda_search.errors import LambdaSearchError
from lambda_search.work.storage import PlaceAway
from tests.cluster.light import Away
from tests.cluster.light import Die
from tests.cluster.light import Nap
from tests.cluster.light import Ones
from tests.cluster.light import Recalled
from tests.cluster.light import Sick
from tests.cluster.light import Square
from tests.cluster.light import Unsendable


@contextmanager
def pool_of(workers, **policy):
    pool = RayPool(workers=workers, policy=Policy(**policy))
    try:
        yield pool
    finally:
        pool.close()


def until(condition, seconds=90):
    """Waits for what the pool does on a thread of its own."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


@pytest.mark.slow
def test_the_last_worker_of_a_kind_goes_and_another_kind_comes(flags):
    with pool_of(1, losses=1, patience=20.0) as pool:
        assert pool.kinds() == {"A100": 1}
        (flags / "kind").write_text("H100")
        with pytest.raises(LambdaSearchError, match="lost its worker"):
            pool.submit(Die()).result(60)
        waits = pool.submit(Square(2), kind="A100")
        assert pool.submit(Square(3), kind="H100").result(60) == 9
        with pytest.raises(LambdaSearchError, match=r"A100 is needed.*there: 1 on H100"):
            waits.result(60)
        assert (pool.kinds(), pool.device_kind) == ({"H100": 1}, "H100")
        (flags / "kind").write_text("A100")
        with pytest.raises(LambdaSearchError, match="lost its worker"):
            pool.submit(Die()).result(60)
        assert pool.submit(Square(4), kind="A100").result(60) == 16


@pytest.mark.slow
def test_a_worker_that_hangs_is_replaced(flags):
    with pool_of(2, shortest=2.0, loading=0.0, slack=4.0) as pool:
        until(lambda: pool.kinds() == {"A100": 2})
        pids = {future.result(60) for future in [pool.submit(Nap(0.1)) for _ in range(12)]}
        stopped = pids.pop()
        os.kill(stopped, signal.SIGSTOP)
        answers = {future.result(60) for future in [pool.submit(Nap(0.1)) for _ in range(12)]}
        assert stopped not in answers
        until(lambda: pool.kinds() == {"A100": 2})


@pytest.mark.slow
def test_who_has_nothing_to_do_helps_a_worker_that_stands_still(flags):
    with pool_of(2) as pool:
        until(lambda: pool.kinds() == {"A100": 2})
        pids = {future.result(60) for future in [pool.submit(Nap(0.1)) for _ in range(12)]}
        still = pids.pop()
        os.kill(still, signal.SIGSTOP)
        futures = [pool.submit(Nap(0.1)) for _ in range(12)]
        assert {future.result(60) for future in futures} == pids, "long before it counts as lost"
        os.kill(still, signal.SIGCONT)
        both = pids | {still}
        until(
            lambda: {one.result(60) for one in [pool.submit(Nap(0.1)) for _ in range(4)]} == both
        )
        assert pool.kinds() == {"A100": 2}


@pytest.mark.slow
def test_a_worker_that_is_called_back_is_not_blamed_on_its_task(flags):
    with pool_of(1, losses=1) as pool:
        before = pool.submit(Nap()).result(60)
        assert pool.submit(Recalled(flags)).result(60) != before


@pytest.mark.slow
def test_what_one_worker_finds_not_finite_another_is_asked(flags):
    with pool_of(2) as pool:
        until(lambda: pool.kinds() == {"A100": 2})
        answers = {pool.submit(Sick(flags)).result(60) for _ in range(4)}
        assert len(answers) == 1 and str(*answers) != (flags / "sick").read_text()
    with pool_of(1) as pool, pytest.raises(Diverged, match="NaN"):
        (flags / "sick").unlink()
        pool.submit(Sick(flags)).result(60)


def test_who_does_not_see_the_place_is_left_out_and_where_nobody_does_it_is_said(flags):
    with pool_of(2) as pool:
        until(lambda: pool.kinds() == {"A100": 2})
        answers = {one.result(60) for one in [pool.submit(Away(flags)) for _ in range(8)]}
        assert len(answers) == 1 and str(*answers) != (flags / "away").read_text()
        assert pool.kinds() == {"A100": 1}
        with pytest.raises(PlaceAway, match="does not see the place") as caught:
            pool.submit(Away(flags, everywhere=True)).result(60)
        assert caught.value.hint == "Share one."


@pytest.mark.slow
def test_kept_answers_do_not_fill_the_object_store(flags):
    with pool_of(2) as pool:
        futures = [pool.submit(Ones(5)) for _ in range(40)]
        kept = [future.result(120)[0] for future in futures]  # 200 MB through a store of 80 MB
        assert all(array.nbytes == 5 * 2**20 for array in kept)
        assert all(array.flags.owndata for array in kept)  # a view would hold its place there


@pytest.mark.slow
def test_answers_come_where_others_have_filled_the_object_store(flags):
    others = [ray.put(np.ones(9 * 2**20, np.uint8)) for _ in range(10)]  # held: 94 of 80 MB
    with pool_of(2) as pool:
        futures = [pool.submit(Ones(5)) for _ in range(8)]
        assert all(future.result(120)[0].nbytes == 5 * 2**20 for future in futures)
    assert all(ray.get(one).nbytes == 9 * 2**20 for one in others), "nor did theirs have to go"


@pytest.mark.slow
def test_starts_that_fail_are_few_and_the_others_go_on(flags):
    with pool_of(2) as pool:
        until(lambda: pool.kinds() == {"A100": 2})
        (flags / "fail").touch()
        with pytest.raises(
            LambdaSearchError, match=r"lost its worker 3 times|No worker can start"
        ):
            pool.submit(Die()).result(60)
        time.sleep(6)
        assert 1 <= len(list(flags.glob("failed-*"))) <= 8  # without pauses: hundreds
        (flags / "fail").unlink()
        assert pool.submit(Square(5)).result(90) == 25


@pytest.mark.slow
def test_workers_that_cannot_start_are_said_with_their_reason(flags):
    (flags / "fail").touch()
    with pytest.raises(
        LambdaSearchError, match=r"No worker can start.*CUDA driver version is ins"
    ):
        RayPool(workers=2)


@pytest.mark.slow
def test_other_libraries_are_refused_by_name(flags):
    (flags / "torch").write_text("1.13")
    with pytest.raises(LambdaSearchError, match=r"host-7 has torch 1\.13 \(here 2\.9\.1\)"):
        RayPool(workers=2)
    (flags / "torch").write_text("2.9.1")
    with pool_of(2, losses=1) as pool:
        until(lambda: pool.kinds() == {"A100": 2})
        (flags / "torch").write_text("1.13")
        with pytest.raises(LambdaSearchError, match="lost its worker"):
            pool.submit(Die()).result(60)
        until(lambda: pool.notes() == ["left out for now: host-7 has torch 1.13 (here 2.9.1)"])
        assert pool.submit(Square(6)).result(60) == 36
        assert pool.kinds() == {"A100": 1}


@pytest.mark.slow
def test_what_cannot_travel_fails_alone(flags):
    with pool_of(1) as pool:
        bad, good = pool.submit(Unsendable()), pool.submit(Square(7))
        with pytest.raises(LambdaSearchError, match="A task cannot be sent: made of stone"):
            bad.result(60)
        assert good.result(60) == 49
        assert pool.busy_seconds == 0.25


def test_a_slow_callback_holds_up_nobody(flags):
    with pool_of(1) as pool:
        first, second = pool.submit(Square(1)), pool.submit(Square(2))
        first.add_done_callback(lambda done: time.sleep(3))
        assert second.result(60) == 4
        until(lambda: pool.busy_seconds == 0.5, 1)
