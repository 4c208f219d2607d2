"""What studies came to: their rows, or what went wrong."""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Sequence

import typer

from lambda_search.cli.console import complain
from lambda_search.cli.console import out
from lambda_search.cli.console import print_json
from lambda_search.cli.rows import row_panel
from lambda_search.errors import LambdaSearchError
from lambda_search.records import Row

__all__ = ["raise_errors", "show_rows"]


def show_rows(rows: Sequence[Row], as_json: bool) -> None:
    """Shows what studies came to."""
    if as_json:
        print_json([row.to_json() for row in rows])
        return
    for row in rows:
        out.print(row_panel(row))


def raise_errors(errors: Mapping[str, Exception]) -> None:
    """Raises the only error, or shows them all; the exit code is the first one's.

    Arguments:
        errors: by the names of their studies.
    """
    if len(errors) == 1:
        raise next(iter(errors.values()))
    for name, error in errors.items():
        if not isinstance(error, LambdaSearchError):
            error = LambdaSearchError(f"{type(error).__name__}: {error}")
        complain(error, name)
    if errors:
        raise typer.Exit(getattr(next(iter(errors.values())), "exit_code", 1))
