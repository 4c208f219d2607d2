"""Where words go: data to stdout, everything else to stderr."""

from __future__ import annotations

import json
import os
from contextlib import AbstractContextManager
from contextlib import nullcontext
from typing import Any

from rich.console import Console
from rich.text import Text

from lambda_search.errors import LambdaSearchError

__all__ = ["complain", "debugging", "err", "out", "print_json", "working"]

out = Console(highlight=False, soft_wrap=True)
err = Console(stderr=True, highlight=False, soft_wrap=True)


def complain(error: LambdaSearchError, about: str = "") -> None:
    """Shows an error, of the study `about` if it is named: the cause, then the next step."""
    word = "stopped" if error.exit_code == 130 else "error"
    named = f"{about}: " if about else ""
    err.print(Text.assemble((f"{word}: ", "bold red"), f"{named}{error.cause}"))
    for note in getattr(error, "__notes__", ()):
        err.print(Text(note))
    if error.hint:
        err.print(Text(error.hint, style="dim"))


def debugging() -> bool:
    """Whether tracebacks are wanted: --debug, or LAMBDA_SEARCH_DEBUG."""
    return os.environ.get("LAMBDA_SEARCH_DEBUG", "0").lower() not in ("", "0", "false", "no")


def print_json(value: Any) -> None:
    """JSON on stdout."""
    print(json.dumps(value, indent=2, ensure_ascii=False))


def working(what: str) -> AbstractContextManager[object]:
    """A spinner with `what` on a terminal, nothing elsewhere."""
    return err.status(what) if err.is_terminal else nullcontext()
