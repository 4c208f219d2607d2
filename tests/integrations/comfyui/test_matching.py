"""Which settings of ComfyUI take a row's steps, against schedulers of diffusers."""

import itertools
import math

import pytest
import torch
from diffusers import DDIMScheduler
from diffusers import DPMSolverMultistepScheduler
from diffusers import EulerAncestralDiscreteScheduler
from diffusers import EulerDiscreteScheduler
from diffusers import HeunDiscreteScheduler

from lambda_search.diffusion.grid import Grid
from lambda_search.diffusion.samplers import Ancestral
from lambda_search.diffusion.samplers import Ddim
from lambda_search.diffusion.samplers import Prediction
from lambda_search.integrations.comfyui import known_levels
from lambda_search.integrations.comfyui import match
from lambda_search.integrations.comfyui import use
from lambda_search.integrations.comfyui.schedules import SCHEDULERS
from lambda_search.integrations.comfyui.tables import known_tables
from lambda_search.records import NoiseLevel
from lambda_search.store.catalogue import entries
from tests.integrations.comfyui.rows import setting
from tests.integrations.comfyui.test_schedules import STABLE
from tests.integrations.comfyui.test_schedules import ZERO
from tests.integrations.comfyui.test_schedules import levels

KARRAS = {"use_karras_sigmas": True}
EXPONENTIAL = {"use_exponential_sigmas": True}


@pytest.mark.parametrize(
    ("scheduler", "steps", "expected"),
    [
        (EulerDiscreteScheduler(**STABLE), 20, ("normal", 20)),
        (EulerDiscreteScheduler(**STABLE, **KARRAS), 25, ("karras", 25)),
        (EulerDiscreteScheduler(**STABLE, **EXPONENTIAL), 12, ("exponential", 12)),
        (EulerDiscreteScheduler(**STABLE, timestep_spacing="trailing"), 20, ("simple", 20)),
        (DDIMScheduler(**STABLE, steps_offset=1), 20, ("ddim_uniform", 20)),
        (DDIMScheduler(**STABLE, steps_offset=1), 29, None),
        (DDIMScheduler(**STABLE), 20, None),
        (DDIMScheduler(**ZERO, timestep_spacing="trailing"), 20, ("simple", 20)),
        (EulerDiscreteScheduler(**STABLE, timestep_spacing="trailing"), 1, ("normal", 1)),
    ],
)
def test_the_scheduler_is_that_of_the_same_sigmas(scheduler, steps, expected):
    found = match(setting(steps=steps), levels(scheduler, steps))
    assert (found.scheduler.word and (found.scheduler.word, found.steps)) == expected
    assert bool(found.scheduler.why) == (expected is None)


def test_a_row_of_more_steps_than_comfyui_is_asked_for():
    """⌊1000/29⌋ = 34, so `ddim_uniform` takes 30 steps when it is asked for 29."""
    table = known_tables()[0]
    walked = SCHEDULERS["ddim_uniform"](table, 29)[::-1]
    told = [NoiseLevel(table.place(sigma), sigma) for sigma in walked]
    assert len(told) == 30
    found = match(setting(steps=30), told)
    assert (found.scheduler.word, found.steps) == ("ddim_uniform", 29)


def test_published_rows_of_edm_are_karras():
    for row in (one.row for one in entries() if one.setting.framework == "edm"):
        found = match(row.setting, known_levels(row))
        assert (found.sampler.word, found.scheduler.word) == (row.setting.sampler, "karras")
        assert found.steps == len(row.lambdas) and found.cfg == 1
        assert "sigma_max 80 and sigma_min 0.002" in use(found)


@pytest.mark.parametrize(
    ("told", "sampler", "why"),
    [
        ({"sampler": "euler"}, "euler", ""),
        ({"sampler": "euler", "options": {"s_churn": 0.0}}, "euler", ""),
        ({"sampler": "euler", "options": {"s_churn": 4.0}}, "euler", "it churns"),
        ({"sampler": "heun", "framework": "edm"}, "heun", ""),
        ({"sampler": "ddim"}, "euler", ""),
        ({"sampler": "ddim", "options": {"eta": 1.0}}, "euler_ancestral", ""),
        ({"sampler": "ddim", "options": {"eta": 0.5}}, "euler_ancestral", "its η is 0.5"),
        ({"sampler": "ddim", "options": {"clip": True}}, "euler", "clips x0"),
        ({"sampler": "ancestral", "options": {"variance": "small"}}, "euler_ancestral", ""),
        ({"sampler": "ancestral", "options": {"variance": "large"}}, "euler_ancestral", "large"),
        (
            {"sampler": "ancestral", "options": {"variance": "learned", "clip": True}},
            "euler_ancestral",
            "clips x0 to [−1, 1], its variance is the learned one",
        ),
        ({"sampler": "ddim", "framework": "dit", "guidance": 4.0}, "euler", "three of its"),
        ({"sampler": "ddim", "options": {"classifier_scale": 1.0}}, "euler", "a classifier"),
        ({"sampler": "dpm"}, "euler", "no sampler like 'dpm'"),
    ],
)
def test_the_sampler_is_that_of_the_same_steps(told, sampler, why):
    found = match(setting(**told), levels(EulerDiscreteScheduler(**STABLE), 4))
    assert (found.sampler.word, found.nearest) == (None if why else sampler, sampler)
    assert why in found.sampler.why and (not why or why in use(found))


def test_euler_ancestral_takes_the_steps_of_ddpm_and_of_ddim_with_eta_one():
    """diffusers' EulerAncestralDiscreteScheduler is the same sampler as ComfyUI's."""
    theirs = EulerAncestralDiscreteScheduler(**STABLE)
    theirs.set_timesteps(6)
    sigmas = theirs.sigmas.double().tolist()
    times = theirs.timesteps.tolist()[::-1]
    grid = Grid.variance_preserving(times, [1 / (1 + s**2) for s in sigmas[-2::-1]])
    epsilon, zero = torch.ones(1, 1, 1, 1), torch.zeros(1, 1, 1, 1)
    for j, i in enumerate(reversed(range(6))):
        drawn = torch.randn(1, 1, 1, 1, generator=torch.Generator().manual_seed(3))
        noise = torch.Generator().manual_seed(3)
        there = theirs.step(epsilon, theirs.timesteps[j], zero, generator=noise).prev_sample
        for rule in (Ancestral("small"), Ddim(1.0)):
            target, up = rule.levels(grid, i, Prediction(epsilon))
            here = target - sigmas[j] + (up * drawn.item() if i else 0)
            assert there.item() == pytest.approx(here, rel=1e-4)


def test_guidance_is_cfg():
    walked = levels(EulerDiscreteScheduler(**STABLE), 4)
    assert match(setting(guidance=7.5), walked).cfg == 7.5
    assert match(setting(guidance=0.0), walked).cfg == 0
    assert match(setting(), walked).cfg == 1
    assert "steps, cfg 7.5" in use(match(setting(guidance=7.5), walked))


def test_without_levels_no_scheduler_is_named():
    found = match(setting(), ())
    assert found.scheduler.word is None and "not known" in found.scheduler.why
    assert "SamplerCustom" not in use(found)


def test_sigmas_differ_from_one_in_a_thousand_on():
    walked = levels(EulerDiscreteScheduler(**STABLE), 20)
    for factor, same in ((1.0009, True), (1.0011, False), (0.9989, False)):
        moved = [*walked[:7], walked[7]._replace(sigma=walked[7].sigma * factor), *walked[8:]]
        assert (match(setting(steps=20), moved).scheduler.word == "normal") == same


def scheduled(name, eta=None, **config):
    options = {"class": name, "config": config, "eta": eta}
    return setting(sampler="scheduler", options=options)


@pytest.mark.parametrize(
    ("told", "sampler", "why"),
    [
        (scheduled("EulerDiscreteScheduler"), "euler", ""),
        (scheduled("EulerAncestralDiscreteScheduler"), "euler_ancestral", ""),
        (scheduled("HeunDiscreteScheduler", use_karras_sigmas=True), "heun", ""),
        (scheduled("DPMSolverMultistepScheduler", use_karras_sigmas=True), "dpmpp_2m", ""),
        (
            scheduled("DPMSolverMultistepScheduler", algorithm_type="sde-dpmsolver++"),
            "dpmpp_2m_sde",
            "",
        ),
        (
            scheduled("DPMSolverMultistepScheduler", solver_order=3),
            "dpmpp_2m",
            "solver_order is 3",
        ),
        (scheduled("DPMSolverMultistepScheduler", thresholding=True), "dpmpp_2m", "thresholding"),
        (
            scheduled("DPMSolverMultistepScheduler", algorithm_type="dpmsolver"),
            "dpmpp_2m",
            "algorithm_type is dpmsolver",
        ),
        (scheduled("DDIMScheduler", 0.0), "euler", "clip_sample is True"),
        (scheduled("DDIMScheduler", 0.0, clip_sample=False), "euler", ""),
        (scheduled("DDIMScheduler", 1.0, clip_sample=False), "euler_ancestral", ""),
        (scheduled("DDIMScheduler", 0.5, clip_sample=False), "euler_ancestral", "η is 0.5"),
        (
            scheduled("DDPMScheduler", clip_sample=False, variance_type="fixed_large"),
            "euler_ancestral",
            "variance_type is fixed_large",
        ),
        (scheduled("UniPCMultistepScheduler"), "euler", "no sampler that steps as UniPC"),
    ],
)
def test_a_scheduler_of_diffusers_has_its_sampler(told, sampler, why):
    found = match(told, levels(EulerDiscreteScheduler(**STABLE), 4))
    assert (found.sampler.word, found.nearest) == (None if why else sampler, sampler)
    assert why in found.sampler.why


@pytest.mark.parametrize("to_one", [True, False])
def test_ddims_last_step_is_remarked_where_it_stops_before_none(to_one):
    config = {"clip_sample": False} | ({} if to_one else {"set_alpha_to_one": False})
    told = scheduled("DDIMScheduler", 0.0, **config)
    found = match(told, levels(EulerDiscreteScheduler(**STABLE), 4))
    assert ("set_alpha_to_one" in found.remark) is not to_one


def estimate(x, sigma):
    """A smooth estimate of x0 of variance-exploding states."""
    return torch.tanh(x / (1 + sigma**2) + 0.1)


def dpmpp_2m(x, sigmas):
    """DPM-Solver++(2M) in −log σ (arXiv:2211.01095, alg. 2), as samplers of σ have it."""
    before = None
    for here, there in itertools.pairwise(sigmas):
        x0 = estimate(x, here)
        if there == 0:
            return x0
        h = math.log(here / there)
        if before is None:
            blend = x0
        else:
            ratio = math.log(before[0] / here) / h
            blend = x0 + (x0 - before[1]) / (2 * ratio)
        x = there / here * x - math.expm1(-h) * blend
        before = here, x0
    return x


def heun(x, sigmas):
    for here, there in itertools.pairwise(sigmas):
        slope = (x - estimate(x, here)) / here
        ahead = x + (there - here) * slope
        if there == 0:
            return ahead
        x = x + (there - here) * (slope + (ahead - estimate(ahead, there)) / there) / 2
    return x


@pytest.mark.parametrize("config", [{}, KARRAS])
@pytest.mark.parametrize(
    ("kind", "own"), [(DPMSolverMultistepScheduler, dpmpp_2m), (HeunDiscreteScheduler, heun)]
)
def test_they_take_the_same_steps(kind, own, config):
    theirs = kind(**STABLE, **config)
    theirs.set_timesteps(7)
    sigmas = list(dict.fromkeys(theirs.sigmas.double().tolist()))
    start = torch.linspace(-2, 2, 9, dtype=torch.float64) * sigmas[0]
    preserving = kind is DPMSolverMultistepScheduler
    alphas = {s: (1 + s * s) ** -0.5 if preserving else 1.0 for s in sigmas}
    x = start * alphas[sigmas[0]]
    for j, timestep in enumerate(theirs.timesteps):
        sigma = theirs.sigmas[j].item()
        plain = x / alphas.get(sigma, 1.0)
        epsilon = (plain - estimate(plain, sigma)) / sigma
        x = theirs.step(epsilon, timestep, x).prev_sample
    torch.testing.assert_close(x.double(), own(start, sigmas), rtol=1e-4, atol=1e-4)
