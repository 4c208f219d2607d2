"""Pages as HTML: templates that are filled with records, words and figures.

Whatever comes from elsewhere (names, messages, files) is escaped by the templates, and in the
figures' JSON as well.
"""

from __future__ import annotations

import base64
import json
from collections import defaultdict
from collections.abc import Mapping
from collections.abc import Sequence
from functools import cache
from typing import Any

import plotly.graph_objects as go
from jinja2 import Environment
from jinja2 import PackageLoader
from jinja2 import StrictUndefined
from plotly.offline import get_plotlyjs
from plotly.utils import PlotlyJSONEncoder

from lambda_search.records import Candidate
from lambda_search.records import Diagnosis
from lambda_search.records import Evaluation
from lambda_search.records import Row
from lambda_search.records import Trial
from lambda_search.records import steps_of
from lambda_search.report import figures
from lambda_search.report.effort import efforts
from lambda_search.report.effort import total
from lambda_search.report.findings import Findings
from lambda_search.report.words import duration
from lambda_search.report.words import provenance_of
from lambda_search.report.words import signed
from lambda_search.report.words import summary_of
from lambda_search.report.words import verdict_of
from lambda_search.schedule import LambdaSchedule

__all__ = [
    "PLOTLY_FILE",
    "diagnosis_page",
    "several_page",
    "study_figures",
    "study_page",
    "trial_table",
]

PLOTLY_FILE = "plotly.min.js"
"""What lies beside the pages that do not hold it."""

_ENDS = {
    "proposed": "open",
    "stopped": "stopped early",
    "complete": "complete",
    "diverged": "diverged",
}


def study_page(findings: Findings, single: bool = False) -> str:
    """The page of one study, however far it is.

    Arguments:
        findings: what there is to tell.
        single: whether Plotly is in it, so that the page is one file; else it lies beside it.
    """
    spent = efforts(findings.evaluations, findings.events, findings.nfe)
    whole = total(spent)
    status, reason = verdict_of(findings)
    return _page(
        "study.html",
        study_figures(findings),
        single,
        found=findings,
        status=status,
        reason=reason,
        summary=summary_of(findings, whole),
        surface=findings.surface,
        trials=trial_table(findings),
        candidates=_candidates(findings.row),
        spent=[*spent, whole] if spent else [],
        provenance=[] if findings.row is None else provenance_of(findings.row),
        images=[
            (image.caption, base64.b64encode(image.content).decode()) for image in findings.images
        ],
    )


def several_page(
    title: str,
    several: Sequence[Findings],
    links: Mapping[str, str] | None = None,
    single: bool = False,
) -> str:
    """One page for several studies, by their number of steps.

    Arguments:
        title: what they have in common.
        several: the studies.
        links: their own pages, by name, if they have some.
        single: as in `study_page`.
    """
    rows = {one.name: one.row for one in several if one.row is not None}
    drawn = {}
    if rows:
        drawn = {
            "lambdas": figures.lambdas_figure(rows),
            "fids": figures.fid_figure(list(rows.values())),
        }
    return _page(
        "several.html",
        drawn,
        single,
        title=title,
        what=" and ".join(sorted({f"{one.model} · {one.sampler}" for one in several})),
        several=[(one, *verdict_of(one)) for one in several],
        links=links or {},
    )


def diagnosis_page(name: str, found: Diagnosis, single: bool = False) -> str:
    """The page of a diagnosis.

    Arguments:
        name: of the model, as it was asked for.
        found: what there is to tell.
        single: as in `study_page`.
    """
    drawn = {
        "norms": figures.norms_figure(found),
        "ratio": figures.ratio_figure(found),
        "tried": figures.tried_figure(found),
        "lambdas": figures.lambda_figure(found.schedule.values(found.steps)),
    }
    return _page("diagnosis.html", drawn, single, name=name, found=found)


def _page(template: str, drawn: Mapping[str, go.Figure], single: bool, **told: Any) -> str:
    return (
        _environment()
        .get_template(template)
        .render(
            told,
            figures={name: figure.to_plotly_json() for name, figure in drawn.items()},
            themes={name: one.to_plotly_json() for name, one in figures.THEMES.items()},
            plotly=get_plotlyjs() if single and drawn else None,
            plotly_file=PLOTLY_FILE,
        )
    )


@cache
def _environment() -> Environment:
    made = Environment(
        loader=PackageLoader("lambda_search.report"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
    )
    made.policies["json.dumps_function"] = _dumps
    made.filters |= {
        "duration": duration,
        "rate": _rate,
        "signed": signed,
    }
    return made


def _dumps(value: Any, **options: Any) -> str:
    return json.dumps(value, cls=PlotlyJSONEncoder, separators=(",", ":"), **options)


def _rate(value: float) -> str:
    return f"{value:,.0f}" if value >= 10 else f"{value:.2g}"


def study_figures(findings: Findings, most: int | None = None) -> dict[str, go.Figure]:
    """Those that there is something to show in, in the page's order.

    Arguments:
        findings: what there is to show.
        most: how many trials are drawn one by one; all unless given.
    """
    found: dict[str, go.Figure] = {}
    winner = None if findings.winner is None else findings.winner.number
    few = findings if most is None else findings.with_most(most)
    trials, surface, ranges = few.trials, findings.surface, findings.ranges
    if findings.scored and ranges is not None:
        knows = not findings.rounds  # a fit does not know what rounds share of their noise
        found["plane"] = figures.plane_figure(trials, winner, *ranges, surface, knows)
        if knows and surface is not None and len(surface.means) > 1 and len(surface.slopes) > 1:
            found["error"] = figures.error_figure(surface, trials, *ranges)
    lambdas = _lambdas(findings.row, findings)
    if lambdas:
        found["lambdas"] = figures.lambda_figure(lambdas)
    if any(one.trial for one in few.evaluations):
        found["rungs"] = figures.rung_figure(few.evaluations, winner)
    if findings.scored:
        found["cost"] = figures.cost_figure(findings.trials, findings.evaluations, findings.rounds)
    return found


def _lambdas(row: Row | None, findings: Findings) -> tuple[float, ...]:
    if row is not None:
        return row.lambdas
    best = findings.winner
    return () if best is None or findings.steps is None else best.schedule.values(findings.steps)


def _candidates(row: Row | None) -> list[tuple[Candidate, LambdaSchedule]]:
    """What was confirmed against λ = 1, with the schedules."""
    told = () if row is None else row.provenance.candidates
    return [(one, LambdaSchedule(one.b, one.k)) for one in told]


def trial_table(findings: Findings) -> list[tuple[Trial, float | None, str]]:
    """Each trial, the standard error of its gain, and how it ended."""
    by_trial: dict[int, list[Evaluation]] = defaultdict(list)
    for one in findings.evaluations:
        by_trial[one.trial].append(one)
    errors = {
        (trial, one.n): one.gain_standard_error
        for trial, several in by_trial.items()
        if trial
        for one in steps_of(several)
    }
    return [
        (trial, _error(errors, trial), _ENDS.get(trial.state, trial.state))
        for trial in findings.trials
    ]


def _error(errors: Mapping[tuple[int, int], float], trial: Trial) -> float | None:
    return None if trial.n is None else errors.get((trial.number, trial.n))
