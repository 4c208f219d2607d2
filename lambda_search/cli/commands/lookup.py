"""`best`: the lookup."""

from __future__ import annotations

from typing import Annotated
from typing import Any

import typer

from lambda_search.cli.console import err
from lambda_search.cli.console import out
from lambda_search.cli.console import print_json
from lambda_search.cli.options import AsJson
from lambda_search.cli.options import StoreUrl
from lambda_search.cli.rows import row_panel
from lambda_search.paths import store_url
from lambda_search.store.address import missing_file
from lambda_search.store.lookup import matches
from lambda_search.store.lookup import preferred

__all__ = ["best"]


def best(
    model: Annotated[str, typer.Argument(help="The model's name in the store.")],
    steps: Annotated[int | None, typer.Option(min=1, help="Solver steps.")] = None,
    nfe: Annotated[
        int | None,
        typer.Option(min=1, help="Instead of --steps: network evaluations (heun: 2·steps − 1)."),
    ] = None,
    sampler: Annotated[str | None, typer.Option(help=r"ancestral, ddim … \[default: any]")] = None,
    extractor: Annotated[
        str | None, typer.Option(help=r"Only rows of this extractor. \[default: any]")
    ] = None,
    reference: Annotated[
        str | None, typer.Option(help=r"Only rows of this reference. \[default: any]")
    ] = None,
    guidance: Annotated[
        float | None, typer.Option(help=r"Only this guidance scale; 1 is none. \[default: any]")
    ] = None,
    site: Annotated[
        str | None, typer.Option(help=r"Only this site: full or x0_only. \[default: any]")
    ] = None,
    weights: Annotated[
        str | None, typer.Option(help=r"Only weights of this SHA-256 or its start.")
    ] = None,
    show_all: Annotated[
        bool, typer.Option("--all", help="All rows that agree, the best first.")
    ] = False,
    store: StoreUrl = None,
    as_json: AsJson = False,
) -> None:
    """Show the best known λ with its evidence and the line that uses it."""
    asked: dict[str, Any] = {
        "extractor": extractor,
        "reference": reference,
        "guidance": guidance,
        "site": site,
        "weights": weights,
    }
    wanted = {name: value for name, value in asked.items() if value is not None}
    found = matches(model, steps, sampler, store, nfe=nfe, **wanted)
    shown = found if show_all else [preferred(found)]
    missing = missing_file(store_url(store))
    if missing is not None:
        err.print(f"There is no store at {missing} yet; this is what was published.")
    if as_json:
        print_json([one.to_json() for one in shown] if show_all else shown[0].to_json())
        return
    for one in shown:
        out.print(row_panel(one))
    if len(found) > len(shown):
        err.print(f"{len(found) - len(shown)} more with --all")
