"""Confirmations in looks: the road, what the row says, restarts, and whether intervals hold."""

from dataclasses import replace

import pytest
from scipy.stats import binomtest
from scipy.stats import norm

from lambda_search import studies
from lambda_search.errors import Conflict
from lambda_search.errors import Interrupted
from lambda_search.errors import LambdaSearchError
from lambda_search.errors import UsageError
from lambda_search.launching import confirm_anew
from lambda_search.launching import plans_of
from lambda_search.launching import run_studies
from lambda_search.records import Row
from lambda_search.search.confirm import level_for
from lambda_search.search.confirm import optimism
from lambda_search.search.looks import LookPlan
from lambda_search.search.looks import Seen
from lambda_search.spec import parse_specs
from lambda_search.store.queue import Queue
from lambda_search.store.store import Store
from lambda_search.work.pool import SerialPool
from tests.search.running import Halting
from tests.search.running import plan_of
from tests.search.running import record
from tests.search.running import run
from tests.search.sequential import World
from tests.search.sequential import confirmed

PLAN = LookPlan(50_000, 0.01, level_for(3), 512, 64)


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
    assert [one.n for one in walked(replace(PLAN, precision=None), 9.0)] == [50_000]
    assert [one.n for one in walked(replace(PLAN, samples=300), 0.1)] == [300]
    assert [one.n for one in walked(PLAN, 9.0, baseline=0.0)][-1] == 50_000


@pytest.fixture
def looking(study_text):
    """A study that looks twice: a random model's FID is large, and its gains small."""
    return study_text.replace("trials: 7", "trials: 4").replace(
        "samples: 80", "samples: 1040, precision: 0.018%"
    )


@pytest.fixture
def done(looking):
    store, pool = Store(), Halting()
    return store, run(looking, pool, store), pool.done


def test_the_row_says_how_it_ended(done, tmp_path):
    store, row, shards = done
    looks = row.provenance.looks
    assert looks.precision == 0.00018 and looks.planned == 5
    assert looks.made[0] == 512 and looks.made[-1] == row.n and len(looks.made) > 1
    assert (looks.ended == "samples") == (row.n == 1040 and "not yet" in row.verdict)
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


@pytest.mark.parametrize("last", [3, pytest.param(70, marks=pytest.mark.slow)])
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
    store, text = Store(), study_text.replace("trials: 7", "trials: 3")
    row = run(text, Halting(), store)
    assert row.provenance.looks is None and "looks" not in row.to_json()["provenance"]
    assert plan_of(text).digest() != plan_of(text.replace("80", "80, precision: 1%")).digest()


# Again


@pytest.fixture
def finished(study_text):
    store = Store()
    [row] = run_studies(
        plans_of(parse_specs(study_text.replace("trials: 7", "trials: 3"))), store, SerialPool()
    )
    return store, row


def again(store, pool, **changed):
    return confirm_anew("tiny", studies.confirmed_anew("tiny", store, **changed), store, pool)


def test_a_proof_is_made_again_on_images_of_its_own_and_nothing_is_searched(finished):
    store, before = finished
    trials, pool = store.trials(store.study("tiny").id), Halting()
    row = again(store, pool)
    assert row.provenance.confirm_indices == (1_000_080, 1_000_160)
    assert {start for _, start in pool.done} == set(range(1_000_080, 1_000_160, 16))
    assert store.trials(store.study("tiny").id) == trials
    assert [one.id for one in store.rows(store.study("tiny").id)] == [before.id, row.id]
    further = again(store, Halting(), samples=96, precision="20%", top=1)
    assert further.provenance.confirm_indices == (1_000_160, 1_000_256)
    assert len(further.provenance.candidates) == 1 and further.provenance.looks.made == (96,)
    [spec] = parse_specs(store.study("tiny").spec)
    assert (spec.confirm.samples, spec.confirm.precision, spec.confirm.top) == (96, 0.2, 1)


def test_a_proof_that_was_broken_off_goes_on_where_it_was(finished):
    store, _ = finished
    with pytest.raises(LambdaSearchError, match="stopped"):
        again(store, Halting(4))
    with pytest.raises(Conflict, match="only what is done"):
        studies.confirmed_anew("tiny", store)
    studies.resume("tiny", store)
    from lambda_search.drive import drive

    pool = Halting()
    row = drive(store, pool).rows["tiny"]
    assert row.provenance.confirm_indices == (1_000_080, 1_000_160)


def test_what_cannot_be_confirmed_is_said_in_one_message(finished, cli):
    store, _ = finished
    for changed, said in (
        ({"precision": "2"}, r"like 1% or 0\.01"),
        ({"samples": 3}, "confirm.samples"),
        ({"top": 0}, "confirm.top"),
    ):
        with pytest.raises(UsageError, match=said):
            studies.confirmed_anew("tiny", store, **changed)
    Queue(store).submit("waiting", "name: waiting")
    for name, said in (("nobody", "There is no study"), ("waiting", "only what is done")):
        code, _, err = cli("confirm", name)
        assert code == 2 and said in " ".join(err.split())


@pytest.mark.slow
@pytest.mark.parametrize("gain", [0.0, 0.1])
def test_intervals_hold_at_all_looks_together_and_after_picking(gain):
    """Consistent with 95 %, which a rule that ends when a gain looks proven would miss."""
    world, runs = World(64, gain), 150
    found = [confirmed(world, seed, 0.02, 60 * 64) for seed in range(runs)]
    assert {len(one.made) for one in found} & {3, 4}
    for held in (sum(one.joint for one in found), sum(one.held for one in found)):
        assert binomtest(held, runs, 0.95, alternative="less").pvalue > 0.001
    assert sum(one.wider for one in found) / runs < 1.1
