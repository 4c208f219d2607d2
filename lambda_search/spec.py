"""Study files: what to search, in YAML.

A file describes one study, or several: where `sampler.steps` is a list, or `matrix` names fields
with lists, there is one study per combination, named after the values (`name-20`, `name-50`, …).
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable
from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any
from typing import Literal
from typing import Self
from typing import TypeVar
from typing import get_args

import yaml
from pydantic import Field
from pydantic import ValidationError
from pydantic import field_validator
from pydantic import model_validator

from lambda_search.errors import UsageError
from lambda_search.schedule import LambdaSchedule
from lambda_search.setting import FrozenModel
from lambda_search.setting import SamplerOptions
from lambda_search.setting import Sampling

__all__ = [
    "CONFIRM_FROM",
    "ConfirmSpec",
    "MeasureSpec",
    "MetricSpec",
    "ModelSpec",
    "Range",
    "SamplerSpec",
    "SearchSpec",
    "SourceSpec",
    "StudySpec",
    "load_specs",
    "parse_specs",
]

Range = tuple[float, float]
Measured = TypeVar("Measured", bound="MeasureSpec")

CONFIRM_FROM = 10**6
"""Sample indices from here on are for confirmation only."""

CONFIG_PATHS = ("checkpoint", "vae", "prompts")
"""Entries of a framework's config that name files."""

EXTRACTOR_FILES = (".pt", ".ts")
"""Endings of TorchScript files that are extractors."""

DEFAULT_TILT: Range = (-0.08, 0.05)
"""Default range of k(T′ − 1), the rise of λ over the grid.

Published optima have 0 to 0.05; the bundled model's, with its fixed small variance, about −0.07.
"""


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
        checkpoint: file, folder, hub name or `bundled:NAME`; relative to the study file.
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


class SamplerSpec(SamplerOptions):
    """Which sampler, how many solver steps, and its options.

    Arguments:
        name: `ancestral`, `ddim`, `euler` or `heun`.
        steps: T′ ≥ 1.
        guidance: classifier-free guidance scale.
        site: where λ acts.
    """

    name: Literal["ancestral", "ddim", "euler", "heun"]
    steps: int = Field(ge=1, le=100_000, strict=True)
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
        return SamplerOptions(
            **{name: getattr(self, name) for name in SamplerOptions.model_fields}
        )

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


class SearchSpec(FrozenModel):
    """Where and how to look for λ.

    Arguments:
        mean: range of λ̄.
        slope: range of k; k(T′ − 1) from −0.08 to 0.05 unless given.
        trials: candidates in all, λ = 1 among them.
        parallel: candidates proposed together; a study keeps at most parallel × shards workers
            busy.
        proposals: `gp` (Gaussian process), `tpe`, `qmc` (Sobol) or `grid` (three slopes).
        seed: of the proposals and of all noise.
    """

    mean: Range = (0.99, 1.05)
    slope: Range | None = None
    trials: int = Field(default=24, ge=2, le=100_000)
    parallel: int = Field(default=4, ge=1, le=1024)
    proposals: Literal["gp", "tpe", "qmc", "grid"] = "gp"
    seed: int = Field(default=0, ge=0, lt=2**32)

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
        if (
            self.mean[0] == self.mean[1]
            and self.slope is not None
            and self.slope[0] == self.slope[1]
        ):
            raise ValueError("the ranges of mean and slope are single points; widen one of them")
        return self


class MeasureSpec(FrozenModel):
    """A Fréchet distance.

    Arguments:
        extractor: the features' extractor.
        reference: the real images' statistics.
    """

    extractor: str
    reference: str


class MetricSpec(MeasureSpec):
    """What is minimised.

    Arguments:
        name: `fid`.
        extractor, reference: as in `MeasureSpec`.
        also: further distances, told of the same images on confirmation; they rank nothing.
        rungs: numbers of images at which trials are compared, rising; each is a prefix of the
            next.
    """

    name: Literal["fid"] = "fid"
    also: tuple[MeasureSpec, ...] | None = None
    rungs: tuple[int, ...] = (500, 1000, 2000)

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
    def _rise(cls, value: tuple[int, ...]) -> tuple[int, ...]:
        if not value or list(value) != sorted(set(value)) or value[0] < 16:
            raise ValueError(
                "rungs must rise and start at 16 images or more, like [500, 1000, 2000]"
            )
        if value[-1] > CONFIRM_FROM:
            raise ValueError(f"rungs must end by {CONFIRM_FROM:,}, where confirmation begins")
        return value


class ConfirmSpec(FrozenModel):
    """The proof on images that the search has not seen.

    Arguments:
        top: how many candidates to confirm.
        samples: images for each of them and for λ = 1.
    """

    top: int = Field(default=3, ge=1, le=100)
    samples: int = Field(default=10_000, ge=16, le=1_000_000)


class StudySpec(FrozenModel):
    """One study: one model, one sampler, one step count."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,99}$")
    model: ModelSpec
    sampler: SamplerSpec
    search: SearchSpec = SearchSpec()
    metric: MetricSpec
    confirm: ConfirmSpec = ConfirmSpec()

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

    def slope_range(self, steps: int | None = None) -> Range:
        """The range of k, its default resolved over `steps` (the study's own unless given)."""
        if self.search.slope is not None:
            return self.search.slope
        span = max((steps or self.sampler.steps) - 1, 1)
        return DEFAULT_TILT[0] / span, DEFAULT_TILT[1] / span

    def to_yaml(self) -> str:
        """The study as a file that `parse_specs` reads back to an equal study."""
        return yaml.safe_dump(self.model_dump(mode="json", exclude_none=True), sort_keys=False)


def load_specs(path: Path) -> list[StudySpec]:
    """The studies of a file, or of all `.yaml` and `.yml` files of a folder.

    Paths inside a file become absolute, relative to the file's folder.

    Raises:
        UsageError: for a missing or unreadable file, and for anything in it that makes no sense.
    """
    if path.is_dir():
        files = sorted(file for file in path.rglob("*") if file.suffix in (".yaml", ".yml"))
        if not files:
            raise UsageError(f"There is no study file in {path}.", "Study files end in .yaml.")
        specs = [spec for file in files for spec in load_specs(file)]
    else:
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            reason = (
                "does not exist"
                if isinstance(error, FileNotFoundError)
                else f"is unreadable ({error})"
            )
            raise UsageError(
                f"The study file {path} {reason}.", "Name a .yaml file or a folder."
            ) from error
        specs = parse_specs(text, source=str(path), base=path.parent)
    repeated = sorted({a.name for a, b in itertools.combinations(specs, 2) if a.name == b.name})
    if repeated:
        raise UsageError(
            f"Several studies are named {', '.join(repeated)}.", "Give each its own name."
        )
    return specs


def parse_specs(text: str, source: str = "study", base: Path | None = None) -> list[StudySpec]:
    """The studies that `text` (YAML) describes; errors name `source`."""
    try:
        document = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError) as error:
        raise UsageError(
            f"{source} is not YAML: {error}", "Check its indentation and quotes."
        ) from error
    if not isinstance(document, dict):
        raise UsageError(f"{source} is not a study.", "It needs name, model, sampler and metric.")
    return [_validate(one, source, base) for one in _expand(document, source)]


def _expand(document: dict[str, Any], source: str) -> list[dict[str, Any]]:
    """One document per combination of the listed values."""
    matrix = document.pop("matrix", None) or {}
    if not isinstance(matrix, Mapping) or not all(
        isinstance(field, str) and isinstance(v, list) and v for field, v in matrix.items()
    ):
        raise UsageError(
            f"{source}: matrix must map fields to lists.",
            "For example: {sampler.steps: [20, 50]}.",
        )
    axes = dict(matrix)
    sampler = document.get("sampler")
    if isinstance(sampler, dict) and isinstance(sampler.get("steps"), list):
        if "sampler.steps" in axes or not sampler["steps"]:
            raise UsageError(
                f"{source}: sampler.steps is an empty list, or stands in matrix too.",
                "Give it once, with one value or more.",
            )
        axes["sampler.steps"] = sampler["steps"]
    expanded = []
    for values in itertools.product(*axes.values()):
        one = _copy(document)
        for field, value in zip(axes, values, strict=True):
            *parents, leaf = field.split(".")
            target = one
            for parent in parents:
                target = target.setdefault(parent, {})
                if not isinstance(target, dict):
                    raise UsageError(
                        f"{source}: matrix names {field}, which is no field.", "Check it."
                    )
            target[leaf] = value
        varying = [
            (field, _slug(value))
            for (field, options), value in zip(axes.items(), values, strict=True)
            if len(options) > 1
        ]
        model = one.get("model")
        if isinstance(model, dict):
            own = [slug for field, slug in varying if field.startswith("model.")]
            model.setdefault("name", "-".join([str(one.get("name", "")), *own]))
        if "name" in one:
            one["name"] = "-".join([str(one["name"]), *(slug for _, slug in varying)])
        expanded.append(one)
    return expanded


def _validate(document: dict[str, Any], source: str, base: Path | None) -> StudySpec:
    try:
        spec = StudySpec.model_validate(document)
    except ValidationError as error:
        problems = "\n".join(f"  {problem}" for problem in _problems(error))
        raise UsageError(
            f"{source} is not a valid study:\n{problems}", "Mend the file and launch again."
        ) from error
    return spec if base is None else _with_absolute_paths(spec, base.resolve())


def _with_absolute_paths(spec: StudySpec, base: Path) -> StudySpec:
    """Paths that exist beside the study file, made absolute; hub names and the like stay."""

    def absolute(name: str) -> str:
        if name.startswith("images:"):
            return f"images:{absolute(name.removeprefix('images:'))}"
        path = base / Path(name).expanduser()
        return str(path) if path.exists() or name.startswith(("./", "../", "~")) else name

    def within(config: dict[str, Any]) -> dict[str, Any]:
        """A framework's own options, with the paths among them made absolute."""
        return {
            name: within(value)
            if isinstance(value, dict)
            else absolute(value)
            if name in CONFIG_PATHS and isinstance(value, str)
            else value
            for name, value in config.items()
        }

    def measured(one: Measured) -> Measured:
        named, colon, place = one.extractor.partition(":")
        if place:
            named = f"{named}:{absolute(place)}"
        elif colon:
            named = one.extractor
        elif "/" in named or named.endswith(EXTRACTOR_FILES):  # else a registered name
            named = absolute(named)
        return one.model_copy(update={"extractor": named, "reference": absolute(one.reference)})

    checkpoint, config = absolute(spec.model.checkpoint), spec.model.config
    if config is not None:
        config = absolute(config) if isinstance(config, str) else within(config)
    model = spec.model.model_copy(update={"checkpoint": checkpoint, "config": config})
    also = spec.metric.also and tuple(measured(one) for one in spec.metric.also)
    metric = measured(spec.metric).model_copy(update={"also": also})
    return spec.model_copy(update={"model": model, "metric": metric})


def _problems(error: ValidationError) -> Iterable[str]:
    """One line per problem, in the words of the study file."""
    for item in error.errors():
        place = ".".join(str(part) for part in item["loc"]) or "the study"
        message = item["msg"].removeprefix("Value error, ")
        match item["type"]:
            case "extra_forbidden":
                known = _fields_beside(item["loc"])
                close = get_close_matches(str(item["loc"][-1]), known, n=1)
                advice = f"did you mean '{close[0]}'?" if close else f"known: {', '.join(known)}"
                yield f"{place}: there is no such field; {advice}"
            case "missing":
                yield f"{place}: is missing"
            case _:
                shown = "" if isinstance(item["input"], dict) else f" (it is {item['input']!r})"
                yield f"{place}: {message[0].lower()}{message[1:]}{shown}"


def _fields_beside(location: tuple[int | str, ...]) -> list[str]:
    model: Any = StudySpec
    for part in location[:-1]:
        if isinstance(part, str):
            model = model.model_fields[part].annotation
            while get_args(model):  # of X | None and tuple[X, ...], X
                model = get_args(model)[0]
    return list(model.model_fields)


def _copy(value: Any) -> Any:
    return {key: _copy(item) for key, item in value.items()} if isinstance(value, dict) else value


def _slug(value: object) -> str:
    text = Path(value).stem if isinstance(value, str) else f"{value}"
    return re.sub(r"[^a-z0-9.]+", "-", text.lower()).strip("-")
