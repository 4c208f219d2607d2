"""Constants, linear schedules, or both: what a file may say, and what is proposed of each."""

import pytest
import yaml

from lambda_search.errors import UsageError
from lambda_search.search.families import propose_next
from lambda_search.search.proposals import Observation
from lambda_search.search.space import IDENTITY
from lambda_search.search.space import Space
from lambda_search.spec import parse_specs
from lambda_search.spec.searching import SearchSpec

FILE = {
    "name": "s",
    "model": {"framework": "ddim", "checkpoint": "c"},
    "sampler": {"name": "ddim", "steps": 11},
    "metric": {"extractor": "bundled", "reference": "bundled:fashion-mnist"},
}


def spec(steps=11, **search):
    sampler = FILE["sampler"] | {"steps": steps}
    [found] = parse_specs(yaml.safe_dump(FILE | {"sampler": sampler, "search": search}))
    return found


def proposed(told, space):
    """All points of a study whose best is λ̄ = 1.02, generation by generation."""
    history, points, generation = [], [], 0
    while len(points) < told.trials:
        left = min(told.parallel, told.trials - len(points))
        found = propose_next(told, space, generation, history, len(points), left)
        if not found:
            break
        points += found
        history += [Observation(one, (one.mean - 1.02) ** 2) for one in found]
        generation += 1
    return points


@pytest.mark.parametrize("said", [{"slope": 0}, {"slope": [0, 0]}, {"family": "constant"}])
def test_three_ways_to_ask_for_a_constant_are_one(said):
    assert spec(**said).slope_range() == (0.0, 0.0)
    assert Space.of(spec(**said), 11) == Space((0.99, 1.05), (0.0, 0.0), 11)


def test_a_number_is_a_range_of_one_point():
    assert spec(mean=1.02).search.mean == (1.02, 1.02)
    with pytest.raises(UsageError, match=r"search\.slope"):
        spec(slope=True)


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ({"family": "quadratic"}, "linear"),
        ({"family": "constant", "slope": [0, 0.001]}, "leave slope out"),
        ({"family": "constant", "mean": 1.02}, "single points"),
        ({"family": "both", "slope": [0.001, 0.002]}, "not in the range of slope"),
        ({"family": "both", "slope": 0}, "leaves constants alone"),
        ({"family": "both", "mean": 1}, "λ = 1 as the only constant"),
        ({"family": "both", "trials": 2}, "3 trials or more"),
        ({"family": "both", "steps": 1}, "one step"),
    ],
)
def test_a_family_that_cannot_be_is_refused(said, words):
    with pytest.raises(UsageError, match=words):
        spec(**said)


@pytest.mark.parametrize("kind", ["tpe", "cmaes", "random", "qmc", "grid", "gp"])
def test_constants_are_searched_along_one_line_and_none_twice(kind):
    trials = 9 if kind == "gp" else 24
    told = SearchSpec(proposals=kind, trials=trials, slope=0)
    points = proposed(told, Space((0.99, 1.05), (0.0, 0.0), 11))
    assert points[0] == IDENTITY and {one.slope for one in points} == {0.0}
    means = [one.mean for one in points]
    assert len(set(means)) == len(means) == trials
    assert all(one == round(one, 3) for one in means), "as fields for one number hold them"
    assert min(abs(one - 1.02) for one in means) < 0.004


def test_a_narrow_range_of_constants_is_not_rounded_away():
    told = SearchSpec(proposals="qmc", trials=12, mean=(1.01, 1.012), slope=0)
    assert len(proposed(told, Space((1.01, 1.012), (0.0, 0.0), 11))) == 12


@pytest.mark.parametrize("parallel", [1, 4])
@pytest.mark.parametrize("kind", ["tpe", "cmaes", "random", "qmc", "grid"])
def test_of_both_every_third_is_a_constant(kind, parallel):
    told = SearchSpec(proposals=kind, trials=24, family="both", parallel=parallel)
    points = proposed(told, Space((0.99, 1.05), (-0.008, 0.005), 11))
    assert points[0] == IDENTITY and len(set(points)) == len(points) == 24
    constants = [one for one in points[1:] if one.slope == 0]
    assert len(constants) == 8
    assert min(abs(one.mean - 1.02) for one in constants) < 0.005
    assert points == proposed(told, Space((0.99, 1.05), (-0.008, 0.005), 11))


def test_where_constants_have_run_out_the_plane_goes_on():
    told = SearchSpec(proposals="qmc", trials=12, family="both", mean=1.02, parallel=1)
    points = proposed(told, Space((1.02, 1.02), (-0.008, 0.005), 11))
    assert len(points) == 12 and sum(one.slope == 0 for one in points[1:]) == 1


@pytest.mark.parametrize("kind", ["tpe", "cmaes", "random", "qmc", "grid"])
def test_a_study_of_slopes_alone_makes_up_for_its_constants(kind):
    space, told = Space((0.99, 1.05), (-0.008, 0.005), 11), SearchSpec(proposals=kind, trials=24)
    before = [one for one in proposed(told, space) if one == IDENTITY or one.slope != 0]
    history = [Observation(one, (one.mean - 1.02) ** 2) for one in before]
    both = SearchSpec(proposals=kind, trials=40, family="both")
    points = propose_next(both, space, 6, history, len(history), 4)
    assert len(set(points)) == 4 and {one.slope for one in points} == {0.0}
    assert not set(points) & set(before)


def test_a_file_of_slopes_is_written_as_older_releases_wrote_it():
    assert "family" not in spec().to_yaml()
    for family in ("constant", "both"):
        assert f"family: {family}" in spec(family=family).to_yaml()
