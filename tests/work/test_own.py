"""`self:STEPS`: the reference is the model's own samples of more steps, made once and kept."""

import json
import os
import re
from contextlib import contextmanager

import numpy as np
import pytest
import torch

import lambda_search as ls
from lambda_search.drive import drive
from lambda_search.errors import Interrupted
from lambda_search.errors import UsageError
from lambda_search.metrics.evidence import score
from lambda_search.metrics.extractors.registry import load_extractor
from lambda_search.metrics.references.installed import kept_references
from lambda_search.metrics.references.statistics import read_statistics
from lambda_search.models.registry import load_model
from lambda_search.models.sampling import to_uint8
from lambda_search.paths import features_folder
from lambda_search.paths import references_folder
from lambda_search.schedule import LambdaSchedule
from lambda_search.setting import SamplerOptions
from lambda_search.setting import Sampling
from lambda_search.spec import load_specs
from lambda_search.spec import located
from lambda_search.spec import parse_specs
from lambda_search.store.store import Store
from lambda_search.studies import submit
from lambda_search.work.evaluate import evaluate_on
from lambda_search.work.evaluator import Evaluator
from lambda_search.work.own import own_reference
from lambda_search.work.own import rescaled
from lambda_search.work.own import with_own_samples
from lambda_search.work.own_making import make_here
from lambda_search.work.pool import SerialPool
from lambda_search.work.recipe import OWN_SEED
from lambda_search.work.recipe import Measure
from lambda_search.work.scoring import ScoreFeatures
from lambda_search.work.shards import Shards
from lambda_search.work.tasks import SampleShard
from tests.golden import folder_of
from tests.golden import golden
from tests.search.running import plan_of
from tests.search.running import record
from tests.search.running import run
from tests.work.test_measures import InMemory
from tests.work.test_measures import Quarters
from tests.work.test_measures import quarters

STEPS, BATCH, N = 9, 16, 32
"""The reference of the tiny study: 6 features, so 24 images, in whole batches."""
FIRST = 10**9


@pytest.fixture(scope="module")
def extractors(tmp_path_factory):
    folder = tmp_path_factory.mktemp("own")
    for seed, name in enumerate(("f.pt", "g.pt")):
        torch.jit.save(torch.jit.script(Quarters(seed)), folder / name)
    return folder


@pytest.fixture
def text(study_text, extractors):
    """The tiny study of four steps, measured against nine."""
    found = study_text.replace('reference: "bundled:fashion-mnist"', f"reference: self:{STEPS}")
    found = found.replace("trials: 7", "trials: 3")
    return found.replace("extractor: bundled", f"extractor: {extractors / 'f.pt'}")


class Watched(SerialPool):
    """Writes down its shards, and stops for good after some."""

    def __init__(self, most=10**9):
        super().__init__()
        self.most, self.shards, self.scores = most, [], []

    def submit(self, task, *arguments, **options):
        if isinstance(task, SampleShard):
            if len(self.shards) == self.most:
                raise Interrupted("The workers were stopped.")
            self.shards.append(task)
        if isinstance(task, ScoreFeatures):
            self.scores.append(task)
        return super().submit(task, *arguments, **options)

    @property
    def own(self):
        return [task for task in self.shards if task.recipe.seed == OWN_SEED]


def file_of(text):
    measure = plan_of(text).recipe.measures[0]
    return references_folder() / f"{measure.reference_fingerprint}.npz"


def by_hand(folder, n=N, steps=STEPS):
    """Features of the model's own samples, from the front door and by numpy."""
    images = ls.sample(
        load_model("diffusers", str(folder)),
        "ancestral",
        steps,
        LambdaSchedule(),
        indices=range(FIRST, FIRST + n),
        seed=OWN_SEED,
        options={"batch": BATCH},
    )
    return quarters(to_uint8(images)[:, 0].numpy())


def test_it_is_the_moments_of_the_models_own_samples(text, tiny_pipeline):
    pool, heard = Watched(), []
    row = run(text, pool, heard=heard)
    found, x = read_statistics(file_of(text)), by_hand(tiny_pipeline)
    assert found.count == len(x) == N
    assert found.mean == pytest.approx(x.mean(0), rel=1e-5)
    assert found.cov == pytest.approx(np.cov(x.T), rel=1e-4, abs=1e-9)
    assert found.features == pytest.approx(x, rel=1e-4)
    assert [task.start for task in pool.own] == [FIRST, FIRST + BATCH]
    assert pool.shards[: len(pool.own)] == pool.own  # before the search
    told = [event.text for event in heard if f"self:{STEPS}" in event.text]
    assert any("making 32 of the model's own samples of 9 steps" in line for line in told)
    assert row.setting.reference.startswith(f"self:{STEPS}@")
    assert row.verdict.endswith(
        "the distance measures agreement with the model's own samples of 9 steps (32 of them), "
        "not quality"
    )


def test_no_image_of_a_study_is_among_them(text):
    pool = Watched()
    run(text, pool)
    others = [task for task in pool.shards if task not in pool.own]
    assert others and {task.recipe.seed for task in others} == {3}
    assert max(task.start for task in others) < FIRST
    with pytest.raises(UsageError, match="seed"):  # none can have their seed
        parse_specs(text.replace("seed: 3", f"seed: {OWN_SEED}"))


@pytest.mark.parametrize("most", [1, *(pytest.param(n, marks=pytest.mark.slow) for n in (2, 7))])
def test_a_killed_study_goes_on_to_the_same_digits(text, tmp_path, monkeypatch, most):
    whole = Watched()
    store = Store()
    run(text, whole, store)
    expected, reference = record(store), read_statistics(file_of(text))
    monkeypatch.setenv("LAMBDA_SEARCH_HOME", str(tmp_path / "elsewhere"))
    first, again, store = Watched(most), Watched(), Store()
    with pytest.raises(Interrupted):
        run(text, first, store)
    run(text, again, store)
    assert len(first.shards) + len(again.shards) == len(whole.shards)
    assert record(store) == expected
    assert read_statistics(file_of(text)).fingerprint == reference.fingerprint


def test_other_studies_find_it(text):
    run(text, Watched())
    for other in (
        text.replace("name: tiny", "name: other").replace("seed: 3", "seed: 4"),
        text.replace("name: tiny", "name: third").replace("steps: 4", "steps: 5"),
    ):
        pool = Watched()
        run(other, pool)
        assert pool.shards and not pool.own
    pool = Watched()  # but not one that is sampled otherwise
    run(text.replace("name: tiny", "name: fourth").replace("batch: 16", "batch: 32"), pool)
    assert pool.own


def test_two_studies_of_one_driver_make_it_once(text):
    twins = [text, text.replace("name: tiny", "name: twin").replace("seed: 3", "seed: 4")]
    store, pool = Store(), Watched()
    submit([spec for one in twins for spec in parse_specs(one)])
    driven = drive(store, pool)
    assert not driven.errors and len(driven.rows) == 2
    assert len(pool.own) == N // BATCH
    assert not [*features_folder().glob("*/*")]  # nothing of them is needed any more


def test_several_extractors_share_the_images(text, extractors):
    also = f"also: [{{extractor: {extractors / 'g.pt'}, reference: self:{STEPS}}}], rungs:"
    both = text.replace("rungs:", also)
    pool = Watched()
    run(both, pool)
    assert [len(task.measures) for task in pool.own] == [2, 2]
    mine, other = plan_of(both).recipe.measures
    assert mine.reference_fingerprint != other.reference_fingerprint
    found = read_statistics(references_folder() / f"{other.reference_fingerprint}.npz")
    assert found.extractor == other.extractor_fingerprint


def test_in_this_process_it_is_the_same(text, tiny_pipeline, extractors):
    model = load_model("diffusers", str(tiny_pipeline))
    named = {"extractor": str(extractors / "f.pt"), "reference": f"self:{STEPS}"}
    told = []
    for _ in range(2):
        evidence = ls.evaluate(
            *(model, "ancestral", 4, LambdaSchedule(1.01, 0.0)),
            **{"n": 32, "options": {"batch": BATCH}, "say": told.append, **named},
        )
    assert len(told) == 1 and f"self:{STEPS}: making {N} of the model's own" in told[0]
    assert evidence.reference.startswith(f"self:{STEPS}@")
    here, pool = read_statistics(file_of(text)), Watched()
    run(text, pool)
    assert not pool.own
    file_of(text).unlink()
    run(text.replace("name: tiny", "name: other"), pool)
    assert pool.own and read_statistics(file_of(text)).fingerprint == here.fingerprint


def here_made(plan):
    """Makes a plan's reference in this process; its model and extractor."""
    [measure] = plan.recipe.measures
    model = load_model("diffusers", plan.recipe.checkpoint)
    extract = load_extractor(measure.extractor, torch.device("cpu"))
    make_here(model, [measure], {measure.extractor_fingerprint: extract})
    return model, extract


def test_as_many_steps_are_near_it_and_few_are_not(text):
    plan = plan_of(text.replace("batch: 16", "batch: 2048"))
    [measure] = plan.recipe.measures
    assert measure.own.n == 2048
    model, extract = here_made(plan)

    def distance(steps):
        indices, options = range(2048), {"batch": 2048}
        images = ls.sample(
            model, "ancestral", steps, LambdaSchedule(), indices, seed=3, options=options
        )
        return score(extract(to_uint8(images)).numpy(), own_reference(measure).frechet())

    near, far = distance(STEPS), distance(4)
    # what is left is the reference's own sampling error, of as many images as the samples are
    error = near.fid - near.corrected
    assert error < 0.1 * far.corrected
    assert abs(near.corrected) < 3 * error


class Elsewhere(Watched):
    """Scores on a host with a data folder of its own."""

    def __init__(self, home):
        super().__init__()
        self.home = home

    def submit(self, task, *arguments, **options):
        with self.away() if isinstance(task, ScoreFeatures) else nothing():
            return super().submit(task, *arguments, **options)

    @contextmanager
    def away(self):
        before, os.environ["LAMBDA_SEARCH_HOME"] = os.environ["LAMBDA_SEARCH_HOME"], self.home
        try:
            yield
        finally:
            os.environ["LAMBDA_SEARCH_HOME"] = before


@contextmanager
def nothing():
    yield


def test_a_host_that_has_it_not_is_sent_it_once(text, tmp_path):
    text = text.replace("trials: 3", "trials: 7")
    here, there = Store(), Store(f"{tmp_path}/there.db")
    run(text, Watched(), here)
    pool = Elsewhere(str(tmp_path / "there"))
    run(text, pool, there)
    assert record(there) == record(here)
    sent = [task.sent is not None for task in pool.scores]
    assert any(sent) and sum(sent) <= 3  # those that were under way when the first was refused
    assert not any(sent[6:]) and len(sent) > 12
    [copy] = (tmp_path / "there" / "references").iterdir()
    assert read_statistics(copy).fingerprint == read_statistics(file_of(text)).fingerprint


def test_a_damaged_one_is_made_anew(text):
    run(text, Watched())
    before = read_statistics(file_of(text)).fingerprint
    file_of(text).write_bytes(b"not whole")
    pool = Watched()
    run(text.replace("name: tiny", "name: other"), pool)
    assert pool.own and read_statistics(file_of(text)).fingerprint == before


def test_rows_of_it_are_never_compared_with_others(text, study_text):
    store = Store()
    for name, one in (("a", text), ("b", study_text), ("c", text.replace("self:9", "self:8"))):
        model = "model: {name: m, "
        one = one.replace("name: tiny", f"name: {name}").replace("model: {", model)
        run(one, Watched(), store)
    keys = {store.rows(store.study(name).id)[0].setting.key for name in "abc"}
    assert len(keys) == 3
    with pytest.raises(UsageError, match="Rows of 3 metrics agree, and they cannot be compared"):
        ls.best("m", 4)
    found = ls.best("m", 4, reference="self:9")
    assert found.setting.reference.startswith("self:9@")


@pytest.mark.parametrize(
    ("reference", "said"),
    [
        ("self:", "whole number of the model's own steps"),
        ("self:many", "whole number of the model's own steps"),
        ("self:-9", "whole number of the model's own steps"),
        ("self:9.5", "whole number of the model's own steps"),
        ("self:9@0123", "whole number of the model's own steps"),
        ("self:٩", "whole number of the model's own steps"),
        ("self:999999", "up to 100,000"),
        ("self:4", "no more steps than the 4"),
        ("self:3", "no more steps than the 4"),
        ("self:2000", "The reference self:2000 cannot be sampled"),
    ],
)
def test_what_cannot_be_is_one_message_before_anything(cli, text, tmp_path, reference, said):
    path = tmp_path / "bad.yaml"
    path.write_text(text.replace(f"self:{STEPS}", f'"{reference}"'))
    for arguments in (("launch", path), ("launch", path, "--dry-run")):
        code, _, err = cli(*arguments)
        assert code == 2 and said in " ".join(err.split())
    assert not references_folder().exists() and not features_folder().exists()


def test_a_dry_run_counts_it_until_it_is_there(cli, study_text, tmp_path):
    text = study_text.replace("bundled:fashion-mnist", f"self:{STEPS}")
    path = tmp_path / "tiny.yaml"
    path.write_text(text)

    def dry():
        code, out, err = cli("launch", path, "--dry-run", "--json")
        assert code == 0, err
        return json.loads(out)[0]

    before = dry()
    assert before["own_samples"] == "512 of 9 steps, before the search"  # four times 128
    assert "agreement with these, not quality" in before["reference"]
    assert before["missing"] == []
    plan = plan_of(text)
    here_made(plan)
    after = dry()
    assert after["own_samples"] == "kept on this machine"
    assert before["images"] - after["images"] == 512
    assert before["network_evaluations"] - after["network_evaluations"] == 512 * STEPS
    assert re.search(r"self:9@[0-9a-f]{16}", after["metric"])
    assert before["metric"] == after["metric"]
    assert plan.setting.reference in after["metric"]


def test_it_is_listed_with_the_machines_references(text):
    run(text, Watched())
    [one] = [kept for kept in kept_references(references_folder()) if "self:" in kept.name]
    assert re.fullmatch(r"self:9 of diffusers [0-9a-f]{12}", one.name)
    assert (one.count, one.dim, one.state) == (N, 6, "ready")


def test_an_evaluator_makes_it_too(text):
    pool = Watched()
    evaluator = Evaluator(plan_of(text).recipe, Shards(pool, InMemory()))
    evidence = evaluate_on(evaluator, LambdaSchedule(1.01, 0.0), 32)
    assert len(pool.own) == 2 and evidence.reference.startswith("self:9@")


@pytest.mark.parametrize(
    ("grid", "found"),
    [(None, None), ("uniform", "uniform"), ("20", "250"), ("ddim20", "ddim250"), ("4,3,13", None)],
)
def test_a_grids_word_gets_the_other_number(grid, found):
    options = SamplerOptions(grid=grid)
    if grid == "4,3,13":
        with pytest.raises(UsageError, match="of 20 steps alone"):
            rescaled(options, 20, 250)
    else:
        assert rescaled(options, 20, 250) == found


def test_a_file_of_that_name_is_not_meant(tmp_path, text):
    (tmp_path / f"self:{STEPS}").touch()
    [spec] = parse_specs(text)
    assert located(spec, [tmp_path]).metric.reference == f"self:{STEPS}"


def test_init_takes_it(cli, tiny_pipeline, tmp_path):
    file, named = tmp_path / "s.yaml", ("--reference", "self:40", "--out", tmp_path / "s.yaml")
    code, _, err = cli("init", tiny_pipeline, *named, "--extractor", "bundled", "--steps", "4,8")
    assert code == 0 and "fill in" not in err, err
    assert {spec.metric.reference for spec in load_specs(file)} == {"self:40"}
    file.unlink()
    code, _, err = cli("init", tiny_pipeline, *named, "--extractor", "bundled", "--steps", "4,40")
    assert code == 2 and "no more steps than the 40" in " ".join(err.split())
    assert not file.exists()


def test_a_published_grid_of_sections_is_refused():
    flags = golden("ADM/cifar_like").config["model_flags"]
    model = load_model("adm", str(folder_of("ADM/cifar_like/model.pt")), flags)
    bare = Measure("bundled", "e" * 64, "self:60", "", 128)
    even = Sampling(sampler="ancestral", steps=12)
    found = with_own_samples(bare, 60, even, model).own
    assert (found.steps, found.sampling.options.grid, found.n) == (60, "60", 512)
    striding = even.model_copy(update={"steps": 20, "options": SamplerOptions(grid="ddim20")})
    with pytest.raises(UsageError, match=r"No integer stride takes exactly 60"):
        with_own_samples(bare, 60, striding, model)
    sections = even.model_copy(update={"options": SamplerOptions(grid="4,3,5")})
    with pytest.raises(UsageError, match="The reference self:60 cannot be sampled: the grid"):
        with_own_samples(bare, 60, sections, model)
