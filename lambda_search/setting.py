"""How images are sampled, what is held fixed while λ is searched, and its canonical key.

`Sampling` is all that decides an image besides the model, λ and the image's index; `Setting` adds
the model and the metric. This module alone builds and reads keys. A key is canonical JSON (sorted,
no spaces) in which things of equal effect are spelled alike, so that equal settings have equal
keys and a key can be read back.
"""

from __future__ import annotations

import hashlib
import json
import re
from typing import Any
from typing import Literal
from typing import Self
from typing import TypeAlias

from pydantic import BaseModel
from pydantic import ConfigDict
from pydantic import Field
from pydantic import JsonValue
from pydantic import ValidationError
from pydantic import field_validator

__all__ = [
    "OWN",
    "OWN_NETWORK",
    "SEED_SCHEME",
    "FrozenModel",
    "SamplerOptions",
    "Sampling",
    "Setting",
    "Site",
    "canonical",
    "fingerprint",
    "first_problem",
    "own_network",
    "own_steps",
]

SEED_SCHEME = "philox-numpy-1"
"""Names the definition of noise and labels (`diffusion/noise`); a change of a bit renames it."""

OWN = "self:"
"""What the names of references begin with that are a model's own samples of more steps."""

OWN_NETWORK = "model"
"""The extractor that is the study's own network."""

_EYES = re.compile(r"model(?::([\w.]+))?(?:@(\d+\.?\d*|\.\d+))?", re.ASCII)
_OWN = re.compile(r"self:([1-9]\d{0,5})(@[0-9a-f]*)?", re.ASCII)

Site: TypeAlias = Literal["full", "x0_only"]


class FrozenModel(BaseModel):
    """A value: immutable, and unknown fields are errors."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        allow_inf_nan=False,
        ser_json_inf_nan="constants",
        serialize_by_alias=True,
        validate_by_name=True,
        validate_by_alias=True,
        defer_build=True,  # most commands use few of them
    )


def first_problem(error: ValidationError) -> tuple[str, str, Any]:
    """Where the first of a value's problems lies, with dots; what it is; and what stands there."""
    problem = error.errors()[0]
    place = ".".join(str(part) for part in problem["loc"])
    return place, problem["msg"].removeprefix("Value error, "), problem["input"]


def own_steps(reference: str) -> int | None:
    """STEPS of a reference `self:STEPS`, with its fingerprint or without; None of any other."""
    found = _OWN.fullmatch(reference)
    return None if found is None else int(found[1])


def own_network(extractor: str) -> tuple[str | None, float | None] | None:
    """(BLOCK, LEVEL) of an extractor `model:BLOCK@LEVEL`, either of which may be left out.

    BLOCK is a part of the network by its name in it, LEVEL a noise level in units of the signal,
    σ/α > 0. None of any other extractor.
    """
    found = _EYES.fullmatch(extractor)
    if found is None:
        return None
    return found[1], None if found[2] is None else float(found[2])


class SamplerOptions(FrozenModel):
    """How a sampler runs; a field left open takes the framework authors' own default.

    Arguments:
        eta: DDIM's η ≥ 0: 0 deterministic, 1 as noisy as DDPM.
        grid: the framework's own word for its step grid.
        clip: whether x0 is clipped to [−1, 1] at each step.
        variance: ancestral sampling's variance.
        precision: arithmetic of the network; the state stays in float32 or better.
        kernels: `compiled`: the network's are made by torch.compile; open: torch's own.
        batch: images in a padded batch; a different batch may change the last bits of an image.
        s_churn: EDM's S_churn ≥ 0, the noise of all steps together (arXiv:2206.00364, alg. 2).
        s_min, s_max: the σ between which it is added; s_max open means no upper end.
        s_noise: EDM's S_noise, the standard deviation of the added noise.
        classifier_scale: weight of a noisy classifier's gradient; 0 leaves the classifier out.
        class_: `class` in files and keys: of the sampler `scheduler`, its class in diffusers.
        config: of that scheduler, in diffusers' own words, beside what the model's has; a resolved
            one has all in which it differs from the class's defaults or the model's scheduler.
    """

    eta: float | None = Field(default=None, ge=0, le=1)
    grid: str | None = None
    clip: bool | None = None
    variance: Literal["learned", "small", "large"] | None = None
    precision: Literal["fp32", "tf32", "bf16", "fp16"] = "fp32"
    kernels: Literal["compiled"] | None = None
    batch: int = Field(default=64, ge=1, le=65536)
    s_churn: float | None = Field(default=None, ge=0)
    s_min: float | None = Field(default=None, ge=0)
    s_max: float | None = Field(default=None, gt=0)
    s_noise: float | None = Field(default=None, gt=0)
    classifier_scale: float | None = Field(default=None, ge=0)
    class_: str | None = Field(default=None, alias="class", pattern=r"^[A-Z]\w{0,48}$")
    config: dict[str, JsonValue] | None = None

    def told(self) -> dict[str, Any]:
        """The options by their names in files and keys."""
        fields = SamplerOptions.model_fields.items()
        return {field.alias or name: getattr(self, name) for name, field in fields}

    @field_validator("eta", "s_churn", "s_min", "classifier_scale")
    @classmethod
    def _has_one_zero(cls, value: float | None) -> float | None:
        return None if value is None else value + 0.0  # −0 and 0 are equal and must have one key


class Sampling(FrozenModel):
    """All that decides an image besides the model, λ and its index; one value everywhere.

    Arguments:
        sampler: `ancestral`, `ddim`, `euler`, `heun`, or `scheduler`, one of diffusers that the
            option `class` names.
        steps: solver steps T′.
        options: the sampler's options; resolved ones have every field set that the sampler uses.
        guidance: classifier-free guidance scale; None is the conditional prediction alone, and so
            is 1.
        site: where λ acts: `full` (all that follows from ε) or `x0_only` (the estimate of x0).
        seed_scheme: how noise and labels follow from the seed and the index (`diffusion/noise`).
    """

    sampler: str
    steps: int = Field(ge=1)
    options: SamplerOptions = Field(default_factory=SamplerOptions)
    guidance: float | None = None
    site: Site = "full"
    seed_scheme: str = SEED_SCHEME

    @property
    def solver(self) -> str:
        """The sampler in a word: the class of a scheduler of diffusers, else its name."""
        return self.options.class_ or self.sampler

    @field_validator("guidance")
    @classmethod
    def _is_spelled_once(cls, value: float | None) -> float | None:
        # 1 is no guidance; −0 and 0 are equal
        return None if value is None or value == 1 else value + 0.0


class Setting(Sampling):
    """All that a row of the lookup table holds for.

    Arguments:
        sampler, steps, options, guidance, site, seed_scheme: as in `Sampling`, options resolved.
        model: the model's name in the store.
        weights: SHA-256 of its weights, hexadecimal.
        framework: how the weights are read.
        definition: SHA-256 of the configuration that the weights are run with.
        metric: the metric's name.
        extractor: the extractor's name and fingerprint, `NAME@FINGERPRINT`.
        reference: the reference's name and fingerprint.
    """

    model: str
    weights: str
    framework: str
    definition: str
    metric: str = "fid"
    extractor: str
    reference: str

    @property
    def sampling(self) -> Sampling:
        """How its images are sampled."""
        return Sampling(**{name: getattr(self, name) for name in Sampling.model_fields})

    @property
    def key(self) -> str:
        """The canonical key; settings of equal effect have equal keys. What is open is not in it.

        Where a fingerprint is known it decides, and not the name of the file that has it.
        """
        told = self.model_dump(mode="json", exclude_none=True)
        for name in ("extractor", "reference"):
            _, mark, found = told[name].partition("@")
            told[name] = mark + found if mark else told[name]
        if self.seed_scheme == SEED_SCHEME:
            del told["seed_scheme"]  # the first one, of which keys have never spoken
        return canonical(told)

    @property
    def digest(self) -> str:
        """SHA-256 of the key."""
        return hashlib.sha256(self.key.encode()).hexdigest()

    @classmethod
    def from_key(cls, key: str) -> Self:
        """A setting whose key is `key`; extractor and reference have lost their names."""
        return cls.model_validate_json(key)


def canonical(value: object) -> str:
    """`value` as JSON in its one canonical spelling."""
    return json.dumps(
        value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    )


def fingerprint(value: object) -> str:
    """SHA-256 of the canonical JSON of `value`, hexadecimal: the name of a computed result."""
    return hashlib.sha256(canonical(value).encode()).hexdigest()
