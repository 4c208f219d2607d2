"""Studies whose best constant is λ = 1, or that have no schedule but constants to confirm."""

from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch

from lambda_search.errors import Diverged
from lambda_search.errors import LambdaSearchError
from lambda_search.metrics.evidence import Score
from lambda_search.metrics.evidence import paired
from lambda_search.records import Round
from lambda_search.records import Trial
from lambda_search.schedule import LambdaSchedule
from lambda_search.search.allocation import Box
from lambda_search.search.confirm import Contender
from lambda_search.search.knowledge import Knowledge
from lambda_search.search.plane import Plane
from lambda_search.search.space import IDENTITY
from lambda_search.search.space import Point
from lambda_search.search.space import Space
from lambda_search.search.worth import worth_of
from lambda_search.store.lookup import constant_beside
from lambda_search.store.store import Store
from tests.search import test_both as both
from tests.search.landscapes import NO_GAIN
from tests.search.test_worth import WORTH
from tests.search.test_worth import best_constant

AT_ONE = replace(WORTH, mean=1 + WORTH.ridge * WORTH.tilt)
"""The valley runs through λ = 1: a slope gains, no constant does."""

ABOVE = {"mean": [1.006, 1.05], "slope": [-0.01, 0.0]}
"""Ranges in which every constant is worse than λ = 1 there."""

QMC = {"proposals": "qmc", "trials": 12} | ABOVE
KG = {"proposals": "kg", "budget": {"images": 3600}} | ABOVE
SEARCHES = pytest.mark.parametrize("search", [QMC, KG], ids=["qmc", "kg"])


class WithoutSlopes(both.Emulated):
    """Makes nothing finite of a schedule with a slope."""

    def results(self, schedules, first, n, *rest, **more):
        found = super().results(schedules, first, n, *rest, **more)
        lost = Diverged("They are not finite.")
        return [lost if one.k else told for one, told in zip(schedules, found, strict=True)]


class WithoutConstants(both.Emulated):
    """Makes nothing finite of a constant other than λ = 1."""

    def results(self, schedules, first, n, *rest, **more):
        found = super().results(schedules, first, n, *rest, **more)
        lost = Diverged("They are not finite.")
        return [
            told if one.k or one.is_identity else lost
            for one, told in zip(schedules, found, strict=True)
        ]


def test_the_landscape_is_what_its_name_says():
    assert best_constant(AT_ONE) == pytest.approx(AT_ONE.one, rel=1e-3)
    assert AT_ONE.gain > 0.05


@SEARCHES
def test_where_no_constant_gains_a_slope_is_held_against_one(search):
    store = Store()
    row = both.run(store, AT_ONE, search)
    worth = row.provenance.worth
    assert row.status == "confirmed" and row.schedule.k < 0
    assert worth.constant == 0 and worth.gain == row.gain
    assert all(one.k or one.gain <= 0 for one in row.provenance.candidates)
    assert (worth.low, worth.high) == (row.gain_interval.low, row.gain_interval.high)
    assert row.worth_words.endswith(" over the best constant λ = 1")
    assert constant_beside(row, store) is None


def test_of_rungs_none_is_confirmed_that_gained_nothing():
    assert all(one.k for one in both.run(Store(), AT_ONE, QMC).provenance.candidates)


def test_the_lowest_of_a_line_above_one_is_one():
    plane = Plane(Space((1.006, 1.05), (-0.01, 0.01), 11))

    whole = Box((-1.0, -1.0), (1.0, 1.0))

    def lowest(at):
        """Of a valley that runs across the line at `at`."""
        surface = SimpleNamespace(mean=lambda where: (where[:, 0] - at) ** 2)
        return plane.best_constant(SimpleNamespace(surface=surface, box=whole))

    assert lowest(plane.at_one[0]) == IDENTITY
    assert lowest(plane.at_one[0] - 1) == IDENTITY
    assert lowest(0.0) == Point(1.028, 0.0)


def test_a_constant_that_is_worse_than_one_on_the_last_images_counts_as_it():
    psi = torch.tensor([1.0, -1.0] * 32, dtype=torch.float64)

    def contender(trial, schedule, corrected):
        score = Score(64, corrected, 0.1, corrected, trial * psi, width=16)
        return Contender(trial, schedule, score, paired(score, baseline, 0.9))

    baseline = Score(64, 6.0, 0.1, 6.0, 0 * psi, width=16)
    linear = contender(1, LambdaSchedule(1.0, 0.001), 5.0)
    for corrected, beside, gain in ((6.5, 0, 1.0), (6.0, 0, 1.0), (5.9, 2, 0.9)):
        constant = contender(2, LambdaSchedule(1.01), corrected)
        found = worth_of(baseline, [linear, constant], constant, None, 0.95)
        assert (found.constant, found.gain) == (beside, pytest.approx(gain))


def test_of_constants_alone_that_gain_nothing_one_is_recommended():
    search = {"proposals": "qmc", "trials": 8, "family": "constant", "mean": ABOVE["mean"]}
    row = both.run(Store(), AT_ONE, search)
    assert row.schedule.is_identity and row.status == "measured"
    assert row.gain < 0 and row.verdict.endswith("use λ = 1")


@SEARCHES
def test_a_companion_is_cautioned_about_its_own_range_alone(search):
    """A constant lies at the end of a range of slopes ≤ 0, which says nothing against it."""
    store = Store()
    row = both.run(store, WORTH, search | {"mean": [0.99, 1.05]})
    beside = constant_beside(row, store)
    assert beside.schedule.k == 0 and beside.status == "confirmed"
    assert not [one for one in beside.provenance.cautions if "slope" in one]


def test_rounds_judge_a_constant_by_constants():
    space = Space((0.99, 1.05), (-0.01, 0.0), 11)
    best = Trial(1, 0, LambdaSchedule(1.02), 1.02, 0.0)
    rounds = [Round(0, 0, 64, (0, 1))]
    record = SimpleNamespace(rounds=rounds, trials=[best])
    known = Knowledge(
        SimpleNamespace(reach=lambda *_: space), SimpleNamespace(space=space), record
    )
    assert ["slope range" in one for one in known.cautions(best)] == [True]
    assert known.cautions(best, as_constant=True) == ()


def test_a_companion_at_the_end_of_the_means_says_so():
    store = Store()
    across = replace(WORTH, ridge=0.0, mean=1.02)  # where each slope has the same best mean
    row = both.run(store, across, QMC | {"mean": [0.99, 1.01], "trials": 24})
    beside = constant_beside(row, store)
    [said] = [one for one in beside.provenance.cautions if "edge" in one]
    assert "edge of the mean range" in said and f"λ̄ = {beside.schedule.b:.5g}" in said


def test_where_nothing_with_a_slope_is_finite_the_constant_is_confirmed(monkeypatch):
    monkeypatch.setattr(both, "Emulated", WithoutSlopes)
    row = both.run(Store(), NO_GAIN, QMC)
    [only] = row.provenance.candidates
    assert only.k == 0 and only.gain < 0
    assert row.schedule.is_identity and row.worth_words == ""


def test_where_no_constant_is_finite_what_k_is_worth_is_not_told(monkeypatch):
    monkeypatch.setattr(both, "Emulated", WithoutConstants)
    row = both.run(Store(), WORTH, QMC | {"mean": [0.99, 1.05]})
    assert row.schedule.k < 0 and row.worth_words == ""
    assert any("what k is worth is not told" in one for one in row.provenance.cautions)


def test_where_nothing_is_finite_that_is_the_error(monkeypatch):
    class Nothing(WithoutSlopes):
        def results(self, schedules, first, n, *rest, **more):
            found = super().results(schedules, first, n, *rest, **more)
            lost = Diverged("They are not finite.")
            return [
                told if one.is_identity else lost
                for one, told in zip(schedules, found, strict=True)
            ]

    monkeypatch.setattr(both, "Emulated", Nothing)
    with pytest.raises(LambdaSearchError, match="No candidate makes finite images"):
        both.run(Store(), WORTH, QMC)
