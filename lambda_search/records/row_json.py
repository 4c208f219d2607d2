"""A row as JSON has it: the fields, their types and ranges, each said once.

`Row.to_json` writes it and `Row.from_json` reads it; the JSON schema of exported files is made of
it.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from pydantic import AfterValidator
from pydantic import AwareDatetime
from pydantic import ConfigDict
from pydantic import Field

from lambda_search.records.provenance import Origin
from lambda_search.records.provenance import Provenance
from lambda_search.records.row_parts import Origins
from lambda_search.records.row_parts import RowStatus
from lambda_search.setting import FrozenModel
from lambda_search.setting import Setting

__all__ = ["RetractionJson", "RowJson", "StepJson"]

_LARGEST_COUNT = 2**31 - 1
"""Of images: what every database holds."""


def _of_our_time(moment: datetime) -> datetime:
    if not 1970 < moment.year < 9999:  # what every database and zone can hold
        raise ValueError("the year is impossible")
    return moment


Moment = Annotated[AwareDatetime, AfterValidator(_of_our_time)]
Positive = Annotated[float, Field(gt=0)]
Ends = tuple[float, float]


class StepJson(FrozenModel):
    """λ at a step, and the noise there: σ/α, and what the network is told; null if unknown."""

    timestep: float | None
    sigma: Positive | None
    lambda_: Positive = Field(alias="lambda")


class RetractionJson(FrozenModel):
    """A row taken back."""

    reason: str = Field(min_length=1)
    at: Moment


class RowJson(FrozenModel):
    """A row of the lookup table.

    `id` is made from the content, which is all but `model`, `created` and `retraction`.
    """

    model_config = ConfigDict(defer_build=True)

    id: str = Field(pattern="^[0-9a-f]{64}$")
    b: float
    k: float
    lambdas: tuple[Positive, ...] = Field(min_length=1)
    table: tuple[StepJson, ...] = Field(min_length=1)
    setting: Setting
    status: RowStatus
    verdict: str
    n: int = Field(ge=1, le=_LARGEST_COUNT)
    fid: float = Field(ge=0)
    fid_interval: Ends | None
    baseline_fid: float = Field(gt=0)
    baseline_interval: Ends | None
    gain: float | None
    gain_interval: Ends | None
    gain_level: float | None = Field(gt=0, lt=1)
    nfe: int = Field(ge=1)
    provenance: Provenance
    origin: Origin
    model: Origins
    created: Moment
    retraction: RetractionJson | None
