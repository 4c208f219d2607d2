"""Readings of schedulers whose tables or conventions no other has."""

from __future__ import annotations

import math
from collections.abc import Iterable
from collections.abc import Mapping
from typing import Any
from typing import cast

import torch

from lambda_search.diffusion.scaled.formula import Call
from lambda_search.diffusion.scaled.formula import read
from lambda_search.diffusion.scaled.readings import Flow
from lambda_search.diffusion.scaled.readings import OnSigmas
from lambda_search.diffusion.scaled.readings import Preserving
from lambda_search.diffusion.scaled.readings import Reading
from lambda_search.diffusion.scaled.readings import place
from lambda_search.errors import UsageError

__all__ = [
    "Cascade",
    "CleanTime",
    "Consistency",
    "ConsistencyDecoder",
    "Helios",
    "HeliosDmd",
    "Inverse",
    "Ipndm",
    "KarrasVe",
    "Pndm",
    "ScoreVp",
    "TrigFlow",
]


class Pndm(Reading):
    """Its list repeats timesteps, and its Runge–Kutta steps call the network between two."""

    def walk(self, scheduler: Any) -> Iterable[float]:
        return cast(list[float], scheduler._timesteps.tolist())


class Inverse(Reading):
    """DDIM backwards: the network is told t, and the state still is that of the timestep below."""

    def call(self, scheduler: Any, name: float) -> Call:
        total = scheduler.config.num_train_timesteps
        below = min(int(name) - total // scheduler.num_inference_steps, total - 1)
        table = scheduler.alphas_cumprod
        alpha_bar = float(table[below] if below >= 0 else scheduler.initial_alpha_cumprod)
        kind = scheduler.config.prediction_type
        return read(kind, math.sqrt(alpha_bar), math.sqrt(1 - alpha_bar))

    def level(self, scheduler: Any, name: float) -> float:
        return super().call(scheduler, name).level


class Cascade(Reading):
    """Würstchen's cosine of a time in [0, 1], the last of which is where the last step ends."""

    def walk(self, scheduler: Any) -> Iterable[float]:
        return cast(list[float], scheduler.timesteps[:-1].tolist())

    def call(self, scheduler: Any, name: float) -> Call:
        alpha_bar = scheduler._alpha_cumprod(torch.tensor([name]), "cpu").item()
        return read("epsilon", math.sqrt(alpha_bar), math.sqrt(1 - alpha_bar))


class ConsistencyDecoder(Reading):
    """Preconditioned, in coordinates where α² + σ² = 1."""

    def call(self, scheduler: Any, name: float) -> Call:
        at = int(name)
        tables = "sqrt_alphas_cumprod", "sqrt_one_minus_alphas_cumprod", "c_skip", "c_out"
        return Call(*(float(getattr(scheduler, table)[at]) for table in tables))


class Consistency(OnSigmas):
    """α = 1, with σ_min off σ, so that x itself is x0 there (arXiv:2303.01469, appendix C)."""

    def call(self, scheduler: Any, name: float) -> Call:
        data, above = scheduler.config.sigma_data, name - scheduler.config.sigma_min
        out = above * data / math.sqrt(name**2 + data**2)
        return Call(1.0, name, data**2 / (above**2 + data**2), out)


class CleanTime(Reading):
    """A flow told t = 1 − σ, whose network predicts x0 − ε."""

    def call(self, scheduler: Any, name: float) -> Call:
        return read("flow_to_image", name, 1 - name)

    def is_flow(self, scheduler: Any) -> bool:
        return True


class TrigFlow(Reading):
    """α = cos, σ = sin of an angle, the last of which is where the last step ends."""

    def walk(self, scheduler: Any) -> Iterable[float]:
        return cast(list[float], scheduler.timesteps[:-1].tolist())

    def told(self, scheduler: Any, arguments: Mapping[str, Any], word: str) -> float:
        return float(scheduler.timesteps[place(scheduler, arguments[word])])

    def call(self, scheduler: Any, name: float) -> Call:
        return read(scheduler.config.prediction_type, math.cos(name), math.sin(name))


class Ipndm(Reading):
    """Lists of α and of σ, and a network that predicts v."""

    def walk(self, scheduler: Any) -> Iterable[float]:
        return range(len(scheduler.betas) - 1)

    def told(self, scheduler: Any, arguments: Mapping[str, Any], word: str) -> float:
        return place(scheduler, arguments[word])

    def call(self, scheduler: Any, name: float) -> Call:
        at = int(name)
        return read("v_prediction", float(scheduler.alphas[at]), float(scheduler.betas[at]))


class KarrasVe(Reading):
    """α = 1, its methods are told σ, and the network predicts −ε."""

    def walk(self, scheduler: Any) -> Iterable[float]:
        return cast(list[float], scheduler.schedule.tolist())

    def call(self, scheduler: Any, name: float) -> Call:
        return Call(1.0, name, 1.0, name)


class ScoreVp(Reading):
    """The process in continuous time (Song et al. 2021, arXiv:2011.13456, appendix C)."""

    def call(self, scheduler: Any, name: float) -> Call:
        low, high = scheduler.config.beta_min, scheduler.config.beta_max
        alpha = math.exp(-0.25 * name**2 * (high - low) - 0.5 * name * low)
        return read("epsilon", alpha, math.sqrt(1 - alpha**2))


def _check_stages(scheduler: Any) -> None:
    if (stages := scheduler.config.stages) != 1:
        raise UsageError(
            f"The ε of {type(scheduler).__name__} cannot be divided by λ: in each of its {stages} "
            "stages the network predicts the way to the end of that stage, which is no x0.",
            "Choose stages=1, or leave λ out.",
        )


class Helios(Preserving):
    """UniPC or Euler on a flow, in one stage."""

    def check(self, scheduler: Any) -> None:
        _check_stages(scheduler)


class HeliosDmd(Flow):
    """A flow whose σ is looked up in tables that come with the call, in one stage."""

    def check(self, scheduler: Any) -> None:
        _check_stages(scheduler)

    def told(self, scheduler: Any, arguments: Mapping[str, Any], word: str) -> float:
        timestep = Reading.told(self, scheduler, arguments, word)
        distances = (arguments["dmd_timesteps"] - timestep).abs()
        return float(arguments["dmd_sigmas"][distances.argmin()])
