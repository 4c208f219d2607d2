"""λ(i) over the steps, of one study or of several, and FID by the number of steps."""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Sequence

import plotly.graph_objects as go
from plotly.colors import sample_colorscale

from lambda_search.records import Interval
from lambda_search.records import Row
from lambda_search.report.figures.style import BASELINE
from lambda_search.report.figures.style import BEST
from lambda_search.report.figures.style import styled

__all__ = ["fid_figure", "lambda_figure", "lambdas_figure"]

_DOTS = 60
"""Steps are marked one by one up to here."""

_HUES = ["rgb(14,165,233)", "rgb(139,92,246)", "rgb(234,88,12)"]
"""From few steps to many; all can be told from white and from slate."""


def lambda_figure(lambdas: Sequence[float]) -> go.Figure:
    """λ(i) at each step."""
    figure = go.Figure()
    figure.add_scatter(
        x=list(range(len(lambdas))),
        y=list(lambdas),
        mode="lines+markers" if len(lambdas) <= _DOTS else "lines",
        line={"color": BEST},
        marker={"size": 7},
        hovertemplate="step %{x}: λ = %{y:.6g}<extra></extra>",
        name="λ(i)",
    )
    _at_one(figure, at_left=abs(lambdas[0] - 1) > abs(lambdas[-1] - 1))
    figure.update_layout(showlegend=False)
    return styled(figure, "step i (0: least noisy, sampled last)", "λ(i)")


def lambdas_figure(rows: Mapping[str, Row]) -> go.Figure:
    """λ over i/T′ of several studies, by name: schedules of different lengths on one axis."""
    figure = go.Figure()
    for (name, row), colour in zip(rows.items(), _colours(len(rows)), strict=True):
        count = len(row.lambdas)
        figure.add_scatter(
            x=[i / count for i in range(count)],
            y=list(row.lambdas),
            mode="lines+markers" if count <= _DOTS else "lines",
            line={"color": colour},
            marker={"size": 6},
            customdata=list(range(count)),
            hovertemplate="step %{customdata}: λ = %{y:.6g}<extra>%{fullData.name}</extra>",
            name=f"{name} ({count} steps)",
        )
    _at_one(figure)
    figure.update_layout(showlegend=True)
    return styled(figure, "i/T′ (0: least noisy)", "λ(i)")


def fid_figure(rows: Sequence[Row]) -> go.Figure:
    """FID by number of steps, with λ and with λ = 1, and their 95 % sampling intervals."""
    ordered = sorted(rows, key=lambda row: len(row.lambdas))
    steps = [len(row.lambdas) for row in ordered]
    figure = go.Figure()
    for name, colour, dash, values, intervals in (
        (
            "λ = 1",
            BASELINE,
            "dot",
            [row.baseline_fid for row in ordered],
            [row.baseline_interval for row in ordered],
        ),
        (
            "with λ(i)",
            BEST,
            "solid",
            [row.fid for row in ordered],
            [row.fid_interval for row in ordered],
        ),
    ):
        figure.add_scatter(
            x=steps,
            y=values,
            error_y={"array": [_half_width(one) for one in intervals], "width": 4},
            mode="lines+markers",
            line={"color": colour, "dash": dash},
            marker={"size": 9},
            hovertemplate="%{x} steps: FID %{y:.3f}<extra>" + name + "</extra>",
            name=name,
        )
    counts = sorted(set(steps))
    figure.update_xaxes(type="log", tickvals=counts, ticktext=[str(n) for n in counts])
    figure.update_yaxes(rangemode="tozero")
    return styled(figure, "steps", "FID")


def _at_one(figure: go.Figure, at_left: bool = False) -> None:
    """A line at λ = 1, labelled at one end."""
    figure.add_hline(y=1, line={"color": BASELINE, "dash": "dot"})
    figure.add_annotation(
        x=0 if at_left else 1,
        xref="paper",
        y=1,
        yanchor="bottom",
        xanchor="left" if at_left else "right",
        text="λ = 1",
        showarrow=False,
    )


def _half_width(interval: Interval | None) -> float:
    return 0.0 if interval is None else interval.half_width


def _colours(count: int) -> list[str]:
    places = [place / max(count - 1, 1) for place in range(count)]
    found: list[str] = sample_colorscale(_HUES, places)
    return found
