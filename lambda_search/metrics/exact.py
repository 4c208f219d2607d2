r"""Sums without rounding: any grouping, and any order, gives the same bits.

A float64 x is split into two integers,

    x = high·2⁻²⁰ + low·2⁻⁷⁰,   |low| ≤ 2⁴⁹,

which is exact down to 2⁻⁷⁰ (8·10⁻²²). Integers add without rounding, so addition is associative;
floating-point addition is not. (The idea of a fixed-point accumulator is Kulisch's.)
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
_LIMIT = 1 << 62


@dataclass(frozen=True)
class ExactSum:
    """A sum of float64 tensors of one shape.

    Arguments:
        high, low: int64, as above.
    """

    high: Tensor
    low: Tensor

    @classmethod
    def of(cls, x: Tensor) -> ExactSum:
        """The sum that holds the float64 tensor `x` alone.

        Raises:
            LambdaSearchError: for values of 2⁴² (4·10¹²) or more.
        """
        if x.numel() and float(x.abs().max()) >= 2.0**42:
            raise _too_large()
        high = (x * _HIGH).round()
        low = ((x - high / _HIGH) * _LOW).round()
        return cls(high.to(torch.int64), low.to(torch.int64))

    def __add__(self, other: ExactSum) -> ExactSum:
        high, low = self.high + other.high, self.low + other.low
        carry = (low + _HALF) >> _SHIFT
        high, low = high + carry, low - (carry << _SHIFT)
        if high.numel() and int(high.abs().max()) >= _LIMIT:
            raise _too_large()
        return ExactSum(high, low)

    def value(self) -> Tensor:
        """The sum, rounded to float64."""
        return self.high.to(torch.float64) / _HIGH + self.low.to(torch.float64) / _LOW


def _too_large() -> LambdaSearchError:
    return LambdaSearchError(
        "The features are too large to be summed: a sum of squares passes 4·10¹².",
        "Scale the extractor's output.",
    )
