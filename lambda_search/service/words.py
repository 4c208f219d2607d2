"""What the parameters of requests may be, each said once."""

from __future__ import annotations

from typing import Annotated
from typing import TypeAlias

from fastapi import Path
from fastapi import Query

__all__ = ["Name", "Page", "Skip", "Word"]

_SEEN = r"^[^\x00-\x1f\x7f]*$"

Word: TypeAlias = Annotated[str | None, Query(max_length=300, pattern=_SEEN)]
Name: TypeAlias = Annotated[str, Path(max_length=300, pattern=_SEEN)]
Page: TypeAlias = Annotated[int, Query(ge=1, le=500, description="How many at most.")]
Skip: TypeAlias = Annotated[
    int, Query(ge=0, le=10**9, description="How many of them come before.")
]
