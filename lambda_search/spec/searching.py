"""What a study file says of the search: where λ is looked for, and how."""

from __future__ import annotations

from typing import Any
from typing import Literal
from typing import Self

from pydantic import Field
from pydantic import field_validator
from pydantic import model_validator

from lambda_search.setting import FrozenModel
from lambda_search.spec.shares import Share

__all__ = ["DEFAULT_TILT", "BudgetSpec", "Range", "SearchSpec"]

Range = tuple[float, float]

DEFAULT_TILT: Range = (-0.08, 0.05)
"""Default range of k(T′ − 1), the rise of λ over the grid.

Published optima have 0 to 0.05; the bundled model's, with its fixed small variance, about −0.07.
"""

_TRIALS, _KG_TRIALS = 24, 100
_PARALLEL, _KG_PARALLEL = 4, 3
_BOTH_TRIALS = 3


class BudgetSpec(FrozenModel):
    """What a search may cost.

    Arguments:
        images: of all its rounds; unless given as many as the proof of one candidate is expected
            to take, in twenty later rounds at most, and no fewer than 7,500, than 40 for each
            feature, or than five later rounds take. Of a large number rounds have more each.
    """

    images: int = Field(ge=128, le=1_000_000)


class SearchSpec(FrozenModel):
    """Where and how to look for λ.

    Arguments:
        mean: range of λ̄; a number stands for a range that is one point, here and of `slope`.
        slope: range of k; k(T′ − 1) from −0.08 to 0.05 unless given.
        family: `linear`, `constant` (k = 0, as with `slope: 0`), or `both`: the best constant is
            looked for and proven too, and what k is worth beside it.
        trials: candidates in all, λ = 1 among them; 100 with `kg`, else 24, unless given.
        parallel: candidates proposed together, 4 unless given; a study keeps at most parallel ×
            shards workers busy. With `kg` the schedules of a round, the best so far among them,
            2 to 62, 3 unless given; its first round has eight.
        proposals: `kg`: rounds of the schedules that lower the expected regret most (knowledge
            gradient), until none is left that is better; the ranges are where it begins: where the
            best lies at an edge, it goes on beyond. Or generations that go up rungs: `gp`
            (Gaussian process), `tpe`, `cmaes`, `random`, `qmc` (Sobol), `grid` (three slopes).
            `kg` unless given; `gp` where `metric.rungs` are.
        seed: of the proposals and of all noise.
        tolerance: of `kg`: share of the FID that is not worth more images; 1 % unless given.
        budget: of `kg`: what its rounds may cost.
        score: of `kg`: what ranks in its rounds: `fid`, or `projected`, the Fréchet distance
            with covariances of the reference's leading principal components alone, which fewer
            images tell; unless given, where features are 256 wide or more. Rows and the
            confirmation are of the FID.
        components: of `kg`: how many leading ones; 32 unless given. Rounds have four times as
            many images of each schedule, or more.
        warm_start: whether it begins at what is best for a relative: the same model at other
            steps or with another sampler, else the nearest that was published.
    """

    mean: Range = (0.99, 1.05)
    slope: Range | None = None
    family: Literal["linear", "constant", "both"] = "linear"
    trials: int = Field(default=_KG_TRIALS, ge=2, le=100_000)
    parallel: int = Field(default=_KG_PARALLEL, ge=1, le=1024)
    proposals: Literal["gp", "tpe", "cmaes", "random", "qmc", "grid", "kg"] = "kg"
    seed: int = Field(default=0, ge=0, lt=2**32)
    tolerance: Share | None = None
    budget: BudgetSpec | None = None
    score: Literal["fid", "projected"] | None = None
    components: int | None = Field(default=None, ge=8, le=2048)
    warm_start: bool = False

    @model_validator(mode="before")
    @classmethod
    def _tries_fewer_where_images_are_no_limit(cls, value: Any) -> Any:
        if isinstance(value, dict) and value.get("proposals", "kg") != "kg":
            return {"trials": _TRIALS, "parallel": _PARALLEL} | value
        return value

    @field_validator("mean", "slope", mode="before")
    @classmethod
    def _may_be_a_point(cls, value: Any) -> Any:
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        return (value, value) if is_number else value

    @field_validator("mean", "slope")
    @classmethod
    def _is_not_empty(cls, value: Range | None) -> Range | None:
        if value is not None and value[0] > value[1]:
            raise ValueError(
                f"the range [{value[0]:g}, {value[1]:g}] is empty; put the lower end first"
            )
        return value

    @model_validator(mode="after")
    def _leaves_room(self) -> Self:
        has_one_slope = self.slope is not None and self.slope[0] == self.slope[1]
        if self.mean[0] == self.mean[1] and (has_one_slope or self.family == "constant"):
            raise ValueError("the ranges of mean and slope are single points; widen one of them")
        return self

    @model_validator(mode="after")
    def _has_its_family(self) -> Self:
        low, high = self.slope or (-1.0, 1.0)
        if self.family == "constant" and self.slope not in (None, (0, 0)):
            raise ValueError("family: constant has k = 0; leave slope out, or take another family")
        if self.family != "both":
            return self
        if not low <= 0 <= high:
            raise ValueError(
                "family: both has constants too, k = 0, which is not in the range of slope; widen "
                "it, or take family: linear"
            )
        if low == high:
            raise ValueError("slope: 0 leaves constants alone; leave family: both out")
        if self.mean == (1, 1):
            raise ValueError("mean: 1 leaves λ = 1 as the only constant; leave family: both out")
        if self.trials < _BOTH_TRIALS:
            raise ValueError(
                f"family: both needs {_BOTH_TRIALS} trials or more: λ = 1, a constant, and one "
                "with a slope"
            )
        return self

    @model_validator(mode="after")
    def _begins_where_it_may(self) -> Self:
        if self.warm_start and self.proposals == "grid":
            raise ValueError("a grid begins nowhere; leave warm_start out, or take proposals: gp")
        return self

    @model_validator(mode="after")
    def _has_a_budget_where_it_counts(self) -> Self:
        for name in ("tolerance", "budget", "score", "components"):
            if getattr(self, name) is not None and self.proposals != "kg":
                raise ValueError(f"{name} is for proposals: kg; leave it out, or take these")
        if self.score == "fid" and self.components is not None:
            raise ValueError("the FID has all components; leave components out, or score: fid")
        return self
