"""The shell command `lambda-search`; heavy imports wait inside the commands that need them."""

from __future__ import annotations

import os
import sys
from typing import Any

from typer import Abort
from typer import BadParameter

from lambda_search.cli.app import app
from lambda_search.cli.console import complain
from lambda_search.cli.console import debugging
from lambda_search.cli.console import prepare_streams
from lambda_search.errors import Interrupted
from lambda_search.errors import LambdaSearchError
from lambda_search.errors import PoolLost
from lambda_search.errors import UsageError

__all__ = ["main"]

CommandLineError: Any = BadParameter.__mro__[2]
"""Click's ClickException: Typer brings a Click of its own and does not name it."""


def main() -> None:
    """Runs the command line; errors are one message and an exit code.

    0 done, 1 failed, 2 usage, 3 no entry in the lookup table, 130 interrupted.
    """
    prepare_streams()
    try:
        code = app(prog_name="lambda-search", standalone_mode=False)
        sys.stdout.flush()
        sys.exit(code or 0)
    except BrokenPipeError:  # who reads has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except Abort:
        complain(Interrupted("Nothing was done."))
        sys.exit(130)
    except CommandLineError as error:
        if error.format_message():  # without arguments, the help was shown
            complain(UsageError(error.format_message(), _help(error)))
        sys.exit(error.exit_code)
    except LambdaSearchError as error:
        lost = isinstance(error, PoolLost)
        if debugging() and not lost:
            raise
        complain(error)
        if lost:  # Ray's own end of the process would wait for what is gone, and then abort
            sys.stdout.flush()
            os._exit(error.exit_code)
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


def _help(error: Any) -> str:
    context = getattr(error, "ctx", None)
    return f"See: {'lambda-search' if context is None else context.command_path} --help"
