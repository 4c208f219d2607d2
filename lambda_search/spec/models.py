"""What a study file says, all together: the fields of one study, and what they may be at once."""

from __future__ import annotations

import itertools
from typing import Any
from typing import Self

import yaml
from pydantic import Field
from pydantic import ValidationError
from pydantic import model_validator

from lambda_search.errors import UsageError
from lambda_search.schedule import LambdaSchedule
from lambda_search.setting import FrozenModel
from lambda_search.setting import own_steps
from lambda_search.spec.measuring import MetricSpec
from lambda_search.spec.pretrained import ModelSpec
from lambda_search.spec.proof import ConfirmSpec
from lambda_search.spec.sampling import SamplerSpec
from lambda_search.spec.searching import DEFAULT_TILT
from lambda_search.spec.searching import Range
from lambda_search.spec.searching import SearchSpec
from lambda_search.spec.turns import QueueSpec

__all__ = ["StudySpec"]


class StudySpec(FrozenModel):
    """One study: one model, one sampler, one step count."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,99}$")
    model: ModelSpec
    sampler: SamplerSpec
    search: SearchSpec = Field(default_factory=SearchSpec)
    metric: MetricSpec
    confirm: ConfirmSpec = Field(default_factory=ConfirmSpec)
    queue: QueueSpec | None = None

    @model_validator(mode="before")
    @classmethod
    def _goes_up_rungs_where_there_are_some(cls, value: Any) -> Any:
        """A file with rungs that names no proposals means those that have them."""
        match value:
            case {"metric": {"rungs": [*_]}, "search": {**search}}:
                return value | {"search": {"proposals": "gp"} | search}
            case {"metric": {"rungs": [*_]}} if "search" not in value:
                return value | {"search": {"proposals": "gp"}}
        return value

    @model_validator(mode="after")
    def _lambda_stays_positive(self) -> Self:
        for mean, slope in itertools.product(self.search.mean, self.slope_range()):
            schedule = LambdaSchedule.from_mean(mean, slope, self.sampler.steps)
            lowest = min(schedule.at(0), schedule.at(self.sampler.steps - 1))
            if lowest <= 0:
                raise ValueError(
                    f"λ reaches {lowest:.3g} at mean {mean:g} and slope {slope:g} over "
                    f"{self.sampler.steps} steps; narrow search.mean or search.slope"
                )
        return self

    @model_validator(mode="after")
    def _has_slopes_of_both_families(self) -> Self:
        if self.search.family == "both" and self.sampler.steps == 1:
            raise ValueError("one step has a constant alone; leave family: both out")
        return self

    @model_validator(mode="after")
    def _own_samples_have_more_steps(self) -> Self:
        for one in self.metric.measures:
            steps, own = self.sampler.steps, own_steps(one.reference)
            if own is not None and own <= steps:
                raise ValueError(
                    f"the reference {one.reference} has no more steps than the {steps} that are "
                    f"measured against it; take several times as many"
                )
        return self

    @model_validator(mode="after")
    def _has_rungs_or_rounds(self) -> Self:
        if self.search.proposals == "kg" and self.metric.rungs is not None:
            raise ValueError(
                "proposals kg goes in rounds and has no rungs; leave metric.rungs out, or take "
                "other proposals"
            )
        return self

    def slope_range(self, steps: int | None = None) -> Range:
        """The range of k, its default resolved over `steps` (the study's own unless given)."""
        if self.search.family == "constant":
            return 0.0, 0.0
        if self.search.slope is not None:
            return self.search.slope
        span = max((steps or self.sampler.steps) - 1, 1)
        return DEFAULT_TILT[0] / span, DEFAULT_TILT[1] / span

    def renamed(self, name: str) -> StudySpec:
        """The study under another name; its model keeps the one it has in the lookup table.

        Raises:
            UsageError: for what is no name.
        """
        model = self.model.model_copy(update={"name": self.model.name or self.name})
        try:
            return StudySpec.model_validate(self.model_dump() | {"name": name, "model": model})
        except ValidationError as error:
            raise UsageError(
                f"'{name}' is no name of a study.",
                "Take up to 100 lower-case letters, digits, dots, hyphens and underscores.",
            ) from error

    def to_yaml(self) -> str:
        """The study as a file that `parse_specs` reads back to an equal study."""
        told = self.model_dump(mode="json", exclude_none=True)
        for word, usual in (("family", "linear"), ("warm_start", False)):
            if told["search"][word] == usual:  # older releases do not know these words
                del told["search"][word]
        return yaml.safe_dump(told, sort_keys=False)
