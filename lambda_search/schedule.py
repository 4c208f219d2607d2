"""The Epsilon Scaling schedule λ(i) = b + k·i.

``i`` is the index in the sampler's own step grid of T′ steps: 0 is the least noisy step, T′ − 1
the noisiest. A sampler that follows the schedule divides the predicted noise by λ(i) at step i
(Ning et al., *Elucidating the Exposure Bias in Diffusion Models*, ICLR 2024, arXiv:2308.15321,
§5). Published optima were found by tilting the schedule about its mean, so the search moves

    mean λ̄ = b + k(T′ − 1)/2      and      slope k,

while (b, k) is what is stored and shown.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from lambda_search.errors import UsageError

__all__ = ["LambdaSchedule"]


@dataclass(frozen=True)
class LambdaSchedule:
    """λ(i) = b + k·i.

    Arguments:
        b: λ at the least noisy step; near 1, and below 1 is legal.
        k: change of λ per step index; negative is legal. It means nothing at another step count.
    """

    b: float = 1.0
    k: float = 0.0

    @classmethod
    def from_mean(cls, mean: float, slope: float, steps: int) -> LambdaSchedule:
        """The schedule of a given mean λ̄ over `steps` steps and slope k."""
        return cls(b=mean - slope * (steps - 1) / 2, k=slope)

    def at(self, i: int) -> float:
        """λ at step index `i` (0 = least noisy)."""
        return self.b + self.k * i

    def values(self, steps: int) -> tuple[float, ...]:
        """λ(0), …, λ(steps − 1).

        Raises:
            UsageError: if λ is not positive at every step.
        """
        table = tuple(self.at(i) for i in range(steps))
        if not all(0 < value < math.inf for value in table):
            raise UsageError(
                f"λ(i) = {self} reaches {min(table):g} in {steps} steps; "
                "λ must stay positive and finite.",
                "Raise b, or choose a slope k nearer to 0.",
            )
        return table

    def mean(self, steps: int) -> float:
        """λ̄ = b + k(steps − 1)/2."""
        return self.b + self.k * (steps - 1) / 2

    @property
    def is_identity(self) -> bool:
        """Whether λ ≡ 1, the unscaled sampler."""
        return self.b == 1.0 and self.k == 0.0

    def __str__(self) -> str:
        if self.k == 0:
            return f"{self.b:.6g}"
        sign = "+" if self.k > 0 else "−"
        return f"{self.b:.6g} {sign} {abs(self.k):.4g}·i"
