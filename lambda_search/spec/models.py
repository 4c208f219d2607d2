"""What a study file says: the fields, their defaults, and what they may be."""

from __future__ import annotations

import itertools
from typing import Any
from typing import Literal
from typing import Self

import yaml
from pydantic import Field
from pydantic import ValidationError
from pydantic import field_validator
from pydantic import model_validator

from lambda_search.errors import UsageError
from lambda_search.errors import without_secrets
from lambda_search.schedule import LambdaSchedule
from lambda_search.setting import OWN
from lambda_search.setting import OWN_NETWORK
from lambda_search.setting import FrozenModel
from lambda_search.setting import SamplerOptions
from lambda_search.setting import Sampling
from lambda_search.setting import own_network
from lambda_search.setting import own_steps
from lambda_search.spec.proof import ConfirmSpec
from lambda_search.spec.searching import DEFAULT_TILT
from lambda_search.spec.searching import Range
from lambda_search.spec.searching import SearchSpec
from lambda_search.spec.turns import QueueSpec

__all__ = [
    "CONFIG_PATHS",
    "CONFIRM_FROM",
    "EXTRACTOR_FILES",
    "ConfirmSpec",
    "MeasureSpec",
    "MetricSpec",
    "ModelSpec",
    "QueueSpec",
    "Range",
    "SamplerSpec",
    "SearchSpec",
    "SourceSpec",
    "StudySpec",
]

CONFIRM_FROM = 10**6
"""Sample indices from here on are for confirmation only."""

CONFIG_PATHS = ("checkpoint", "vae", "prompts", "config")
"""Entries of a framework's config that name files."""

EXTRACTOR_FILES = (".pt", ".ts")
"""Endings of TorchScript files that are extractors."""

_MOST_STEPS = 100_000


def _without_secrets(name: str) -> str:
    """`name`, unless it is an address with a password or a key: studies are stored and shown."""
    if without_secrets(name) != name:
        raise ValueError(
            "the address holds a password or a key; leave it out: keys are read from the "
            "environment"
        )
    return name


class SourceSpec(FrozenModel):
    """Where a model's authors publish its weights.

    Arguments:
        url: of the file, or of the page that leads to it.
        licence: of the weights, as the authors state it.
        note: what else has to be known or fetched.
    """

    url: str = Field(pattern=r"^https://\S+$")
    licence: str
    note: str | None = None


class ModelSpec(FrozenModel):
    """Which pretrained model.

    Arguments:
        framework: how its checkpoint is read.
        checkpoint: file or folder, relative to the study file; an address of either, such as
            s3://BUCKET/FILE; hub name; or `bundled:NAME`.
        config: the framework's own options, or the path of a JSON or YAML file with them.
        dataset: what it was trained on, for people.
        name: its name in the lookup table; the study's name unless given.
        source: where its weights are published; shown where they are missing.
    """

    framework: str
    checkpoint: str
    config: dict[str, Any] | str | None = None
    dataset: str | None = None
    name: str | None = None
    source: SourceSpec | None = None

    @field_validator("checkpoint")
    @classmethod
    def _has_no_secrets(cls, value: str) -> str:
        return _without_secrets(value)


class SamplerSpec(SamplerOptions):
    """Which sampler, how many solver steps, and its options.

    Arguments:
        name: `ancestral`, `ddim`, `euler`, `heun`, or `scheduler` with a `class` of diffusers'.
        steps: T′ ≥ 1.
        guidance: classifier-free guidance scale.
        site: where λ acts.
    """

    name: Literal["ancestral", "ddim", "euler", "heun", "scheduler"]
    steps: int = Field(ge=1, le=_MOST_STEPS, strict=True)
    guidance: float | None = None
    site: Literal["full", "x0_only"] = "full"

    @model_validator(mode="before")
    @classmethod
    def _flatten(cls, value: Any) -> Any:
        """Options may also stand under `options`, as the Python functions have them."""
        if isinstance(value, dict) and isinstance(value.get("options"), dict):
            rest = {name: item for name, item in value.items() if name != "options"}
            return rest | value["options"]
        return value

    @property
    def options(self) -> SamplerOptions:
        """The options alone."""
        return SamplerOptions(**self.told())

    @property
    def sampling(self) -> Sampling:
        """All of it as one value; what is open is open there too."""
        return Sampling(
            sampler=self.name,
            steps=self.steps,
            options=self.options,
            guidance=self.guidance,
            site=self.site,
        )


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
        _without_secrets(value)
        if value.startswith((f"{OWN_NETWORK}:", f"{OWN_NETWORK}@")) and own_network(value) is None:
            raise ValueError(
                f"the model's own network is {OWN_NETWORK}, {OWN_NETWORK}:BLOCK or "
                f"{OWN_NETWORK}:BLOCK@LEVEL, LEVEL a noise in units of the signal, like 1.5"
            )
        return value

    @field_validator("reference")
    @classmethod
    def _counts_steps(cls, value: str) -> str:
        if value.startswith(OWN) and not 0 < (own_steps(f"{value}@") or 0) <= _MOST_STEPS:
            raise ValueError(
                f"{OWN}STEPS names a whole number of the model's own steps, up to "
                f"{_MOST_STEPS:,}, like {OWN}250"
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
