"""Norms of ε: at true states they are the true ones, in every framework and with every sampler."""

import numpy as np
import pytest
import torch

from lambda_search.diffusion.samplers import Prediction
from lambda_search.diffusion.samplers import Step
from lambda_search.models.base import SCHEDULER
from lambda_search.models.options import sampling_of
from lambda_search.models.sampling import default_labels
from lambda_search.models.sampling import sample_batch
from lambda_search.schedule import LambdaSchedule
from lambda_search.search.norms import NormsSeen
from lambda_search.search.norms import sampled
from lambda_search.search.norms import true_norms

SEED, N = 3, 4


def resolved(case, sampler):
    return case.model.resolve(sampling_of(sampler, case.steps, options={"batch": N}))


def clean(model):
    return torch.rand(N, *model.shape, generator=torch.manual_seed(1)) * 2 - 1


def test_curves_are_finite_and_those_of_the_samples(case):
    model = case.model
    for sampler in model.samplers:
        sampling = resolved(case, sampler)
        states, norms = sampled(model, sampling, LambdaSchedule(), SEED, range(2 * N))
        truth = true_norms(
            model, sampling, clean(model), default_labels(model, range(N)), SEED, range(N)
        )
        assert norms.shape == (len(model.grid(sampling)), 2 * N)
        assert truth.shape == (len(model.grid(sampling)), N)
        assert norms.isfinite().all() and truth.isfinite().all() and (truth > 0).all()
        assert (
            torch.equal(
                states.cpu()[N:],
                case.run(
                    sampler,
                    LambdaSchedule(),
                    indices=range(N, 2 * N),
                    seed=SEED,
                    options={"batch": N},
                ).to(states.dtype),
            )
            or sampler == SCHEDULER
        )


def test_at_true_states_the_norms_are_the_true_ones(case):
    model = case.model
    x0, labels = clean(model), default_labels(model, range(N))
    for sampler in case.samplers:
        sampling = resolved(case, sampler)
        grid = model.grid(sampling)
        last = len(grid) - 1
        noise = model.noise(SEED, range(N)).to(model.dtype)
        start = grid.alpha[last] * x0.to(model.dtype) + grid.sigma[last] * noise
        scale = model.start(torch.ones(1, dtype=model.dtype), grid)  # of what a framework starts
        seen = NormsSeen()
        sample_batch(
            model,
            sampling,
            LambdaSchedule(),
            lambda j, start=start, scale=scale: start / scale if j == 0 else torch.zeros_like(x0),
            labels,
            observe=seen,
        )
        truth = true_norms(model, sampling, x0, labels, SEED, range(N))
        ratio = seen.table()[last] / truth[last]
        assert torch.allclose(ratio, torch.ones_like(ratio), rtol=1e-5)


def test_true_noise_is_that_of_the_frameworks_kernel(case):
    model = case.model
    noise = model.noise(0, range(400)).double().flatten(1)
    dimensions = noise.shape[1]
    squares = noise.square().sum(1) / dimensions
    if model.framework != "pfgmpp":
        assert float(squares.mean()) == pytest.approx(1, abs=5 / (200 * dimensions) ** 0.5)
        return
    # r²/σ²/D = u/(1 − u), u ~ Beta(N/2, D/2), so that its mean is N/(D − 2) (arXiv:2302.04265)
    wide = model.augmented
    assert float(squares.mean()) == pytest.approx(wide / (wide - 2), rel=0.05)
    spread = (
        2 * wide**2 * (dimensions + wide - 2) / dimensions / (wide - 2) ** 2 / (wide - 4)
    ) ** 0.5
    assert float(squares.std()) == pytest.approx(spread, rel=0.2)


def test_the_last_call_of_a_level_counts(case):
    seen, level = NormsSeen(), case.model.grid(resolved(case, case.samplers[0])).level(0)
    for size in (1.0, 2.0):
        epsilon = torch.full((N, *case.model.shape), size)
        seen(Step(level, epsilon, Prediction(epsilon)))
    wanted = 2 * np.prod(case.model.shape) ** 0.5
    assert torch.allclose(seen.table(), torch.full((1, N), wanted, dtype=torch.float64))
