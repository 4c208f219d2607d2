"""`best`: the lookup."""

from __future__ import annotations

from contextlib import closing
from typing import Annotated
from typing import Any

import typer
from rich.text import Text

from lambda_search.cli.console import err
from lambda_search.cli.console import out
from lambda_search.cli.console import print_json
from lambda_search.cli.options import AsJson
from lambda_search.cli.options import StoreUrl
from lambda_search.cli.rows import row_panel
from lambda_search.cli.rows import rows_table
from lambda_search.errors import UsageError
from lambda_search.records import Row
from lambda_search.shell import command
from lambda_search.store.lookup import listed
from lambda_search.store.lookup import matches
from lambda_search.store.lookup import preferred
from lambda_search.store.lookup import under_way
from lambda_search.store.store import Store

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
    constant: Annotated[
        bool,
        typer.Option("--constant", help="Only one number, for a node that takes no schedule."),
    ] = False,
    show_all: Annotated[
        bool, typer.Option("--all", help="All rows that agree, the best first.")
    ] = False,
    store: StoreUrl = None,
    as_json: AsJson = False,
) -> None:
    """Show the best known λ with its evidence and the lines that use it.

    Without --steps or --nfe, list what is known of the model.
    """
    asked: dict[str, Any] = {
        "extractor": extractor,
        "reference": reference,
        "guidance": guidance,
        "site": site,
        "weights": weights,
    }
    wanted = {name: value for name, value in asked.items() if value is not None}
    with closing(Store.look(store)) as opened:
        if opened.missing is not None:
            err.print(
                Text(f"There is no store at {opened.missing} yet; this is what was published.")
            )
        if steps is None and nfe is None:
            if constant:
                raise UsageError("A constant is that of a step count.", "Add --steps N.")
            found = listed(model, sampler, opened, **wanted)
        else:
            found = matches(model, steps, sampler, opened, nfe=nfe, **wanted)
        for one in under_way(opened, model):
            err.print(Text(f"under way: {one}"))
    if steps is None and nfe is None:
        _show_list(found, model, as_json)
    elif constant:
        _show_constant(preferred(found), as_json)
    else:
        _show(found if show_all else [preferred(found)], len(found), show_all, as_json)


def _show(rows: list[Row], known: int, many: bool, as_json: bool) -> None:
    if as_json:
        print_json([one.to_json() for one in rows] if many else rows[0].to_json())
        return
    for one in rows:
        out.print(row_panel(one))
    if known > len(rows):
        err.print(f"{known - len(rows)} more with --all")


def _show_list(rows: list[Row], model: str, as_json: bool) -> None:
    if as_json:
        print_json([one.to_json() for one in rows])
        return
    out.print(rows_table(rows))
    example = command("best", model, "--steps", rows[-1].setting.steps)
    err.print(Text(f"\none of them, with its evidence: {example}"))


def _show_constant(row: Row, as_json: bool) -> None:
    """The mean of a row's λ(i): what is left of a schedule in one number."""
    value, measured = round(row.schedule.mean(len(row.lambdas)), 6), row.schedule.k == 0
    if as_json:
        print_json({"constant": value, "is_the_schedule": measured, "row": row.to_json()})
        return
    out.print(f"{value:.6g}")
    if not measured:
        err.print(
            Text(
                f"That is the mean of λ(i) = {row.schedule}. The schedule was "
                f"{'published' if row.status == 'published' else 'measured'}, not this constant."
            )
        )
