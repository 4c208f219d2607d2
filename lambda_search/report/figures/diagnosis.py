"""How a sampler's inputs drift from those of training, and where λ was looked for."""

from __future__ import annotations

import plotly.graph_objects as go

from lambda_search.records import Diagnosis
from lambda_search.report.figures.style import BASELINE
from lambda_search.report.figures.style import BEST
from lambda_search.report.figures.style import LINE
from lambda_search.report.figures.style import styled

__all__ = ["norms_figure", "ratio_figure", "tried_figure"]

_STEP = "step i (0: least noisy, sampled last)"
_DOTS = 60
"""Steps are marked one by one up to here."""


def norms_figure(found: Diagnosis) -> go.Figure:
    """Norms of the predicted ε at each step, in sampling and at true noised images."""
    figure = go.Figure()
    for name, colour, dash, values in (
        ("in sampling, λ = 1", BEST, "solid", [one.sampling for one in found.curve]),
        ("at true noised images", BASELINE, "dot", [one.true for one in found.curve]),
    ):
        figure.add_scatter(
            x=[one.index for one in found.curve],
            y=values,
            mode=_mode(found),
            line={"color": colour, "dash": dash},
            name=name,
            hovertemplate="step %{x}: ‖ε‖ = %{y:.5g}<extra>" + name + "</extra>",
        )
    return styled(figure, _STEP, "‖ε‖, mean over images")


def ratio_figure(found: Diagnosis) -> go.Figure:
    """r_i, the first norm over the second; the last step, whose r is far larger, has its value."""
    figure = go.Figure()
    shown = found.curve[1:] or found.curve
    figure.add_scatter(
        x=[one.index for one in shown],
        y=[one.ratio for one in shown],
        mode=_mode(found),
        line={"color": LINE},
        hovertemplate="step %{x}: r = %{y:.5f}<extra></extra>",
        showlegend=False,
    )
    figure.add_hline(y=1, line={"color": BASELINE, "dash": "dot"})
    if shown is not found.curve:
        figure.add_annotation(
            x=0,
            xref="paper",
            xanchor="left",
            y=1,
            yref="paper",
            yanchor="top",
            text=f"step 0: {found.curve[0].ratio:.3f}",
            showarrow=False,
        )
    return styled(figure, _STEP, "r: in sampling over true")


def tried_figure(found: Diagnosis) -> go.Figure:
    """The schedules that were tried, coloured by their gain, and the prediction."""
    figure = go.Figure()
    tried = [
        (one, one.gain, 1.96 * one.error)
        for one in found.tried
        if one.gain is not None and one.error is not None and not one.schedule.is_identity
    ]
    reach = max((abs(gain) for _, gain, _ in tried), default=0.0) or 1.0
    figure.add_scatter(
        x=[one.mean for one, _, _ in tried],
        y=[one.slope for one, _, _ in tried],
        mode="markers",
        name="tried",
        customdata=[(str(one.schedule), gain, off, one.n) for one, gain, off in tried],
        hovertemplate="λ = %{customdata[0]}<br>gain %{customdata[1]:.1%} ± %{customdata[2]:.1%} "
        "on %{customdata[3]} images<extra></extra>",
        marker={
            "size": 12,
            "color": [gain for _, gain, _ in tried],
            "cmin": -reach,
            "cmax": reach,
            "autocolorscale": True,
            "colorbar": {
                "title": {"text": "gain (blue: better than λ = 1)", "side": "top"},
                "orientation": "h",
                "y": 1.02,
                "yanchor": "bottom",
                "thickness": 10,
                "outlinewidth": 0,
            },
            "line": {"width": 1.5},
        },
    )
    for name, symbol, colour, mean, slope in (
        ("λ = 1", "cross-thin", BASELINE, 1.0, 0.0),
        ("predicted", "star", BEST, found.mean, found.slope),
    ):
        figure.add_scatter(
            x=[mean],
            y=[slope],
            mode="markers",
            name=name,
            marker={"symbol": symbol, "size": 17, "color": colour, "line": {"width": 2}},
            hovertemplate="mean %{x:.5g}, slope %{y:.3g}<extra>" + name + "</extra>",
        )
    return styled(figure, "mean of λ over the steps", "slope k per step")


def _mode(found: Diagnosis) -> str:
    return "lines+markers" if len(found.curve) <= _DOTS else "lines"
