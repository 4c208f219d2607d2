"""β of every timestep of a discrete diffusion process, by the law that it follows.

With u = t/(T − 1) rising from 0 to 1 over T timesteps, and β₀ and β₁ the first and the last:

    linear          β₀ + u(β₁ − β₀)              (Ho et al. 2020, arXiv:2006.11239, §4)
    scaled_linear   (√β₀ + u(√β₁ − √β₀))²        (Rombach et al. 2022, arXiv:2112.10752, code)
    root            √(β₀ + u(β₁ − β₀))           (the same)
    constant        β₁                           (Song et al. 2020, arXiv:2010.02502, code)
    harmonic        1/(T − t)                    (Sohl-Dickstein et al. 2015, arXiv:1503.03585)
    sigmoid         β₀ + (β₁ − β₀)/(1 + e^(6 − 12u))
    cosine          1 − ᾱ(t + 1)/ᾱ(t), at most 0.999, with ᾱ(t) = cos²(π/2·(t/T + s)/(1 + s))
                    (Nichol & Dhariwal 2021, arXiv:2102.09672, eq. 17)

and ᾱ of the process is the running product of 1 − β.
"""

from __future__ import annotations

import math
from typing import Literal
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

__all__ = ["Law", "betas"]

Law: TypeAlias = Literal[
    "linear", "scaled_linear", "root", "constant", "harmonic", "sigmoid", "cosine"
]
_MOST = 0.999


def betas(
    law: Law, total: int, first: float = 1e-4, last: float = 0.02, offset: float = 0.008
) -> NDArray[np.float64]:
    """β(0), …, β(total − 1) in double precision.

    Arguments:
        law: one of those above.
        total: T ≥ 2.
        first, last: β₀ and β₁, in [0, 1); the cosine and the harmonic law have none.
        offset: s of the cosine.
    """
    match law:
        case "linear":
            return np.linspace(first, last, total)
        case "scaled_linear":
            return np.linspace(first**0.5, last**0.5, total) ** 2
        case "root":
            return np.linspace(first, last, total) ** 0.5
        case "constant":
            return np.full(total, last)
        case "harmonic":
            return 1 / np.linspace(total, 1, total)
        case "sigmoid":
            return first + (last - first) / (1 + np.exp(-np.linspace(-6, 6, total)))
        case "cosine":
            signal = [
                math.cos((t / total + offset) / (1 + offset) * math.pi / 2) ** 2
                for t in range(total + 1)
            ]
            falls = [1 - signal[t + 1] / signal[t] for t in range(total)]
            return np.clip(falls, 0, _MOST)
