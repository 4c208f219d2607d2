"""Which of a file's studies is meant."""

from __future__ import annotations

import sys
from pathlib import Path

from rich.prompt import Prompt

from lambda_search.cli.console import err
from lambda_search.errors import UsageError
from lambda_search.spec import Written
from lambda_search.studies import written

__all__ = ["chosen"]


def chosen(file: Path, steps: int | None, name: str | None = None) -> Written:
    """The one study of `file` that is meant; where several are left, a terminal is asked.

    Raises:
        UsageError: if none fits, or several do and there is nobody to ask.
    """
    several = written(file)
    fitting = [
        one
        for one in several
        if steps in (None, one.spec.sampler.steps) and name in (None, one.spec.name)
    ]
    known = ", ".join(f"{one.spec.name} ({one.spec.sampler.steps} steps)" for one in several)
    if not fitting:
        raise UsageError(f"{file} has no such study.", f"It has: {known}.")
    if len(fitting) == 1:
        return fitting[0]
    names = [one.spec.name for one in fitting]
    if not (sys.stdin.isatty() and err.is_terminal):
        raise UsageError(
            f"{file} has {len(several)} studies: {known}.", "Name one with --steps or --study."
        )
    answer = Prompt.ask("Which study", choices=names, default=names[0], console=err)
    return fitting[names.index(answer)]
