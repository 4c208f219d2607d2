"""Who is confirmed: changed rungs leave nobody out."""

from lambda_search.records import Trial
from lambda_search.schedule import LambdaSchedule
from lambda_search.search.candidates import best_of
from lambda_search.search.candidates import unscored_leaders


def trial(number, gain, n, state="stopped", b=None):
    schedule = LambdaSchedule(b or 1 + number / 100)
    return Trial(number, 0, schedule, 1.0, 0.0, state, n, gain, 5.0)


def numbers(trials):
    return [one.number for one in trials]


def test_with_unchanged_rungs_those_who_lost_have_lost():
    trials = [trial(1, 9.0, 32), trial(2, 0.5, 64, "complete"), trial(3, 0.7, 64, "complete")]
    gains = {2: 0.5, 3: 0.7}
    assert unscored_leaders(trials, gains, (32, 64), top=2) == []
    assert numbers(best_of(trials, gains)) == [3, 2]


def test_a_larger_last_rung_looks_at_the_best_of_before_again():
    old = [trial(k, float(k), 64, "complete") for k in range(1, 6)] + [trial(6, 9.0, 32)]
    new = [trial(7, 0.1, 96, "complete"), trial(8, 0.2, 40)]
    gains = {7: 0.1}
    leaders = unscored_leaders([*old, *new], gains, (40, 96), top=2)
    assert numbers(leaders) == [6, 5, 4, 3], "bounded, the best first; 8 lost at a present rung"
    assert numbers(unscored_leaders([*old, *new], gains, (32, 40, 96), 1)) == [5, 4]
    gains |= {5: 2.0, 4: 3.0}
    assert numbers(best_of([*old, *new], gains)) == [4, 5, 7]


def test_a_smaller_last_rung_lets_all_compete_there():
    trials = [trial(1, 5.0, 64, "complete"), trial(2, 0.5, 32, "complete"), trial(3, 6.0, 32)]
    gains = {1: 4.0, 2: 0.5, 3: 6.0}
    assert unscored_leaders(trials, gains, (32,), top=1) == []
    assert numbers(best_of(trials, gains)) == [3, 1, 2]


def test_where_only_lambda_one_came_far_the_others_are_looked_at():
    trials = [trial(1, -1.0, 32), trial(2, -0.5, 32)]
    assert numbers(unscored_leaders(trials, {}, (32, 64), top=3)) == [2, 1]


def test_a_schedule_competes_once():
    trials = [trial(k, float(k), 64, "complete", b=1.01) for k in (1, 2)]
    assert numbers(best_of(trials, {1: 1.0, 2: 2.0})) == [2]
