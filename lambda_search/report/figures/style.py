"""What all figures share: two templates, a few colours that both can show, and the frame."""

from __future__ import annotations

import plotly.graph_objects as go

__all__ = ["BASELINE", "BEST", "GREY", "LINE", "THEMES", "styled"]

BEST, LINE, GREY, BASELINE = "#ea580c", "#3b82f6", "#8492a6", "#64748b"
"""The winner, other lines, what stays behind, and λ = 1: all 3:1 or more on white and on slate."""

_HEIGHT = 420

_DAY = ["#ef8a8a", "#f9bcbc", "#fde3e3", "#f8fafc", "#cfe3fd", "#78aef8", "#1d5fd8"]
_NIGHT = ["#8f3a3a", "#66303a", "#3d2733", "#1a2336", "#20407a", "#2f6fd6", "#8ec0ff"]
"""From worse than λ = 1 by way of equal to better."""


def _template(text: str, grid: str, line: str, colours: list[str]) -> go.layout.Template:
    axis = {"gridcolor": grid, "linecolor": line, "zeroline": False, "ticks": "outside"}
    middle = len(colours) // 2
    return go.layout.Template(
        layout={
            "font": {"family": "system-ui, sans-serif", "size": 13, "color": text},
            "paper_bgcolor": "rgba(0,0,0,0)",
            "plot_bgcolor": "rgba(0,0,0,0)",
            "xaxis": axis | {"tickcolor": line},
            "yaxis": axis | {"tickcolor": line},
            "colorscale": {"diverging": _scale(colours), "sequential": _scale(colours[middle:])},
            "hoverlabel": {"font": {"size": 13}},
        },
        data={"scatter": [{"marker": {"line": {"color": text}}}]},
    )


def _scale(colours: list[str]) -> list[list[float | str]]:
    return [[place / (len(colours) - 1), colour] for place, colour in enumerate(colours)]


THEMES = {
    "light": _template("#334155", "#e2e8f0", "#94a3b8", _DAY),
    "dark": _template("#cbd5e1", "#334155", "#64748b", _NIGHT),
}
"""Templates by name. Blue is better than λ = 1 and red is worse, in both; marks without a colour
of their own have the text's."""


def styled(figure: go.Figure, x: str, y: str, height: int = _HEIGHT) -> go.Figure:
    """`figure` in the light template, with titles of its axes and its legend below them."""
    figure.update_layout(
        template=THEMES["light"],
        height=height,
        margin={"l": 10, "r": 10, "t": 10, "b": 10},
        legend={
            "orientation": "h",
            "yref": "container",
            "y": 0,
            "yanchor": "bottom",
            "xref": "container",
            "x": 0,
            "xanchor": "left",
            "itemsizing": "constant",
        },
    )
    figure.update_xaxes(title={"text": x, "standoff": 8}, automargin=True)
    figure.update_yaxes(title={"text": y, "standoff": 8}, automargin=True)
    return figure
