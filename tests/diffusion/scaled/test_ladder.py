import math

import pytest
import torch
from diffusers import DDIMScheduler
from diffusers import DPMSolverMultistepScheduler
from diffusers import EulerDiscreteScheduler
from diffusers import FlowMatchEulerDiscreteScheduler
from diffusers import HeunDiscreteScheduler
from diffusers import KDPM2DiscreteScheduler
from diffusers import LTXEulerAncestralRFScheduler
from diffusers import PNDMScheduler
from diffusers import UniPCMultistepScheduler

from lambda_search.diffusion.scaled.classes import reading_of
from lambda_search.diffusion.scaled.ladder import Ladder


def levels(scheduler, *args, **kwargs):
    scheduler.set_timesteps(*args, **kwargs)
    return reading_of(type(scheduler)).levels(scheduler)


def test_a_levels_lambda_is_that_of_its_rank():
    ladder = Ladder((0.1, 1.0, 10.0), (1.01, 1.02, 1.04))
    assert [ladder.at(level) for level in ladder.levels] == [1.01, 1.02, 1.04]


def test_between_two_levels_lambda_is_interpolated_in_log_sigma():
    ladder = Ladder((0.1, 1.0, 10.0), (1.01, 1.02, 1.04))
    assert ladder.at(10**-0.5) == pytest.approx(1.015)
    assert ladder.at(10**0.25) == pytest.approx(1.025)


def test_outside_of_the_grid_lambda_is_that_of_the_nearest_level():
    ladder = Ladder((0.1, 1.0), (1.01, 1.02))
    assert (ladder.at(0.0), ladder.at(0.01), ladder.at(50.0)) == (1.01, 1.01, 1.02)


def test_at_pure_noise_lambda_is_one():
    ladder = Ladder((0.1, math.inf), (1.01, 1.02))
    assert ladder.at(math.inf) == 1.0
    assert ladder.at(1e4) == 1.01  # half way to infinity is nowhere near it
    assert Ladder((math.inf,), (1.02,)).at(math.inf) == 1.0


def test_a_level_without_noise_is_infinitely_far_from_the_others():
    ladder = Ladder((0.0, 1.0), (1.01, 1.02))
    assert (ladder.at(0.0), ladder.at(1e-6), ladder.at(1.0)) == (1.01, 1.02, 1.02)


@pytest.mark.parametrize("steps", [1, 2, 7, 50])
@pytest.mark.parametrize(
    "scheduler",
    [
        DDIMScheduler(),
        DPMSolverMultistepScheduler(use_karras_sigmas=True, final_sigmas_type="sigma_min"),
        EulerDiscreteScheduler(timestep_spacing="trailing"),
        FlowMatchEulerDiscreteScheduler(shift=3.0),
        HeunDiscreteScheduler(timestep_spacing="trailing"),
        KDPM2DiscreteScheduler(timestep_spacing="trailing"),
        LTXEulerAncestralRFScheduler(),
        UniPCMultistepScheduler(),
    ],
    ids=lambda scheduler: type(scheduler).__name__,
)
def test_a_grid_of_n_steps_has_n_levels(scheduler, steps):
    """However often each is called, and whether or not there are points between."""
    found = levels(scheduler, steps)
    assert len(found) == steps
    assert list(found) == sorted(set(found))


@pytest.mark.parametrize("skip", [True, False])
@pytest.mark.parametrize("steps", [4, 10])
def test_pndm_counts_repeated_timesteps_once(skip, steps):
    assert len(levels(PNDMScheduler(skip_prk_steps=skip), steps)) == steps


@pytest.mark.parametrize(
    "config", [{"final_sigmas_type": "sigma_min"}, {"interpolation_type": "log_linear"}]
)
def test_a_sigma_that_is_only_arrived_at_is_no_level(config):
    assert len(levels(EulerDiscreteScheduler(**config), 5)) == 5


@pytest.mark.parametrize(
    ("scheduler", "told", "count"),
    [
        (EulerDiscreteScheduler(), {"timesteps": [900, 500, 100]}, 3),
        (EulerDiscreteScheduler(), {"sigmas": [14.0, 5.0, 2.0, 0.5, 0.0]}, 4),
        (FlowMatchEulerDiscreteScheduler(), {"sigmas": [0.9, 0.5, 0.2]}, 3),
        (FlowMatchEulerDiscreteScheduler(), {"sigmas": [1.0, 0.5, 0.0]}, 3),
        (LTXEulerAncestralRFScheduler(), {"sigmas": [1.0, 0.6, 0.3, 0.0]}, 3),
        (DPMSolverMultistepScheduler(), {"timesteps": [900, 400]}, 2),
    ],
)
def test_a_grid_of_ones_own(scheduler, told, count):
    assert len(levels(scheduler, **told)) == count


def test_pure_noise_is_the_last_level_of_a_flow_and_of_zero_terminal_snr():
    for scheduler in (
        FlowMatchEulerDiscreteScheduler(shift=3.0),
        UniPCMultistepScheduler(use_flow_sigmas=True, prediction_type="flow_prediction"),
        DDIMScheduler(rescale_betas_zero_snr=True, timestep_spacing="trailing"),
        EulerDiscreteScheduler(rescale_betas_zero_snr=True, timestep_spacing="trailing"),
    ):
        found = levels(scheduler, 5)
        assert len(found) == 5
        assert math.isinf(found[-1])
        assert found[-2] < 1e3
    assert not math.isinf(levels(EulerDiscreteScheduler(timestep_spacing="trailing"), 5)[-1])


def test_levels_are_the_tables_own():
    scheduler = DDIMScheduler()
    found = levels(scheduler, 4)
    bars = scheduler.alphas_cumprod.double()[[0, 250, 500, 750]]
    assert found == pytest.approx(((1 - bars) / bars).sqrt().tolist(), rel=1e-12)
    scheduler = HeunDiscreteScheduler()
    assert levels(scheduler, 4) == tuple(sorted(torch.unique(scheduler.sigmas[:-1]).tolist()))
