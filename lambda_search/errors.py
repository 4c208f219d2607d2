"""The errors that a user sees: each has a cause, a next step and an exit code."""

from __future__ import annotations

import re

__all__ = [
    "Conflict",
    "Diverged",
    "EpsilonScalingWarning",
    "Interrupted",
    "LambdaSearchError",
    "MissingFile",
    "NoScheduleFound",
    "NotFetched",
    "PoolLost",
    "UnknownName",
    "UsageError",
    "first_line",
    "last_line",
    "printable",
    "without_secrets",
]

_SECRET = r"[\w.-]*(?:passw|pwd|secret|token|api_?key|access_?key|credential|signature)[\w.-]*"
_HIDDEN = (
    (r"(?i)\b(https?://)[^\s/?#]*@", r"\1***@"),  # a token may stand for the user
    (r"(?i)\b([a-z][a-z0-9+.-]*://[^\s:/?#@]*):[^\s/?#]*@", r"\1:***@"),
    (rf"(?i)([?&;\s]{_SECRET}=)('[^']*'|[^\s&;#]+)", r"\1***"),
    (r"(?i)([?&]sig=)[^\s&#]+", r"\1***"),  # Azure's signatures
)
_LONGEST_LINE = 400


class LambdaSearchError(Exception):
    """Something failed; nothing that was computed is lost.

    Arguments:
        cause: one sentence that says what is wrong.
        hint: one sentence that says what to do next.
    """

    exit_code = 1

    def __init__(self, cause: str, hint: str = "") -> None:
        self.cause = without_secrets(cause)
        self.hint = without_secrets(hint)
        super().__init__(self.cause, self.hint)

    def __str__(self) -> str:
        return f"{self.cause}\n{self.hint}" if self.hint else self.cause


class Diverged(LambdaSearchError):
    """A schedule's images or features are not finite."""


class UsageError(LambdaSearchError):
    """What was asked for cannot be done as it was asked."""

    exit_code = 2


class UnknownName(UsageError):
    """Nothing in the store has the name that was asked for."""


class Conflict(UsageError):
    """What was asked for cannot be done as things stand; they may change."""


class MissingFile(UsageError):
    """A file that is asked for is not on this machine; with it, the same would work."""


class NotFetched(MissingFile):
    """A file that is not on this machine, and that is fetched where that is allowed."""


class NoScheduleFound(LambdaSearchError, LookupError):
    """The lookup table has no row for what was asked."""

    exit_code = 3


class Interrupted(LambdaSearchError):
    """The user stopped the work."""

    exit_code = 130


class PoolLost(LambdaSearchError):
    """All workers are gone for good, with what could bring others; no study is to blame.

    Ray is left in a state in which it neither works nor lets go: the process had better end.
    """


class EpsilonScalingWarning(UserWarning):
    """λ means something else here than where it was found, or did once."""


def first_line(error: BaseException) -> str:
    """What an error says first, without secrets and full stop; some repeat a whole file."""
    return _line(error, 0)


def last_line(error: BaseException) -> str:
    """What an error says last, likewise: some libraries tell first where."""
    return _line(error, -1)


def _line(error: BaseException, which: int) -> str:
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return printable(without_secrets(lines[which].strip()), _LONGEST_LINE).rstrip(".")


def printable(name: str, longest: int = 100) -> str:
    """A name from a file, short, and fit for a terminal."""
    shown = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in name[:longest])
    return shown + "…" * (len(name) > longest)


def without_secrets(text: str) -> str:
    """`text` with *** for the passwords and tokens of the addresses in it."""
    for pattern, instead in _HIDDEN:
        text = re.sub(pattern, instead, text)
    return text
