"""Which kind of device studies are on."""

import threading

import pytest

from lambda_search.errors import Interrupted
from lambda_search.search.kinds import Kinds
from lambda_search.work.halting import Halt


class Workers:
    """Those of a pool; the first kind is the main one."""

    def __init__(self, coming=0, **up):
        self.up, self.starting = up, coming

    @property
    def device_kind(self):
        return max(self.up, key=self.up.get, default="")

    def kinds(self):
        return dict(self.up)

    def coming(self):
        return self.starting


def taken(kinds, pool, studies):
    return [kinds.take(study, None, pool, Halt()) for study in studies]


def test_studies_of_equal_workers_share_them_evenly():
    kinds, pool = Kinds(), Workers(h100=3, a100=1)
    assert taken(kinds, pool, range(4)) == ["h100", "h100", "h100", "a100"]
    assert taken(kinds, pool, range(4, 8)) == ["h100", "h100", "h100", "a100"]
    for study in (0, 1, 4):
        kinds.leave(study)
    assert taken(kinds, pool, [8]) == ["h100"]


def test_a_study_stays_on_the_kind_that_it_was_begun_on():
    kinds, pool = Kinds(), Workers(h100=8)
    assert kinds.take(1, "v100", pool, Halt()) == "v100"
    assert kinds.take(1, "v100", pool, Halt()) == "v100"


def test_the_first_waits_for_nobody_and_the_next_for_those_that_start():
    kinds, pool = Kinds(), Workers(coming=1, h100=1)
    assert taken(kinds, pool, [1]) == ["h100"]
    threading.Timer(0.3, lambda: vars(pool).update(up={"h100": 1, "a100": 1}, starting=0)).start()
    assert taken(kinds, pool, [2, 3]) == ["a100", "h100"]


def test_what_never_comes_is_not_waited_for_for_long():
    assert taken(Kinds(patience=0.2), Workers(coming=1, h100=1), [1, 2]) == ["h100", "h100"]


def test_a_study_that_is_stopped_waits_no_longer():
    kinds, pool, halt = Kinds(), Workers(coming=1, h100=1), Halt()
    kinds.take(1, None, pool, halt)
    halt.halt(Interrupted("It was stopped as asked."))
    with pytest.raises(Interrupted, match="stopped as asked"):
        kinds.take(2, None, pool, halt)


def test_where_nobody_is_up_the_main_kind_is_as_good_as_any():
    pool = Workers()
    assert taken(Kinds(), pool, [1]) == [pool.device_kind]
