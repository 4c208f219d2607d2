"""What a reader takes along: the line for the shell, for Python, for diffusers, for ComfyUI."""

from __future__ import annotations

import shlex
from dataclasses import dataclass

from starlette.requests import Request

from lambda_search.errors import UsageError
from lambda_search.integrations.comfyui import check_row
from lambda_search.integrations.comfyui.constants import FIELDS
from lambda_search.integrations.comfyui.constants import constant_of
from lambda_search.records import Row
from lambda_search.records import lookup_words
from lambda_search.records import pipeline_line
from lambda_search.records import using_lines

__all__ = ["Copy", "copies_of", "shell_line"]


@dataclass(frozen=True)
class Copy:
    """Something to be copied.

    Arguments:
        name: for whom.
        text: what is copied; "" where there is nothing for them.
        note: what to know about it.
    """

    name: str
    text: str
    note: str = ""


def copies_of(row: Row, request: Request, beside: Row | None = None) -> list[Copy]:
    """The lines that use a row, wherever they are pasted.

    Arguments:
        row: what is used.
        request: of the page.
        beside: a row with k = 0 in the same setting, for programs that take one number.
    """
    line = pipeline_line(row)
    none = "This model is no pipeline of diffusers; take the lines for Python."
    return [
        Copy(
            "diffusers",
            line or "",
            none if line is None else "After: import lambda_search as ls. Then call the pipeline.",
        ),
        Copy("Python", "\n".join(using_lines(row)), _checkpoint(row)),
        Copy("Shell", _shell(row, request), "Shows the row with its evidence."),
        *_comfyui(row, request, beside),
    ]


def shell_line(*words: str) -> str:
    """A command for the shell of whoever reads the page, wherever that is."""
    return shlex.join(["lambda-search", *words])


def _checkpoint(row: Row) -> str:
    if row.provenance.checkpoint:
        return "Samples as the row was measured, with this model's file."
    return "Put the file of your checkpoint for CHECKPOINT."


def _shell(row: Row, request: Request) -> str:
    words = lookup_words(row.setting)
    if row.status != "published":  # every installation has these itself
        words += ["--store", str(request.base_url).rstrip("/")]
    return shell_line(*words)


def _comfyui(row: Row, request: Request, beside: Row | None) -> list[Copy]:
    try:
        check_row(row)
    except UsageError as error:
        return [Copy("ComfyUI", "", error.cause)]
    constant = constant_of(row, beside)
    complaint = FIELDS[0].complaint(constant.value)
    words = ["export", "--format", "comfyui", "--row", row.id[:12]]
    words += ["--to", "ComfyUI/custom_nodes/lambda_search"]
    if row.status != "published":
        words += ["--store", str(request.base_url).rstrip("/")]
    mean = ""
    if constant.row:
        mean = f" It is {constant.evidence}, by the row {constant.row}."
    elif row.schedule.k != 0:
        mean = " It is the mean of λ(i), and nobody measured that."
    held = f" It cannot be set there: {complaint}." if complaint else ""
    return [
        Copy(
            "ComfyUI number",
            f"{constant.value:.7g}",
            f"scaling_factor of the node Epsilon Scaling.{mean}{held}",
        ),
        Copy("ComfyUI node", shell_line(*words), "Writes a node that follows all of λ(i)."),
    ]
