"""A folder of DiT in diffusers' form is sampled as its own pipeline does it."""

import json

import diffusers
import pytest
import torch
from diffusers import DDIMScheduler
from diffusers import DiTPipeline
from diffusers.utils.torch_utils import randn_tensor

import lambda_search as ls
from lambda_search.errors import UsageError
from tests.models import tiny_pipelines as tiny

LABELS, STEPS = [3, 999, 0], 5


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    scheduler = DDIMScheduler(clip_sample=False)
    return tiny.dit(tmp_path_factory.mktemp("dit") / "dit", scheduler)


@pytest.fixture(scope="module")
def model(folder):
    return ls.load_model("diffusers", folder)


def start():
    return randn_tensor((len(LABELS), 4, 8, 8), generator=torch.Generator().manual_seed(1))


def of_pipeline(folder, guidance, schedule, name=None, **config):
    pipe = DiTPipeline.from_pretrained(folder)
    pipe.set_progress_bar_config(disable=True)
    if name is not None:
        kind = getattr(diffusers, name)
        pipe.scheduler = kind.from_config(pipe.scheduler.config, **config)
    with ls.scale_epsilon(pipe, schedule):
        return pipe(
            class_labels=LABELS,
            guidance_scale=guidance,
            generator=torch.Generator().manual_seed(1),
            num_inference_steps=STEPS,
            output_type="pt",
        ).images


@pytest.mark.parametrize("guidance", [1.0, 4.0])
@pytest.mark.parametrize("schedule", [ls.LambdaSchedule(), ls.LambdaSchedule(1.1, 0.02)])
@pytest.mark.parametrize(
    ("name", "config"),
    [(None, {}), ("DPMSolverMultistepScheduler", {"use_karras_sigmas": True})],
)
def test_a_scheduler_gives_the_pipelines_images(folder, model, guidance, schedule, name, config):
    images = ls.sample(
        model,
        "scheduler",
        STEPS,
        schedule,
        labels=LABELS,
        guidance=guidance,
        initial=start(),
        options={"class": name, "config": config} if name else {},
    )
    own = (images / 2 + 0.5).clamp(0, 1)
    torch.testing.assert_close(
        own, of_pipeline(folder, guidance, schedule, name, **config), rtol=0, atol=2e-5
    )


def test_the_network_s_learned_variance_is_used_by_the_ancestral_sampler(model):
    drawn = {
        variance: ls.sample(
            model,
            "ancestral",
            STEPS,
            ls.LambdaSchedule(),
            range(2),
            options={"variance": variance},
        )
        for variance in ("learned", "small")
    }
    assert not torch.equal(drawn["learned"], drawn["small"])


def test_the_older_name_of_the_network_is_read(folder, model, tmp_path):
    import shutil

    older = tmp_path / "older"
    shutil.copytree(folder, older)
    for file, change in (
        ("model_index.json", {"transformer": ["diffusers", "Transformer2DModel"]}),
        (
            "transformer/config.json",
            {"_class_name": "Transformer2DModel", "num_vector_embeds": None},
        ),
    ):
        told = json.loads((older / file).read_text())
        (older / file).write_text(json.dumps(told | change))
    found = ls.load_model("diffusers", older)
    assert (found.sha256, found.definition) == (model.sha256, model.definition)


@pytest.mark.parametrize(
    ("kind", "network", "why"),
    [
        ("PixArtSigmaPipeline", "PixArtTransformer2DModel", "T5"),
        ("StableDiffusion3Pipeline", "SD3Transformer2DModel", "velocity"),
        ("FluxPipeline", "FluxTransformer2DModel", "velocity"),
        ("LuminaPipeline", "LuminaNextDiT2DModel", "LuminaNextDiT2DModel"),
    ],
)
def test_other_pipelines_of_transformers_are_refused_by_name(tmp_path, kind, network, why):
    index = {"_class_name": kind, "transformer": ["diffusers", network]}
    (tmp_path / "model_index.json").write_text(json.dumps(index))
    with pytest.raises(UsageError, match=f"{kind}; .*{why}"):
        ls.load_model("diffusers", tmp_path)
