"""`report`: one HTML file about a study."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lambda_search.cli.console import err
from lambda_search.cli.options import StoreUrl
from lambda_search.cli.reading import look

__all__ = ["report"]


def report(
    study: Annotated[str, typer.Argument(help="The study's name.")],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help=r"File. \[default: STUDY.html]")
    ] = None,
    store: StoreUrl = None,
) -> None:
    """Write a self-contained page: FID over (mean, slope), rungs, λ per step, cost, images."""
    from lambda_search.report.page import write_report

    path = output or Path(f"{study}.html")
    write_report(look(store), study, path)
    err.print(f"{path} ({path.stat().st_size / 2**20:.1f} MB); open it in a browser")
