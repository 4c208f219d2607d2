"""The shell command `lambda-search`; heavy imports wait inside the commands that need them."""

from __future__ import annotations

import sys

from lambda_search.cli.app import app
from lambda_search.cli.console import complain
from lambda_search.cli.console import debugging
from lambda_search.errors import LambdaSearchError

__all__ = ["main"]


def main() -> None:
    """Runs the command line; errors are one message and an exit code.

    0 done, 1 failed, 2 usage, 3 no entry in the lookup table, 130 interrupted.
    """
    try:
        app(prog_name="lambda-search")
    except LambdaSearchError as error:
        if debugging():
            raise
        complain(error)
        sys.exit(error.exit_code)
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("lambda_search") or debugging():
            raise
        complain(
            LambdaSearchError(
                f"This command needs the package '{error.name}', which is not installed.",
                "Install it with: pip install 'lambda-search[all]'",
            )
        )
        sys.exit(1)
