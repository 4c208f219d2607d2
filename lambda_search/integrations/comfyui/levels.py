"""The noise levels of a row's steps.

A measured row keeps them. Of the published rows EDM's have the grid of its authors (Karras et al.
2022, arXiv:2206.00364, eq. 5): σ from 80 to 0.002 with ρ = 7.
"""

from __future__ import annotations

from collections.abc import Sequence

from lambda_search.errors import UsageError
from lambda_search.integrations.comfyui.schedules import karras
from lambda_search.records import NoiseLevel
from lambda_search.records import Row

__all__ = ["check_levels", "known_levels"]

_EDM = (80.0, 0.002)


def known_levels(row: Row) -> tuple[NoiseLevel, ...]:
    """Where a row's steps call the network, least noisy first; none where it does not say it."""
    if not row.levels and row.status == "published" and row.setting.framework == "edm":
        return tuple(NoiseLevel(s, s) for s in reversed(karras(*_EDM, len(row.lambdas))))
    return row.levels


def check_levels(row: Row, levels: Sequence[NoiseLevel]) -> None:
    """Raises UsageError if there are none, which a table cannot do without."""
    if levels:
        return
    why = "its authors published none" if row.status == "published" else "an older release made it"
    raise UsageError(
        f"The row {row.id[:12]} has no noise levels, which a table needs: {why}.",
        "Without --to, this command tells its constant, which needs none.",
    )
