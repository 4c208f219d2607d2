"""`scale_epsilon(pipeline)` finds the row that is for it, or leaves λ at 1 and says why."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import diffusers
import pytest
import torch
from diffusers import DDPMPipeline

import lambda_search as ls
from lambda_search.errors import UsageError
from lambda_search.models.options import sampling_of
from lambda_search.records import NoiseLevel
from lambda_search.setting import Setting
from lambda_search.store.store import Store
from tests.models import tiny_pipelines as tiny
from tests.store.test_store import begin
from tests.store.test_store import row

STEPS = 4  # whose linspace timesteps are whole, so that Euler has those of DDPM
DPM = {"class": "DPMSolverMultistepScheduler", "config": {"solver_order": 3}}


def setting_of(model, sampler, options, **beside):
    sampling = model.resolve(sampling_of(sampler, STEPS, options=options))
    told = sampling.model_dump() | {
        "model": "tiny",
        "weights": model.sha256,
        "framework": "diffusers",
        "definition": model.definition,
        "extractor": "bundled@1",
        "reference": "r@2",
    }
    return Setting(**(told | beside))


def levels_of(model, setting):
    grid = model.grid(setting.sampling)
    ratios = (s / a for s, a in zip(grid.sigma, grid.alpha, strict=True))
    return tuple(NoiseLevel(t, r) for t, r in zip(grid.timesteps, ratios, strict=True))


@pytest.fixture
def store(tmp_path):
    return Store(f"sqlite:///{tmp_path}/own.db")


@pytest.fixture(scope="module")
def model(tiny_pipeline):
    return ls.load_model("diffusers", tiny_pipeline)


def published(store, model, sampler="scheduler", options=DPM, name="s", b=1.06, **beside):
    setting = setting_of(model, sampler, options, **beside)
    found = replace(row(setting, study=name, b=b, k=-0.01), levels=levels_of(model, setting))
    return store.publish(begin(store, setting, name), found)


@pytest.fixture
def found(store, model):
    return published(store, model)


def pipe_of(folder, name="DPMSolverMultistepScheduler", **config):
    pipe = DDPMPipeline.from_pretrained(folder)
    kind = getattr(diffusers, name)
    pipe.scheduler = kind.from_config(pipe.scheduler.config, **config)
    pipe.set_progress_bar_config(disable=True)
    return pipe


def images(pipe, steps=STEPS):
    return pipe(2, torch.Generator().manual_seed(0), steps, output_type="np").images


def said(capsys):
    lines = capsys.readouterr().err.splitlines()
    return [line for line in lines if line.startswith("scale_epsilon")]


def test_the_row_is_taken_and_said_in_one_line(store, found, tiny_pipeline, capsys):
    pipe = pipe_of(tiny_pipeline, solver_order=3)
    plain = images(pipe)
    with ls.scale_epsilon(pipe, store=store):
        scaled = images(pipe)
    [line] = said(capsys)
    assert found.id[:12] in line and str(found.schedule) in line and "gain 1 [0.5, 1.5]" in line
    assert not (scaled == plain).all() and (images(pipe) == plain).all()
    with ls.scale_epsilon(pipe, found.schedule):
        assert (images(pipe) == scaled).all()


@pytest.mark.slow
def test_a_fresh_process_takes_it_too(found, tiny_pipeline, tmp_path):
    code = f"""
import diffusers, numpy, torch, lambda_search as ls
pipe = diffusers.DDPMPipeline.from_pretrained({str(tiny_pipeline)!r})
pipe.scheduler = diffusers.DPMSolverMultistepScheduler.from_config(
    pipe.scheduler.config, solver_order=3)
made = [pipe(2, torch.Generator().manual_seed(0), {STEPS}, output_type="np").images]
ls.scale_epsilon(pipe, store="sqlite:///{tmp_path}/own.db")
made += [pipe(2, torch.Generator().manual_seed(0), {STEPS}, output_type="np").images]
print(abs(made[0] - made[1]).max())
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert float(done.stdout) > 1e-3
    assert done.stderr.count(f"scale_epsilon: row {found.id[:12]}") == 1


def merged(pipe):
    """As fusing a LoRA leaves a network."""
    with torch.no_grad():
        next(p for n, p in pipe.unet.named_parameters() if "conv_in.weight" in n).add_(0.01)


def adapted(pipe):
    pipe.unet.add_module("lora_A", torch.nn.Identity())


def homeless(pipe):
    pipe.register_to_config(_name_or_path="")


OTHERWISE = {
    "another order": ({"solver_order": 2}, None, STEPS, "solver_order is 2, the row's 3"),
    "Karras": (
        {"solver_order": 3, "use_karras_sigmas": True},
        None,
        STEPS,
        "use_karras_sigmas is True, the row's False",
    ),
    "another class": ({"name": "LCMScheduler"}, None, STEPS, "is a LCMScheduler, the row's a DPM"),
    "other steps": ({"solver_order": 3}, None, 7, "steps 7"),
    "merged weights": ({"solver_order": 3}, merged, STEPS, "unet were changed (conv_in.weight)"),
    "a LoRA": ({"solver_order": 3}, adapted, STEPS, "adapter (LoRA)"),
    "from nowhere": ({"solver_order": 3}, homeless, STEPS, "does not say where it was loaded"),
}


@pytest.mark.parametrize("what", OTHERWISE)
def test_what_the_row_is_not_for_is_left_and_said(what, store, found, tiny_pipeline, capsys):
    config, change, steps, words = OTHERWISE[what]
    pipe = pipe_of(tiny_pipeline, **config)
    if change is not None:
        change(pipe)
    plain = images(pipe, steps)
    with ls.scale_epsilon(pipe, store=store):
        assert (images(pipe, steps) == plain).all()
    [line] = said(capsys)
    assert line.startswith("scale_epsilon: λ stays 1: ") and words in line


def test_other_weights_have_no_row(store, found, tiny_pipeline, tmp_path, capsys):
    pipe = pipe_of(tiny_pipeline, solver_order=3)
    merged(pipe)
    pipe.save_pretrained(tmp_path / "other")
    other = pipe_of(tmp_path / "other", solver_order=3)
    with ls.scale_epsilon(other, store=store):
        images(other)
    assert "no row is for these weights" in capsys.readouterr().err


def test_another_number_of_steps_is_another_lookup(store, found, model, tiny_pipeline, capsys):
    pipe = pipe_of(tiny_pipeline, solver_order=3)
    with ls.scale_epsilon(pipe, store=store) as scaling:
        images(pipe, 7)
        assert scaling.schedule.is_identity
        images(pipe)
        assert scaling.schedule == found.schedule
    assert len(said(capsys)) == 2


@pytest.mark.parametrize(
    ("sampler", "options", "name", "config"),
    [
        ("ancestral", {}, "DDPMScheduler", {}),
        ("euler", {}, "EulerDiscreteScheduler", {}),
        ("ddim", {"clip": False, "grid": "leading"}, "DDIMScheduler", "leading"),
    ],
)
def test_rows_of_our_own_samplers_are_for_the_library_s(
    sampler, options, name, config, store, model, tiny_pipeline, capsys
):
    found = published(store, model, sampler, options)
    if config == "leading":
        config = {"timestep_spacing": "leading", "clip_sample": False}
    pipe = pipe_of(tiny_pipeline, name, **config)
    with ls.scale_epsilon(pipe, store=store) as scaling:
        images(pipe)
    assert scaling.schedule == found.schedule, capsys.readouterr().err
    other = pipe_of(tiny_pipeline, name, **config | {"timestep_spacing": "trailing"})
    with ls.scale_epsilon(other, store=store) as scaling:
        images(other)
    assert scaling.schedule.is_identity
    assert "other noise levels" in capsys.readouterr().err


def test_rows_that_cannot_be_ranked_are_asked_back(store, found, model, tiny_pipeline):
    published(store, model, name="t", b=1.02, extractor="other@9")
    pipe = pipe_of(tiny_pipeline, solver_order=3)
    with ls.scale_epsilon(pipe, store=store), pytest.raises(UsageError, match="2 metrics"):
        images(pipe)
    with ls.scale_epsilon(pipe, store=store, extractor="other") as scaling:
        images(pipe)
        assert scaling.schedule.b == 1.02


def test_where_there_is_no_store_yet_nothing_is_made(tiny_pipeline, home, capsys):
    pipe = pipe_of(tiny_pipeline)
    with ls.scale_epsilon(pipe):
        images(pipe)
    assert "no row is for these weights" in capsys.readouterr().err
    assert not list(Path(home).rglob("*.db"))


def test_what_is_asked_beside_a_schedule_is_refused(tiny_pipeline, found):
    pipe = pipe_of(tiny_pipeline)
    with pytest.raises(UsageError, match="guidance"):
        ls.scale_epsilon(pipe, found.schedule, guidance=2.0)
    with pytest.raises(UsageError, match="a pipeline"):
        ls.scale_epsilon(pipe.scheduler)


@pytest.fixture(scope="module")
def text_folder(tmp_path_factory):
    return tiny.stable_diffusion(tmp_path_factory.mktemp("text") / "sd")


def test_guidance_and_size_belong_to_the_row(store, text_folder, capsys):
    model = ls.load_model("diffusers", text_folder, {"prompts": ["a cat"]})
    options = {"class": "DPMSolverMultistepScheduler"}
    found = published(store, model, options=options, guidance=4.0)
    pipe = diffusers.StableDiffusionPipeline.from_pretrained(text_folder)
    pipe.set_progress_bar_config(disable=True)
    pipe.scheduler = diffusers.DPMSolverMultistepScheduler.from_config(pipe.scheduler.config)

    def made(**how):
        told = {"guidance_scale": 4.0, "num_inference_steps": STEPS, "output_type": "latent"}
        return pipe("a cat", generator=torch.Generator().manual_seed(0), **told | how).images

    plain, other, wide = made(), made(guidance_scale=2.0), made(width=32, height=16)
    with ls.scale_epsilon(pipe, store=store):
        assert not torch.equal(made(), plain)
        assert torch.equal(made(guidance_scale=2.0), other)
        assert torch.equal(made(width=32, height=16), wide)
    taken, guided, sized = said(capsys)
    assert found.id[:12] in taken
    assert "guidance 2" in guided and "No row" in guided
    assert "measured on states of 8 × 8, and these have 16 × 8" in sized
