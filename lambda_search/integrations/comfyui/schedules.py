r"""ComfyUI's nine schedules, from their mathematics.

A schedule of n steps is a list of falling σ with 0 at its end. With σ₋ and σ₊ the ends of the
model's table of T values, and u rising evenly from 0 to 1 over the n steps:

    normal            even in the timestep that the network is told, both ends included
    sgm_uniform       the same with n + 1, less the last
    simple            the table from its end, every T/n-th, rounded down
    ddim_uniform      the table from its second value on, every ⌊T/n⌋-th; it may have more steps
    beta              the table at the Beta(0.6, 0.6) quantiles of 1, 1 − 1/n … , rounded, each
                      once (arXiv:2407.12173)
    karras            (σ₊^⅐ + u(σ₋^⅐ − σ₊^⅐))⁷   (arXiv:2206.00364, eq. 5)
    exponential       even in log σ
    kl_optimal        tan(u·arctan σ₋ + (1 − u)·arctan σ₊)   (arXiv:2404.14507, §4)
    linear_quadratic  σ₊(1 − s): s from 0 to 0.025 in ⌊n/2⌋ even steps, then quadratic to 1, with
                      the slope that the even steps have

ComfyUI computes them in float32, so they differ from these by up to 5·10⁻⁴ where σ₊ is huge.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable
from collections.abc import Mapping
from functools import cache
from typing import TypeAlias

from lambda_search.integrations.comfyui.tables import NoiseTable

__all__ = ["SCHEDULERS", "Scheduler", "beta_below", "karras"]

Scheduler: TypeAlias = Callable[[NoiseTable, int], list[float]]
"""(the model's table, n ≥ 1) → σ, falling, without the 0 at the end; none for what it has not."""


def _normal(table: NoiseTable, steps: int) -> list[float]:
    if not table.timesteps:
        return _exponential(table, steps)
    last = len(table.sigmas) - 1
    return [table.sigma(last - last * share) for share in _rising(steps)]


def _sgm_uniform(table: NoiseTable, steps: int) -> list[float]:
    return _normal(table, steps + 1)[:-1]


def _simple(table: NoiseTable, steps: int) -> list[float]:
    return [table.sigmas[-1 - int(j * (len(table.sigmas) / steps))] for j in range(steps)]


def _ddim_uniform(table: NoiseTable, steps: int) -> list[float]:
    return list(table.sigmas[1 :: max(len(table.sigmas) // steps, 1)][::-1])


def _beta(table: NoiseTable, steps: int) -> list[float]:
    ends = _beta_ends(len(table.sigmas) - 1)
    places = [bisect_right(ends, 1 - j / steps) for j in range(steps)]
    return [table.sigmas[place] for place in dict.fromkeys(places)]


def karras(highest: float, lowest: float, steps: int) -> list[float]:
    """`steps` σ of the schedule `karras`, falling."""
    high, low = highest ** (1 / 7), lowest ** (1 / 7)
    return [(high + share * (low - high)) ** 7 for share in _rising(steps)]


def _karras(table: NoiseTable, steps: int) -> list[float]:
    return karras(table.highest, table.lowest, steps)


def _exponential(table: NoiseTable, steps: int) -> list[float]:
    return _even(math.log, math.exp, table, steps)


def _kl_optimal(table: NoiseTable, steps: int) -> list[float]:
    return _even(math.atan, math.tan, table, steps) if steps > 1 else []


def _linear_quadratic(table: NoiseTable, steps: int) -> list[float]:
    if steps == 1:
        return [table.highest]
    even, rise = steps // 2, 0.025
    slope = rise / even
    curve = (1 - rise - slope * (steps - even)) / (steps - even) ** 2
    done = (
        slope * j if j < even else rise + slope * (j - even) + curve * (j - even) ** 2
        for j in range(steps)
    )
    return [table.highest * (1 - share) for share in done]


def _even(
    there: Callable[[float], float],
    back: Callable[[float], float],
    table: NoiseTable,
    steps: int,
) -> list[float]:
    """From the largest σ to the smallest, evenly in a function of it."""
    high, low = there(table.highest), there(table.lowest)
    return [back(high + share * (low - high)) for share in _rising(steps)]


def _rising(steps: int) -> list[float]:
    """From 0 to 1 in even steps; one step is 0 alone."""
    return [j / max(steps - 1, 1) for j in range(steps)]


SCHEDULERS: Mapping[str, Scheduler] = {
    "normal": _normal,
    "simple": _simple,
    "sgm_uniform": _sgm_uniform,
    "karras": _karras,
    "exponential": _exponential,
    "ddim_uniform": _ddim_uniform,
    "beta": _beta,
    "linear_quadratic": _linear_quadratic,
    "kl_optimal": _kl_optimal,
}
"""By their names in ComfyUI; of those that agree the first is named first."""


@cache
def _beta_ends(last: int) -> tuple[float, ...]:
    """Of each place 0 … last − 1, the share of Beta(0.6, 0.6) below half a place more."""
    return tuple(beta_below((place + 0.5) / last) for place in range(last))


def beta_below(x: float, a: float = 0.6) -> float:
    """The share of Beta(a, a) below 0 ≤ x ≤ 1: the continued fraction of DLMF 8.17.22."""
    if x >= 0.5:
        return 0.5 if x == 0.5 else 1 - beta_below(1 - x, a)
    if x == 0:
        return 0.0
    fraction = 1.0
    for m in range(40, 0, -1):  # from its end
        odd = -(a + m - 1) * (2 * a + m - 1) * x / ((a + 2 * m - 2) * (a + 2 * m - 1))
        even = m * (a - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        fraction = 1 + odd / (1 + even / fraction)
    whole = math.gamma(a) ** 2 / math.gamma(2 * a)
    return math.exp(a * math.log(x * (1 - x))) / (a * whole * fraction)
