"""Rounds in a store: committed once, closed digit by digit, on both databases."""

from dataclasses import replace

import pytest

from lambda_search.records import Judgement
from lambda_search.records import Round
from lambda_search.store.leases import LeaseLost
from lambda_search.store.queue import Queue
from lambda_search.store.store import Store
from lambda_search.store.upkeep import remove
from tests.store.test_store import begin
from tests.store.test_store import trial


def test_a_round_is_committed_once_and_closed_digit_by_digit(url, setting):
    store = Store(url)
    lease = begin(store, setting)
    asked = Round(0, 0, 16, (0, 1))
    for _ in range(2):
        store.begin_round(lease, asked, [trial(0), trial(1)])
    assert store.rounds(lease.study_id) == [asked] and asked.is_open
    assert [one.number for one in store.trials(lease.study_id)] == [0, 1]
    covariance = (0.1 + 0.2, 1e-17), (1e-17, 2 / 3)
    measured = replace(asked, covariance=covariance)
    judged = Judgement(1.01, -0.001, 1 / 3, 0.1, 0.01, "terms", 1, "found")
    store.close_round(lease, measured)
    store.close_round(lease, replace(measured, judgement=judged))
    assert store.rounds(lease.study_id) == [replace(measured, judgement=judged)]
    lost = replace(lease, fence=lease.fence - 1)
    for write in (store.begin_round, store.close_round):
        with pytest.raises(LeaseLost):
            write(lost, Round(1, 16, 16, (0,)))
    ranked = Round(1, 16, 16, (0, 1), components=128)
    store.begin_round(lease, ranked)
    told = replace(ranked, covariance=covariance, scores=(0.1 + 0.2, 1e-17))
    store.close_round(lease, told)
    assert store.rounds(lease.study_id)[1] == told
    Queue(store).end(lease, "done", "done", "")
    remove(store, "s")
    assert store.rounds(lease.study_id) == []
