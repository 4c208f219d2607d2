"""The figures of a report, as Plotly objects."""

from __future__ import annotations

from collections.abc import Sequence

import plotly.graph_objects as go

from lambda_search.records import Evaluation
from lambda_search.records import Interval
from lambda_search.records import Row
from lambda_search.records import Trial

__all__ = ["cost_figure", "lambda_figure", "plane_figure", "rung_figure"]

_BLUE, _ORANGE, _GREY = "#2563eb", "#ea580c", "#94a3b8"
_BEST, _BASE = _ORANGE, "#0f172a"


def plane_figure(trials: Sequence[Trial], winner: int) -> go.Figure:
    """Gain over (mean, slope): every trial at its own number of images."""
    closed = [trial for trial in trials if trial.gain is not None]
    figure = go.Figure()
    for name, symbol, chosen in (
        ("stopped early", "circle", [t for t in closed if t.state == "stopped" and t.number]),
        ("at the last rung", "diamond", [t for t in closed if t.state != "stopped" and t.number]),
    ):
        figure.add_scatter(
            x=[t.mean for t in chosen],
            y=[t.slope for t in chosen],
            mode="markers",
            name=name,
            customdata=[(t.number, t.schedule.b, t.schedule.k, t.gain, t.n) for t in chosen],
            hovertemplate="trial %{customdata[0]}<br>b %{customdata[1]:.5f}, "
            "k %{customdata[2]:.5f}<br>gain %{customdata[3]:.3f} on %{customdata[4]:,} images"
            "<extra></extra>",
            marker={
                "symbol": symbol,
                "size": 13,
                "color": [t.gain for t in chosen],
                "coloraxis": "coloraxis",
                "line": {"width": 1, "color": "white"},
            },
        )
    _mark(figure, [t for t in closed if t.number == 0], "λ = 1", "x", _BASE)
    _mark(
        figure, [t for t in closed if t.number == winner and winner], "winner", "star-open", _BEST
    )
    gains = [t.gain or 0.0 for t in closed]
    reach = max((abs(gain) for gain in sorted(gains)[len(gains) // 4 :]), default=1.0) or 1.0
    figure.update_layout(
        coloraxis={
            "colorscale": "RdBu",
            "cmid": 0,
            "cmin": -reach,
            "cmax": reach,
            "colorbar": {"title": "gain"},
        },
        legend={"orientation": "h", "y": 1.12},
    )
    return _styled(figure, "mean λ̄", "slope k (per step index)")


def rung_figure(evaluations: Sequence[Evaluation], winner: int) -> go.Figure:
    """Gain by number of images, with paired 95 % intervals; thin lines are the other trials."""
    figure = go.Figure()
    searched = [e for e in evaluations if e.phase == "search" and e.trial != 0]
    for number in sorted({e.trial for e in searched}, key=lambda n: n == winner):
        mine = sorted((e for e in searched if e.trial == number), key=lambda e: e.n)
        chosen = number == winner
        figure.add_scatter(
            x=[e.n for e in mine],
            y=[e.gain for e in mine],
            error_y={
                "array": [_half_width(e) for e in mine],
                "color": _BEST if chosen else "rgba(148,163,184,.45)",
                "thickness": 2 if chosen else 1,
            },
            mode="lines+markers",
            name=f"trial {number}",
            showlegend=chosen,
            line={"color": _BEST if chosen else _GREY, "width": 3 if chosen else 1},
        )
    confirmed = [e for e in evaluations if e.phase == "confirm" and e.trial != 0]
    figure.add_scatter(
        x=[e.n for e in confirmed],
        y=[e.gain for e in confirmed],
        error_y={"array": [_half_width(e) for e in confirmed]},
        mode="markers",
        name="confirmation, unseen images",
        marker={"symbol": "square", "size": 10, "color": _BLUE},
    )
    figure.add_hline(
        y=0,
        line={"color": _BASE, "dash": "dot"},
        annotation_text="λ = 1",
        annotation_position="bottom left",
    )
    figure.update_layout(legend={"orientation": "h", "y": 1.12})
    figure.update_xaxes(type="log", dtick=0.30103)
    return _styled(figure, "images", "gain: FID(1) − FID(λ)")


def lambda_figure(found: Row) -> go.Figure:
    """λ(i) at each step."""
    figure = go.Figure()
    figure.add_scatter(
        x=list(range(len(found.lambdas))),
        y=list(found.lambdas),
        mode="lines+markers",
        line={"color": _BEST},
        name="λ(i)",
    )
    figure.add_hline(y=1, line={"color": _BASE, "dash": "dot"}, annotation_text="λ = 1")
    figure.update_layout(showlegend=False)
    return _styled(figure, "step index i (0 = least noisy)", "λ(i)")


def cost_figure(trials: Sequence[Trial]) -> go.Figure:
    """The best gain so far over the images spent, trial by trial."""
    spent, best = 0, float("-inf")
    x, y, names = [], [], []
    for trial in trials:
        if trial.gain is None or trial.n is None:
            continue
        spent += trial.n
        best = max(best, trial.gain if trial.state == "complete" else best)
        x.append(spent)
        y.append(None if best == float("-inf") else best)
        names.append(f"trial {trial.number}")
    figure = go.Figure()
    figure.add_scatter(
        x=x, y=y, text=names, mode="lines+markers", line={"shape": "hv", "color": _BLUE}
    )
    figure.update_layout(showlegend=False)
    return _styled(figure, "images spent on trials", "best gain so far, at the last rung")


def _mark(figure: go.Figure, trials: Sequence[Trial], name: str, symbol: str, colour: str) -> None:
    figure.add_scatter(
        x=[t.mean for t in trials],
        y=[t.slope for t in trials],
        mode="markers",
        name=name,
        hoverinfo="skip",
        marker={"symbol": symbol, "size": 20, "color": colour, "line": {"width": 3}},
    )


def _half_width(evaluation: Evaluation) -> float:
    return Interval.around(evaluation.gain, evaluation.gain_standard_error).half_width


def _styled(figure: go.Figure, x: str, y: str) -> go.Figure:
    figure.update_layout(
        template="plotly_white",
        height=420,
        margin={"l": 60, "r": 20, "t": 40, "b": 50},
        font={"family": "system-ui, sans-serif", "size": 13},
    )
    figure.update_xaxes(title=x)
    figure.update_yaxes(title=y)
    return figure
