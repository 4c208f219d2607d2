"""What makes a schedule believable: intervals, and the evidence of one schedule."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import NormalDist

from lambda_search.schedule import LambdaSchedule

__all__ = ["Evidence", "Extras", "Interval"]


@dataclass(frozen=True)
class Interval:
    """A two-sided confidence interval at `level` (0.95 = 95 %)."""

    low: float
    high: float
    level: float = 0.95

    @classmethod
    def around(cls, value: float, standard_error: float, level: float = 0.95) -> Interval:
        """Value ± z·standard_error, normal."""
        half = NormalDist().inv_cdf(0.5 + level / 2) * standard_error
        return cls(value - half, value + half, level)

    @property
    def half_width(self) -> float:
        """Half the distance between the ends: the number behind ±."""
        return (self.high - self.low) / 2


@dataclass(frozen=True)
class Extras:
    """What is measured beside the FID, for information; it ranks nothing.

    Arguments:
        fid_at_infinity: FID∞, extrapolated.
        kid: kernel distance of the first 5,000 images, where the reference keeps features.
    """

    fid_at_infinity: float
    kid: float | None


@dataclass(frozen=True)
class Evidence:
    """What makes a schedule believable.

    Arguments:
        schedule: λ(i) = b + k·i.
        extractor, reference: what was measured, with fingerprints.
        n: images behind each FID.
        fid, fid_interval: at λ, as the field reports it, with its 95 % sampling interval.
        baseline_fid, baseline_interval: the same at λ = 1, on the same indices and noise.
        corrected, baseline_corrected: both with the half-split correction of their bias at n.
        gain, gain_interval: corrected FID(1) − FID(λ), with its paired 95 % interval.
        raw_gain: the same without the correction.
        correlation: of the paired features, −1 to 1.
        extras, baseline_extras: FID∞, and KID where the reference keeps features.
        also: the same for the other distances that were asked for, on the same images.
    """

    schedule: LambdaSchedule
    extractor: str
    reference: str
    n: int
    fid: float
    fid_interval: Interval
    baseline_fid: float
    baseline_interval: Interval
    corrected: float
    baseline_corrected: float
    gain: float
    gain_interval: Interval
    raw_gain: float
    correlation: float
    extras: Extras | None
    baseline_extras: Extras | None
    also: tuple[Evidence, ...] = ()

    def __str__(self) -> str:
        return (
            f"FID {self.fid:.2f} ± {self.fid_interval.half_width:.2f} "
            f"(λ = 1: {self.baseline_fid:.2f} ± {self.baseline_interval.half_width:.2f}; "
            f"gain {self.gain:.2f} ± {self.gain_interval.half_width:.2f}, N = {self.n:,})"
        )
