"""Gain over (mean, slope): what was tried, what was fitted to it, and how sure the fit is."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go
from numpy.typing import NDArray

from lambda_search.records import Trial
from lambda_search.report.figures.style import BEST
from lambda_search.report.figures.style import GREY
from lambda_search.report.figures.style import LINE
from lambda_search.report.figures.style import styled
from lambda_search.report.surface import PLAUSIBLE
from lambda_search.report.surface import Surface

__all__ = ["error_figure", "plane_figure"]

Range = tuple[float, float]

_MEAN, _SLOPE = "mean of λ over the steps", "slope k per step"
_ROOM = 0.06
"""Around the ranges, so that their edges and the points on them are seen."""

_LEVELS, _LABELS = 12, 4
_BAND = "rgba(59,130,246,.2)"
_HOVER = (
    "trial %{customdata[0]}<br>λ = %{customdata[1]}<br>gain %{customdata[2]:.3f} on "
    "%{customdata[3]:,} images<extra></extra>"
)


def plane_figure(
    trials: Sequence[Trial],
    winner: int | None,
    mean: Range,
    slope: Range,
    surface: Surface | None = None,
    has_region: bool = True,
) -> go.Figure:
    """The trials where they were tried, each with its own gain, over the fitted gain.

    A search along one line (the other range has no width) is shown as gain over that line.

    Arguments:
        trials: of a study.
        winner: number of the trial that is marked.
        mean, slope: the ranges that were searched.
        surface: the fit, if there is one.
        has_region: whether it tells where the best may lie.
    """
    scored = [trial for trial in trials if trial.gain is not None]
    if mean[0] == mean[1] or slope[0] == slope[1]:
        return _line_figure(scored, winner, mean, slope, surface)
    figure = go.Figure()
    reach = _reach([trial.gain or 0.0 for trial in scored], surface)
    bar = {"title": {"text": "gain (blue: better than λ = 1)", "side": "top"}} | _BAR
    if surface is not None:
        _fill(figure, surface, surface.gain, -reach, reach, bar)
    for name, symbol, chosen in (
        ("stopped early", "circle", [t for t in scored if t.state == "stopped" and t.number]),
        ("complete", "diamond", [t for t in scored if t.state != "stopped" and t.number]),
    ):
        figure.add_scatter(
            **_at(chosen),
            mode="markers",
            name=name,
            customdata=_told(chosen),
            hovertemplate=_HOVER,
            marker={
                "symbol": symbol,
                "size": 12,
                "color": [t.gain for t in chosen],
                **_scale("c", -reach, reach),
                "colorbar": bar,
                "showscale": surface is None and name == "stopped early",
                "line": {"width": 1.5},
            },
        )
    lost = [t for t in trials if t.state == "diverged"]
    if lost:
        _mark(figure, lost, "diverged", "x-thin", "#dc2626", 9)
    waiting = [t for t in trials if t.is_open]
    if waiting:
        _mark(figure, waiting, "not scored yet", "circle-open", GREY, 9)
    _mark(figure, [t for t in trials if t.number == 0], "λ = 1", "cross-thin", None, 17)
    _mark(figure, [t for t in trials if t.number == winner], "best trial", "star", BEST, 19)
    if surface is not None and has_region:
        _outline(figure, surface)
    return _framed(figure, trials, mean, slope)


def error_figure(
    surface: Surface, trials: Sequence[Trial], mean: Range, slope: Range
) -> go.Figure:
    """The standard error of the fitted gain; points show where trials are."""
    figure = go.Figure()
    high = float(np.quantile(surface.error, 0.95)) or 1.0
    bar = {"title": {"text": "standard error of the fitted gain", "side": "top"}} | _BAR
    _fill(figure, surface, surface.error, 0.0, high, bar)
    tried = [trial for trial in trials if trial.gain is not None]
    _mark(figure, tried, "trials", "circle-open", GREY, 8)
    _outline(figure, surface)
    return _framed(figure, trials, mean, slope)


_BAR: dict[str, Any] = {
    "orientation": "h",
    "y": 1.02,
    "yanchor": "bottom",
    "thickness": 10,
    "len": 1.0,
    "outlinewidth": 0,
    "ypad": 4,
}


def _line_figure(
    scored: Sequence[Trial],
    winner: int | None,
    mean: Range,
    slope: Range,
    surface: Surface | None,
) -> go.Figure:
    """The same where one range is a single value."""
    along_mean = mean[0] < mean[1]
    figure = go.Figure()
    if surface is not None:
        x = surface.means if along_mean else surface.slopes
        y, error = surface.gain.ravel(), 1.96 * surface.error.ravel()
        figure.add_scatter(
            x=[*x, *x[::-1]],
            y=[*(y + error), *(y - error)[::-1]],
            fill="toself",
            fillcolor=_BAND,
            line={"width": 0},
            hoverinfo="skip",
            name="95 % band",
        )
        figure.add_scatter(x=x, y=y, mode="lines", line={"color": LINE}, name="fitted gain")
    for name, symbol, colour, size, chosen in (
        ("trials", "circle", LINE, 10, [t for t in scored if t.number not in (0, winner)]),
        ("λ = 1", "cross-thin", None, 17, [t for t in scored if t.number == 0]),
        ("best trial", "star", BEST, 17, [t for t in scored if t.number == winner]),
    ):
        figure.add_scatter(
            x=[t.mean if along_mean else t.slope for t in chosen],
            y=[t.gain for t in chosen],
            mode="markers",
            name=name,
            customdata=_told(chosen),
            hovertemplate=_HOVER,
            marker={
                "symbol": symbol,
                "size": size,
                "color": colour,
                "line": _edge(symbol, colour),
            },
        )
    for end in mean if along_mean else slope:
        figure.add_vline(x=end, line={"color": GREY, "width": 1.5, "dash": "dot"})
    return styled(figure, _MEAN if along_mean else _SLOPE, "gain: FID(1) − FID(λ)")


def _fill(
    figure: go.Figure,
    surface: Surface,
    values: NDArray[np.float64],
    low: float,
    high: float,
    bar: dict[str, Any],
) -> None:
    """Filled contours of `values` between `low` and `high`."""
    step = _step(high - low, _LEVELS)
    figure.add_contour(
        x=surface.means,
        y=surface.slopes,
        z=values.astype(np.float32),
        customdata=np.stack([surface.gain, surface.error], axis=2).astype(np.float32),
        contours={"start": step * math.ceil(low / step), "end": high, "size": step},
        **_scale("z", low, high),
        colorbar=bar | {"tick0": 0, "dtick": _step(high - low, _LABELS)},
        line={"width": 0.5, "color": "rgba(100,116,139,.6)"},
        hovertemplate="mean %{x:.5g}, slope %{y:.3g}<br>fitted gain %{customdata[0]:.3f} ± "
        "%{customdata[1]:.3f}<extra></extra>",
        name="fitted gain",
    )


def _scale(axis: str, low: float, high: float) -> dict[str, Any]:
    """Colours of the template: those on both sides of 0, or rising from it."""
    return {f"{axis}min": low, f"{axis}max": high, "autocolorscale": True}


def _outline(figure: go.Figure, surface: Surface) -> None:
    """Where the best may still lie."""
    figure.add_contour(
        x=surface.means,
        y=surface.slopes,
        z=surface.shortfall.astype(np.float32),
        contours={"start": PLAUSIBLE, "end": PLAUSIBLE, "size": 1, "coloring": "none"},
        line={"width": 2.5, "dash": "dash", "color": BEST},
        showscale=False,
        showlegend=True,
        hoverinfo="skip",
        name="95 % region",
    )


def _framed(figure: go.Figure, trials: Sequence[Trial], mean: Range, slope: Range) -> go.Figure:
    """Axes that show the ranges, with a dotted frame, and every trial outside them."""
    figure.add_shape(
        type="rect",
        x0=mean[0],
        x1=mean[1],
        y0=slope[0],
        y1=slope[1],
        line={"color": GREY, "width": 1.5, "dash": "dot"},
    )
    styled(figure, _MEAN, _SLOPE, height=500)
    figure.update_xaxes(range=_span([*mean, *(t.mean for t in trials)]), showgrid=False)
    figure.update_yaxes(range=_span([*slope, *(t.slope for t in trials)]), showgrid=False)
    return figure


def _span(values: Sequence[float]) -> list[float]:
    low, high = min(values), max(values)
    return [low - _ROOM * (high - low), high + _ROOM * (high - low)]


def _reach(gains: Sequence[float], surface: Surface | None) -> float:
    """How far colours go on either side of 0: far enough for gains, not for the worst losses."""
    best = max([*gains, 0.0 if surface is None else surface.best_gain], default=0.0)
    middling = sorted(abs(gain) for gain in gains)[len(gains) // 2] if gains else 0.0
    return max(1.25 * best, min(middling, 3 * best if best > 0 else middling)) or 1.0


def _step(width: float, count: int) -> float:
    """A round step that divides `width` into about `count`."""
    rough = width / count
    power = 10.0 ** math.floor(math.log10(rough))
    return float(min((1, 2, 5, 10), key=lambda factor: abs(factor * power - rough)) * power)


def _mark(
    figure: go.Figure,
    trials: Sequence[Trial],
    name: str,
    symbol: str,
    colour: str | None,
    size: int,
) -> None:
    figure.add_scatter(
        **_at(trials),
        mode="markers",
        name=name,
        customdata=_told(trials),
        hovertemplate="trial %{customdata[0]}<br>λ = %{customdata[1]}<extra>" + name + "</extra>",
        marker={"symbol": symbol, "size": size, "color": colour, "line": _edge(symbol, colour)},
    )


def _edge(symbol: str, colour: str | None) -> dict[str, Any]:
    """A symbol's outline; thin ones consist of it, in the text's colour unless they have one."""
    if "thin" not in symbol:
        return {"width": 1.5, "color": "white"}
    return {"width": 3} | ({} if colour is None else {"color": colour})


def _at(trials: Sequence[Trial]) -> dict[str, list[float]]:
    return {"x": [trial.mean for trial in trials], "y": [trial.slope for trial in trials]}


def _told(trials: Sequence[Trial]) -> list[tuple[Any, ...]]:
    return [(trial.number, str(trial.schedule), trial.gain, trial.n) for trial in trials]
