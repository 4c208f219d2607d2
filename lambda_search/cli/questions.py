"""Questions on a terminal, for what no file says; elsewhere nothing is asked."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

import typer
from rich.text import Text

from lambda_search.cli.console import complain
from lambda_search.cli.console import err
from lambda_search.errors import LambdaSearchError

if TYPE_CHECKING:
    from lambda_search.models.registry import ConfigNeeded

__all__ = ["Questions"]


class Questions:
    """Asks for what only the user knows; an empty answer leaves it open.

    Arguments:
        wanted: whether to ask at all: data on stdout must stay data.
    """

    def __init__(self, wanted: bool) -> None:
        self._wanted = wanted and sys.stdin.isatty() and sys.stdout.isatty()

    def config(self, needed: ConfigNeeded) -> str | None:
        """What a model's config lacks."""
        return self._ask(f"{needed.cause} {needed.hint}", needed.entry or "config")

    def reference(self, check: Callable[[str], str]) -> str | None:
        """Which images are real; `check` raises LambdaSearchError for what cannot be."""
        words = (
            "Which images are real? A folder, a .zip, statistics in an .npz, or a name such as "
            "clean-fid:cifar10/train/32; without any, self:250 measures agreement with the "
            "model's own samples of 250 steps."
        )
        while (answer := self._ask(words, "reference")) is not None:
            try:
                return check(answer)
            except LambdaSearchError as error:
                complain(error)
        return None

    def _ask(self, words: str, name: str) -> str | None:
        if not self._wanted:
            return None
        err.print(Text(words))
        answer = typer.prompt(f"{name} (empty: fill it in later)", "", show_default=False)
        return answer.strip() or None
