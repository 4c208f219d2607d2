"""Figures on a page: as data, which its script draws in the page's colours."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import plotly.graph_objects as go

from lambda_search.report.figures import THEMES

__all__ = ["drawn"]


def drawn(figures: Mapping[str, go.Figure]) -> dict[str, Any]:
    """What a template takes to show these figures."""
    return {
        "figures": {name: one.to_plotly_json() for name, one in figures.items()},
        "themes": {name: one.to_plotly_json() for name, one in THEMES.items()},
    }
