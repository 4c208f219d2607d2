"""The noise grid that a sampler walks.

A state with signal level α and noise level σ is x = α·x0 + σ·ε; in variance-exploding coordinates
x̄ = x/α and σ̄ = σ/α. Step i takes the state at (αᵢ, σᵢ) to the one at (α'ᵢ, σ'ᵢ). i = 0 is the
least noisy step, as in λ(i) = b + k·i; samplers walk from i = T′ − 1 down to 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["Grid", "Level"]


@dataclass(frozen=True)
class Level:
    """Where the network is called.

    Arguments:
        index: i of the λ(i) that divides its ε.
        alpha, sigma: α ≥ 0 and σ > 0 of the state x = α·x0 + σ·ε that it is given.
        timestep: what it is told: a timestep (between two of them, where the framework has it
            so), or σ itself.
    """

    index: int
    alpha: float
    sigma: float
    timestep: float


@dataclass(frozen=True)
class Grid:
    """T′ steps, index 0 = least noisy.

    Arguments:
        timesteps: what the network is told at each step, as in `Level`.
        alpha, sigma: the levels αᵢ ≥ 0 and σᵢ > 0 at which the network is called.
        alpha_next, sigma_next: the levels α'ᵢ > 0 and σ'ᵢ ≥ 0 that the step leads to.
    """

    timesteps: tuple[float, ...]
    alpha: tuple[float, ...]
    sigma: tuple[float, ...]
    alpha_next: tuple[float, ...]
    sigma_next: tuple[float, ...]

    def __len__(self) -> int:
        return len(self.timesteps)

    def level(self, i: int) -> Level:
        """Where step i calls the network first."""
        return Level(i, self.alpha[i], self.sigma[i], self.timesteps[i])

    @classmethod
    def variance_preserving(
        cls, timesteps: Sequence[float], alpha_bar: Sequence[float], alpha_bar_end: float = 1.0
    ) -> Grid:
        """α = √ᾱ, σ = √(1 − ᾱ); step i leads to step i − 1, and step 0 to ᾱ = `alpha_bar_end`.

        Arguments:
            timesteps: T′ of them, least noisy first.
            alpha_bar: ᾱ at these timesteps, 0 ≤ ᾱ < 1, falling.
            alpha_bar_end: ᾱ after the last step; 1 is clean.
        """
        after = (alpha_bar_end, *alpha_bar[:-1])
        return cls(
            timesteps=tuple(float(t) for t in timesteps),
            alpha=tuple(a**0.5 for a in alpha_bar),
            sigma=tuple((1 - a) ** 0.5 for a in alpha_bar),
            alpha_next=tuple(a**0.5 for a in after),
            sigma_next=tuple((1 - a) ** 0.5 for a in after),
        )

    def posterior_variances(self, i: int) -> tuple[float, float]:
        """The fixed small and large variance of the DDPM step i > 0 (arXiv:2006.11239, §3.2).

        β = 1 − (α/α')² and β̃ = β·σ'²/σ²; returned as (β̃, β).
        """
        beta = 1 - (self.alpha[i] / self.alpha_next[i]) ** 2
        return beta * (self.sigma_next[i] / self.sigma[i]) ** 2, beta
