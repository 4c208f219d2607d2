"""A study of both families from the file to its rows, on an emulated landscape."""

import numpy as np
import pytest
import torch
import yaml

from lambda_search.errors import Interrupted
from lambda_search.events import Events
from lambda_search.metrics.evidence import Score
from lambda_search.metrics.evidence import paired
from lambda_search.records import Identity
from lambda_search.schedule import LambdaSchedule
from lambda_search.search.driver import Driver
from lambda_search.search.progress import Tracker
from lambda_search.search.resolving import assemble
from lambda_search.setting import fingerprint
from lambda_search.spec import parse_specs
from lambda_search.store.lookup import best
from lambda_search.store.lookup import constant_beside
from lambda_search.store.queue import Queue
from lambda_search.store.store import Store
from lambda_search.work.evaluator import Result
from lambda_search.work.recipe import Measure
from tests.search.emulator import Emulator
from tests.search.players import STEPS
from tests.search.running import record
from tests.search.test_worth import NOT_WORTH
from tests.search.test_worth import WORTH
from tests.search.test_worth import best_constant

QMC = {"proposals": "qmc", "trials": 24, "slope": [-0.01, 0.005]}
KG = {"proposals": "kg", "budget": {"images": 4600}}


ONE = LambdaSchedule()


class Emulated:
    """An evaluator of a landscape, which stops for good after a number of calls."""

    identity = Identity(0, "cpu", "philox", 1, {"torch": "2"})

    def __init__(self, landscape, calls=10**9):
        self._emulator = Emulator(landscape, 3)
        self._left = calls

    def prepare(self, say):
        pass

    def name(self, schedule, first, n):
        return fingerprint([schedule.b, schedule.k, first, n])

    def preview(self, schedules, first, count):
        return [str(one).encode() for one in schedules]

    def results(self, schedules, first, n, whole=False, components=None, beside=ONE):
        if not self._left:
            raise Interrupted("The workers were stopped.")
        self._left -= 1
        theirs, *scores = (self._score(one, first, n) for one in (beside, *schedules))
        return [Result(one, paired(one, theirs, 0.9)) for one in scores]

    def _score(self, schedule, first, n):
        mean, tilt = schedule.mean(STEPS), schedule.k * (STEPS - 1)
        found, psi = self._emulator.measure(mean, tilt, first, n)
        error = float(psi.std()) / n**0.5
        return Score(n, found, error, found, torch.from_numpy(psi), width=128)


def run(store, landscape, search, calls=10**9, confirm=(("samples", 8192), ("top", 1))):
    text = yaml.safe_dump(
        {
            "name": "tiny",
            "model": {"framework": "ddim", "checkpoint": "c"},
            "sampler": {"name": "ddim", "steps": STEPS, "batch": 64},
            "search": {"seed": 3, "family": "both"} | search,
            "metric": {"extractor": "bundled", "reference": "r"},
            "confirm": dict(confirm),
        }
    )
    [spec] = parse_specs(text)
    measure = Measure("bundled", "e", "r", "f", width=128)
    plan = assemble(spec, spec.sampler.sampling, STEPS, ("0" * 64, "1" * 64), (measure,))
    queue = Queue(store)
    queue.submit("tiny", text)
    claim, heard = queue.claim(["tiny"]), []
    study = queue.bind(claim.lease, plan.setting, STEPS, Emulated.identity)
    events, tracker = Events("tiny", [heard.append]), Tracker("tiny")
    try:
        driver = Driver(
            plan, study, claim.lease, store, Emulated(landscape, calls), tracker, events
        )
        row = driver.run()
    except Interrupted:
        queue.end(claim.lease, "stopped", "stopped")
        raise
    assert not row.worth_words or row.worth_words in [one.text for one in heard]
    return row


@pytest.mark.parametrize("search", [QMC, KG], ids=["qmc", "kg"])
def test_where_k_is_worth_it_both_optima_become_rows(search):
    store = Store()
    row = run(store, WORTH, search)
    told = row.provenance
    assert row.status == "confirmed" and row.schedule.k < 0 and told.companion == ""
    assert told.worth.low > 0 and told.worth.linear == told.trial
    assert told.worth.level == row.gain_interval.level == pytest.approx(1 - 0.05 / 3)
    assert row.worth_words.startswith("k is worth ")
    linear, constant = told.candidates
    assert (linear.trial, constant.trial, constant.k) == (told.trial, told.worth.constant, 0)
    assert told.worth.gain == pytest.approx(linear.gain - constant.gain)
    truth = WORTH.fid(constant.b, 0.0) - WORTH.fid(row.schedule.mean(STEPS), 10 * row.schedule.k)
    assert told.worth.low <= truth <= told.worth.high
    assert WORTH.fid(constant.b, 0.0) <= 1.02 * best_constant(WORTH)

    beside = constant_beside(row, store)
    assert store.rows(store.study("tiny").id) == [beside, row], "the study's own is its last"
    assert best(row.setting.model, STEPS, store=store) == row
    assert (beside.schedule.b, beside.schedule.k) == (constant.b, 0)
    assert (beside.status, beside.gain) == ("confirmed", constant.gain)
    assert beside.provenance.companion == row.id and beside.provenance.worth == told.worth
    captions = [one.caption for one in store.images(beside.provenance.preview)]
    assert captions == ["λ = 1", f"λ = {beside.schedule}"]
    again = type(row).from_json(beside.to_json())
    assert again.id == beside.id and again.worth_words == row.worth_words


def test_where_k_is_not_worth_it_that_is_said():
    row = run(Store(), NOT_WORTH, QMC)
    worth = row.provenance.worth
    assert row.status == "confirmed" and worth.low <= 0
    assert row.worth_words.startswith("k is not worth it: its gain over the best constant λ = 1.0")


@pytest.mark.parametrize("search", [QMC, KG], ids=["qmc", "kg"])
def test_digits_are_the_same_after_interruptions(search):
    precise = (("samples", 8192), ("top", 2), ("precision", "1%"))
    whole, broken = Store(), Store("sqlite://")
    row = run(whole, WORTH, search, confirm=precise)
    assert len(row.provenance.looks.made) > 1
    done, stops = False, 0
    while not done:
        try:
            run(broken, WORTH, search, calls=3, confirm=precise)
            done = True
        except Interrupted:
            stops += 1
    assert stops > 1

    def told(store):
        trials, evaluations, rows = record(store)
        rows = [one | {"provenance": one["provenance"].to_json()} for one in rows]
        for one in rows:
            one["provenance"].pop("companion", None)  # an id holds who measured it, and when
        return trials, evaluations, rows

    assert told(whole) == told(broken)


def test_a_constant_family_has_constants_alone():
    row = run(Store(), WORTH, KG | {"family": "constant"})
    assert row.schedule.k == 0 and not row.schedule.is_identity
    assert row.worth_words == "" and row.provenance.worth is None
    assert WORTH.fid(row.schedule.b, 0.0) <= 1.02 * best_constant(WORTH)
    assert row.schedule.b == round(row.schedule.b, 3), "as fields for one number hold it"


def test_the_landscapes_are_what_their_names_say():
    slopes = np.linspace(-0.1, 0.05, 301)
    means = np.linspace(0.95, 1.1, 301)
    for landscape, worth in ((WORTH, 0.09), (NOT_WORTH, 0.0)):
        lowest = min(float(landscape.fid(means, tilt + 0 * means).min()) for tilt in slopes)
        assert 1 - lowest / best_constant(landscape) == pytest.approx(worth, abs=0.01)
