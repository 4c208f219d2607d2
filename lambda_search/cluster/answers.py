"""What Ray says of a worker, as an event: its start, a task's answer, or why it ended."""

from __future__ import annotations

from concurrent.futures import Future
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

from ray.exceptions import RayActorError
from ray.exceptions import RayError
from ray.exceptions import RayTaskError
from ray.exceptions import TaskCancelledError

from lambda_search.cluster.messages import Answered
from lambda_search.cluster.messages import Lost
from lambda_search.cluster.messages import Ready
from lambda_search.cluster.messages import Unfit
from lambda_search.errors import Diverged
from lambda_search.errors import LambdaSearchError
from lambda_search.errors import MissingFile
from lambda_search.errors import first_line
from lambda_search.errors import last_line
from lambda_search.work.storage import PlaceAway

__all__ = ["Done", "Raised", "Reply", "reason"]


@dataclass(frozen=True)
class Done:
    """A task's answer, and the seconds that it took."""

    value: Any
    seconds: float


@dataclass(frozen=True)
class Raised:
    """What a task raised."""

    error: Exception


@dataclass(frozen=True)
class Reply:
    """What Ray says of a worker: of a task, or of its start where `task` is None."""

    worker: int
    task: int | None
    answer: Future[Any]

    def event(self) -> Ready | Lost | Answered | Unfit | None:
        """What it means; nothing, of a task that was taken back.

        The answer is a copy: Ray's own are views that fill its object store.
        """
        try:
            answer = self.answer.result()
        except RayTaskError as error:
            if self.task is None:
                return Lost(self.worker, reason(error))
            own = _own(error)
            if isinstance(own, PlaceAway):
                return Unfit(self.worker, self.task, own)
            return Answered(self.worker, self.task, Raised(own), isinstance(own, Diverged))
        except TaskCancelledError:
            return None
        except RayError as error:
            return Lost(self.worker, reason(error), _is_recalled(error))
        if self.task is None:
            return Ready(self.worker, *answer)
        value, seconds = answer
        return Answered(self.worker, self.task, Done(deepcopy(value), seconds))


def reason(error: RayError) -> str:
    """Why a worker ended. Where its start failed, Ray's last line says what was raised."""
    starting = isinstance(error, RayTaskError) or "creation task" in first_line(error)
    return last_line(error) if starting else first_line(error)


def _is_recalled(error: RayError) -> bool:
    """Whether a worker's host called it back: Ray says so of a node, and of a process SIGTERM."""
    return isinstance(error, RayActorError) and (error.preempted or "SIGTERM" in str(error))


def _own(error: RayTaskError) -> LambdaSearchError:
    """What the task raised: our own errors as they are, others with their cause."""
    cause = error.cause
    if isinstance(cause, MissingFile):  # there, and not here
        own = LambdaSearchError(
            f"A worker's host lacks a file: {cause.cause}",
            f"{cause.hint} Workers look where the driver does: put it there on every host, share "
            "a folder, or name an address that all reach, such as s3://BUCKET/FILE.",
        )
    elif isinstance(cause, LambdaSearchError):
        own = type(cause)(cause.cause, cause.hint)
    else:
        own = LambdaSearchError(
            f"A worker failed: {type(cause).__name__}: {first_line(cause)}.",
            "Launch again with --debug to see where; nothing that was computed is lost.",
        )
    own.__cause__ = error
    return own
