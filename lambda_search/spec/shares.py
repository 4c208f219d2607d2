"""Shares of the FID at λ = 1, as study files and the shell spell them: 1% or 0.01."""

from __future__ import annotations

import math
from typing import Annotated
from typing import Any
from typing import TypeAlias

from pydantic import BeforeValidator

__all__ = ["Share"]

_LEAST, _MOST = 1e-4, 0.5


def _share(value: Any) -> float:
    """The share that `value` spells.

    Raises:
        ValueError: for anything else, and for what is less or more than is of use.
    """
    found = math.nan
    try:
        if isinstance(value, str) and value.strip().endswith("%"):
            found = round(float(value.strip()[:-1]) / 100, 12)
        elif not isinstance(value, bool):
            found = float(value)
    except (TypeError, ValueError):
        pass
    if not _LEAST <= found <= _MOST:
        raise ValueError("write a share of the FID at λ = 1 from 0.01% to 50%, like 1% or 0.01")
    return found


Share: TypeAlias = Annotated[float, BeforeValidator(_share)]
"""From 0.0001 to 0.5."""
