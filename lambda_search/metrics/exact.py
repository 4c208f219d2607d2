r"""Sums without rounding: any grouping, and any order, gives the same bits.

A float64 x is split into two integers,

    x = high·2⁻²⁰ + low·2⁻⁷⁰,   |low| ≤ 2⁴⁹,

which is exact down to 2⁻⁷⁰ (8·10⁻²²). Integers add without rounding, so addition is associative;
floating-point addition is not. (The idea of a fixed-point accumulator is Kulisch's.) Carries from
low to high wait until they are needed. On a CPU a tensor is split and added piece by piece, each
small enough for the cache: the passes over memory are what it costs.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from lambda_search.errors import LambdaSearchError

__all__ = ["ExactSum"]

_HIGH, _LOW = 2.0**20, 2.0**70
_SHIFT = 50
_HALF = 1 << (_SHIFT - 1)
_MOST_TERMS = 1 << 12
_LIMIT = 2.0**42
_PIECE = 1 << 15


@dataclass(frozen=True)
class ExactSum:
    """A sum of float64 tensors of one shape.

    Arguments:
        high, low: int64, as above.
        bound: what no |sum| passes.
        terms: how many tensors were added since low was last carried into high.
    """

    high: Tensor
    low: Tensor
    bound: float
    terms: int = 1

    @classmethod
    def of(cls, x: Tensor) -> ExactSum:
        """The sum that holds the float64 tensor `x` alone.

        Raises:
            LambdaSearchError: for values of 2⁴² (4·10¹²) or more.
        """
        high, low = (torch.zeros(x.shape, dtype=torch.int64, device=x.device) for _ in range(2))
        return cls(high, low, _checked(_added(x, high, low)))

    @classmethod
    def held(cls, high: Tensor, low: Tensor) -> ExactSum:
        """The sum whose canonical form is `high` and `low`."""
        bound = float(high.abs().max() + 1) / _HIGH if high.numel() else 0.0
        return cls(high, low, _checked(bound))

    def __add__(self, other: ExactSum) -> ExactSum:
        total = ExactSum(
            self.high + other.high,
            self.low + other.low,
            _checked(self.bound + other.bound),
            self.terms + other.terms,
        )
        return total.carried() if total.terms > _MOST_TERMS else total

    def absorbed(self, x: Tensor) -> ExactSum:
        """The sum of this one and the float64 tensor `x`, in this one's memory, which it takes.

        Raises:
            LambdaSearchError: as `of`; this sum is lost then.
        """
        bound = _checked(self.bound + _checked(_added(x, self.high, self.low)))
        total = ExactSum(self.high, self.low, bound, self.terms + 1)
        return total.carried() if total.terms > _MOST_TERMS else total

    def carried(self) -> ExactSum:
        """The same sum in its one canonical form."""
        if self.terms == 1:
            return self
        carry = (self.low + _HALF) >> _SHIFT
        return ExactSum(self.high + carry, self.low - (carry << _SHIFT), self.bound)

    def value(self) -> Tensor:
        """The sum, rounded to float64."""
        held = self.carried()
        return held.high.to(torch.float64).div_(_HIGH).add_(held.low.to(torch.float64).div_(_LOW))


def _added(x: Tensor, high: Tensor, low: Tensor) -> float:
    """Adds float64 `x` to what `high` and `low` hold, and returns the largest |x|."""
    if not x.numel():
        return 0.0
    size = _PIECE if x.device.type == "cpu" else x.numel()
    coarse, fine = (x.new_empty(min(size, x.numel())) for _ in range(2))
    whole = torch.empty(len(coarse), dtype=torch.int64, device=x.device)
    ends: list[Tensor] = []
    flat = (torch.split(one.view(-1), size) for one in (x.contiguous(), high, low))
    for part, above, below in zip(*flat, strict=True):
        c, f, w = coarse[: len(part)], fine[: len(part)], whole[: len(part)]
        ends += part.aminmax()
        torch.mul(part, _HIGH, out=c).round_()
        above.add_(w.copy_(c))
        torch.sub(part, c.div_(_HIGH), out=f).mul_(_LOW).round_()
        below.add_(w.copy_(f))
    return float(torch.stack(ends).abs().max())


def _checked(bound: float) -> float:
    if not bound < _LIMIT:
        raise LambdaSearchError(
            "The features are too large to be summed: a sum of squares passes 4·10¹².",
            "Scale the extractor's output.",
        )
    return bound
