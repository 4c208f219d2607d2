"""Studies that are measured in the eyes of their model's own network."""

import numpy as np
import pytest
import torch
from PIL import Image

from lambda_search.errors import UsageError
from lambda_search.metrics.extractors.own_network import OwnNetworkExtractor
from lambda_search.models.registry import load_model
from lambda_search.paths import features_folder
from lambda_search.schedule import LambdaSchedule
from lambda_search.search.cost import outlines
from lambda_search.search.metric_choice import chosen_metric
from lambda_search.spec import parse_specs
from lambda_search.spec.bounds import Bounds
from lambda_search.work.evaluate import evaluate
from lambda_search.work.evaluate import evaluate_on
from lambda_search.work.evaluator import Evaluator
from lambda_search.work.features import FeatureFiles
from lambda_search.work.pool import SerialPool
from lambda_search.work.shards import Shards
from tests.models import tiny_pipelines
from tests.search.running import plan_of
from tests.search.running import run


@pytest.fixture
def text(study_text):
    found = study_text.replace("extractor: bundled", "extractor: model")
    return found.replace('reference: "bundled:fashion-mnist"', "reference: self:9")


def on_pool(text, schedule, n):
    with Shards(SerialPool(), FeatureFiles(features_folder())) as shards:
        return evaluate_on(Evaluator(plan_of(text).recipe, shards), schedule, n)


def test_a_study_ends_in_a_row_that_says_what_it_measures(text):
    heard = []
    row = run(text, SerialPool(), heard=heard)
    assert np.isfinite([row.fid, row.baseline_fid]).all()
    assert row.setting.extractor.startswith("model@")
    assert row.setting.reference.startswith("self:9@")
    means = "8 features of the block mid_block of the model's own network, at noise"
    assert means in row.verdict and "in the network's own eyes" in row.verdict
    assert any(event.text.startswith(f"model: {means}") for event in heard)


def test_a_pool_and_this_process_see_the_same(text, tiny_pipeline):
    schedule = LambdaSchedule(1.03, 0.0)
    there = on_pool(text, schedule, 48)
    here = evaluate(
        load_model("diffusers", str(tiny_pipeline)),
        "ancestral",
        4,
        schedule,
        n=48,
        extractor="model",
        reference="self:9",
        seed=3,
        options={"batch": 16},
    )
    assert here.fid == pytest.approx(there.fid, rel=1e-9)
    assert here.extractor == there.extractor and here.reference == there.reference
    assert here.fid != here.baseline_fid


def test_images_are_a_reference_of_pixels(text, tmp_path):
    generator = np.random.default_rng(0)
    for i in range(40):
        pixels = generator.integers(0, 256, (8, 8), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"{i}.png")
    found = on_pool(text.replace("self:9", f'"images:{tmp_path}"'), LambdaSchedule(1.03, 0.0), 48)
    assert np.isfinite([found.fid, found.baseline_fid]).all()


def test_latents_are_measured_against_themselves(tmp_path, text, tiny_pipeline):
    folder = tiny_pipelines.stable_diffusion(tmp_path / "pipeline")
    model = f'checkpoint: "{folder}", config: {{prompts: [a b, c]}}'
    latent = text.replace(f'checkpoint: "{tiny_pipeline}"', model)
    found = on_pool(latent, LambdaSchedule(1.03, 0.0), 48)
    assert np.isfinite([found.fid, found.baseline_fid]).all()
    loaded = load_model("diffusers", str(folder), {"prompts": ["a b", "c"]})
    here = evaluate(
        loaded,
        "ancestral",
        4,
        LambdaSchedule(1.03, 0.0),
        n=48,
        extractor="model",
        reference="self:9",
        seed=3,
        options={"batch": 16},
    )
    assert here.fid == pytest.approx(found.fid, rel=1e-9)
    (tmp_path / "photos").mkdir()
    with pytest.raises(UsageError, match="reads this model's states"):
        plan_of(latent.replace("self:9", f'"images:{tmp_path / "photos"}"'))


def test_a_dry_run_knows_what_a_launch_measures(text):
    [(outlined, missing)] = outlines(parse_specs(text))
    plan = plan_of(text)
    assert not missing
    assert outlined.digest() == plan.digest()
    assert outlined.reference_notes == plan.reference_notes


def test_a_draft_leaves_its_width_to_the_model():
    found = chosen_metric("model", "self:9", "tiny")
    assert (found.extractor, found.reference, found.width) == ("model", "self:9", None)


@pytest.mark.parametrize(
    "name", ["model:", "model:a b", "model@", "model:mid_block@much", "model:x@1@2"]
)
def test_a_name_that_is_none_is_refused_in_the_file(text, name):
    with pytest.raises(UsageError, match="model:BLOCK@LEVEL"):
        parse_specs(text.replace("extractor: model", f'extractor: "{name}"'))


def test_a_block_that_is_none_is_refused_before_anything_is_sampled(text):
    with pytest.raises(UsageError, match="no block 'middle'") as error:
        plan_of(text.replace("extractor: model", "extractor: model:middle"))
    assert "mid_block" in error.value.hint


def test_a_posted_study_may_name_it(text, tiny_pipeline):
    [spec] = parse_specs(text.replace(str(tiny_pipeline), "tiny"))
    bounds = Bounds.of([tiny_pipeline.parent])
    assert bounds.located(spec, {}, {}).metric.extractor == "model"


def test_rows_of_other_blocks_have_other_settings(text):
    names = ("model", "model:down_blocks.0", "model@0.5")
    keys = {
        plan_of(text.replace("extractor: model", f'extractor: "{name}"')).setting.key
        for name in names
    }
    assert len(keys) == len(names)


def test_a_worker_keeps_no_second_copy(tiny_pipeline):
    model = load_model("diffusers", str(tiny_pipeline))
    probed, told = OwnNetworkExtractor("model", model), OwnNetworkExtractor("model", model, 8)
    images = torch.zeros(2, 1, 8, 8, dtype=torch.uint8)
    assert told.fingerprint == probed.fingerprint and probed.dim == 8
    assert torch.equal(told(images), probed(images))
