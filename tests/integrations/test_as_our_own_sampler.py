"""Scaled schedulers of diffusers against `ls.sample`, on the same network and noise."""

import pytest
import torch
from diffusers import DDIMScheduler
from diffusers import DDPMPipeline
from diffusers import DDPMScheduler
from diffusers import EulerAncestralDiscreteScheduler
from diffusers import EulerDiscreteScheduler
from diffusers import UNet2DModel
from diffusers.schedulers import scheduling_ddpm
from diffusers.schedulers import scheduling_euler_ancestral_discrete

import lambda_search as ls
from lambda_search.diffusion.noise import normal
from tests.integrations import pipelines

N, STEPS = 3, 10
SHAPE = (3, 8, 8)
TILTED = ls.LambdaSchedule(1.005, 0.004)
V = {"prediction_type": "v_prediction"}


@pytest.fixture(scope="module")
def folder_of(tmp_path_factory):
    """(scheduler) → a folder with it, and always the same network for as many channels."""

    def make(scheduler):
        learned = scheduler.config.get("variance_type") == "learned_range"
        folder = tmp_path_factory.mktemp("own")
        with torch.random.fork_rng():
            torch.manual_seed(0)
            pipeline = DDPMPipeline(pipelines.unet(6 if learned else 3), DDPMScheduler())
        pipeline.register_modules(scheduler=scheduler)
        pipeline.save_pretrained(folder)
        return folder

    return make


@torch.no_grad()
def theirs(folder, scheduler, schedule, **options):
    """The library's own loop, scaled."""
    unet = UNet2DModel.from_pretrained(folder / "unet")
    with ls.scale_epsilon(scheduler, schedule):
        scheduler.set_timesteps(STEPS)
        x = normal(0, range(N), 0, SHAPE) * scheduler.init_noise_sigma
        for j, t in enumerate(scheduler.timesteps, start=1):
            if options.get("eta"):
                options["variance_noise"] = normal(0, range(N), j, SHAPE)
            said = unet(scheduler.scale_model_input(x, t), t).sample
            x = scheduler.step(said, t, x, **options).prev_sample
    return x


def ours(folder, sampler, schedule, **options):
    model = ls.load_model("diffusers", folder)
    return ls.sample(
        model, sampler, STEPS, schedule, indices=range(N), options=options | {"batch": N}
    )


def assert_as_ours(folder, scheduler, sampler, told, **options):
    found = theirs(folder, scheduler, TILTED, **options)
    expected = ours(folder, sampler, TILTED, **told)
    size = expected.abs().max()
    assert (found - expected).abs().max() < 1e-4 * size
    assert (found - ours(folder, sampler, ls.LambdaSchedule(), **told)).abs().max() > 2e-3 * size


def drawn_from_ours(monkeypatch, module):
    draws = iter(range(1, STEPS + 1))
    monkeypatch.setattr(
        module, "randn_tensor", lambda *_, **__: normal(0, range(N), next(draws), SHAPE)
    )


@pytest.mark.parametrize(
    "config",
    [
        {},
        {"clip_sample": False},
        {"variance_type": "fixed_large"},
        {"variance_type": "learned_range"},
        {"timestep_spacing": "trailing"},
        V,
        V | {"rescale_betas_zero_snr": True, "timestep_spacing": "trailing"},
        {"prediction_type": "sample"},
    ],
    ids=str,
)
def test_ddpm(folder_of, monkeypatch, config):
    drawn_from_ours(monkeypatch, scheduling_ddpm)
    scheduler = DDPMScheduler(**config)
    assert_as_ours(folder_of(scheduler), scheduler, "ancestral", {})


@pytest.mark.parametrize("eta", [0.0, 0.6])
@pytest.mark.parametrize(
    "config",
    [
        {"clip_sample": False},
        {"clip_sample": True},
        V | {"clip_sample": False},
        V | {"rescale_betas_zero_snr": True, "timestep_spacing": "trailing"},
        {"prediction_type": "sample", "clip_sample": False},
    ],
    ids=str,
)
def test_ddim(folder_of, config, eta):
    scheduler = DDIMScheduler(**config)
    clipped = scheduler.config.clip_sample
    assert_as_ours(
        folder_of(scheduler),
        scheduler,
        "ddim",
        {"eta": eta},
        eta=eta,
        use_clipped_model_output=clipped,
    )


@pytest.mark.parametrize(
    "config",
    [
        {},
        V,
        {"prediction_type": "sample"},
        {"timestep_spacing": "trailing"},
        {"use_karras_sigmas": True},
        {"use_beta_sigmas": True},
        {"final_sigmas_type": "sigma_min"},
    ],
    ids=str,
)
def test_euler(folder_of, config):
    scheduler = EulerDiscreteScheduler(**config)
    assert_as_ours(folder_of(scheduler), scheduler, "euler", {})


@pytest.mark.parametrize("config", [{}, V], ids=str)
def test_euler_ancestral(folder_of, monkeypatch, config):
    drawn_from_ours(monkeypatch, scheduling_euler_ancestral_discrete)
    scheduler = EulerAncestralDiscreteScheduler(**config, timestep_spacing="trailing")
    assert_as_ours(folder_of(scheduler), scheduler, "ancestral", {})
