r"""Sums without rounding: any grouping, and any order, gives the same bits.

A float64 x is split into two integers,

    x = high·2⁻²⁰ + low·2⁻⁷⁰,   |low| ≤ 2⁴⁹,

which is exact down to 2⁻⁷⁰ (8·10⁻²²). Integers add without rounding, so addition is associative;
floating-point addition is not. (The idea of a fixed-point accumulator is Kulisch's.) Carries from
low to high wait until they are needed.
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
        bound = max(map(abs, map(float, x.aminmax()))) if x.numel() else 0.0
        high = x.mul(_HIGH).round_()
        low = high.div(_HIGH)
        torch.sub(x, low, out=low).mul_(_LOW).round_()
        return cls(high.to(torch.int64), low.to(torch.int64), _checked(bound))

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


def _checked(bound: float) -> float:
    if not bound < _LIMIT:
        raise LambdaSearchError(
            "The features are too large to be summed: a sum of squares passes 4·10¹².",
            "Scale the extractor's output.",
        )
    return bound
