"""Calls of a network by a scheduler of diffusers, in the words of our own samplers."""

from __future__ import annotations

from bisect import bisect_left
from typing import Any

from torch import Tensor

from lambda_search.diffusion.grid import Level
from lambda_search.diffusion.samplers import Observer
from lambda_search.diffusion.samplers import Prediction
from lambda_search.diffusion.samplers import Step
from lambda_search.diffusion.scaled.classes import reading_of

__all__ = ["Observed"]


class Observed:
    """Tells an observer of each call.

    Arguments:
        scheduler: with its grid set.
        observe: the observer.
    """

    def __init__(self, scheduler: Any, observe: Observer) -> None:
        self._scheduler, self._observe = scheduler, observe
        self._reading = reading_of(type(scheduler))
        self._levels = self._reading.levels(scheduler)

    def __call__(self, x: Tensor, timestep: Tensor, out: Tensor) -> None:
        name = self._reading.told(self._scheduler, {"timestep": timestep}, "timestep")
        call = self._reading.call(self._scheduler, name)
        index = min(
            bisect_left(self._levels, self._reading.level(self._scheduler, name)),
            len(self._levels) - 1,
        )
        x0 = call.skip * x + call.out * out[:, : x.shape[1]]
        epsilon = (x - call.alpha * x0) / call.sigma
        level = Level(index, call.alpha, call.sigma, float(timestep))
        self._observe(Step(level, x, Prediction(epsilon)))
