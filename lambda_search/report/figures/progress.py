"""How a search went: gain by number of images, and the best over what was spent."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from typing import TypeAlias

import plotly.graph_objects as go

from lambda_search.records import Evaluation
from lambda_search.records import Interval
from lambda_search.records import Round
from lambda_search.records import Trial
from lambda_search.records import steps_of
from lambda_search.report.figures.style import BASELINE
from lambda_search.report.figures.style import BEST
from lambda_search.report.figures.style import GREY
from lambda_search.report.figures.style import LINE
from lambda_search.report.figures.style import styled

__all__ = ["cost_figure", "rung_figure"]

_MOST_TICKS = 8

_Place: TypeAlias = tuple[int, float | None, str]
"""Images spent, a gain, and what it is of."""

_DEPTH = 1.5
"""How far losses are shown, in largest gains; worse trials lie below the frame."""


def rung_figure(evaluations: Sequence[Evaluation], winner: int | None) -> go.Figure:
    """Gain by number of images, with paired 95 % intervals; thin lines are the other trials.

    Of a trial in several rounds, on the images of all rounds so far.
    """
    figure = go.Figure()
    searched = [one for several in _by_trial(evaluations).values() for one in steps_of(several)]
    for chosen in (False, True):
        mine = _apart([e for e in searched if (e.trial == winner) == chosen])
        if not mine:
            continue
        figure.add_scatter(
            x=[e and e.n for e in mine],
            y=[e and e.gain for e in mine],
            error_y={
                "array": [e and _half_width(e) for e in mine],
                "color": BEST if chosen else "rgba(132,146,166,.35)",
                "thickness": 2 if chosen else 1,
                "width": 4 if chosen else 0,
            },
            mode="lines+markers",
            name=f"trial {winner}" if chosen else "other trials",
            showlegend=True,
            text=[e and f"trial {e.trial}" for e in mine],
            hovertemplate="%{text}: gain %{y:.3f} on %{x:,} images<extra></extra>",
            line={"color": BEST if chosen else GREY, "width": 3 if chosen else 1},
            marker={"size": 9 if chosen else 5},
        )
    confirmed = [e for e in evaluations if e.phase == "confirm" and e.trial != 0]
    if confirmed:
        figure.add_scatter(
            x=[e.n for e in confirmed],
            y=[e.gain for e in confirmed],
            error_y={"array": [_half_width(e) for e in confirmed], "width": 4},
            mode="markers",
            name="confirmation",
            text=[f"trial {e.trial}" for e in confirmed],
            hovertemplate="%{text}: gain %{y:.3f} on %{x:,} images<extra></extra>",
            marker={"symbol": "square", "size": 10, "color": LINE},
        )
    _at_one(figure, [e.gain for e in (*searched, *confirmed)])
    counts = sorted({e.n for e in (*searched, *confirmed)})
    if len(counts) <= _MOST_TICKS:
        figure.update_xaxes(tickvals=counts, ticktext=[f"{n:,}" for n in counts])
    figure.update_xaxes(type="log")
    return styled(figure, "images", "gain: FID(1) − FID(λ)")


def cost_figure(
    trials: Sequence[Trial],
    evaluations: Sequence[Evaluation] = (),
    rounds: Sequence[Round] = (),
) -> go.Figure:
    """The best gain so far over the images spent, trial by trial.

    Of a search by rounds, the gain of who led after each of them, on all its images so far.
    """
    each, line = _by_round(evaluations, rounds) if rounds else _by_number(trials)
    told = "who led" if rounds else "best so far"
    figure = go.Figure()
    figure.add_scatter(
        **_drawn(each),
        mode="markers",
        marker={"color": GREY, "size": 7},
        hovertemplate="%{text}: gain %{y:.3f}<extra></extra>",
        name="a trial",
    )
    figure.add_scatter(
        **_drawn(line),
        mode="lines",
        line={"shape": "hv", "color": LINE, "width": 2.5},
        hovertemplate=f"{told} %{{y:.3f}} after %{{x:,}} images<extra></extra>",
        name=told,
    )
    _at_one(figure, [gain for _, gain, _ in each if gain is not None])
    return styled(figure, "images spent on trials", "gain: FID(1) − FID(λ)")


def _by_number(trials: Sequence[Trial]) -> tuple[list[_Place], list[_Place]]:
    """The trials with scores one after the other, and the best of the complete ones."""
    spent, best = 0, float("-inf")
    each: list[_Place] = []
    line: list[_Place] = []
    for trial in trials:
        if trial.gain is None or trial.n is None:
            continue
        spent += trial.n
        if trial.state == "complete":
            best = max(best, trial.gain)
        name = f"trial {trial.number}, λ = {trial.schedule}"
        each.append((spent, trial.gain, name))
        line.append((spent, None if best == float("-inf") else best, name))
    return each, line


def _by_round(
    evaluations: Sequence[Evaluation], rounds: Sequence[Round]
) -> tuple[list[_Place], list[_Place]]:
    """The gains in each round, and that of who led after it, as the model of all scores has it.

    Of studies of an earlier release, and where rounds rank by the projected distance, it is that
    of the trial nearest to it on all its images so far.
    """
    spent, own = 0, _by_trial(evaluations)
    at_one = [one for one in evaluations if one.phase == "search" and not one.trial]
    level = steps_of(at_one)[-1].corrected if at_one else 0.0
    each: list[_Place] = []
    line: list[_Place] = []
    for one in rounds:
        spent += one.images
        for trial in filter(None, one.trials):
            in_it = [e for e in own.get(trial, ()) if (e.first, e.n) == (one.first, one.n)]
            each += [(spent, e.gain, f"trial {trial}, round {one.number}") for e in in_it]
        if one.judgement is not None:
            best = one.judgement.best
            known = [e for e in own.get(best, ()) if e.first <= one.first]
            gain = steps_of(known)[-1].gain if known else 0.0
            if one.judgement.expected is not None and one.components is None:
                gain = level * one.judgement.expected
            line.append((spent, gain, f"trial {best}"))
    return each, line


def _drawn(places: Sequence[_Place]) -> dict[str, list[Any]]:
    x, y, text = ([place[axis] for place in places] for axis in range(3))
    return {"x": x, "y": y, "text": text}


def _at_one(figure: go.Figure, gains: Sequence[float]) -> None:
    """A line where λ = 1 is, and a frame in which what is near or above it can be told apart."""
    figure.add_hline(y=0, line={"color": BASELINE, "dash": "dot"})
    figure.add_annotation(
        x=1, xref="paper", y=0, yanchor="top", xanchor="right", text="λ = 1", showarrow=False
    )
    best, worst = max(gains, default=0.0), min(gains, default=0.0)
    if best > 0 and worst < -_DEPTH * best:
        figure.update_yaxes(autorangeoptions={"clipmin": -_DEPTH * best})


def _by_trial(evaluations: Sequence[Evaluation]) -> dict[int, list[Evaluation]]:
    """Those of the search that tell of a gain, λ = 1 apart."""
    found: dict[int, list[Evaluation]] = {}
    for one in evaluations:
        if one.phase == "search" and one.trial and not one.is_copy:
            found.setdefault(one.trial, []).append(one)
    return found


def _apart(evaluations: Sequence[Evaluation]) -> list[Evaluation | None]:
    """Trial by trial, by number of images, with a gap after each: one trace draws many lines."""
    found: list[Evaluation | None] = []
    for one in sorted(evaluations, key=lambda e: (e.trial, e.n)):
        if found and found[-1] is not None and found[-1].trial != one.trial:
            found.append(None)
        found.append(one)
    return found


def _half_width(evaluation: Evaluation) -> float:
    return Interval.around(evaluation.gain, evaluation.gain_standard_error).half_width
