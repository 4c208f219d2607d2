"""The errors that a user sees: each has a cause, a next step and an exit code."""

from __future__ import annotations

__all__ = [
    "Diverged",
    "Interrupted",
    "LambdaSearchError",
    "MissingFile",
    "NoScheduleFound",
    "UsageError",
    "first_line",
]

_LONGEST_LINE = 400


class LambdaSearchError(Exception):
    """Something failed; nothing that was computed is lost.

    Arguments:
        cause: one sentence that says what is wrong.
        hint: one sentence that says what to do next.
    """

    exit_code = 1

    def __init__(self, cause: str, hint: str = "") -> None:
        super().__init__(cause, hint)
        self.cause = cause
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.cause}\n{self.hint}" if self.hint else self.cause


class Diverged(LambdaSearchError):
    """A schedule's images or features are not finite."""


class UsageError(LambdaSearchError):
    """What was asked for cannot be done as it was asked."""

    exit_code = 2


class MissingFile(UsageError):
    """A file that is asked for is not on this machine; with it, the same would work."""


class NoScheduleFound(LambdaSearchError, LookupError):
    """The lookup table has no row for what was asked."""

    exit_code = 3


class Interrupted(LambdaSearchError):
    """The user stopped the work."""

    exit_code = 130


def first_line(error: BaseException) -> str:
    """What an error says, in one line; some libraries repeat a whole file in it."""
    return next(iter(str(error).strip().splitlines()), type(error).__name__)[:_LONGEST_LINE]
