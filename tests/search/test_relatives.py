"""Where a search begins that knows what is best for a relative, and what it makes of that."""

from dataclasses import replace
from itertools import product
from types import SimpleNamespace

import numpy as np
import pytest

from lambda_search.errors import Interrupted
from lambda_search.errors import UsageError
from lambda_search.search import surface
from lambda_search.search.allocation import Box
from lambda_search.search.allocation import Outlook
from lambda_search.search.kg import KnowledgeGradient
from lambda_search.search.noise import Measurement
from lambda_search.search.proposals import propose
from lambda_search.search.relatives import warm_start
from lambda_search.search.relatives import warmed
from lambda_search.search.resolving import assemble
from lambda_search.search.space import IDENTITY
from lambda_search.search.space import Point
from lambda_search.search.surface import KERNELS
from lambda_search.search.surface import Gaussian
from lambda_search.search.surface import Kernel
from lambda_search.search.surface import Surface
from lambda_search.search.surface import kernels_about
from lambda_search.spec import parse_specs
from lambda_search.store.catalogue import entries
from lambda_search.store.store import Store
from lambda_search.work.pool import SerialPool
from lambda_search.work.recipe import Measure
from tests.search import running
from tests.search import test_both as both
from tests.search.emulator import Emulator
from tests.search.landscapes import BUNDLED
from tests.search.players import SPACE
from tests.search.players import farthest
from tests.search.players import place
from tests.search.players import rounds
from tests.search.players import tilt
from tests.search.running import record
from tests.store.test_store import row

TEXT = """
name: tiny
model: {framework: FRAMEWORK, checkpoint: c}
sampler: {name: SAMPLER, steps: 11, batch: 64}
search: {proposals: kg, warm_start: true, seed: 3}
metric: {extractor: bundled, reference: r}
"""


def plan_of(framework="ddim", sampler="ddim"):
    [spec] = parse_specs(TEXT.replace("FRAMEWORK", framework).replace("SAMPLER", sampler))
    measure = Measure("bundled", "e", "r", "f", width=128)
    return assemble(spec, spec.sampler.sampling, 11, ("0" * 64, "1" * 64), (measure,))


def relative(plan, b=1.02, k=-0.001, **changed):
    return row(plan.setting.model_copy(update=changed), b=b, k=k)


def test_it_is_the_nearest_of_the_model_with_its_mean_and_its_tilt():
    plan, store = plan_of(), Store()
    near, far = relative(plan, steps=21), relative(plan, b=1.01, steps=41)
    store.add([far, near])
    found = warm_start(plan, store)
    assert found.row == near.id and "21 steps, not 11" in found.words and not found.is_close
    assert found.mean == pytest.approx(near.schedule.mean(21), abs=1e-5)
    assert 10 * found.slope == pytest.approx(20 * near.schedule.k)
    other = relative(plan, b=1.03, steps=11, sampler="euler")
    store.add([other])
    assert warm_start(plan, store).row == near.id, "twice the steps are nearer than it"


def test_it_is_known_by_its_weights_whatever_it_is_called():
    plan, store = plan_of(), Store()
    here = relative(plan, b=1.01, steps=21)
    there = relative(plan, steps=13, model="another study")
    store.add([here, there, relative(plan, steps=11, model="other weights", weights="2" * 64)])
    found = warm_start(plan, store)
    assert found.row == there.id and found.is_close
    assert "confirmed for these weights, called another study, 13 steps, not 11" in found.words
    as_near = relative(plan, b=1.03, steps=13)
    store.add([as_near])
    assert warm_start(plan, store).row == as_near.id, "by its own name first"
    store.add([relative(plan, b=1.0, k=0.0, steps=12)])
    assert warm_start(plan, store).row == there.id, "λ = 1 tells nothing"


@pytest.mark.parametrize(
    ("changed", "wanted"),
    [
        ({}, True),
        ({"steps": 13}, True),
        ({"steps": 9}, True),
        ({"steps": 14}, False),
        ({"steps": 8}, False),
        ({"reference": "other@0"}, False),
        ({"extractor": "other@0"}, False),
        ({"options": {"eta": 0.5}}, False),
        ({"sampler": "euler"}, False),
    ],
)
def test_close_is_the_very_setting_with_nearly_as_many_steps(changed, wanted):
    plan, store = plan_of(), Store()
    options = plan.setting.options.model_copy(update=changed.pop("options", {}))
    row = relative(plan, **changed, options=options)
    store.add([row])
    found = warm_start(plan, store)
    assert found.row == row.id and found.is_close is wanted
    assert replace(plan, warm_start=found).kg._is_close is wanted


def test_rounds_begin_outside_of_their_ranges_and_others_do_not():
    """Where DDIM's optima lie, and where no plane opens to."""
    plan, store = plan_of(), Store()
    store.add([relative(plan, b=0.83, k=0.018, steps=11)])
    found = warm_start(plan, store)
    assert (found.mean, found.slope, found.is_close) == (0.92, 0.018, True)
    assert Point(0.92, 0.018) in replace(plan, warm_start=found).kg.opening().points
    spec = plan.spec.model_copy(
        update={"search": plan.spec.search.model_copy(update={"proposals": "gp"})}
    )
    low, high = plan.space.mean[0], plan.space.slope[1]
    moved = warm_start(replace(plan, spec=spec), store)
    assert (moved.mean, moved.slope, moved.is_close) == (low, high, False)
    fixed = replace(plan, space=replace(plan.space, mean=(1.02, 1.02)))
    on_line = warm_start(fixed, store)
    assert (on_line.mean, on_line.slope, on_line.is_close) == (1.02, 0.018, False)
    far = Store("sqlite://")
    far.add([relative(plan, b=0.5, k=0.1)])
    moved = warm_start(plan, far)
    assert (moved.mean, moved.slope, moved.is_close) == (1.0, high, False)


def test_a_study_that_begins_outside_of_its_ranges_ends_as_any_other():
    store = Store()
    store.add([relative(plan_of(), b=0.83, k=0.018)])
    search = {"proposals": "kg", "family": "linear", "warm_start": True}
    both.run(store, both.WORTH, search | {"budget": {"images": 3600}})
    first, second, *_ = store.trials(store.study("tiny").id)
    assert (first.mean, second.mean, second.slope) == (1.0, 0.92, 0.018)
    assert store.rows(store.study("tiny").id) and store.study("tiny").warm_start.is_close


def test_a_constant_is_close_to_constants_and_nothing_is_that_was_only_measured():
    plan, store = plan_of(), Store()
    constant = relative(plan, b=1.01, k=0.0)
    store.add([constant])
    assert warm_start(plan, store).row == constant.id
    assert not warm_start(plan, store).is_close
    constants = replace(plan, space=replace(plan.space, slope=(0.0, 0.0)))
    assert warm_start(constants, store).is_close
    better = replace(relative(plan, b=1.02), status="measured")
    store = Store("sqlite://")
    store.add([better])
    assert not warm_start(plan, store).is_close


@pytest.mark.parametrize(
    "changed", [{"site": "x0_only"}, {"weights": "2" * 64}, {"definition": "2" * 64}]
)
def test_what_makes_another_lambda_is_no_relative(changed):
    plan, store = plan_of(framework="diffusers"), Store()
    store.add([relative(plan, steps=21, **changed), relative(plan, b=1.0, k=0.0, steps=12)])
    assert warm_start(plan, store) is None


def test_without_one_of_its_own_it_is_the_nearest_that_was_published():
    found = warm_start(plan_of("adm", "ancestral"), Store())
    published = next(one.row for one in entries() if one.row.id == found.row)
    steps = [
        one.setting.steps
        for one in entries()
        if (one.setting.framework, one.setting.sampler) == ("adm", "ancestral")
    ]
    assert len(published.lambdas) == min(steps, key=lambda one: abs(np.log(one / 11)))
    assert published.setting.framework == "adm" and published.setting.site == "full"
    assert not found.is_close
    assert found.mean == pytest.approx(published.schedule.mean(len(published.lambdas)), abs=1e-5)
    assert f"published for {published.setting.model}" in found.words


def test_it_is_looked_for_once_and_kept():
    plan, store = plan_of(), Store()
    store.add([relative(plan, steps=41)])
    study = SimpleNamespace(id=store.study, warm_start=None)
    begun, kept = [], []
    record_ = SimpleNamespace(
        trials=lambda _: begun, begin_at=lambda _, start: kept.append(start), read=store.read
    )
    for name in ("near", "absent_rows", "best_of", "models_of"):
        setattr(record_, name, getattr(store, name))
    told = warmed(plan, study, None, record_)
    assert kept == [told.warm_start] and told.begin == Point(told.warm_start.mean, -0.004)
    store.add([relative(plan, b=1.03, steps=21)])
    again = warmed(plan, SimpleNamespace(id=1, warm_start=kept[0]), None, record_)
    assert again.warm_start == kept[0] and len(kept) == 1
    begun.append("a trial")
    assert warmed(plan, study, None, record_).warm_start is None, "it began without"


@pytest.mark.parametrize("kind", ["qmc", "kg"])
def test_digits_are_the_same_after_interruptions_whatever_the_store_has_by_then(kind):
    search = {"proposals": kind, "family": "linear", "warm_start": True}
    search |= {"budget": {"images": 3600}} if kind == "kg" else {"trials": 12}
    plan = plan_of()
    whole, broken = Store(), Store("sqlite://")
    for store in (whole, broken):
        store.add([relative(plan, steps=13)])
    both.run(whole, both.WORTH, search)
    stops = 0
    while True:
        try:
            both.run(broken, both.WORTH, search, calls=2)
            break
        except Interrupted:
            stops += 1
            broken.add([relative(plan, b=1.03 + stops / 1e4, steps=12)])
    assert stops > 1 and record(whole)[:2] == record(broken)[:2]
    start = broken.study("tiny").warm_start
    assert start == whole.study("tiny").warm_start and "13 steps, not 11" in start.words
    assert start.is_close
    second = whole.trials(whole.study("tiny").id)[1]
    assert (second.mean, second.slope) == (start.mean, start.slope)


def test_where_there_is_none_the_study_says_so(study_text):
    heard = []
    text = study_text.replace("trials: 7", "trials: 2, warm_start: true")
    running.run(text, SerialPool(), heard=heard)
    assert sum("no relative's λ is known" in event.text for event in heard) == 1


@pytest.mark.parametrize("kind", ["gp", "tpe", "cmaes", "random", "qmc"])
def test_it_is_proposed_first(kind):
    begin = Point(1.0123, -0.0021)
    points = propose(SPACE, kind, 24, 0, 0, (), 4, begin)
    assert points[:3] == [IDENTITY, begin, SPACE.published_centre()]
    assert propose(SPACE, kind, 24, 0, 0, (), 4)[:2] == [IDENTITY, SPACE.published_centre()]


def test_the_first_round_has_it_in_the_middle():
    begin = place(BUNDLED[4])
    cold, warm = (KnowledgeGradient(SPACE, 128, begin=one).opening() for one in (None, begin))
    assert set(warm.points) - set(cold.points) == {begin}
    assert len(warm.points) == len(cold.points)


def bowl(about, seed=0, error=0.03):
    """Scores of nine schedules on a bowl with its lowest point at `about`."""
    rng = np.random.default_rng(seed)
    found = []
    for number, at in enumerate((u, v) for u in (-1.0, 0.0, 1.0) for v in (-1.0, 0.0, 1.0)):
        height = ((np.array(at) - about) ** 2 @ [0.1, 0.4]) / 2
        psi = rng.standard_normal(64)
        score = 20 * np.exp(height + error * rng.standard_normal())
        found.append(Measurement(at, 64 * number, score, 20 * 8 * error * (psi - psi.mean())))
    return found


def test_scores_say_whether_the_relative_is_right():
    about = 0.6, -0.2
    right, wrong, nearer = 0, 0, 0
    for seed in range(20):
        told = Surface(bowl(about, seed), kernels=kernels_about(about))
        right += told.weights[len(KERNELS) :].sum() > 0.5
        misled = Surface(bowl((-0.9, 0.8), seed), kernels=kernels_about(about))
        wrong += misled.weights[len(KERNELS) :].sum() > 0.5
        grid = np.stack(np.meshgrid(*[np.linspace(-1, 1, 41)] * 2), axis=-1).reshape(-1, 2)
        off = [
            float(np.hypot(*(grid[one.mean(grid).argmin()] - about)))
            for one in (Surface(bowl(about, seed)), told)
        ]
        nearer += off[1] <= off[0]
    assert right >= 18 and wrong == 0 and nearer >= 15


@pytest.mark.parametrize("slopes", [1.0, 0.1])
@pytest.mark.parametrize(("direction", "wanted"), [((1.0, 0.0), 0.15), ((0.0, 1.0), 0.08)])
def test_a_flat_place_is_where_the_prior_has_little_slope_the_least_along_the_valley(
    direction, wanted, slopes
):
    kernel, wanted = Kernel(0.5, 0.0, 0.6, (0.3, -0.4), slopes), wanted * slopes
    at, step = np.array([[0.3, -0.4]]), 1e-4
    beside = at + step * np.array(direction)
    joint = kernel(np.vstack([at, beside]), np.vstack([at, beside]))
    slope = (joint[0, 0] - 2 * joint[0, 1] + joint[1, 1]) / step**2
    assert slope == pytest.approx(wanted**2, rel=0.01)
    assert kernel.variance(beside) == pytest.approx(np.diag(kernel(beside, beside)))


class Lowest:
    """A surface that is known, a valley of steep walls."""

    def __init__(self, at):
        self.at = np.array(at)

    def mean(self, at):
        return 0.05 * np.abs((at - self.at) @ [1.0, 0.0]) ** 0.5 + 0.05 * np.abs(at[:, 1])

    def spread(self, at):
        return np.zeros(len(at))

    def posterior(self, at):
        return Gaussian(self.mean(at), np.zeros((len(at), len(at))))


def opened(truth, begin, seed):
    """A search after its first round: its scores, and what they say."""
    search = KnowledgeGradient(SPACE, 128, seed=seed, budget=10_000, begin=begin, is_close=True)
    return search, *next(rounds(Emulator(truth, seed), search))


def test_the_best_of_a_close_relative_leads_after_the_first_round_where_it_is_right():
    trusting, free = 0, 0
    for truth, seed in product(BUNDLED, range(4)):
        search, scores, _, verdict = opened(truth, place(truth), seed)
        known = search._known(scores, ())
        leader = known.plane.point(known.outlook().leader)
        trusting += truth.good(verdict.leader.mean, tilt(verdict.leader))
        free += truth.good(leader.mean, tilt(leader))
    assert trusting >= 12 and trusting >= 2 * free


def test_what_is_measured_next_and_how_sure_it_is_do_not_hang_on_that(monkeypatch):
    truth, found = BUNDLED[4], []
    for nearer in ((0.3, 0.1), ()):
        monkeypatch.setattr(surface, "_NEARER", nearer)
        search, scores, spent, verdict = opened(truth, place(BUNDLED[3]), 0)
        found.append((search.next(scores, spent), verdict))
    (coming, trusting), (other, free) = found
    assert coming == other and trusting.leader != free.leader
    assert trusting.regret > free.regret > 0.5, "by the surface that does not trust it so much"


def test_a_relative_that_diverged_is_not_trusted():
    search, scores, *_ = opened(BUNDLED[4], place(BUNDLED[4]), 0)
    left = [one for one in scores if one.at != search._plane.place(place(BUNDLED[4]))]
    assert len(left) == len(scores) - 1
    assert search._known(left, ())._leading is not None
    assert search._known(left, [place(BUNDLED[4])])._leading is None


def test_a_better_one_beside_a_trusted_leader_is_seen_though_the_grid_is_coarse():
    """A valley between nodes of the grid; the leader lies on a wall of it, as low as a node."""
    free, trusting = (Lowest(one) for one in ((0.2, 0.0), (0.4, 0.0)))
    box, rng = Box((-6.0, -6.0), (6.0, 6.0)), np.random.default_rng(0)
    found = Outlook(free, box, rng, trusting)
    assert found.lowest == pytest.approx([0.2, 0.0], abs=0.01)
    assert found.leader == pytest.approx([0.4, 0.0], abs=0.01)
    assert found.chance_of_better(0.01) == 1.0
    assert Outlook(free, box, rng).chance_of_better(0.01) == 0.0


def test_the_farthest_corner_is_no_hint():
    assert farthest(BUNDLED[0]) == Point(0.99, 0.005)


def test_a_grid_begins_nowhere_and_older_files_stay_as_they_were():
    with pytest.raises(UsageError, match="a grid begins nowhere"):
        parse_specs(TEXT.replace("proposals: kg", "proposals: grid").replace("FRAMEWORK", "ddim"))
    assert "warm_start: true" in plan_of().spec.to_yaml()
    [usual] = parse_specs(plan_of().spec.to_yaml().replace("warm_start: true", "tolerance: 1%"))
    assert not usual.search.warm_start and "warm_start" not in usual.to_yaml()
