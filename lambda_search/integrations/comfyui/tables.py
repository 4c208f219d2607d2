r"""The noise tables of ComfyUI's models, from their mathematics.

ComfyUI takes every schedule from the table of σ = √((1 − ᾱ)/ᾱ) that its model was trained with
(`model_sampling`), ᾱ the running product of 1 − β. Over T = 1000 timesteps and u = t/(T − 1):

    scaled linear   β = (√β₀ + u(√β₁ − √β₀))²      (arXiv:2112.10752, code)
    linear          β = β₀ + u(β₁ − β₀)            (arXiv:2006.11239, §4)
    cosine          β = 1 − f(t + 1)/f(t) ≤ 0.999, f(t) = cos²(π/2·(t/T + s)/(1 + s)), s = 0.008
                    (arXiv:2102.09672, eq. 17)

Zero terminal SNR shifts and stretches √ᾱ so that the last one is 0 (arXiv:2305.08891, alg. 1); in
its place ComfyUI puts ᾱ = 4.897·10⁻⁸. A model that is told σ itself has a table of 1000 σ, even
in log σ. Which table a row's model has is seen from its levels: all (timestep, σ) lie on it.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Iterable
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from itertools import accumulate
from operator import mul

from lambda_search.records import NoiseLevel

__all__ = ["PURE_NOISE", "NoiseTable", "known_tables", "table_of"]

_COUNT = 1000
PURE_NOISE = 1000.0
"""σ from which a level of ComfyUI's stands for α = 0."""

_LAST_SIGNAL = 4.8973451890853435e-08
_ON_IT = 1.0
"""Timesteps that a level may lie beside its place: some schedulers round them."""


@dataclass(frozen=True)
class NoiseTable:
    """What ComfyUI's schedules are taken from.

    Arguments:
        name: for people: whose it is.
        sigmas: of every timestep, rising.
        setup: what has ComfyUI use it; "" where it does so by itself.
        timesteps: whether the network is told timesteps; otherwise ¼·ln σ.
    """

    name: str
    sigmas: tuple[float, ...]
    setup: str = ""
    timesteps: bool = True

    @property
    def lowest(self) -> float:
        """The smallest σ."""
        return self.sigmas[0]

    @property
    def highest(self) -> float:
        """The largest σ."""
        return self.sigmas[-1]

    def place(self, sigma: float) -> float:
        """Where σ lies in the table, 0 … T − 1: even in log σ between and beyond its values."""
        above = min(max(bisect_left(self.sigmas, sigma), 1), len(self.sigmas) - 1)
        low, high = self.sigmas[above - 1], self.sigmas[above]
        return above - 1 + math.log(sigma / low) / math.log(high / low)

    def sigma(self, place: float) -> float:
        """σ at a place of the table, as `place` has it."""
        below = min(max(math.floor(place), 0), len(self.sigmas) - 2)
        low, high = self.sigmas[below], self.sigmas[below + 1]
        share = min(max(place - below, 0.0), 1.0)
        return math.exp((1 - share) * math.log(low) + share * math.log(high))


@cache
def known_tables() -> tuple[NoiseTable, ...]:
    """The tables of ComfyUI's models that are told timesteps; each also with zero terminal SNR."""
    plain = {
        "Stable Diffusion 1.x and 2.x, SDXL": _sigmas(_scaled_linear(0.00085, 0.012)),
        "PixArt": _sigmas(_linear(0.0001, 0.02)),
        "SD x4 upscaler": _sigmas(_scaled_linear(0.0001, 0.02)),
        "HunyuanDiT 1.2": _sigmas(_scaled_linear(0.00085, 0.018)),
        "HunyuanDiT 1.0 and 1.1": _sigmas(_scaled_linear(0.00085, 0.03)),
        "cosine": _sigmas(_cosine()),
    }
    loader = {"cosine": "a loader that sets its beta_schedule to cosine"}
    zsnr = "the node ModelSamplingDiscrete with zsnr"
    return (
        *(NoiseTable(name, sigmas, loader.get(name, "")) for name, sigmas in plain.items()),
        *(
            NoiseTable(f"{name}, zero terminal SNR", _zero_terminal(sigmas), zsnr)
            for name, sigmas in plain.items()
        ),
    )


def table_of(levels: Sequence[NoiseLevel]) -> NoiseTable | None:
    """The table that the model of a row has, or None if no model of ComfyUI has it.

    Arguments:
        levels: where the row's steps call the network, least noisy first.
    """
    if all(timestep == sigma for timestep, sigma in levels):
        return _even(levels[0].timestep, levels[-1].timestep)
    fits = [(_apart(table, levels), place) for place, table in enumerate(known_tables())]
    apart, place = min(fits)
    return known_tables()[place] if apart <= _ON_IT else None


def _apart(table: NoiseTable, levels: Sequence[NoiseLevel]) -> float:
    """The most timesteps that a level lies beside its place in the table."""
    pure = table.highest if table.highest > PURE_NOISE else math.inf
    return max(
        abs(timestep - table.place(pure if sigma is None else sigma)) for timestep, sigma in levels
    )


def _even(lowest: float, highest: float) -> NoiseTable:
    rise = math.log(highest / lowest) / (_COUNT - 1)
    sigmas = tuple(lowest * math.exp(rise * i) for i in range(_COUNT))
    ends = f"sigma_max {highest:.6g} and sigma_min {lowest:.6g}"
    setup = f"the node ModelSamplingContinuousEDM with {ends}"
    return NoiseTable("EDM", sigmas, setup, timesteps=False)


def _scaled_linear(first: float, last: float) -> Iterable[float]:
    return (root * root for root in _linear(first**0.5, last**0.5))


def _linear(first: float, last: float) -> Iterable[float]:
    return (first + t / (_COUNT - 1) * (last - first) for t in range(_COUNT))


def _cosine() -> Iterable[float]:
    def signal(t: int) -> float:
        return math.cos((t / _COUNT + 0.008) / 1.008 * math.pi / 2) ** 2

    return (min(1 - signal(t + 1) / signal(t), 0.999) for t in range(_COUNT))


def _sigmas(betas: Iterable[float]) -> tuple[float, ...]:
    signals = accumulate((1 - beta for beta in betas), mul)
    return tuple(((1 - signal) / signal) ** 0.5 for signal in signals)


def _zero_terminal(sigmas: Sequence[float]) -> tuple[float, ...]:
    roots = [(1 + sigma**2) ** -0.5 for sigma in sigmas]
    stretch = roots[0] / (roots[0] - roots[-1])
    signals = [((root - roots[-1]) * stretch) ** 2 for root in roots[:-1]]
    return tuple(((1 - signal) / signal) ** 0.5 for signal in (*signals, _LAST_SIGNAL))
