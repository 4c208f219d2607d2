"""Shards and results, with workers that are not there: every shard once, and nothing held."""

import pickle
import threading
import time
from collections import Counter
from concurrent.futures import Future
from dataclasses import replace

import numpy as np
import pytest
import torch

from lambda_search.errors import Diverged
from lambda_search.errors import LambdaSearchError
from lambda_search.metrics.evidence import Score
from lambda_search.metrics.evidence import compare
from lambda_search.metrics.evidence import score
from lambda_search.metrics.frechet import FrechetReference
from lambda_search.schedule import LambdaSchedule
from lambda_search.setting import SamplerOptions
from lambda_search.setting import Sampling
from lambda_search.work import evaluator as module
from lambda_search.work.evaluator import Evaluator
from lambda_search.work.features import FeatureFiles
from lambda_search.work.features import Place
from lambda_search.work.halting import Halt
from lambda_search.work.pool import SerialPool
from lambda_search.work.recipe import Measure
from lambda_search.work.recipe import Recipe
from lambda_search.work.scoring import ScoreFeatures
from lambda_search.work.shards import Shards
from lambda_search.work.storage import PlaceAway
from lambda_search.work.tasks import SampleShard
from lambda_search.work.tasks import ShardResult
from tests.search.running import plan_of

B, D = 16, 4
ONE, A, C, BAD = (LambdaSchedule(b) for b in (1.0, 1.01, 1.02, 9.0))
REFERENCE = FrechetReference(np.zeros(D), np.eye(D))
MEASURE = Measure("e", "extractor", "r", "reference", D)
RECIPE = Recipe(
    "adm",
    "a.pt",
    None,
    "weights",
    "definition",
    Sampling(sampler="ddim", steps=5, options=SamplerOptions(batch=B)),
    0,
    (MEASURE,),
)


def features(schedule, start):
    noise = np.random.default_rng(start).standard_normal((B, D))
    return (noise * schedule.b).astype(np.float32)


def picture(schedule, start):
    return None if start else str(schedule).encode()


class Worker:
    """What a worker has."""

    def features(self, place):
        return place.open()

    def frechet(self, measure):
        return REFERENCE


class Pool:
    """Answers when it is told to, from a thread of its own."""

    device_kind = "cpu"

    def __init__(self, at_once=True):
        self.at_once, self.shards, self.waiting = at_once, [], []

    def submit(self, task, *arguments, **options):
        future = Future()
        if isinstance(task, ScoreFeatures):
            future.set_result(task.run(Worker()))
            return future
        self.shards.append((task.schedule, task.start))
        self.waiting.append((task, future))
        if self.at_once:
            self.answer()
        return future

    def answer(self):
        while self.waiting:
            task, future = self.waiting.pop(0)
            if task.schedule == BAD and task.start == B:
                future.set_exception(Diverged("NaN.", "Less."))
            else:
                kept = Worker().features(task.place)
                for name in task.names:
                    found = features(task.schedule, task.start)
                    kept.put(task.recipe.family, name, found)
                shown = picture(task.schedule, task.start)
                future.set_result(ShardResult(B, 0.5, 0.25, shown))


@pytest.fixture
def files(tmp_path):
    return FeatureFiles(tmp_path / "features")


@pytest.fixture(params=["folder", "file", "memory"])
def anywhere(request, tmp_path):
    """Each kind of place."""
    where = {"folder": "", "file": "file://", "memory": "memory:/"}[request.param]
    return FeatureFiles(f"{where}{tmp_path / 'features'}")


def rows(schedule, n):
    return np.concatenate([features(schedule, start) for start in range(0, n, B)])[:n]


@pytest.mark.parametrize("n", [8, 16, 40, 64])
def test_results_are_what_plain_arithmetic_has(anywhere, n):
    with Shards(Pool(), anywhere) as shards:
        found = Evaluator(RECIPE, shards).results([A, ONE, C, A], 0, n)
    at_one = score(rows(ONE, n), REFERENCE)
    for schedule, result in zip((A, ONE, C, A), found, strict=True):
        expected = score(rows(schedule, n), REFERENCE)
        assert (result.score.fid, result.score.corrected) == (expected.fid, expected.corrected)
        assert torch.equal(result.score.influence, expected.influence)
        against = compare(expected, at_one, rows(schedule, n), rows(ONE, n))
        assert result.against == against


def test_schedules_may_be_compared_with_another_one_than_lambda_one(files):
    n = 64
    with Shards(Pool(), files) as shards:
        evaluator = Evaluator(RECIPE, shards)
        beside_one, _ = evaluator.results([A, C], 0, n)
        itself, other = evaluator.results([C, A], 0, n, beside=C)
        with pytest.raises(Diverged):
            evaluator.results([A, BAD], 0, n, beside=BAD)
    assert itself.against.gain == itself.against.standard_error == 0
    expected = [score(rows(one, n), REFERENCE) for one in (A, C)]
    assert other.against == compare(*expected, rows(A, n), rows(C, n))
    assert other.score.fid == beside_one.score.fid and other.against != beside_one.against


def test_two_studies_of_a_process_share_what_is_under_way(files):
    pool = Pool(at_once=False)
    found = {}
    with Shards(pool, files) as shards:
        evaluators = [Evaluator(RECIPE, shards) for _ in range(2)]
        asked = [[A, C], [C, A]]
        threads = [
            threading.Thread(
                target=lambda k: found.update({k: evaluators[k].results(asked[k], 0, 64)}),
                args=(k,),
            )
            for k in range(2)
        ]
        for thread in threads:
            thread.start()
        while any(thread.is_alive() for thread in threads):
            pool.answer()
        meters = [one.meter for one in evaluators]
    assert set(Counter(pool.shards).values()) == {1} and len(pool.shards) == 3 * 4
    assert [one.score.fid for one in found[0]] == [one.score.fid for one in found[1]][::-1]
    assert sum(meter.images for meter in meters) == 3 * 64
    assert all(meter.images + meter.reused == 3 * 64 for meter in meters)


def test_what_is_kept_is_not_sampled_again_and_what_is_damaged_is(files, tmp_path):
    with Shards(Pool(), files) as shards:
        before = Evaluator(RECIPE, shards).results([A, C], 0, 64)
    for path in sorted(tmp_path.rglob("*.npy"))[:3]:
        path.write_bytes(path.read_bytes()[:-20])
    pool = Pool()
    with Shards(pool, files) as shards:
        evaluator = Evaluator(RECIPE, shards)
        after = evaluator.results([A, C], 0, 64)
    assert len(pool.shards) == 3
    assert [one.score.fid for one in after] == [one.score.fid for one in before]
    assert [one.against for one in after] == [one.against for one in before]


def test_tasks_and_answers_carry_no_features(files):
    """What travels is a few names and numbers, however wide the features are."""
    sizes = {}

    class Weighing(Pool):
        def submit(self, task, *arguments, **options):
            future = super().submit(task, *arguments, **options)
            weighed = [len(pickle.dumps(task)), *map(len, answers(future))]
            sizes[type(task)] = max(*weighed, sizes.get(type(task), 0))
            return future

    def answers(future):
        return [pickle.dumps(future.result())] if future.exception() is None else []

    n = 10 * B
    with Shards(Weighing(), files) as shards:
        found = Evaluator(RECIPE, shards).results([A, C, BAD], 0, n)
    assert len(found) == 3 and set(sizes) == {SampleShard, ScoreFeatures}
    assert sizes[SampleShard] < 2500
    assert sizes[ScoreFeatures] < 2500 + 2 * 80 * (n // B) + 8 * n


def kept_for(tmp_path, schedule, start):
    """The file with the features of one shard."""
    name = Evaluator(RECIPE, Shards(Pool(), None))._source.name(schedule, start, MEASURE)
    return tmp_path / "features" / RECIPE.family / f"{name}.npy"


@pytest.mark.parametrize("schedule", [ONE, A, C])
@pytest.mark.parametrize("how", ["lost", "damaged"])
def test_what_is_lost_before_it_is_scored_is_sampled_again(files, tmp_path, schedule, how):
    """Between the sampling and the scoring, in this very process; of λ = 1, by all who need it."""
    lost = kept_for(tmp_path, schedule, B)

    class Losing(Pool):
        def submit(self, task, *arguments, **options):
            if isinstance(task, ScoreFeatures) and (schedule, B) in self.shards and not self.done:
                self.done = True
                lost.unlink() if how == "lost" else lost.write_bytes(b"not whole")
            return super().submit(task, *arguments, **options)

        done = False

    pool = Losing()
    with Shards(pool, files) as shards:
        evaluator = Evaluator(RECIPE, shards)
        found = evaluator.results([A, C], 0, 64)
    assert Counter(pool.shards) == Counter(
        {(one, start): 1 for one in (ONE, A, C) for start in range(0, 64, B)} | {(schedule, B): 2}
    )
    for one, result in zip((A, C), found, strict=True):
        assert torch.equal(result.score.influence, score(rows(one, 64), REFERENCE).influence)
    assert evaluator.meter.images == 13 * B


def test_a_place_that_keeps_nothing_is_an_error(files, tmp_path):
    class Forgetful(Pool):
        def submit(self, task, *arguments, **options):
            if isinstance(task, ScoreFeatures):
                kept_for(tmp_path, A, B).unlink(missing_ok=True)
            return super().submit(task, *arguments, **options)

    with (
        Shards(Forgetful(), files) as shards,
        pytest.raises(LambdaSearchError, match="lost as soon as they are written") as caught,
    ):
        Evaluator(RECIPE, shards).results([A], 0, 64)
    assert "--features" in caught.value.hint


def test_a_worker_that_sees_another_place_says_so_before_it_samples(files, study_text, tmp_path):
    """Its host has a folder of the same path, and not the driver's."""

    class Elsewhere(SerialPool):
        def submit(self, task, *arguments, **options):
            apart = Place(str(tmp_path / "its own"), task.place.mark)
            return super().submit(replace(task, place=apart), *arguments, **options)

    with Shards(Elsewhere(), files) as shards:
        evaluator = Evaluator(plan_of(study_text).recipe, shards)
        for attempt in (evaluator.prepare, lambda: evaluator.results([A], 0, 16)):
            with pytest.raises(PlaceAway, match="does not see the driver's features"):
                attempt()
    assert not (tmp_path / "its own").exists()


def test_a_schedule_that_diverges_is_its_own_result(files):
    with Shards(Pool(), files) as shards:
        evaluator = Evaluator(RECIPE, shards)
        bad, good = evaluator.results([BAD, A], 0, 64)
        assert isinstance(bad, Diverged) and (bad.cause, bad.hint) == ("NaN.", "Less.")
        assert good.score.n == 64
        [fine] = evaluator.results([BAD], 0, 16)
        assert fine.score.n == 16, "on the images before it is finite"


def test_lambda_one_that_diverges_is_an_error(files):
    class Broken(Pool):
        def answer(self):
            for task, future in self.waiting:
                future.set_exception(Diverged("NaN.", f"{task.start}"))
            self.waiting.clear()

    with Shards(Broken(), files) as shards, pytest.raises(Diverged):
        Evaluator(RECIPE, shards).results([A], 0, 64)


def test_an_error_reaches_all_who_wait_and_the_next_try_starts_afresh(files):
    class Failing(Pool):
        def answer(self):
            for _, future in self.waiting:
                future.set_exception(LambdaSearchError("lost", ""))
            self.waiting.clear()

    with Shards(Failing(), files) as shards:
        for _ in range(2):
            with pytest.raises(LambdaSearchError, match="lost"):
                Evaluator(RECIPE, shards).results([A], 0, 16)


def test_the_baseline_is_scored_once(files):
    scored = []

    class Watching(Pool):
        def submit(self, task, *arguments, **options):
            if isinstance(task, ScoreFeatures):
                scored.append(task)
            return super().submit(task, *arguments, **options)

    with Shards(Watching(), files) as shards:
        evaluator = Evaluator(RECIPE, shards)
        first = evaluator.results([A, ONE], 0, 32)
        again = evaluator.results([A], 0, 32)
    assert len(scored) == 3
    assert isinstance(first[0].score, Score) and first[0].against == again[0].against


# Names


def names(recipe, **patched):
    evaluator = Evaluator(recipe, Shards(Pool(), None))
    return evaluator.name(A, 0, 32)


def test_names_follow_what_decides_bits_and_nothing_else(monkeypatch):
    base = names(RECIPE)
    assert names(replace(RECIPE, config="/a/config.yaml")) == base
    assert names(replace(RECIPE, checkpoint="/elsewhere/a.pt")) == base
    sampling = RECIPE.sampling.model_copy(update={"guidance": 2.0})
    for other in (
        replace(RECIPE, weights="others"),
        replace(RECIPE, definition="another"),
        replace(RECIPE, sampling=sampling),
        replace(RECIPE, seed=1),
        replace(RECIPE, measures=(replace(MEASURE, extractor_fingerprint="x"),)),
    ):
        assert names(other) != base
    real = module.library_versions()
    with_text = replace(RECIPE, libraries=("diffusers", "transformers"))
    based = names(with_text)
    for library, changes, changes_text in (
        ("numpy", True, True),
        ("transformers", False, True),
        ("diffusers", False, True),
        ("lambda-search", False, False),
    ):
        monkeypatch.setattr(
            module, "library_versions", lambda library=library: real | {library: "9.9"}
        )
        assert (names(RECIPE) != base) == changes
        assert (names(with_text) != based) == changes_text


def test_what_nobody_waits_for_is_withdrawn_and_the_rest_goes_on(files):
    """One study is halted in the middle; another waits for some of the same shards."""
    pool = Pool(at_once=False)
    halts, found = [Halt(), Halt()], {}
    with Shards(pool, files) as shards:
        evaluators = [Evaluator(RECIPE, shards, halt=halt) for halt in halts]

        def study(place, schedules):
            try:
                found[place] = evaluators[place].results(schedules, 0, 2 * B)
            except Exception as error:
                found[place] = error

        threads = [
            threading.Thread(target=study, args=(place, schedules))
            for place, schedules in enumerate(([A], [C]))
        ]
        threads[0].start()
        while len(pool.waiting) < 4:
            time.sleep(0.01)
        threads[1].start()
        while len(pool.waiting) < 6:
            time.sleep(0.01)
        halts[0].halt(LambdaSearchError("stopped"))
        shards.withdraw(halts[0])
        threads[0].join(30)
        assert "stopped" in str(found[0])
        cancelled = {(task.schedule, task.start) for task, f in pool.waiting if f.cancelled()}
        assert cancelled == {(A, 0), (A, B)}, "λ = 1 is the other study's too"
        pool.waiting = [one for one in pool.waiting if not one[1].cancelled()]
        pool.answer()
        threads[1].join(30)
    assert len(found[1]) == 1 and found[1][0].score.n == 2 * B


def test_a_picture_comes_with_the_first_images_where_they_are_sampled(files):
    with Shards(Pool(), files) as shards:
        first = Evaluator(RECIPE, shards).results([ONE, A], 0, 32)
        assert [one.picture for one in first] == [picture(ONE, 0), picture(A, 0)]
        kept = Evaluator(RECIPE, shards).results([A], 0, 64)
        assert [one.picture for one in kept] == [None], "its first images were not sampled"
