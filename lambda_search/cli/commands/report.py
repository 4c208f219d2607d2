"""`report`: a page about a study, or about several."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from lambda_search.cli.console import err
from lambda_search.cli.options import StoreUrl
from lambda_search.cli.reading import look

__all__ = ["report"]


def report(
    studies: Annotated[
        list[str],
        typer.Argument(
            metavar="STUDY...",
            help="Studies: names, patterns like 'a-*', or a for a-10, a-20 and so on.",
        ),
    ],
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help=r"File or folder. \[default: STUDY.html]"),
    ] = None,
    single: Annotated[
        bool,
        typer.Option(
            "--single",
            envvar="LAMBDA_SEARCH_SINGLE",
            help="One file to mail (5 MB); else plotly.min.js lies beside the pages.",
        ),
    ] = False,
    store: StoreUrl = None,
) -> None:
    """Write a page about a study, or one about several: gain over (mean, slope), trials, cost."""
    from lambda_search.report.writing import write_report

    first, *others = write_report(look(store), studies, output, single)
    size = first.stat().st_size
    weight = f"{size / 2**20:.1f} MB" if size >= 2**20 else f"{size / 2**10:.0f} kB"
    err.print(Text(f"{first} ({weight}); open it in a browser"))
    if others:
        err.print(Text(f"with a page for each of its {len(others)} studies beside it"))
