"""Confirmations in looks: the road, what the row says, restarts, and whether intervals hold."""

from dataclasses import replace

import pytest
from scipy.stats import binomtest
from scipy.stats import norm

from lambda_search.errors import Interrupted
from lambda_search.records import Row
from lambda_search.records import Terms
from lambda_search.search.confirm import level_for
from lambda_search.search.confirm import optimism
from lambda_search.search.looks import LookPlan
from lambda_search.search.looks import Seen
from lambda_search.store.store import Store
from tests.conftest import STUDY
from tests.search.brownian import holds
from tests.search.brownian import holds_once_proven
from tests.search.brownian import paths
from tests.search.running import Halting
from tests.search.running import plan_of
from tests.search.running import record
from tests.search.running import run
from tests.search.sequential import World
from tests.search.sequential import confirmed

PLAN = LookPlan(Terms(50_000, 0.01, 3), 512, 64)


def planned(**terms):
    return replace(PLAN, terms=replace(PLAN.terms, **terms))


def walked(plan, deviation, baseline=20.0):
    """All looks where a gain has that error, in 1/√n."""
    made = []
    while (n := plan.next(made)) is not None:
        made.append(Seen(n, deviation / n**0.5, baseline))
    return made


@pytest.mark.parametrize("deviation", [0.5, 3.0, 8.0, 12.0, 100.0])
def test_looks_end_where_the_interval_is_as_narrow_as_asked(deviation):
    made = walked(PLAN, deviation)
    counts = [one.n for one in made]
    assert counts == sorted(set(counts)) and counts[0] == 512 and len(made) <= 5
    half = PLAN.boundary(counts, ended=True) * made[-1].error
    fixed = norm.isf((1 - PLAN.level) / 2) * made[-1].error
    assert 0.9999 * fixed < half <= 1.04 * fixed, "looking costs next to nothing"
    if counts[-1] < 50_000:
        assert half <= 0.01 * 20
        least = (norm.isf((1 - PLAN.level) / 2) * deviation / 0.2) ** 2
        assert counts[-1] <= max(512, 1.15 * least + 64), "nor are images wasted"
    else:
        assert half > 0.01 * 20
    assert PLAN.leads_to(made)
    assert not PLAN.leads_to([replace(made[0], n=448), *made[1:]])


def test_the_road_depends_on_widths_alone_and_without_a_precision_is_one_look():
    assert [one.n for one in walked(planned(precision=None), 9.0)] == [50_000]
    assert [one.n for one in walked(planned(samples=300), 0.1)] == [300]
    assert [one.n for one in walked(PLAN, 9.0, baseline=0.0)][-1] == 50_000


@pytest.fixture(scope="module")
def looking(tiny_pipeline):
    """A study that looks twice: a random model's FID is large, and its gains small."""
    quick = STUDY.format(folder=tiny_pipeline).replace("batch: 16", "batch: 64")
    return (
        quick.replace("[32, 64]", "[64]")
        .replace("trials: 7", "trials: 3")
        .replace("samples: 80", "samples: 704, precision: 0.018%")
    )


@pytest.fixture(scope="module")
def done(looking, tmp_path_factory):
    store, pool = Store("sqlite://"), Halting()
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("LAMBDA_SEARCH_HOME", str(tmp_path_factory.mktemp("home")))
        return store, run(looking, pool, store), pool.done


def test_the_row_says_how_it_ended(done, tmp_path):
    store, row, shards = done
    looks = row.provenance.looks
    assert looks.precision == 0.00018 and looks.planned == 4
    assert looks.made[0] == 512 and looks.made[-1] == row.n and len(looks.made) > 1
    assert (looks.ended == "samples") == (row.n == 704 and "not yet" in row.verdict)
    assert "to ±0.018 %" in row.verdict
    error = row.candidate.gain_standard_error
    assert row.gain_interval.half_width == pytest.approx(looks.boundary * error)
    assert looks.luck == pytest.approx(optimism(2) * error)
    assert row.gain_interval.level == level_for(2)
    evaluations = store.evaluations(store.study("tiny").id)
    seen = {one.n for one in evaluations if one.phase == "confirm"}
    assert seen == set(looks.made), "each look is kept"
    assert len(set(shards)) == len(shards), "and made of the one before it"
    assert Row.from_json(row.to_json()) == row
    impossible = replace(looks, made=(512, 999))
    with pytest.raises(ValueError, match="its looks were at"):
        told = replace(row, provenance=replace(row.provenance, looks=impossible))
        Row.from_json(told.to_json())


@pytest.mark.parametrize("last", [3, pytest.param(28, marks=pytest.mark.slow)])
def test_killed_between_looks_it_walks_the_same_road(looking, done, tmp_path, last):
    """After a few shards of the last look, and of the first."""
    whole, _, shards = done
    store, first, second = Store(f"{tmp_path}/killed.db"), Halting(len(shards) - last), Halting()
    with pytest.raises(Interrupted):
        run(looking, first, store)
    run(looking, second, store)
    assert record(store) == record(whole)
    assert len(second.done) <= last + 3, "what was made is used"


def test_without_a_precision_nothing_is_new(study_text):
    store, text = Store(), study_text.replace("trials: 7", "trials: 2")
    row = run(text, Halting(), store)
    assert row.provenance.looks is None and "looks" not in row.to_json()["provenance"]
    assert plan_of(text).digest() != plan_of(text.replace("80", "80, precision: 1%")).digest()


def doubt(held):
    """The probability of holding so rarely where intervals hold with 95 %."""
    return binomtest(sum(held), len(held), 0.95, alternative="less").pvalue


def test_intervals_hold_at_all_looks_together_and_would_not_by_the_wrong_rule():
    plan = LookPlan(Terms(16 * 512, 0.018, 3), 512, 128)
    found = paths(plan, runs=2000)
    held, looks = zip(*(holds(plan, one) for one in found), strict=True)
    assert {2, 3} <= set(looks), "the road differs with what is seen"
    assert doubt(held) > 0.01
    assert doubt([holds_once_proven(plan, one) for one in found]) < 1e-6


@pytest.mark.slow
@pytest.mark.parametrize("gain", [0.0, 0.1])
def test_intervals_hold_at_all_looks_together_and_after_picking(gain):
    """Of features, whose distances are estimated and biased: consistent with 95 %."""
    world, runs = World(64, gain), 150
    found = [confirmed(world, seed, 0.02, 60 * 64) for seed in range(runs)]
    assert {len(one.made) for one in found} & {3, 4}
    assert doubt([one.joint for one in found]) > 0.001
    assert doubt([one.held for one in found]) > 0.001
    assert sum(one.wider for one in found) / runs < 1.1
