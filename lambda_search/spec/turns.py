"""What a study file says of its turn in the queue; it decides no numbers."""

from __future__ import annotations

from pydantic import Field

from lambda_search.setting import FrozenModel

__all__ = ["QueueSpec"]


class QueueSpec(FrozenModel):
    """When drivers take a study, among others that wait.

    Arguments:
        priority: the highest first; 0 unless given, as those have that say nothing. A posted study
            may not ask for more than 0.
        user: on whose behalf. Among equal priorities that user's study is next of whom the fewest
            are driven. Those that name nobody count as one user's, and so do all that are posted
            to a service, whomever they name.
    """

    priority: int = Field(default=0, ge=-1000, le=1000)
    user: str | None = Field(default=None, pattern=r"^[\w.@+-]{1,100}$")
