"""From a network F to the denoiser D(x; σ) = c_skip·x + c_out·F(c_in·x, c_noise).

Karras et al. 2022, arXiv:2206.00364, table 1: VP, VE, iDDPM with DDIM, and the authors' own (EDM).
Names of arguments are those of the authors' checkpoints.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from typing import NamedTuple
from typing import Protocol

from torch import Tensor
from torch import nn

__all__ = ["Coefficients", "Edm", "Iddpm", "Preconditioned", "Preconditioning", "Ve", "Vp"]


class Coefficients(NamedTuple):
    """At one σ."""

    c_skip: float
    c_out: float
    c_in: float
    c_noise: float


class Preconditioning(Protocol):
    """One row of the table.

    Arguments:
        sigma_min, sigma_max: the σ that the network knows.
    """

    sigma_min: float
    sigma_max: float

    def at(self, sigma: float) -> Coefficients:
        """The coefficients at σ > 0."""
        ...

    def rounded(self, sigma: float) -> float:
        """The σ nearest to `sigma` that the network was trained at."""
        ...


class _Continuous:
    def rounded(self, sigma: float) -> float:
        """Every σ is known."""
        return sigma


class Edm(_Continuous):
    """The authors' own: unit variance in and out, whatever σ."""

    def __init__(
        self, sigma_min: float = 0.0, sigma_max: float = math.inf, sigma_data: float = 0.5
    ) -> None:
        if sigma_data <= 0:
            raise ValueError(f"sigma_data is {sigma_data:g} and must be positive")
        self.sigma_min, self.sigma_max, self.sigma_data = sigma_min, sigma_max, sigma_data

    def at(self, sigma: float) -> Coefficients:
        """σ_data²/(σ² + σ_data²), σσ_data/√(σ² + σ_data²), 1/√(σ² + σ_data²), ln(σ)/4."""
        total = sigma**2 + self.sigma_data**2
        return Coefficients(
            self.sigma_data**2 / total,
            sigma * self.sigma_data / math.sqrt(total),
            1 / math.sqrt(total),
            math.log(sigma) / 4,
        )


class Vp(_Continuous):
    """Variance preserving: σ(t) = √(exp(β_d t²/2 + β_min t) − 1)."""

    def __init__(
        self,
        beta_d: float = 19.9,
        beta_min: float = 0.1,
        M: int = 1000,
        epsilon_t: float = 1e-5,
    ) -> None:
        self.beta_d, self.beta_min, self.steps = beta_d, beta_min, M
        self.sigma_min, self.sigma_max = self.sigma(epsilon_t), self.sigma(1.0)

    def sigma(self, t: float) -> float:
        """σ at time t in (0, 1]."""
        return math.sqrt(math.expm1(0.5 * self.beta_d * t**2 + self.beta_min * t))

    def time(self, sigma: float) -> float:
        """The t at which σ(t) = `sigma`."""
        root = math.sqrt(self.beta_min**2 + 2 * self.beta_d * math.log1p(sigma**2))
        return (root - self.beta_min) / self.beta_d

    def at(self, sigma: float) -> Coefficients:
        """1, −σ, 1/√(σ² + 1), (M − 1)·t(σ)."""
        c_in = 1 / math.sqrt(sigma**2 + 1)
        return Coefficients(1.0, -sigma, c_in, (self.steps - 1) * self.time(sigma))


class Ve(_Continuous):
    """Variance exploding."""

    def __init__(self, sigma_min: float = 0.02, sigma_max: float = 100.0) -> None:
        self.sigma_min, self.sigma_max = sigma_min, sigma_max

    def at(self, sigma: float) -> Coefficients:
        """1, σ, 1, ln(σ/2)."""
        return Coefficients(1.0, sigma, 1.0, math.log(0.5 * sigma))


class Iddpm:
    """M discrete noise levels u_j of the cosine schedule; the network has a variance half too."""

    def __init__(self, C_1: float = 0.001, C_2: float = 0.008, M: int = 1000) -> None:
        def alpha_bar(j: float) -> float:
            return math.sin(0.5 * math.pi * j / M / (C_2 + 1)) ** 2

        levels = [0.0] * (M + 1)
        for j in range(M, 0, -1):
            ratio = max(alpha_bar(j - 1) / alpha_bar(j), C_1)
            levels[j - 1] = math.sqrt((levels[j] ** 2 + 1) / ratio - 1)
        self.steps, self._rising = M, levels[::-1]
        self.sigma_min, self.sigma_max = levels[M - 1], levels[0]

    def rounded(self, sigma: float) -> float:
        return self._rising[self._nearest(sigma)]

    def at(self, sigma: float) -> Coefficients:
        """1, −σ, 1/√(σ² + 1), M − 1 − argmin_j |u_j − σ|."""
        c_noise = self._nearest(sigma) - 1  # u_j is level M − j counted from clean
        return Coefficients(1.0, -sigma, 1 / math.sqrt(sigma**2 + 1), float(c_noise))

    def _nearest(self, sigma: float) -> int:
        above = min(max(bisect_left(self._rising, sigma), 1), self.steps)
        below = above - 1
        nearer_below = sigma - self._rising[below] < self._rising[above] - sigma
        return below if nearer_below else above


class Preconditioned(nn.Module):
    """D(x; σ) of a network that a checkpoint names `model`."""

    def __init__(self, model: nn.Module, preconditioning: Preconditioning, channels: int) -> None:
        super().__init__()
        self.model, self.preconditioning, self.channels = model, preconditioning, channels

    def forward(self, x: Tensor, sigma: float, labels: Tensor | None = None) -> Tensor:
        """D(x; σ).

        Arguments:
            x: float32 [n, c, h, w].
            sigma: of the whole batch.
            labels: one-hot [n, K], or None.
        """
        at = self.preconditioning.at(sigma)
        noise = x.new_full((len(x),), at.c_noise)
        out: Tensor = self.model(at.c_in * x, noise, labels)
        return at.c_skip * x + at.c_out * out[:, : self.channels].to(x.dtype)
