"""What Ray's answers mean: a task's own error, or the reason for which a worker ended."""

from __future__ import annotations

from ray.exceptions import RayError
from ray.exceptions import RayTaskError

from lambda_search.cluster.connection import first_line
from lambda_search.errors import LambdaSearchError

__all__ = ["own_error", "reason"]


def own_error(error: RayTaskError) -> Exception:
    """What the task raised: our own errors as they are, others with their cause."""
    cause = error.cause
    if isinstance(cause, LambdaSearchError):
        own = type(cause)(cause.cause, cause.hint)
    else:
        own = LambdaSearchError(
            f"A worker failed: {type(cause).__name__}: {first_line(cause)}",
            "Launch again with --debug to see where; nothing that was computed is lost.",
        )
    own.__cause__ = error
    return own


def reason(error: RayError) -> str:
    """Why a worker ended. Where its start failed, Ray's last line says what was raised."""
    lines = str(error).strip().splitlines()
    starting = isinstance(error, RayTaskError) or "creation task" in "".join(lines[:1])
    said = lines[-1].strip() if starting and lines else first_line(error)
    return said.rstrip(".")
