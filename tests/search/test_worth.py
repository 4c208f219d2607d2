"""Is k worth it? On landscapes where it is and where it is not, and what is told of it."""

import math
from functools import cache

import numpy as np
import pytest
import torch

from lambda_search.metrics.evidence import Score
from lambda_search.metrics.evidence import paired
from lambda_search.records import Trial
from lambda_search.records import Worth
from lambda_search.schedule import LambdaSchedule
from lambda_search.search.allocation import Outlook
from lambda_search.search.allowance import Spent
from lambda_search.search.confirm import Contender
from lambda_search.search.confirm import level_for
from lambda_search.search.kg import KnowledgeGradient
from lambda_search.search.worth import comparisons
from lambda_search.search.worth import worth_of
from lambda_search.spec.searching import SearchSpec
from tests.search.emulator import Emulator
from tests.search.landscapes import BUNDLED
from tests.search.landscapes import Landscape
from tests.search.players import SPACE
from tests.search.players import STEPS
from tests.search.players import tilt

WORTH = BUNDLED[0]
NOT_WORTH = Landscape("a constant is best", 22.554, 0.3, 1.02, 0.0)
FIRST, N = 10**6, 8192
MEANS = np.linspace(0.95, 1.1, 1501)


def best_constant(landscape):
    return float(landscape.fid(MEANS, 0 * MEANS).min())


@cache
def searched(landscape, rounds=6):
    """The candidates of a search of both families."""
    emulator = Emulator(landscape, 3)
    search = KnowledgeGradient(SPACE, landscape.features, seed=3, both=True)
    scores, block = [], search.opening()
    spent, tried = Spent(0, 0, 0), set()
    for _ in range(rounds):
        scores += measured(search, emulator, block.points, block.first, block.n)
        tried |= set(block.points)
        spent = Spent(spent.rounds + 1, spent.images + block.images, len(tried))
        block = search.next(scores, spent)
    return search.candidates(scores, 2)


def measured(search, emulator, points, first, n):
    found = [emulator.measure(one.mean, tilt(one), first, n) for one in points]
    return [
        search.measurement(one, first, *score) for one, score in zip(points, found, strict=True)
    ]


def confirmed(landscape, points, seed):
    """λ = 1 and candidates on fresh images, without the bias that few have."""
    emulator = Emulator(landscape, seed)

    def score(mean, slope):
        at = mean, slope * (STEPS - 1)
        found, psi = emulator.measure(*at, FIRST, N)
        found -= emulator.bias(*at, N)
        error = float(psi.std()) / N**0.5
        return Score(N, found, error, found, torch.from_numpy(psi), width=landscape.features)

    baseline = score(1.0, 0.0)
    contenders = []
    for number, point in enumerate(points, start=1):
        schedule = LambdaSchedule.from_mean(point.mean, point.slope, STEPS)
        found = score(point.mean, point.slope)
        contenders.append(Contender(number, schedule, found, paired(found, baseline, 0.9)))
    return baseline, contenders


@pytest.mark.parametrize("landscape", [WORTH, NOT_WORTH], ids=lambda one: one.name)
def test_the_best_constant_is_found_beside_the_best_of_the_plane(landscape):
    *linear, constant = searched(landscape)
    assert constant.slope == 0 and constant.mean == round(constant.mean, 3)
    assert landscape.fid(constant.mean, 0.0) <= 1.01 * best_constant(landscape)
    assert linear and all(one.slope != 0 for one in linear)
    assert landscape.fid(linear[0].mean, tilt(linear[0])) <= 1.02 * landscape.best


@pytest.mark.parametrize("unsure", ["constants", "plane"])
def test_a_round_goes_to_the_family_that_is_less_sure(monkeypatch, unsure):
    def chance(outlook, tolerance):
        is_line = outlook.box.low[1] == outlook.box.high[1]
        return float(is_line == (unsure == "constants"))

    monkeypatch.setattr(Outlook, "chance_of_better", chance)
    search, emulator = KnowledgeGradient(SPACE, WORTH.features, both=True), Emulator(WORTH, 0)
    block = search.opening()
    scores = measured(search, emulator, block.points, block.first, block.n)
    _, *points = search.next(scores, Spent(1, block.images, len(block.points))).points
    new = set(points) - set(block.points)
    assert new and {one.slope == 0 for one in new} == {unsure == "constants"}


@pytest.mark.parametrize("landscape", [WORTH, NOT_WORTH], ids=lambda one: one.name)
def test_what_k_is_worth_is_told_as_it_is(landscape):
    points = searched(landscape)
    told = comparisons(SearchSpec(family="both"), trials(points))
    truths = [float(landscape.fid(one.mean, tilt(one))) for one in points]
    held = 0
    for seed in range(20):
        baseline, contenders = confirmed(landscape, points, seed)
        found = worth_of(baseline, contenders, contenders[-1], None, level_for(told))
        assert found.constant == len(points) and found.linear < len(points)
        held += found.low <= truths[-1] - truths[found.linear - 1] <= found.high
        words = found.words(1.02, truths[-1])
        if landscape is WORTH:
            assert found.low > 0 and words.startswith("k is worth ")
        else:
            assert found.low <= 0 and "its gain over the best constant λ = 1.02 is" in words
            little = found.high <= 0.01 * truths[-1]
            assert words.startswith("k is not worth it" if little else "whether k is worth it is")
    assert held >= 19


def trials(points):
    return [
        Trial(number, 0, LambdaSchedule.from_mean(one.mean, one.slope, STEPS), *vars(one).values())
        for number, one in enumerate(points, start=1)
    ]


def scored(n, corrected, influence):
    return Score(n, corrected, 0.1, corrected, influence, width=16)


def test_the_difference_is_paired_and_below_four_images_a_feature_not_told():
    psi = torch.tensor([1.0, -1.0] * 32, dtype=torch.float64)
    baseline = scored(64, 6.0, 0 * psi)
    linear, constant = scored(64, 5.0, 3 * psi), scored(64, 5.5, 2 * psi)
    contenders = [
        Contender(1, LambdaSchedule(1.0, 0.001), linear, paired(linear, baseline, 0.9)),
        Contender(2, LambdaSchedule(1.01), constant, paired(constant, baseline, 0.9)),
    ]
    found = worth_of(baseline, contenders, contenders[1], None, 0.95)
    assert (found.linear, found.constant, found.gain) == (1, 2, 0.5)
    half = 1.959964 * float(psi.std()) / 8
    assert found.high - 0.5 == pytest.approx(half) == 0.5 - found.low
    alone = worth_of(baseline, contenders[:1], None, None, 0.95)
    assert (alone.constant, alone.gain) == (0, 1.0), "against λ = 1, which is the best constant"
    assert worth_of(baseline, contenders[1:], contenders[1], None, 0.95) is None
    few = Score(63, 6.0, 0.1, 6.0, psi[:63], width=16)
    assert worth_of(few, contenders, contenders[1], None, 0.95) is None


def test_every_difference_that_is_told_counts_in_the_level():
    several = [Trial(k, 0, LambdaSchedule(1.0, 0.001 * k), 1.0, 0.0) for k in (1, 2, 3)]
    constant = Trial(4, 0, LambdaSchedule(1.01), 1.01, 0.0)
    both, linear = SearchSpec(family="both"), SearchSpec()
    assert comparisons(linear, several) == 3
    assert comparisons(both, several) == 3, "the best constant is λ = 1"
    assert comparisons(both, [*several, constant]) == 7


@pytest.mark.parametrize(
    ("told", "words"),
    [
        (Worth(1, 2, 0.12, 0.08, 0.16, 0.98), "k is worth 1.20 % ± 0.40 % over the best constant"),
        (Worth(1, 2, 1.2, 0.1, 2.3, 0.98), "k is worth 12.0 % ± 11.0 % over the best constant"),
        (
            Worth(1, 2, -0.1, -0.3, 0.1, 0.98),
            "gain over the best constant λ = 1.021 is −1.0 %",
        ),
        (Worth(1, 2, 0.0, 0.0, 0.0, 0.98), "k is not worth it"),
        (Worth(1, 2, 0.02, -0.05, 0.09, 0.98), "k is not worth it"),
        (Worth(1, 2, 0.5, -0.1, 1.1, 0.98), "whether k is worth it is open"),
    ],
)
def test_it_is_one_sentence(told, words):
    said = told.words(1.021, 10.0)
    assert words in said and "λ = 1.021" in said and not said.endswith(".")
    for nothing in (0.0, -0.2):  # a corrected distance may be that
        assert "%" not in told.words(1.021, nothing) and "nan" not in told.words(1.021, nothing)
    assert math.isclose(told.high - told.gain, told.gain - told.low, abs_tol=1e-9)
