"""Which sampler walks a model's grid."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from lambda_search.diffusion.grid import Grid
from lambda_search.diffusion.grid import Level
from lambda_search.diffusion.ode import Churn
from lambda_search.diffusion.ode import solve_ode
from lambda_search.diffusion.samplers import Ancestral
from lambda_search.diffusion.samplers import Ddim
from lambda_search.diffusion.samplers import Observer
from lambda_search.diffusion.samplers import Prediction
from lambda_search.diffusion.samplers import StepRule
from lambda_search.diffusion.samplers import integrate
from lambda_search.models.base import ON_SIGMA
from lambda_search.models.base import Model
from lambda_search.schedule import LambdaSchedule
from lambda_search.setting import Sampling

__all__ = ["walked"]


def walked(
    model: Model,
    sampling: Sampling,
    grid: Grid,
    schedule: LambdaSchedule,
    predict: Callable[[Tensor, Level], Prediction],
    draw: Callable[[int], Tensor],
    observe: Observer,
) -> Tensor:
    """The states after the last step of one batch, by one of our own samplers.

    Arguments:
        model, sampling, schedule, observe: as in `sample_batch`.
        grid: of the sampling.
        predict: calls the network.
        draw: j → noise like the state, on its device.
    """
    options, lambdas = sampling.options, schedule.values(len(grid))
    start = model.start(draw(0), grid)
    if sampling.sampler in ON_SIGMA:
        return solve_ode(
            predict,
            grid,
            lambdas,
            start,
            draw,
            second_order=sampling.sampler == "heun",
            churn=Churn.of(options),
            rounded=model.rounded,
            observe=observe,
        )
    ddim = sampling.sampler == "ddim"
    rule: StepRule = Ddim(options.eta or 0.0) if ddim else Ancestral(options.variance or "small")
    return integrate(
        predict,
        grid,
        rule,
        lambdas,
        start,
        draw,
        site=sampling.site,
        clip=bool(options.clip),
        observe=observe,
    )
