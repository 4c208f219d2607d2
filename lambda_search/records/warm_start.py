"""Where a search begins that knows what is best for a relative of its setting."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["WarmStart"]


@dataclass(frozen=True)
class WarmStart:
    """The schedule of a relative's row, as a candidate of a study.

    Arguments:
        mean, slope: λ̄ and k; mean and k(T′ − 1) are the relative's, moved into the ranges where
            the search keeps to them.
        row: id of its row.
        words: what the relative is, and in what it is another setting.
        is_close: whether that is the steps alone, of which it has nearly as many.
    """

    mean: float
    slope: float
    row: str
    words: str
    is_close: bool = False
