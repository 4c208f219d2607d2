"""`db`: what is done to a store as a whole."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text

from lambda_search.cli.console import out
from lambda_search.cli.console import print_json
from lambda_search.cli.console import working
from lambda_search.cli.examples import example
from lambda_search.cli.options import AsJson
from lambda_search.cli.options import StoreUrl
from lambda_search.errors import UsageError
from lambda_search.exchange import import_rows
from lambda_search.paths import store_url
from lambda_search.shell import command
from lambda_search.store.address import Address
from lambda_search.store.condition import Condition
from lambda_search.store.condition import condition
from lambda_search.store.copying import backup
from lambda_search.store.copying import copy
from lambda_search.store.engine import HEAD
from lambda_search.store.store import Store

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


def init(store: StoreUrl = None) -> None:
    """Make the tables of a store, in a new SQLite file or an empty database.

    Commands that write do it by themselves; this is for who prepares a database for others.
    """
    out.print(Text(_brought_up_to_date(condition(store), store)))


def upgrade(store: StoreUrl = None) -> None:
    """Bring the tables of a store up to date; nothing in it is lost.

    Commands that open it do it by themselves. A backup first is good practice: `db backup` of a
    file, pg_dump of a server.
    """
    was = condition(store)
    if was.schema is None:
        raise UsageError(
            f"There are no tables of lambda_search at {was.address}.",
            f"Make them with: {command('db', 'init')}",
        )
    out.print(Text(_brought_up_to_date(was, store)))


def status(store: StoreUrl = None, as_json: AsJson = False) -> None:
    """Show which database a store is, of which schema, and what it holds; nothing is changed."""
    found = condition(store)
    if as_json:
        print_json(
            {
                "store": found.address,
                "database": found.database,
                "schema": found.schema,
                "newest": HEAD,
                "rows": dict(found.rows),
            }
        )
        return
    facts = Table(box=None, show_header=False, pad_edge=False)
    facts.add_row("store", found.address)
    facts.add_row("database", found.database or "none yet")
    facts.add_row("schema", _schema(found))
    for table, count in found.rows.items():
        facts.add_row(table, f"{count:,}")
    out.print(facts)


def copy_(
    source: Annotated[str, typer.Argument(metavar="FROM", help="The store's path or URL.")],
    target: Annotated[str, typer.Argument(metavar="TO", help="An empty database, or a new file.")],
    as_json: AsJson = False,
) -> None:
    """Copy a whole store to another database, from SQLite to PostgreSQL or back.

    Studies, trials, rows and pictures keep their ids and moments. The features of unfinished
    studies lie in files beside the store, and are found from either.
    """
    with working(f"copying to {Address.of(store_url(target))}"):
        counts = copy(store_url(source), store_url(target))
    _show_copied(counts, as_json)


def backup_(
    file: Annotated[Path, typer.Argument(help="A new SQLite file.")],
    store: StoreUrl = None,
    as_json: AsJson = False,
) -> None:
    """Copy a store, whatever its database, to a new file, while others go on writing.

    The file is a store: name it with --store, or copy it back with `db copy`.
    """
    with working(f"copying to {file}"):
        counts = backup(store_url(store), file)
    _show_copied(counts, as_json)


def _brought_up_to_date(was: Condition, store: str | None) -> str:
    Store(store).close()
    if was.is_current:
        return f"{was.address} is up to date (schema {HEAD})"
    if was.schema is None:
        return f"{was.address} has its tables now (schema {HEAD})"
    return f"{was.address} is up to date now (schema {was.schema} before, {HEAD} now)"


def _schema(found: Condition) -> str:
    if found.schema is None:
        return f"no tables yet; make them with: {command('db', 'init')}"
    if found.is_newer:
        return f"{found.schema}, of a newer lambda_search: update it"
    if found.is_current:
        return f"{found.schema}, up to date"
    return f"{found.schema} of {HEAD}; bring it up to date with: {command('db', 'upgrade')}"


def _show_copied(counts: Mapping[str, int], as_json: bool) -> None:
    if as_json:
        print_json(dict(counts))
        return
    told = (f"{count:,} in {table}" for table, count in counts.items() if count)
    out.print(Text(f"copied {sum(counts.values()):,} rows: {', '.join(told)}"))


for _name, _command in (
    ("init", init),
    ("upgrade", upgrade),
    ("status", status),
    ("copy", copy_),
    ("backup", backup_),
    ("import", import_),
):
    app.command(_name, epilog=example(f"db {_name}"))(_command)
