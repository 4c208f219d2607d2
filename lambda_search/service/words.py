"""What the parameters of requests may be, each said once."""

from __future__ import annotations

from typing import Annotated
from typing import TypeAlias

from fastapi import Path
from fastapi import Query

__all__ = ["LARGEST", "SEEN", "TAKEN", "After", "Name", "Page", "Skip", "Typed", "Word"]

SEEN = r"^[^\x00-\x1f\x7f]*$"
"""Texts without characters that are not seen; no database takes all of these."""

TAKEN = r"^[^\x00]*$"
"""Texts that every database takes."""

LARGEST = 2**31 - 1
"""The largest whole number that every database takes."""

After: TypeAlias = Annotated[int | None, Query(ge=0, le=LARGEST)]
Typed: TypeAlias = Annotated[str, Query(max_length=300, pattern=TAKEN)]
Word: TypeAlias = Annotated[str | None, Query(max_length=300, pattern=SEEN)]
Name: TypeAlias = Annotated[str, Path(max_length=300, pattern=SEEN)]
Page: TypeAlias = Annotated[int, Query(ge=1, le=500, description="How many at most.")]
Skip: TypeAlias = Annotated[
    int, Query(ge=0, le=10**9, description="How many of them come before.")
]
