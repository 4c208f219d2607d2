"""What a study file says of the metric: distances, and on how many images trials are compared."""

from __future__ import annotations

from typing import Literal
from typing import Self

from pydantic import field_validator
from pydantic import model_validator

from lambda_search.setting import OWN
from lambda_search.setting import OWN_NETWORK
from lambda_search.setting import FrozenModel
from lambda_search.setting import own_network
from lambda_search.setting import own_steps
from lambda_search.spec.names import without_keys
from lambda_search.spec.sampling import MOST_STEPS

__all__ = ["CONFIRM_FROM", "EXTRACTOR_FILES", "MeasureSpec", "MetricSpec"]

CONFIRM_FROM = 10**6
"""Sample indices from here on are for confirmation only."""

EXTRACTOR_FILES = (".pt", ".ts")
"""Endings of TorchScript files that are extractors."""


class MeasureSpec(FrozenModel):
    """A Fréchet distance.

    Arguments:
        extractor: the features' extractor; `model`: the study's own network.
        reference: the real images' statistics, or `self:STEPS`: the model's own samples.
    """

    extractor: str
    reference: str

    @field_validator("extractor")
    @classmethod
    def _names_a_block(cls, value: str) -> str:
        without_keys(value)
        if value.startswith((f"{OWN_NETWORK}:", f"{OWN_NETWORK}@")) and own_network(value) is None:
            raise ValueError(
                f"the model's own network is {OWN_NETWORK}, {OWN_NETWORK}:BLOCK or "
                f"{OWN_NETWORK}:BLOCK@LEVEL, LEVEL a noise in units of the signal, like 1.5"
            )
        return value

    @field_validator("reference")
    @classmethod
    def _counts_steps(cls, value: str) -> str:
        if value.startswith(OWN) and not 0 < (own_steps(f"{value}@") or 0) <= MOST_STEPS:
            raise ValueError(
                f"{OWN}STEPS names a whole number of the model's own steps, up to "
                f"{MOST_STEPS:,}, like {OWN}250"
            )
        return value


class MetricSpec(MeasureSpec):
    """What is minimised.

    Arguments:
        name: `fid`.
        extractor, reference: as in `MeasureSpec`.
        also: further distances, told of the same images on confirmation; they rank nothing.
        rungs: numbers of images at which trials are compared, rising; each is a prefix of the
            next. None with `kg`; else one, two and four times the features' width unless given.
    """

    name: Literal["fid"] = "fid"
    also: tuple[MeasureSpec, ...] | None = None
    rungs: tuple[int, ...] | None = None

    @property
    def measures(self) -> tuple[MeasureSpec, ...]:
        """The distance that ranks, then the others."""
        own = MeasureSpec(extractor=self.extractor, reference=self.reference)
        return (own, *(self.also or ()))

    @model_validator(mode="after")
    def _differ(self) -> Self:
        if len(set(self.measures)) < len(self.measures):
            raise ValueError("a pair of extractor and reference stands there twice")
        return self

    @field_validator("rungs")
    @classmethod
    def _rise(cls, value: tuple[int, ...] | None) -> tuple[int, ...] | None:
        if value is None:
            return None
        if not value or list(value) != sorted(set(value)) or value[0] < 16:
            raise ValueError(
                "rungs must rise and start at 16 images or more, like [500, 1000, 2000]"
            )
        if value[-1] > CONFIRM_FROM:
            raise ValueError(f"rungs must end by {CONFIRM_FROM:,}, where confirmation begins")
        return value
