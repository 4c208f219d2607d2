"""The errors of tasks that cannot be done: what is wrong, and what to do."""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Sequence

from lambda_search.errors import LambdaSearchError

__all__ = ["cannot_start", "missing", "poisonous", "unsendable"]

_DEBUG = "Launch again with --debug to see where; nothing that was computed is lost."
_START = (
    "Check that the workers' hosts have memory, room in /dev/shm and the temporary folder, and "
    "the packages that are installed here; a single worker (--workers 1) needs least."
)


def unsendable(reason: str) -> LambdaSearchError:
    """The task cannot travel."""
    return LambdaSearchError(f"A task cannot be sent: {reason}", _DEBUG)


def poisonous(lost: int, reason: str) -> LambdaSearchError:
    """The task has cost that many workers, the last for `reason`."""
    return LambdaSearchError(
        f"A task has lost its worker {lost} times: {reason}",
        "Usually memory: take a smaller sampler.batch, or fewer workers.",
    )


def missing(
    kind: str | None, seconds: float, up: Mapping[str, int], troubles: Sequence[str]
) -> LambdaSearchError:
    """Nobody of `kind` (None: nobody at all) was there for so long; `up` is."""
    what = "A worker" if kind is None else f"A worker on {kind}"
    there = ", ".join(f"{count} on {name}" for name, count in up.items())
    return LambdaSearchError(
        f"{what} is needed, and none has been there for {seconds:.0f} s; "
        f"there: {there or 'no worker at all'}{_and(troubles)}.",
        "Launch again when there is one; nothing that was computed is lost." if up else _START,
    )


def cannot_start(troubles: Sequence[str]) -> LambdaSearchError:
    """No worker comes up, again and again."""
    return LambdaSearchError(f"No worker can start{_and(troubles)}.", _START)


def _and(troubles: Sequence[str]) -> str:
    return f": {'; '.join(troubles)}" if troubles else ""
