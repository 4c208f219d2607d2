"""What a study file says of the proof on images that the search has not seen."""

from __future__ import annotations

from typing import Annotated
from typing import Any

from pydantic import BeforeValidator
from pydantic import Field

from lambda_search.setting import FrozenModel

__all__ = ["ConfirmSpec"]


def _share(value: Any) -> Any:
    """`1%` as 0.01; whatever else as it is."""
    try:
        if isinstance(value, str) and value.strip().endswith("%"):
            value = round(float(value.strip()[:-1]) / 100, 12)
        if not isinstance(value, bool) and 0 < float(value) < 1:
            return value
    except (TypeError, ValueError):
        pass
    raise ValueError("write a share of the FID at λ = 1, like 1% or 0.01")


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
    precision: Annotated[float, BeforeValidator(_share)] | None = None
