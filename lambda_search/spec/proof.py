"""What a study file says of the proof on images that the search has not seen."""

from __future__ import annotations

from pydantic import Field

from lambda_search.setting import FrozenModel
from lambda_search.spec.shares import Share

__all__ = ["ConfirmSpec"]


class ConfirmSpec(FrozenModel):
    """The proof on images that the search has not seen.

    Arguments:
        top: how many candidates to confirm.
        samples: images for each of them and for λ = 1; the most, where a precision is given.
        precision: half the width of the gain's interval, as a share of FID(λ = 1); if it is given,
            the confirmation looks up to five times, and ends once it is as precise.
    """

    top: int = Field(default=3, ge=1, le=100)
    samples: int = Field(default=10_000, ge=16, le=1_000_000)
    precision: Share | None = None
