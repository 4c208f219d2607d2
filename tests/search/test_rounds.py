"""A whole study by the knowledge gradient: rounds, the record, interruptions, and how it ends."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import pairwise
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from sqlalchemy import event

from lambda_search.errors import Interrupted
from lambda_search.errors import UsageError
from lambda_search.records import Trial
from lambda_search.search import allowance
from lambda_search.search import driver
from lambda_search.search.allocation import MOST
from lambda_search.search.kg import KnowledgeGradient
from lambda_search.search.knowledge import Knowledge
from lambda_search.search.record import Record
from lambda_search.search.space import Point
from lambda_search.store.store import Store
from lambda_search.store.study_records import StudyRecords
from lambda_search.work import tasks
from lambda_search.work.pool import SerialPool
from tests.search.running import Halting
from tests.search.running import plan_of
from tests.search.running import record
from tests.search.running import run

KG = {"trials: 7, parallel: 3": "trials: 12, parallel: 3, proposals: kg", ", rungs: [32, 64]": ""}


def changed(text, changes):
    for before, after in changes.items():
        assert before in text
        text = text.replace(before, after)
    return text


class Two(SerialPool):
    """Two workers: tasks end in whatever order they like."""

    def __init__(self):
        super().__init__()
        self._workers = ThreadPoolExecutor(2)

    def submit(self, task, *arguments, **options):
        submit = super().submit
        return self._workers.submit(lambda: submit(task, *arguments, **options).result())


@pytest.fixture
def text(study_text):
    return changed(study_text, KG)


def launch(text, pool, store=None, heard=None):
    store = store or Store()
    run(text, pool, store, heard)
    return [*record(store), store.rounds(store.study("tiny").id)]


@pytest.fixture(scope="module")
def known(tiny_pipeline, tmp_path_factory):
    """The record of an undisturbed run, its shards, and what was said."""
    from tests.conftest import STUDY

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LAMBDA_SEARCH_HOME", str(tmp_path_factory.mktemp("home")))
        text, pool, heard = changed(STUDY.format(folder=tiny_pipeline), KG), Halting(), []
        return launch(text, pool, Store(), heard), pool.done, heard


class Counting(SerialPool):
    """Notes for each shard how many transactions of `store` have changed something before it."""

    def __init__(self, store):
        super().__init__()
        self.seen, self._changes, self._count = [], False, 0
        event.listen(store._engine, "before_cursor_execute", self._executed)
        event.listen(store._engine, "commit", self._committed)

    def _executed(self, connection, cursor, statement, *_):
        self._changes |= statement.startswith(("INSERT", "UPDATE", "DELETE"))

    def _committed(self, connection):
        self._count += self._changes
        self._changes = False

    def submit(self, task, *arguments, **options):
        if isinstance(task, tasks.SampleShard):
            self.seen.append(self._count)
        return super().submit(task, *arguments, **options)


@pytest.mark.parametrize("changes", [KG, {}], ids=["rounds", "rungs"])
def test_a_round_and_what_follows_from_it_are_one_transaction(study_text, changes):
    store = Store()
    pool = Counting(store)
    launch(changed(study_text, changes), pool, store)
    study = store.study("tiny")
    first, last = pool.seen[0], pool.seen[-1]
    assert sorted(set(pool.seen)) == list(range(first, last + 1))
    several = {(one.n, one.first, one.phase) for one in store.evaluations(study.id)}
    generations = {one.generation for one in store.trials(study.id)}
    rounds = len(store.rounds(study.id)) or 2 * len(generations)
    assert last - first <= rounds and len(several) > 2


def test_a_study_goes_in_rounds_and_ends_in_a_row(known):
    (trials, evaluations, rows, rounds), shards, heard = known
    assert [one.number for one in rounds] == list(range(len(rounds))) and len(rounds) > 2
    assert rounds[0].trials == tuple(range(8)) and rounds[0].n == 128
    assert all(one.n == 256 and len(one.trials) <= 3 for one in rounds[1:])
    assert rounds[0].trials[0] == 0
    for one, after in pairwise(rounds):
        known = {number for other in rounds[: after.number] for number in other.trials}
        assert after.trials[0] in known, "later ones are compared with one that is known"
        told = [e for e in evaluations if (e["phase"], e["first"]) == ("search", one.first)]
        assert {e["through"] for e in told} == {one.trials[0]}
    blocks = [range(one.first, one.first + one.n) for one in rounds]
    assert all(a.stop == b.start for a, b in pairwise(blocks))
    assert [one.judgement.ending for one in rounds[:-1]] == [None] * (len(rounds) - 1)
    assert rounds[-1].judgement.ending == "trials"
    tried = [trial for trial in trials if trial["n"]]
    assert len(tried) == 12 and {trial["state"] for trial in trials} == {"complete"}
    assert all(
        trial["generation"] == min(r.number for r in rounds if trial["number"] in r.trials)
        for trial in tried
    )
    again = [t for t in tried if sum(t["number"] in r.trials for r in rounds) > 1]
    for trial in again:
        own = [e for e in evaluations if (e["trial"], e["phase"]) == (trial["number"], "search")]
        own = [e for e in own if not e["through"] or e["through"] != trial["number"]]
        assert trial["n"] == sum(e["n"] for e in own)
        mean = sum(e["gain"] * e["n"] for e in own) / trial["n"]
        assert trial["gain"] == pytest.approx(mean, abs=1e-12)
    assert trials[0]["gain"] == 0
    [row] = rows
    assert any("ended as its trials were spent" in one for one in row["provenance"].cautions)
    assert row["provenance"].rungs == ()
    told = row["provenance"].search
    assert told.startswith(
        f"{len(rounds)} rounds on 128 to 256 images of each schedule; the search"
    )
    assert f"{rounds[-1].judgement.regret:.1%}" in told
    made = sum(one.images for one in rounds) + 80 * (1 + len(row["provenance"].candidates))
    assert len(set(shards)) == len(shards) == made // 16, "no shard twice, and none beside"
    assert sum("best λ about" in one.text for one in heard) == len(rounds)
    beyond = [t for t in tried if abs(t["slope"]) > 0.01 or not 0.97 <= t["mean"] <= 1.05]
    said = " ".join(one.text for one in heard if "beyond the ranges" in one.text)
    assert beyond and all(str(one["schedule"]) in said for one in beyond)


def test_candidates_are_the_posteriors_best_first_even_if_never_sampled(known):
    (trials, _, rows, rounds), _, _ = known
    first, *others = rows[0]["provenance"].candidates
    told = rounds[-1].judgement
    [leader] = [one for one in trials if one["number"] == first.trial]
    assert (leader["mean"], leader["slope"]) == (told.mean, told.slope)
    assert leader["n"] is None and first.trial == 12, "it has no images of the search"
    assert others and all(one.trial in range(1, 12) for one in others)


@pytest.mark.parametrize(
    "after", [70, *(pytest.param(n, marks=pytest.mark.slow) for n in (3, 66, 110, 150))]
)
def test_interrupted_anywhere_it_goes_on_to_the_same_record(after, text, known):
    store, first, second = Store(), Halting(after), Halting()
    with pytest.raises(Interrupted):
        launch(text, first, store)
    assert launch(text, second, store) == known[0]
    assert sorted(first.done + second.done, key=str) == sorted(known[1], key=str)


@pytest.mark.slow
def test_two_workers_make_the_same_record_as_one(text, known):
    assert launch(text, Two()) == known[0]


def test_more_trials_go_on_without_any_image_of_before(text):
    """Features are pruned with the row; the record alone tells the model all of it."""
    store, first, second = Store(), Halting(), Halting()
    small = changed(text, {"trials: 12": "trials: 8"})
    before = launch(small, first, store)
    assert [one.judgement.ending for one in before[3]] == ["trials"]
    after = launch(changed(text, {"trials: 12": "trials: 9"}), second, store)
    assert after[3][0] == replace(before[3][0], judgement=after[3][0].judgement)
    assert after[3][0].judgement.ending is None and len(after[3]) > 1
    assert min(start for _, start in second.done) == 128, "only what is new was sampled"
    firsts = [row["provenance"].confirm_indices[0] for row in after[2]]
    assert firsts == [1_000_000, 1_000_080]


def test_diverged_schedules_are_lost_and_the_study_goes_on(text, monkeypatch):
    real = tasks.sample_batch

    def sample(model, sampling, schedule, *rest, **options):
        found = real(model, sampling, schedule, *rest, **options)
        return found * torch.nan if schedule.mean(4) > 1.02 else found

    monkeypatch.setattr(tasks, "sample_batch", sample)
    small = changed(text, {"trials: 12": "trials: 10"})
    trials, evaluations, rows, rounds = launch(small, Halting(), Store())
    lost = {one["number"] for one in trials if one["state"] == "diverged"}
    assert lost and all(trials[number]["mean"] > 1.02 for number in lost)
    assert len(rounds[0].covariance) == 8 - len(lost & set(rounds[0].trials))
    assert not lost & {one["trial"] for one in evaluations}
    later = [number for one in rounds[1:] for number in one.trials]
    assert len(later) > len(lost & set(later)) + len(rounds), "it turns away from them"
    assert rows and not lost & {one.trial for one in rows[0]["provenance"].candidates}


@pytest.mark.parametrize(
    "many",
    [
        pytest.param(False, marks=pytest.mark.slow, id="the first alone"),
        pytest.param(True, id="all of its round"),
    ],
)
def test_where_the_best_so_far_diverges_later_lambda_one_takes_its_place(text, monkeypatch, many):
    """On the same images, and as one of the round."""
    real, bad = tasks.sample_batch, []

    def sample(model, sampling, schedule, draw, *rest, **options):
        found = real(model, sampling, schedule, draw, *rest, **options)
        return found * torch.nan if schedule in bad else found

    def begun(self, told, new):
        keep(self, told, new)
        if told.number == 1:
            assert 0 not in told.trials
            bad.extend(self.trials[n].schedule for n in told.trials[: None if many else 1])

    keep = Record.begin
    monkeypatch.setattr(Record, "begin", begun)
    monkeypatch.setattr(tasks, "sample_batch", sample)
    trials, evaluations, rows, rounds = launch(text, Halting(), Store())
    first, *others = rounds[1].trials
    assert first == 0 and len(others) == 3 and len(rounds[1].covariance) == (1 if many else 3)
    lost = set(others if many else others[:1])
    assert {one["number"] for one in trials if one["state"] == "diverged"} == lost
    later = [e for e in evaluations if (e["phase"], e["first"]) == ("search", rounds[1].first)]
    assert {e["trial"] for e in later} == {0, *others} - lost
    assert {e["through"] for e in later} == {0} and trials[0]["gain"] == 0
    assert len(rounds) > 2 and not any(lost & {*one.trials} for one in rounds[2:])
    assert rounds[2].first == rounds[1].first + rounds[1].n
    assert rows and not lost & {one.trial for one in rows[0]["provenance"].candidates}


def test_where_lambda_one_is_in_a_later_round_others_are_compared_with_it(text, monkeypatch):
    real = KnowledgeGradient.next

    def with_one(self, *known):
        block = real(self, *known)
        best, *_, last = block.points
        return replace(block, points=(best, Point(1.0, 0.0), last))

    monkeypatch.setattr(KnowledgeGradient, "next", with_one)
    trials, evaluations, _, rounds = launch(text, Halting(), Store())
    assert rounds[1].trials[0] != 0 and 0 in rounds[1].trials
    assert {e["through"] for e in evaluations} == {0} and trials[0]["gain"] == 0
    assert {e["gain"] for e in evaluations if e["trial"] == 0} == {0.0}


def test_schedules_are_compared_with_one_whose_gain_is_known_though_ranges_changed(text):
    """The best so far has a slope; of constants alone it is no candidate."""
    store = Store()
    launch(changed(text, {"trials: 12": "trials: 8"}), Halting(), store)
    constant = {"trials: 12": "trials: 14", "slope: [-0.01, 0.01]": "slope: [0, 0]"}
    _, evaluations, _, rounds = launch(changed(text, constant), Halting(), store)
    assert len(rounds) > 2
    for one in rounds[1:]:
        known = {number for other in rounds[: one.number] for number in other.trials}
        told = [e for e in evaluations if (e["phase"], e["first"]) == ("search", one.first)]
        [through] = {e["through"] for e in told}
        assert 0 in one.trials if through == 0 else through in known


@pytest.mark.parametrize(
    ("changes", "fixed"),
    [
        ({"slope: [-0.01, 0.01]": "slope: [0, 0]"}, ("slope", 0.0)),
        ({"mean: [0.97, 1.05]": "mean: [1.02, 1.02]"}, ("mean", 1.02)),
    ],
)
def test_one_axis_may_be_fixed(text, changes, fixed):
    name, value = fixed
    trials, *_ = launch(changed(text, changes | {"trials: 12": "trials: 10"}), Halting())
    assert {one[name] for one in trials[1:]} == {value}
    other = "mean" if name == "slope" else "slope"
    assert len({one[other] for one in trials[1:]}) == len(trials) - 1


def test_other_ranges_begin_with_an_opening_of_their_own(text):
    store = Store()
    launch(changed(text, {"trials: 12": "trials: 8"}), Halting(), store)
    moved = {"trials: 12": "trials: 16", "mean: [0.97, 1.05]": "mean: [1.1, 1.12]"}
    trials, _, _, rounds = launch(changed(text, moved), Halting(), store)
    assert rounds[1].n == 128 and len(rounds[1].trials) == 8 and rounds[1].first == 128
    assert all(1.1 <= trials[number]["mean"] <= 1.12 for number in rounds[1].trials[1:])


def test_the_tolerance_decides_again_what_was_recorded(text):
    """With a file that is content with more, the very rounds end as found or without gain."""
    store = Store()
    small = changed(text, {"trials: 12": "trials: 8"})
    before = launch(small, Halting(), store)[3]
    pool = Halting()
    easy = changed(small, {"seed: 3": "seed: 3, tolerance: 50%"})
    [after] = launch(easy, pool, store)[3]
    assert before[0].judgement.ending == "trials"
    assert after.judgement.ending == "no gain" and after.judgement.gain <= 0.05
    row = store.rows(store.study("tiny").id)[-1]
    assert not any("search ended" in one for one in row.provenance.cautions), "all is well"
    told = row.provenance.search
    assert "ended as λ = 1 is about the best" in told and "50 %" in told
    assert f"probability of {after.judgement.gain:.1%}" in told
    assert all(start >= 1_000_000 for _, start in pool.done)


def test_a_search_that_has_ended_by_itself_stays_ended(text, monkeypatch):
    """Even where today's search would look at an end of the valley first."""
    store = Store()
    easy = changed(text, {"trials: 12": "trials: 8", "seed: 3": "seed: 3, tolerance: 50%"})
    ended = launch(easy, Halting(), store)[3]
    assert ended[-1].judgement.ending == "no gain"
    seen = "lambda_search.search.known.unseen_end"
    monkeypatch.setattr(seen, lambda outlook, tried: np.array([0.3, 1.3]))
    wider = changed(easy, {"trials: 8": "trials: 12", "samples: 80": "samples: 96"})
    assert launch(wider, Halting(), store)[3] == ended


def test_a_budget_ends_the_search_below_itself_and_one_too_small_is_refused(text):
    budget = changed(text, {"seed: 3": "seed: 3, budget: {images: 1900}"})
    plan = plan_of(budget)
    assert plan.most_images() == 1900 + plan.confirm_images()
    [hurried] = [one for one in plan.cautions() if "budget" in one]
    assert "room for fewer than 2 more of 768" in hurried
    enough = plan_of(changed(budget, {"1900": str(1024 + 2 * 768)}))
    assert not any("budget" in one for one in (*enough.cautions(), *plan_of(text).cautions()))
    rounds = launch(budget, Halting())[3]
    assert rounds[-1].judgement.ending == "budget"
    assert sum(one.images for one in rounds) == 1024 + 768
    with pytest.raises(UsageError, match="the first round has 1,024 images"):
        plan_of(changed(budget, {"1900": "1000"}))


def test_a_search_with_rungs_can_go_on_in_rounds(study_text, text):
    store = Store()
    run(study_text, Halting(), store)
    _, _, rows, rounds = launch(changed(text, {"trials: 12": "trials: 9"}), Halting(), store)
    assert len(rounds) > 1 and len(rows) == 2
    assert rounds[0].trials[0] == 0 and min(rounds[0].trials[1:]) >= 7


def test_what_another_search_left_open_is_closed_with_what_it_has(study_text, text):
    store = Store()
    with pytest.raises(Interrupted):
        run(study_text, Halting(5), store)
    left = [one.number for one in store.trials(1) if one.is_open]
    small = changed(text, {"trials: 12": "trials: 8"})
    trials, *_, rounds = launch(small, Halting(), store)
    own = {number for one in rounds for number in one.trials}
    others = [one for one in trials if one["number"] in left and one["number"] not in own]
    assert others and {one["state"] for one in others} == {"stopped"}
    assert all((one["n"] is None) == (one["gain"] is None) for one in others)
    assert len(own) == 8, "they take no part"


def test_a_candidate_that_was_never_measured_is_none_of_the_trials_of_another_search(
    study_text, text, monkeypatch
):
    """It is complete from the first commit on, and other proposals neither count nor hear it."""
    store, told, proposed = Store(), [], []
    keep = StudyRecords.propose
    monkeypatch.setattr(
        StudyRecords, "propose", lambda *some: (proposed.extend(some[2]), keep(*some))
    )
    launch(changed(text, {"trials: 12": "trials: 8"}), Halting(), store)
    [never] = [one for one in store.trials(1) if one.n is None]
    assert proposed == [replace(never, created=None, finished=None)]
    assert never.is_unmeasured and never.finished is not None
    asked = driver.propose_next
    monkeypatch.setattr(driver, "propose_next", lambda *some: told.append(some[3]) or asked(*some))
    run(changed(study_text, {"trials: 7": "trials: 10"}), Halting(), store)
    inside = {one.point for one in told[0]}
    assert Point(never.mean, never.slope) not in inside and len(inside) == 8
    known = [one for one in store.trials(1) if plan_of(study_text).space.contains(one)]
    counted = [one for one in known if one.number != never.number]
    assert len(counted) == 10, "without the one that was only confirmed"


def test_new_trials_have_numbers_of_their_own_where_schedules_repeat(text):
    plan = plan_of(text)
    means = (1.0, 1.01, 1.01, 1.02, 1.0)
    trials = [
        Trial(n, 0, plan.space.schedule(Point(mean, 0.0)), mean, 0.0, "complete")
        for n, mean in enumerate(means)
    ]
    record = SimpleNamespace(trials=trials, rounds=[])
    asked = [Point(mean, 0.0) for mean in (1.0, 1.03, 1.02, 1.04, 1.01)]
    found = Knowledge(plan.kg, plan, record).trials(asked, 1)
    assert [one.number for one in found] == [0, 5, 3, 6, 1]


def test_parallel_and_the_budget_that_is_left_open(text):
    plan = plan_of(changed(text, {"trials: 12, parallel: 3": "trials: 100, parallel: 32"}))
    assert plan.kg.allowance.later_images == 32 * 256
    assert plan.kg.allowance.images == 1024 + 5 * 32 * 256
    wide = plan_of(changed(text, {"trials: 12, parallel: 3": "trials: 900, parallel: 500"}))
    assert wide.widest_shards() == (MOST + 1) * 256 // 16
    few = plan_of(changed(text, {"trials: 12, parallel: 3": "trials: 10, parallel: 32"}))
    assert few.kg.allowance.later_images == 3 * 256, "there are two trials left for it"


def test_a_budget_that_is_left_open_follows_the_proof(text):
    open_ = changed(text, {"trials: 12, parallel: 3": "trials: 100, parallel: 3"})
    by_proof = {
        "top: 1, samples: 50000, precision: 1.5%": 7_500,
        "top: 1, samples: 50000, precision: 1%": 2 * 4_992,
        "top: 2, samples: 80": 7_500,
        "top: 2, samples: 50000": 1024 + 20 * 768,
    }
    for proof, images in by_proof.items():
        plan = plan_of(changed(open_, {"top: 2, samples: 80": proof}))
        assert plan.kg.allowance.images == images


@pytest.mark.parametrize("told", [pytest.param(None, marks=pytest.mark.slow), 1_900])
def test_what_ended_by_an_open_budget_stays_ended_for_another_proof(text, monkeypatch, told):
    """A proof that takes more asks for no more rounds; a budget that is left out now does."""
    monkeypatch.setattr(allowance, "_BUDGET", 1_900 if told is None else 4_000)
    monkeypatch.setattr(allowance, "_BUDGET_WIDTHS", 0)
    monkeypatch.setattr(allowance, "_BUDGET_ROUNDS", 1)
    open_ = changed(text, {"trials: 12": "trials: 100"})
    given = f"seed: 3, budget: {{images: {told}}}"
    store = Store()
    rounds = launch(changed(open_, {"seed: 3": given}) if told else open_, Halting(), store)[3]
    assert rounds[-1].judgement.ending == "budget"
    plan = plan_of(changed(open_, {"samples: 80": "samples: 5000"}))
    assert plan.kg.allowance.images == 10_000 and plan.digest() != plan_of(open_).digest()
    known = Knowledge(plan.kg, plan, Record(store.study("tiny"), None, store))
    assert known.judgement().ending == ("budget" if told is None else None)


def test_what_is_known_is_read_from_the_record_alone(text, known):
    """The store's numbers are the very ones: the last judgement is found again, digit by digit."""
    store = Store()
    rounds = launch(text, Halting(), store)[3]
    study, plan = store.study("tiny"), plan_of(text)
    known_again = Knowledge(plan.kg, plan, Record(study, None, store))
    last = replace(rounds[-1], judgement=None)
    known_again._record._rounds[last.number] = last
    assert known_again.judgement() == rounds[-1].judgement
