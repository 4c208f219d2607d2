"""Studies whose rounds rank by the projected distance: what is kept, shown, and gone on with."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from lambda_search.errors import Interrupted
from lambda_search.errors import UsageError
from lambda_search.paths import features_url
from lambda_search.records import Round
from lambda_search.records import told_of_rounds
from lambda_search.report.effort import Effort
from lambda_search.report.findings import read_findings
from lambda_search.report.words import summary_of
from lambda_search.search.cost import describe
from lambda_search.search.ranking import as_begun
from lambda_search.search.ranking import components_of
from lambda_search.spec import SearchSpec
from lambda_search.store.store import Store
from lambda_search.work.context import WorkerContext
from lambda_search.work.evaluator import Evaluator
from lambda_search.work.features import FeatureFiles
from lambda_search.work.pool import SerialPool
from lambda_search.work.shards import Shards
from tests.metrics.test_projection import by_numpy
from tests.search.running import Halting
from tests.search.running import plan_of
from tests.search.test_rounds import changed
from tests.search.test_rounds import launch

K = 16
KG = {
    "trials: 7, parallel: 3": f"trials: 10, parallel: 3, proposals: kg, components: {K}",
    ", rungs: [32, 64]": "",
}


@pytest.fixture
def text(study_text):
    return changed(study_text, KG)


@pytest.fixture(scope="module")
def known(tiny_pipeline, tmp_path_factory):
    """The store and the record of an undisturbed run, and what was said."""
    from tests.conftest import STUDY

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LAMBDA_SEARCH_HOME", str(tmp_path_factory.mktemp("home")))
        store, heard = Store(), []
        text = changed(STUDY.format(folder=tiny_pipeline), KG)
        return store, launch(text, Halting(), store, heard), heard


def test_rounds_are_as_large_as_the_components_ask_and_keep_their_scores(known):
    store, (_, evaluations, [row], rounds), heard = known
    assert rounds[0].n == 64 and {one.n for one in rounds[1:]} == {128}, "4k, and more"
    assert {one.components for one in rounds} == {K}
    assert all(len(one.scores) == len(one.trials) for one in rounds)
    searched = {(e["trial"], e["first"]): e for e in evaluations if e["phase"] == "search"}
    for one in rounds:
        for number, score in zip(one.trials, one.scores, strict=True):
            told = searched[number, one.first]
            assert told["corrected"] != score, "evaluations are of the FID"
            assert told["fid"] > score
    said = [one.text for one in heard if "best λ about" in one.text]
    assert said and all("1 % of the projected distance" in one for one in said)
    told = row["provenance"].search
    assert f"ranked by the projected distance ({K} components); the search ended" in told
    found = read_findings(store, "tiny")
    summary = str(summary_of(found, Effort("all", 2, 10, None, None)))
    assert f"ranked by the projected distance ({K} components), not the FID" in summary


def test_what_is_kept_is_the_projected_distance_of_the_features(text, tmp_path, monkeypatch):
    monkeypatch.setenv("LAMBDA_SEARCH_HOME", str(tmp_path))
    plan = plan_of(text)
    with Shards(SerialPool(), FeatureFiles(features_url())) as shards:
        evaluator = Evaluator(plan.recipe, shards)
        schedule = plan.space.schedule(plan.kg.opening().points[1])
        [found] = evaluator.results([schedule], 0, 64, components=K)
        [whole] = evaluator.results([schedule], 0, 64)
        [measure], place = plan.recipe.measures, shards.place
        rows = evaluator._source.gather(schedule, 0, 64, [measure]).rows(measure)
        features = rows.read(place.open()).astype(np.float64)
        frechet = WorkerContext(torch.device("cpu")).frechet(measure)
    values, vectors = np.linalg.eigh(frechet.cov.numpy())
    rng = np.random.default_rng(0)
    normals = rng.standard_normal((4 * len(values), len(values)))
    normals -= normals.mean(0)
    normals @= np.linalg.inv(np.linalg.cholesky(np.cov(normals.T))).T
    real = normals * np.sqrt(np.maximum(values, 0)) @ vectors.T + frechet.mean.numpy()
    assert found.projected.fid == pytest.approx(by_numpy(features, real, K), rel=1e-4)
    assert (found.score.fid, found.score.corrected) == (whole.score.fid, whole.score.corrected)
    assert whole.projected is None and found.against == whole.against


@pytest.mark.parametrize("after", [45, pytest.param(3, marks=pytest.mark.slow)])
def test_interrupted_it_goes_on_to_the_same_record(after, text, known):
    store = Store()
    with pytest.raises(Interrupted):
        launch(text, Halting(after), store)
    assert launch(text, Halting(), store) == known[1]


def test_a_study_keeps_the_score_that_it_began_with(text, study_text):
    plan = plan_of(text)
    before = [Round(0, 0, 128, (0, 1))]
    with pytest.raises(UsageError, match=f"ranked by the FID.*distance of {K} components"):
        as_begun(plan, before)
    assert as_begun(plan, []) is plan
    open_ = plan_of(changed(text, {f", components: {K}": ""}))
    assert open_.components is None and open_.kg.first_images == 8 * 128
    begun = as_begun(open_, [replace(before[0], components=K)])
    assert begun.components == K and begun.kg.first_images == 8 * 64
    assert open_.digest() != begun.digest() == plan.digest()
    rungs = plan_of(study_text)
    assert as_begun(rungs, before) is rungs


@pytest.mark.parametrize(
    ("told", "width", "expected"),
    [
        ({}, 2048, 32),
        ({}, 0, 32),
        ({}, 256, 32),
        ({}, 255, None),
        ({"score": "fid"}, 2048, None),
        ({"score": "projected"}, 200, 32),
        ({"score": "projected"}, 32, None),
        ({"components": 64}, 128, 64),
        ({"components": 64}, 64, None),
    ],
)
def test_wide_features_are_projected_unless_the_file_says_otherwise(told, width, expected):
    assert components_of(SearchSpec(proposals="kg", **told), width) == expected
    assert components_of(SearchSpec(proposals="gp"), width) is None, "rungs rank by the FID"


def test_its_cost_says_what_ranks(text):
    told = describe(plan_of(text), [], 1)
    assert told["rounds"].startswith("512 images, then 384 each")
    assert told["rounds"].endswith(f"ranked by the projected distance ({K} components)")


def test_rounds_of_the_fid_say_nothing_of_it():
    assert told_of_rounds([Round(0, 0, 128, (0, 1))]) == "1 round on 128 images of each schedule"
