"""The figures about studies, as Plotly objects: pure functions of records.

Every figure wears the light template of `THEMES`; a page that turns dark puts on the other one.
Their legends stand below, never over points.
"""

from __future__ import annotations

from lambda_search.report.figures.diagnosis import norms_figure
from lambda_search.report.figures.diagnosis import ratio_figure
from lambda_search.report.figures.diagnosis import tried_figure
from lambda_search.report.figures.plane import error_figure
from lambda_search.report.figures.plane import plane_figure
from lambda_search.report.figures.progress import cost_figure
from lambda_search.report.figures.progress import rung_figure
from lambda_search.report.figures.schedules import fid_figure
from lambda_search.report.figures.schedules import lambda_figure
from lambda_search.report.figures.schedules import lambdas_figure
from lambda_search.report.figures.style import THEMES

__all__ = [
    "THEMES",
    "cost_figure",
    "error_figure",
    "fid_figure",
    "lambda_figure",
    "lambdas_figure",
    "norms_figure",
    "plane_figure",
    "ratio_figure",
    "rung_figure",
    "tried_figure",
]
