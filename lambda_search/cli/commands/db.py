"""`db`: what is done to a store as a whole."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.text import Text

from lambda_search.cli.console import out
from lambda_search.cli.console import print_json
from lambda_search.cli.console import working
from lambda_search.cli.examples import example
from lambda_search.cli.options import AsJson
from lambda_search.cli.options import StoreUrl
from lambda_search.exchange import import_rows

__all__ = ["app"]

app = typer.Typer(no_args_is_help=True, help="What is done to a store as a whole.")


@app.callback()
def _group() -> None:
    """What is done to a store as a whole."""


def import_(
    source: Annotated[
        str,
        typer.Argument(metavar="FILE|URL", help="A file of rows that `export` wrote, or its URL."),
    ],
    store: StoreUrl = None,
    as_json: AsJson = False,
) -> None:
    """Read rows from a file or address into the store, all of them or none.

    They keep their ids, evidence and origin, and answer like rows that were measured here. One
    that is broken, impossible, or of another version is named, and nothing is imported. A service
    gets a long file in pieces, each whole or not at all.
    """
    with working(f"importing {source}"):
        told = import_rows(source, store)
    if as_json:
        print_json({"new": told.new, "doubles": told.doubles, "taken_back": told.taken_back})
        return
    words = [f"{told.new:,} new rows", f"{told.doubles:,} that were here"]
    if told.taken_back:
        words.append(f"{told.taken_back:,} of these taken back now")
    out.print(Text(", ".join(words)))


app.command("import", epilog=example("db import"))(import_)
