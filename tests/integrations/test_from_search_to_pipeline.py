"""Studies over the schedulers that people run, from launch to a pipeline that finds their rows."""

import runpy
from pathlib import Path

import diffusers
import pytest
import torch

import lambda_search as ls
from lambda_search.launching import plans_of
from lambda_search.launching import run_studies
from lambda_search.spec import parse_specs
from lambda_search.store.store import Store
from lambda_search.work.pool import SerialPool

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
LITTLE = {
    "trials: 12": "trials: 4",
    "[300, 600]": "[64, 128]",
    "2, samples: 2000": "1, samples: 512",
}
CLASSES = ["DPMSolverMultistepScheduler", "UniPCMultistepScheduler"]


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """What studies/pipelines/multistep.yaml finds, on few images."""
    text = (ROOT / "studies" / "pipelines" / "multistep.yaml").read_text()
    for own, little in LITTLE.items():
        assert own in text
        text = text.replace(own, little)
    store = Store(f"sqlite:///{tmp_path_factory.mktemp('store')}/rows.db")
    run_studies(plans_of(parse_specs(text)), store, SerialPool())
    return store


@pytest.fixture(scope="module")
def pipeline():
    return runpy.run_path(str(ROOT / "scripts" / "bench_pipelines.py"))["pipeline"]


def images(pipe):
    noise = [torch.Generator().manual_seed(seed) for seed in range(4)]
    return pipe(4, noise, 10, output_type="np").images


@pytest.mark.parametrize("name", CLASSES)
def test_a_pipeline_takes_the_row_of_its_scheduler(store, pipeline, name, capsys):
    row = ls.best("fashion-mnist", 10, name, store)
    assert row.setting.options.class_ == name
    pipe = pipeline(name, diffusers)
    plain = images(pipe)
    with ls.scale_epsilon(pipe, row.schedule):
        told = images(pipe)
    with ls.scale_epsilon(pipe, store=store):
        own = images(pipe)
    assert row.id[:12] in capsys.readouterr().err
    assert (own == told).all() and (own == plain).all() == row.schedule.is_identity


@pytest.mark.parametrize("name", CLASSES)
def test_another_grid_of_the_same_scheduler_has_none(store, pipeline, name, capsys):
    pipe = pipeline(name, diffusers)
    pipe.scheduler = type(pipe.scheduler).from_config(
        pipe.scheduler.config, timestep_spacing="trailing"
    )
    plain = images(pipe)
    with ls.scale_epsilon(pipe, store=store):
        assert (images(pipe) == plain).all()
    assert "λ stays 1" in capsys.readouterr().err
