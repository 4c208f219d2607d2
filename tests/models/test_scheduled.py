"""The sampler `scheduler`: a study walks with diffusers' own scheduler, λ coming from outside."""

import inspect
import json
import math

import diffusers
import pytest
import torch
import yaml
from diffusers import DDPMPipeline
from diffusers import DDPMScheduler
from diffusers import UNet2DModel

import lambda_search as ls
from lambda_search.diffusion.noise import normal
from lambda_search.errors import UsageError
from lambda_search.launching import plans_of
from lambda_search.launching import run_studies
from lambda_search.models.diffusers.scheduled import generators
from lambda_search.models.options import sampling_of
from lambda_search.records.usage import using_lines
from lambda_search.spec import parse_specs
from lambda_search.store.store import Store
from lambda_search.work.pool import SerialPool

STEPS, B = 6, 4
SCHEDULE = ls.LambdaSchedule(1.04, -0.006)
RUNS = {
    "DPM++ 2M": ("DPMSolverMultistepScheduler", {}),
    "DPM++ 2M Karras": ("DPMSolverMultistepScheduler", {"use_karras_sigmas": True}),
    "DPM++ 2M SDE": ("DPMSolverMultistepScheduler", {"algorithm_type": "sde-dpmsolver++"}),
    "DPM++ 2S": ("DPMSolverSinglestepScheduler", {}),
    "UniPC": ("UniPCMultistepScheduler", {"solver_order": 3}),
    "DEIS": ("DEISMultistepScheduler", {}),
    "Euler": ("EulerDiscreteScheduler", {"timestep_spacing": "trailing"}),
    "Euler ancestral": ("EulerAncestralDiscreteScheduler", {}),
    "Heun": ("HeunDiscreteScheduler", {}),
    "LCM": ("LCMScheduler", {}),
    "PNDM": ("PNDMScheduler", {"skip_prk_steps": True}),
    "DDPM": ("DDPMScheduler", {}),
    "zero SNR": ("DDIMScheduler", {"rescale_betas_zero_snr": True, "prediction_type": "sample"}),
}


@pytest.fixture(scope="module")
def model(tiny_pipeline):
    return ls.load_model("diffusers", tiny_pipeline)


def asked(name, config, **options):
    return {"class": name, "config": config, "batch": B, **options}


def sampled(model, name, config, schedule=SCHEDULE, indices=range(B), **options):
    told = asked(name, config, **options)
    return ls.sample(model, "scheduler", STEPS, schedule, indices, seed=5, options=told)


def by_hand(folder, name, config, schedule=None):
    """A pipeline's own loop over stock diffusers, with a generator for each sample."""
    pipe = DDPMPipeline.from_pretrained(folder)
    pipe.unet.to(memory_format=torch.channels_last)  # which decides bits
    scheduler = getattr(diffusers, name).from_config(pipe.scheduler.config, **config)
    if schedule is not None:
        ls.scale_epsilon(scheduler, schedule)
    noise = generators(normal(5, range(B), 1, (1, 8, 8)))
    scheduler.set_timesteps(STEPS)
    x = normal(5, range(B), 0, (1, 8, 8)) * scheduler.init_noise_sigma
    takes = "generator" in inspect.signature(scheduler.step).parameters
    with torch.inference_mode():
        for t in scheduler.timesteps:
            out = pipe.unet(scheduler.scale_model_input(x, t), t).sample
            beside = {"generator": noise} if takes else {}
            x = scheduler.step(out, t, x, **beside).prev_sample
    return x


@pytest.mark.parametrize("run", RUNS)
def test_it_is_the_loop_of_a_pipeline(model, tiny_pipeline, run):
    plain = sampled(model, *RUNS[run], ls.LambdaSchedule())
    assert torch.equal(plain, by_hand(tiny_pipeline, *RUNS[run]))
    scaled = sampled(model, *RUNS[run])
    assert torch.equal(scaled, by_hand(tiny_pipeline, *RUNS[run], SCHEDULE))
    assert not torch.equal(plain, scaled)


@pytest.mark.parametrize("run", ["DPM++ 2M SDE", "Euler ancestral", "Heun", "LCM"])
def test_an_image_depends_on_its_index_alone(model, run):
    whole = sampled(model, *RUNS[run], indices=range(2 * B))
    assert torch.equal(sampled(model, *RUNS[run], indices=[6, 1]), whole[[6, 1]])


@pytest.mark.parametrize("run", RUNS)
def test_options_resolve_to_one_spelling(model, run):
    name, config = RUNS[run]
    first = model.resolve(sampling_of("scheduler", STEPS, options=asked(name, config)))
    assert model.resolve(first) == first and first.solver == name
    kind = getattr(diffusers, name)
    own = DDPMScheduler.from_config(model._scheduler.config)
    known = inspect.signature(kind.__init__).parameters
    made = kind.from_config(own.config, **config).config
    told = {word: value for word, value in made.items() if word in known}
    whole = {word: value for word, value in told.items() if value != -math.inf}
    if name != "DDPMScheduler":
        whole.pop("variance_type", None)
    spelled = model.resolve(sampling_of("scheduler", STEPS, options=asked(name, whole)))
    assert spelled == first, "all of the config in words is the same sampling"


def test_an_open_class_is_the_models_own(model):
    open_ = model.resolve(sampling_of("scheduler", STEPS))
    assert open_.options.class_ == "DDPMScheduler" and open_.options.config == {
        "timestep_spacing": "linspace"
    }


def test_the_network_is_seen_at_its_levels(model):
    seen = []
    told = asked("HeunDiscreteScheduler", {})
    ls.sample(model, "scheduler", STEPS, SCHEDULE, range(B), options=told, observe=seen.append)
    assert [one.level.index for one in seen] == [5, 4, 4, 3, 3, 2, 2, 1, 1, 0, 0]
    grid = model.grid(model.resolve(sampling_of("scheduler", STEPS, options=told)))
    assert len(grid) == STEPS and list(grid.timesteps) == sorted(grid.timesteps)
    for one in seen:
        ratio = grid.sigma[one.level.index] / grid.alpha[one.level.index]
        assert one.level.sigma / one.level.alpha == pytest.approx(ratio, rel=1e-5)
        assert grid.timesteps[one.level.index] == pytest.approx(one.level.timestep)


REFUSED = {
    "no class": ("NoSuchScheduler", {}, "no scheduler 'NoSuchScheduler'"),
    "another class": ("UNet2DModel", {}, "no scheduler 'UNet2DModel'"),
    "a flow": ("FlowMatchEulerDiscreteScheduler", {}, "ᾱ of training"),
    "EDM": ("EDMEulerScheduler", {}, "ᾱ of training"),
    "backwards": ("DDIMInverseScheduler", {}, "from noise to an image"),
    "tokens": ("VQDiffusionScheduler", {}, "draws tokens"),
    "of video": ("CogVideoXDPMScheduler", {}, "cannot be searched"),
    "other ᾱ": ("CogVideoXDDIMScheduler", {}, "not those that the network was trained with"),
    "own noise": ("DPMSolverSDEScheduler", {}, "no generator of a sample"),
    "an option": ("UniPCMultistepScheduler", {"use_karras_sigma": True}, "no option 'use_karras"),
    "a value": ("UniPCMultistepScheduler", {"solver_type": "best"}, "cannot be made"),
    "a spacing": ("EulerDiscreteScheduler", {"timestep_spacing": "odd"}, "6 steps"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_cannot_be_searched_is_refused(model, what):
    name, config, words = REFUSED[what]
    with pytest.raises(UsageError, match=words) as caught:
        sampled(model, name, config)
    assert caught.value.hint


def test_options_that_it_has_not_are_refused(model):
    for options in ({"clip": True}, {"grid": "linspace"}, {"eta": 0.5}):
        with pytest.raises(UsageError):
            sampled(model, "UniPCMultistepScheduler", {}, **options)
    assert not torch.equal(
        sampled(model, "DDIMScheduler", {}, eta=0.9), sampled(model, "DDIMScheduler", {})
    )
    with pytest.raises(UsageError, match="no option 'class'"):
        ls.sample(model, "ddim", STEPS, SCHEDULE, options={"class": "DDIMScheduler"})
    with pytest.raises(UsageError, match="x0_only"):
        ls.sample(model, "scheduler", STEPS, SCHEDULE, site="x0_only")
    noise = [torch.zeros(B, 1, 8, 8)] * STEPS
    with pytest.raises(UsageError, match="its own noise"):
        ls.sample(model, "scheduler", STEPS, SCHEDULE, initial=noise[0], step_noise=noise)


def test_steps_that_break_on_the_way_are_refused_before(monkeypatch):
    """On a cosine grid Karras' first two σ round to one timestep, which diffusers trips over."""
    model = ls.load_model("diffusers", "bundled:fashion-mnist")
    monkeypatch.setattr(model, "_unet", None)  # nothing is sampled
    with pytest.raises(UsageError, match="one timestep"):
        sampled(model, "DPMSolverMultistepScheduler", {"use_karras_sigmas": True})


def test_a_learned_variance_is_left_out_where_none_is_taken(tmp_path):
    torch.manual_seed(1)
    unet = UNet2DModel(
        sample_size=8,
        in_channels=1,
        out_channels=2,
        layers_per_block=1,
        block_out_channels=(8, 8),
        down_block_types=("DownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "UpBlock2D"),
        norm_num_groups=4,
        add_attention=False,
    )
    pipe = DDPMPipeline(unet, DDPMScheduler(variance_type="learned_range"))
    pipe.save_pretrained(tmp_path / "learned")
    model = ls.load_model("diffusers", tmp_path / "learned")
    for name in ("DDPMScheduler", "UniPCMultistepScheduler", "DPMSolverMultistepScheduler"):
        images = sampled(model, name, {})
        assert images.shape == (B, 1, 8, 8) and torch.isfinite(images).all()


@pytest.mark.slow
def test_a_study_finds_a_row_for_its_scheduler(study_text, tiny_pipeline, tmp_path):
    document = yaml.safe_load(study_text)
    document["sampler"] = {
        "name": "scheduler",
        "class": "DPMSolverMultistepScheduler",
        "config": {"use_karras_sigmas": True},
        "steps": 4,
        "batch": 16,
    }
    store = Store(f"{tmp_path}/s.db")
    [row] = run_studies(plans_of(parse_specs(yaml.safe_dump(document))), store, SerialPool())
    key = json.loads(row.setting.key)
    assert key["options"]["class"] == "DPMSolverMultistepScheduler"
    assert key["options"]["config"] == {"use_karras_sigmas": True}
    found = ls.best("tiny", 4, "scheduler", store=store)
    assert found.id == row.id and found.setting == row.setting
    assert ls.best("tiny", 4, "DPMSolverMultistepScheduler", store=store).id == row.id
    assert ls.best("tiny", 4, store=store, **{"class": found.setting.solver}).id == row.id
    with pytest.raises(ls.NoScheduleFound):
        ls.best("tiny", 4, "UniPCMultistepScheduler", store=store)
    assert [level.sigma for level in found.levels] == sorted(level.sigma for level in found.levels)
    words = {"ls": ls}
    exec("\n".join(using_lines(row)), words)
    model = ls.load_model("diffusers", tiny_pipeline)
    again = ls.sample(
        model,
        "scheduler",
        4,
        row.schedule,
        options=asked("DPMSolverMultistepScheduler", {"use_karras_sigmas": True}) | {"batch": 16},
    )
    assert torch.equal(words["images"], again)
