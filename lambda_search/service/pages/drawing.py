"""Figures on a page: as data, which its script draws in the page's colours."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import plotly.graph_objects as go
from jinja2.utils import htmlsafe_json_dumps

from lambda_search.report.figures import THEMES
from lambda_search.service.filters import dumps

__all__ = ["drawn"]


def drawn(figures: Mapping[str, go.Figure]) -> dict[str, Any]:
    """What a template takes to show these figures: their heights in pixels, and all as text."""
    told = {name: one.to_plotly_json() for name, one in figures.items()}
    return {
        "figures": {name: one.layout.height for name, one in figures.items()},
        "figures_text": htmlsafe_json_dumps(told, dumps=dumps),
        "themes": {name: one.to_plotly_json() for name, one in THEMES.items()},
    }
