"""What k is worth: the best linear schedule of a study beside its best constant."""

from __future__ import annotations

from dataclasses import dataclass
from math import floor
from math import log10

__all__ = ["Worth"]

_LITTLE = 0.01
"""The share of FID up to which a gain is not worth a second number."""


@dataclass(frozen=True)
class Worth:
    """The difference of two candidates of a confirmation, on the same images and noise.

    Arguments:
        linear: the trial of the best schedule with k ≠ 0.
        constant: that of the best with k = 0; 0 where that is λ = 1.
        gain: FID(constant) − FID(linear), bias-corrected; positive = k is worth something.
        low, high: its paired interval, which holds together with all others of the confirmation.
        level: of the interval.
    """

    linear: int
    constant: int
    gain: float
    low: float
    high: float
    level: float

    def words(self, constant: float, fid: float) -> str:
        """Whether k is worth it, in a sentence.

        Arguments:
            constant: λ of the best constant.
            fid: its FID, bias-corrected.
        """
        half = (self.high - self.low) / 2
        per_cent = fid > half  # a distance that is nothing is no measure
        scale, unit = (100 / fid, " %") if per_cent else (1.0, " of the distance")
        half *= scale
        digits = min(max(1, 1 - floor(log10(half))), 4) if half > 0 else 1
        value = f"{scale * self.gain:.{digits}f}".replace("-", "−")
        told = f"{value}{unit if per_cent else ''} ± {half:.{digits}f}{unit}"
        over = f"the best constant λ = {constant:.7g}"
        if self.low > 0:
            return f"k is worth {told} over {over}"
        if per_cent and self.high <= _LITTLE * fid:
            return f"k is not worth it: its gain over {over} is {told}"
        return f"whether k is worth it is open: its gain over {over} is {told}"
