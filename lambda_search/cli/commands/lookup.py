"""`best`: the lookup."""

from __future__ import annotations

from typing import Annotated
from typing import Any

import typer

from lambda_search.cli.console import out
from lambda_search.cli.console import print_json
from lambda_search.cli.options import AsJson
from lambda_search.cli.options import StoreUrl
from lambda_search.cli.rows import row_panel
from lambda_search.store.lookup import best as look_up

__all__ = ["best"]


def best(
    model: Annotated[str, typer.Argument(help="The model's name in the store.")],
    steps: Annotated[int, typer.Option(min=1, help="Solver steps.")],
    sampler: Annotated[str | None, typer.Option(help="ancestral, ddim … [default: any]")] = None,
    extractor: Annotated[
        str | None, typer.Option(help="Only rows of this extractor. [default: any]")
    ] = None,
    reference: Annotated[
        str | None, typer.Option(help="Only rows of this reference. [default: any]")
    ] = None,
    store: StoreUrl = None,
    as_json: AsJson = False,
) -> None:
    """Show the best known λ with its evidence and the line that uses it."""
    asked: dict[str, Any] = {"extractor": extractor, "reference": reference}
    wanted = {name: value for name, value in asked.items() if value is not None}
    found = look_up(model, steps, sampler, store, **wanted)
    if as_json:
        print_json(found.to_json())
    else:
        out.print(row_panel(found))
