"""The laws of β against their formulas, and against diffusers where it has them."""

import math
from typing import get_args

import numpy as np
import pytest
from diffusers import DDPMScheduler

from lambda_search.diffusion.betas import Law
from lambda_search.diffusion.betas import betas


@pytest.mark.parametrize("law", get_args(Law))
def test_every_law_has_a_beta_for_each_timestep(law):
    table = betas(law, 50, 1e-3, 0.1)
    assert (table.shape, table.dtype) == ((50,), np.float64)
    assert ((table > 0) & (table <= 1)).all()
    assert (np.diff(table) >= 0).all()


@pytest.mark.parametrize(
    ("law", "theirs"),
    [("linear", "linear"), ("scaled_linear", "scaled_linear"), ("cosine", "squaredcos_cap_v2")],
)
def test_laws_of_diffusers(law, theirs):
    """Theirs is float32."""
    scheduler = DDPMScheduler(1000, beta_schedule=theirs, beta_start=1e-3, beta_end=0.02)
    assert betas(law, 1000, 1e-3, 0.02) == pytest.approx(scheduler.betas.numpy(), rel=1e-3)


@pytest.mark.parametrize(
    ("law", "expected"),
    [
        ("root", [0.1, 0.025**0.5, 0.2]),
        ("constant", [0.04, 0.04, 0.04]),
        ("harmonic", [1 / 3, 1 / 2, 1]),
        ("sigmoid", [0.01 + 0.03 / (1 + math.exp(6)), 0.025, 0.01 + 0.03 / (1 + math.exp(-6))]),
    ],
)
def test_laws_by_hand(law, expected):
    assert betas(law, 3, 0.01, 0.04) == pytest.approx(expected)


def test_the_cosine_is_capped_and_takes_an_offset():
    assert betas("cosine", 1000)[-1] == 0.999
    signal = [math.cos(math.pi / 2 * (t / 4 + 0.1) / 1.1) ** 2 for t in range(5)]
    assert betas("cosine", 4, offset=0.1)[1] == pytest.approx(1 - signal[2] / signal[1])
