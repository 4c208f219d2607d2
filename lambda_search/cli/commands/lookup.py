"""`best` and `rows`: the lookup."""

from __future__ import annotations

from typing import Annotated
from typing import Any

import typer
from rich.text import Text

from lambda_search.cli.console import err
from lambda_search.cli.console import out
from lambda_search.cli.console import print_json
from lambda_search.cli.options import AsJson
from lambda_search.cli.options import StoreUrl
from lambda_search.cli.rows import match_line
from lambda_search.cli.rows import match_panel
from lambda_search.cli.rows import row_panel
from lambda_search.cli.rows import rows_table
from lambda_search.cli.rows import standing_line
from lambda_search.errors import UsageError
from lambda_search.records import Match
from lambda_search.records import Row
from lambda_search.records import match_json
from lambda_search.records import row_json
from lambda_search.remote import Service
from lambda_search.shell import command
from lambda_search.store import lookup
from lambda_search.store.misses import under_way
from lambda_search.store.opened import asking
from lambda_search.store.store import Store

__all__ = ["best", "rows"]


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
    nearest: Annotated[
        bool,
        typer.Option(
            "--nearest",
            help="Where no row is exact: the nearest in steps, sampler and guidance, or between "
            "two step counts of euler or ddim; it says which.",
        ),
    ] = False,
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
    counted: dict[str, Any] = {"steps": steps, "nfe": nfe, "sampler": sampler} | wanted
    is_list = steps is None and nfe is None
    if is_list and (constant or nearest):
        what = "A constant" if constant else "The nearest row"
        raise UsageError(f"{what} is that of a step count.", "Add --steps N.")
    if nearest and show_all:
        raise UsageError("--nearest gives one answer.", "Leave out one of --nearest and --all.")
    with asking(store) as opened:
        if opened.missing is not None:
            err.print(
                Text(f"There is no store at {opened.missing} yet; this is what was published.")
            )
        for one in _going(opened, model):
            err.print(Text(f"under way: {one}"))
        if is_list:
            _show_list(lookup.listed(model, sampler, opened, **wanted), model, as_json)
        elif show_all:
            _show_all(lookup.matches(model, store=opened, **counted), as_json)
        elif nearest:
            _show(lookup.nearest(model, store=opened, **counted), opened, constant, True, as_json)
        else:
            found = Match.of(lookup.best(model, store=opened, **counted))
            _show(found, opened, constant, False, as_json)
            more = lookup.how_many(model, store=opened, **counted) - 1
            if more > 0 and not (constant or as_json):
                err.print(f"{more:,} more with --all")


def rows(
    ids: Annotated[
        list[str], typer.Argument(metavar="ID…", help="Rows by their ids, or the start of them.")
    ],
    store: StoreUrl = None,
    as_json: AsJson = False,
) -> None:
    """Show rows by their ids, superseded and retracted ones too, and what became of them."""
    with asking(store) as opened:
        found = [opened.row(id) for id in ids]
        instead = [opened.instead_of(row.id) for row in found]
    if as_json:
        print_json(
            [
                row_json(row) | {"superseded_by": None if other is None else other.id}
                for row, other in zip(found, instead, strict=True)
            ]
        )
        return
    for row, other in zip(found, instead, strict=True):
        out.print(row_panel(row))
        out.print(standing_line(row, other))


def _going(store: Store | Service, model: str) -> list[str]:
    return store.under_way(model) if isinstance(store, Service) else under_way(store, model)


def _show(
    found: Match, opened: Store | Service, constant: bool, labelled: bool, as_json: bool
) -> None:
    """An answer; `labelled` where another than an exact one was allowed."""
    told = match_json(found) if labelled else row_json(found.rows[0])
    if constant:
        is_row = found.kind == "exact"
        beside = lookup.constant_beside(found.rows[0], opened) if is_row else None
        _show_constant(found, beside, {"match" if labelled else "row": told}, as_json)
    elif as_json:
        print_json(told)
    else:
        out.print(match_panel(found))


def _show_all(found: list[Row], as_json: bool) -> None:
    if as_json:
        print_json([row_json(one) for one in found])
        return
    for one in found:
        out.print(row_panel(one))


def _show_list(found: list[Row], model: str, as_json: bool) -> None:
    if as_json:
        print_json([row_json(one) for one in found])
        return
    out.print(rows_table(found))
    example = command("best", model, "--steps", found[-1].setting.steps)
    err.print(Text(f"\none of them, with its evidence: {example}"))


def _show_constant(found: Match, beside: Row | None, told: dict[str, Any], as_json: bool) -> None:
    """The best measured constant, or the mean of λ(i): what is left of a schedule in one number.

    Arguments:
        found: the schedule.
        beside: a row with k = 0 in the same setting.
        told: what it is as JSON.
        as_json: whether that is wanted.
    """
    if beside is not None:
        found, told = Match.of(beside), told | {"constant_row": row_json(beside)}
    value, is_all = round(found.schedule.mean(found.steps), 6), found.schedule.k == 0
    if as_json:
        is_row = is_all and beside is None
        print_json({"constant": value, "is_the_schedule": is_row} | told)
        return
    out.print(f"{value:.6g}")
    if beside is not None:
        words = beside.worth_words or "another schedule is ranked above it"
        err.print(Text(f"{beside.status}, row {beside.id[:12]}; {words}"))
    if found.kind != "exact":
        err.print(match_line(found))
    if not is_all:
        known = {"interpolated": "interpolated", "published": "published"}
        word = known.get(found.kind) or known.get(found.rows[0].status, "measured")
        err.print(
            Text(
                f"That is the mean of λ(i) = {found.schedule}. The schedule was {word}, not this "
                "constant."
            )
        )
