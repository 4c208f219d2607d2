"""The contract of pools, on each of them."""

import threading

import numpy as np
import pytest

from lambda_search.cluster.policy import Policy
from lambda_search.cluster.pool import RayPool
from lambda_search.errors import LambdaSearchError
from lambda_search.errors import UsageError
from lambda_search.work.pool import SerialPool
from lambda_search.work.pool import sort_of
from tests.cluster.light import Ones
from tests.cluster.light import Square


class Refuse:
    def run(self, bench):
        raise UsageError("No such thing.", "Ask for another.")


@pytest.fixture(params=["serial", "ray"])
def pool(request):
    if request.param == "serial":
        yield SerialPool()
        return
    request.getfixturevalue("flags")
    pool = RayPool(workers=2, policy=Policy(patience=6.0))
    yield pool
    pool.close()


def test_answers_belong_to_their_tasks(pool):
    futures = [pool.submit(Square(i), urgent=i % 3 == 0) for i in range(30)]
    assert [future.result(60) for future in futures] == [i**2 for i in range(30)]


def test_errors_keep_their_words(pool):
    with pytest.raises(UsageError, match=r"No such thing\.") as caught:
        pool.submit(Refuse()).result(60)
    assert caught.value.hint == "Ask for another."


def test_a_kind_that_is_there_serves_and_another_is_an_error(pool):
    assert pool.kinds()[pool.device_kind] >= 1
    assert pool.submit(Square(3), kind=pool.device_kind).result(60) == 9
    with pytest.raises(LambdaSearchError, match=rf"abacus.*on {pool.device_kind}"):
        pool.submit(Square(3), kind="abacus").result(60)


def test_arrays_are_the_callers_own(pool):
    (array,) = pool.submit(Ones(1)).result(60)
    array += 1
    assert np.all(array == 2)


def test_callbacks_run(pool):
    ran = threading.Event()
    pool.submit(Square(2)).add_done_callback(lambda future: ran.set())
    assert ran.wait(60)


def test_a_task_may_say_what_sort_it_is_of():
    task = Refuse()
    assert sort_of(task) == "Refuse"
    task.sort = "refusals of one study"
    assert sort_of(task) == "refusals of one study"
