r"""What a network has to have said for its ε to be divided by λ, whatever it predicts.

A scheduler keeps a state x = α·x0 + σ·ε in coordinates of its own, and reads the network's output
F as x0 = skip·x + out·F. Epsilon Scaling keeps x and divides ε = (x − α·x0)/σ by λ (Ning et al.
2024, arXiv:2308.15321, §5), which takes x0 to x0 + (1 − 1/λ)(x/α − x0). With what it does with F
left alone, the scheduler therefore has to be told

    F' = F/λ + (1 − 1/λ)·c·x,        c = (1/α − skip)/out:

    prediction            α           skip             out                c
    epsilon               any         1/α              −σ/α               0
    v                     √(1 − σ²)   α                −σ                 −σ/α
    v of x/√(σ² + 1)      1           1/(σ² + 1)       −σ/√(σ² + 1)       −σ/√(σ² + 1)
    sample                any         0                1                  1/α
    flow                  1 − σ       1                −σ                 −1/α
    flow to the image     1 − σ       1                σ                  1/α
    preconditioned        1           s²/(σ² + s²)     ±σs/√(σ² + s²)     ±σ/(s√(σ² + s²))

s is σ_data of Karras et al. 2022, arXiv:2206.00364, §5. λ = 1 leaves F as it is. At pure noise
(α = 0) x says nothing of x0, and λ has no meaning.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from lambda_search.diffusion.scaling import divided
from lambda_search.errors import UsageError

__all__ = [
    "Call",
    "preconditioned",
    "read",
    "read_exploding",
    "scaled_output",
    "scaled_x0",
]


@dataclass(frozen=True)
class Call:
    """Where a network was called, and how what it said is read there.

    Arguments:
        alpha, sigma: α ≥ 0 and σ ≥ 0 of the state x = α·x0 + σ·ε.
        skip, out: of x0 = skip·x + out·F.
    """

    alpha: float
    sigma: float
    skip: float
    out: float

    @property
    def level(self) -> float:
        """σ/α, which orders the noise levels of all coordinates; infinite at pure noise."""
        return self.sigma / self.alpha if self.alpha > 0 else math.inf

    @property
    def shift(self) -> float:
        """The c of F'; 0 where F counts for nothing (out = 0)."""
        return (1 / self.alpha - self.skip) / self.out if self.out else 0.0


def read(prediction: str, alpha: float, sigma: float) -> Call:
    """The call of a network of that `prediction_type`, in diffusers' words, at (α, σ).

    Raises:
        UsageError: for a word that is not known.
    """
    match prediction:
        case _ if alpha <= 0:  # none of them says anything there
            return Call(0.0, sigma, 0.0, 0.0)
        case "epsilon":
            return Call(alpha, sigma, 1 / alpha, -sigma / alpha)
        case "v_prediction" | "trigflow":
            return Call(alpha, sigma, alpha, -sigma)
        case "sample" | "original_sample":
            return Call(alpha, sigma, 0.0, 1.0)
        case "flow_prediction":
            return Call(alpha, sigma, 1.0, -sigma)
        case "flow_to_image":
            return Call(alpha, sigma, 1.0, sigma)
    raise UsageError(
        f"The scheduler's prediction_type '{prediction}' is unknown.",
        "Known: epsilon, v_prediction, sample, flow_prediction, trigflow.",
    )


def read_exploding(prediction: str, sigma: float) -> Call:
    """As `read` at α = 1, where networks that predict v are given x/√(σ² + 1)."""
    if prediction == "v_prediction":
        return Call(1.0, sigma, 1 / (sigma**2 + 1), -sigma / math.sqrt(sigma**2 + 1))
    return read(prediction, 1.0, sigma)


def preconditioned(sigma: float, data: float, sign: int) -> Call:
    """The call of a network inside of EDM's preconditioning, at α = 1.

    Arguments:
        sigma: σ ≥ 0.
        data: σ_data > 0.
        sign: of the factor of F, 1 or −1.
    """
    whole = sigma**2 + data**2
    return Call(1.0, sigma, data**2 / whole, sign * sigma * data / math.sqrt(whole))


def scaled_output(output: Tensor, state: Tensor, value: float, call: Call) -> Tensor:
    """F' for λ = `value`; where F has a learned variance behind its ε, that half stays as it is.

    Arguments:
        output: F, like `state`, or with twice its channels.
        state: x, [n, c, …].
        value: λ > 0.
        call: where the network was called.
    """
    if output.ndim == state.ndim > 1 and output.shape[1] == 2 * state.shape[1]:
        said, variance = output.chunk(2, dim=1)
        return torch.cat([scaled_output(said, state, value, call), variance], dim=1)
    told = divided(output, value)
    return told + (1 - 1 / value) * call.shift * state if call.shift else told


def scaled_x0(x0: Tensor, state: Tensor, value: float, call: Call) -> Tensor:
    """The estimate of x0 that ε/λ leads to; arguments as in `scaled_output`."""
    return x0 + (1 - 1 / value) * (state / call.alpha - x0)
