"""The lines printed with a row sample exactly what the row measured, bit by bit."""

import json
from dataclasses import replace
from datetime import UTC
from datetime import datetime

import pytest
import torch
import yaml
from diffusers import AutoencoderKL

import lambda_search as ls
from lambda_search.models.sampling import to_uint8
from lambda_search.records import Origin
from lambda_search.records import Provenance
from lambda_search.records import Row
from lambda_search.records import loading_line
from lambda_search.records import sampling_line
from lambda_search.search.resolving import resolve
from lambda_search.spec import parse_specs
from lambda_search.work.context import WorkerContext
from lambda_search.work.recipe import confirm_start
from lambda_search.work.tasks import batch_of
from lambda_search.work.timing import DeviceTimer
from tests.golden import folder_of
from tests.golden import golden

SCHEDULE = ls.LambdaSchedule(1.0153, -0.0021)
CPU = torch.device("cpu")

SAMPLERS = {
    "adm": {"name": "ancestral", "grid": "2,2"},
    "adm, at x0 alone": {"name": "ddim", "eta": 0.5, "site": "x0_only", "clip": False},
    "adm, bf16": {"name": "ancestral", "precision": "bf16", "batch": 8},
    "ddim": {"name": "ddim", "eta": 1.0, "grid": "quad"},
    "edm": {"name": "heun", "s_churn": 2.0, "s_min": 0.01, "s_max": 50.0, "s_noise": 1.003},
    "ldm": {"name": "ddim", "site": "x0_only", "eta": 1.0},
    "dit": {"name": "ancestral", "guidance": 1.5},
    "pfgmpp": {"name": "euler", "s_churn": 1.0, "s_noise": 1.01},
    "diffusers": {"name": "euler"},
    "diffusers, at x0 alone": {"name": "ddim", "site": "x0_only", "precision": "bf16"},
}


@pytest.fixture(scope="module")
def models(tmp_path_factory, tiny_pipeline):
    """A checkpoint and its config by framework."""
    folder = tmp_path_factory.mktemp("models")
    torch.manual_seed(0)
    AutoencoderKL(
        block_out_channels=(8, 8),
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        latent_channels=4,
        norm_num_groups=4,
    ).save_pretrained(folder / "vae")
    flags, dit = golden("ADM/cifar_like").config["model_flags"], golden("DiT/tiny").config
    (folder / "adm.json").write_text(json.dumps(flags))
    files = {
        "adm": ("ADM/cifar_like/model.pt", str(folder / "adm.json")),
        "ddim": ("DDIM/cifar_like/model.pth", str(folder_of("DDIM/cifar_like/config.yml"))),
        "edm": ("EDM/ddpmpp_uncond/network.pkl", None),
        "ldm": ("LDM/celeba_like/model.ckpt", None),
        "dit": ("DiT/tiny/model.pt", dit["model_kwargs"] | {"vae": str(folder / "vae")}),
        "pfgmpp": ("PFGM++/ddpmpp_uncond/training-state-000123.pt", None),
    }
    found = {name: (str(folder_of(file)), config) for name, (file, config) in files.items()}
    return found | {"diffusers": (str(tiny_pipeline), None)}


def plan_of(framework, model, sampler):
    checkpoint, config = model
    [spec] = parse_specs(
        yaml.safe_dump(
            {
                "name": "s",
                "model": {"framework": framework, "checkpoint": checkpoint, "config": config},
                "sampler": {"steps": 4, "batch": 4} | sampler,
                "search": {"seed": 7},
                "metric": {"extractor": "bundled", "reference": "bundled:fashion-mnist"},
            }
        )
    )
    return resolve(spec)


def row_of(plan):
    """A row as a study of `plan` makes it, as far as its printed lines are concerned."""
    model = plan.spec.model
    return Row(
        schedule=SCHEDULE,
        lambdas=SCHEDULE.values(plan.space.steps),
        setting=plan.setting,
        status="measured",
        verdict="",
        n=1,
        fid=1.0,
        fid_interval=None,
        baseline_fid=1.0,
        baseline_interval=None,
        gain=None,
        gain_interval=None,
        provenance=Provenance(checkpoint=model.checkpoint, config=model.config, seed=7),
        origin=Origin(),
        created=datetime.now(UTC),
    )


def measured(plan, start):
    """The images of the study's batch at index `start`, as a worker makes them."""
    return batch_of(WorkerContext(CPU), plan.recipe, SCHEDULE, start, DeviceTimer(CPU))[1]


def printed(row, start, batch, seed):
    """What the row's own lines give, once its seed and indices are added."""
    line = sampling_line(row)
    assert line.endswith(")")
    names = {"ls": ls}
    exec(loading_line(row), names)
    exec(f"{line[:-1]}, seed={seed}, indices=range({start}, {start + batch}))", names)
    return to_uint8(names["images"])


@pytest.mark.parametrize(
    "case",
    [pytest.param(one, marks=[pytest.mark.slow] * (one == "adm, bf16")) for one in SAMPLERS],
)
def test_a_measured_rows_lines_give_its_very_images(case, models):
    framework = case.partition(",")[0]
    plan = plan_of(framework, models[framework], SAMPLERS[case])
    batch = plan.recipe.batch
    start = confirm_start(batch)
    images = measured(plan, start)
    assert torch.equal(printed(row_of(plan), start, batch, 7), images)
    other = replace(row_of(plan), schedule=ls.LambdaSchedule())
    assert not torch.equal(printed(other, start, batch, 7), images), "λ is in it"


@pytest.mark.slow
def test_a_published_rows_lines_sample_what_was_published(models):
    """With a golden checkpoint in the place of the authors' own."""
    row = ls.best("adm-cifar10", 20, store="sqlite://")
    checkpoint, config = models["adm"]
    assert "CHECKPOINT" in loading_line(row)
    row = replace(row, provenance=Provenance(checkpoint=checkpoint, config=config))
    sampling = row.setting.sampling
    options = sampling.options.model_dump(exclude_defaults=True)
    sampler = {"name": sampling.sampler, "steps": 20, "batch": 64} | options
    plan = plan_of("adm", models["adm"], sampler)
    _, found = batch_of(WorkerContext(CPU), plan.recipe, row.schedule, 64, DeviceTimer(CPU))
    assert torch.equal(printed(row, 64, 64, 7), found)
