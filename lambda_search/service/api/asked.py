"""What a lookup over HTTP may ask for: the fields of a setting, each once; others are refused."""

from __future__ import annotations

from typing import Annotated
from typing import Any
from typing import Literal

from pydantic import BaseModel
from pydantic import ConfigDict
from pydantic import Field

from lambda_search.service.words import LARGEST
from lambda_search.service.words import SEEN

__all__ = ["Best", "Matches"]

_Text = Annotated[str, Field(max_length=300, pattern=SEEN)]
_Number = Annotated[float, Field(allow_inf_nan=False)]
_Count = Annotated[int, Field(ge=1, le=LARGEST)]


class _Asked(BaseModel):
    """As `ls.best` has it."""

    model_config = ConfigDict(extra="forbid")

    model: _Text = Field(description="The model's name in the store.")
    steps: _Count | None = Field(default=None, description="Solver steps.")
    nfe: _Count | None = Field(default=None, description="Or network evaluations.")
    sampler: _Text | None = None
    extractor: _Text | None = None
    reference: _Text | None = None
    guidance: _Number | None = Field(default=None, description="1 is none.")
    site: Literal["full", "x0_only"] | None = None
    weights: _Text | None = Field(default=None, description="SHA-256, or the start of it.")
    definition: _Text | None = None
    framework: _Text | None = None
    metric: _Text | None = None
    seed_scheme: _Text | None = None
    eta: _Number | None = None
    grid: _Text | None = None
    clip: bool | None = None
    variance: _Text | None = None
    precision: _Text | None = None
    kernels: _Text | None = None
    batch: _Count | None = None
    s_churn: _Number | None = None
    s_min: _Number | None = None
    s_max: _Number | None = None
    s_noise: _Number | None = None
    classifier_scale: _Number | None = None
    class_: _Text | None = Field(default=None, alias="class")

    def told(self) -> dict[str, Any]:
        """What must agree, by field."""
        beside = {"model", *Best.model_fields, *Matches.model_fields} - _Asked.model_fields.keys()
        return self.model_dump(by_alias=True, exclude_none=True, exclude={"model", *beside})


class Best(_Asked):
    """For one answer.

    Arguments:
        nearest: whether the nearest row will do, labelled, where none is exact.
    """

    nearest: bool = False


class Matches(_Asked):
    """For all that compete, in pages."""

    limit: int = Field(default=50, ge=1, le=500, description="How many at most.")
    offset: int = Field(default=0, ge=0, le=10**9, description="How many come before.")
