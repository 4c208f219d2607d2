"""What is held fixed while λ is searched, and its canonical key.

This module alone builds and reads keys. A key is canonical JSON (sorted, no spaces), so that equal
settings have equal keys and a key can be read back.
"""

from __future__ import annotations

import hashlib
import json
from typing import Literal
from typing import Self

from pydantic import BaseModel
from pydantic import ConfigDict
from pydantic import Field
from pydantic import field_validator

__all__ = ["FrozenModel", "SamplerOptions", "Setting", "canonical", "fingerprint"]


class FrozenModel(BaseModel):
    """A value: immutable, and unknown fields are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class SamplerOptions(FrozenModel):
    """How a sampler runs; a field left open takes the framework authors' own default.

    Arguments:
        eta: DDIM's η ≥ 0: 0 deterministic, 1 as noisy as DDPM.
        grid: the framework's own word for its step grid.
        clip: whether x0 is clipped to [−1, 1] at each step.
        variance: ancestral sampling's variance.
        precision: arithmetic of the network; the state stays in float32 or better.
        batch: images in a padded batch; a different batch may change the last bits of an image.
        s_churn: EDM's S_churn ≥ 0, the noise of all steps together (arXiv:2206.00364, alg. 2).
        s_min, s_max: the σ between which it is added; s_max open means no upper end.
        s_noise: EDM's S_noise, the standard deviation of the added noise.
        classifier_scale: weight of a noisy classifier's gradient; 0 leaves the classifier out.
    """

    eta: float | None = Field(default=None, ge=0, le=1)
    grid: str | None = None
    clip: bool | None = None
    variance: Literal["learned", "small", "large"] | None = None
    precision: Literal["fp32", "bf16", "fp16"] = "fp32"
    batch: int = Field(default=64, ge=1, le=65536)
    s_churn: float | None = Field(default=None, ge=0)
    s_min: float | None = Field(default=None, ge=0)
    s_max: float | None = Field(default=None, gt=0)
    s_noise: float | None = Field(default=None, gt=0)
    classifier_scale: float | None = Field(default=None, ge=0)

    @field_validator("eta", "s_churn", "s_min", "classifier_scale")
    @classmethod
    def _has_one_zero(cls, value: float | None) -> float | None:
        return None if value is None else value + 0.0  # −0 and 0 are equal and must have one key


class Setting(FrozenModel):
    """All that a row of the lookup table holds for.

    Arguments:
        model: the model's name in the store.
        weights: SHA-256 of its weights, hexadecimal.
        framework: how the weights are read.
        definition: SHA-256 of the configuration that the weights are run with.
        sampler: `ancestral`, `ddim`, `euler` or `heun`.
        options: the sampler's options, every field that the sampler uses resolved.
        steps: solver steps T′.
        guidance: classifier-free guidance scale, or None.
        site: where λ acts.
        metric: the metric's name.
        extractor: the extractor's name and fingerprint.
        reference: the reference's name and fingerprint.
    """

    model: str
    weights: str
    framework: str
    definition: str
    sampler: str
    options: SamplerOptions
    steps: int = Field(ge=1)
    guidance: float | None = None
    site: Literal["full", "x0_only"] = "full"
    metric: str = "fid"
    extractor: str
    reference: str

    @field_validator("guidance")
    @classmethod
    def _has_one_zero(cls, value: float | None) -> float | None:
        return None if value is None else value + 0.0  # −0 and 0 are equal and must have one key

    @property
    def key(self) -> str:
        """The canonical key; equal settings have equal keys. What is not set is not in it."""
        return canonical(self.model_dump(mode="json", exclude_none=True))

    @classmethod
    def from_key(cls, key: str) -> Self:
        """The setting whose key is `key`."""
        return cls.model_validate_json(key)


def canonical(value: object) -> str:
    """`value` as JSON in its one canonical spelling."""
    return json.dumps(
        value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    )


def fingerprint(value: object) -> str:
    """SHA-256 of the canonical JSON of `value`, hexadecimal: the name of a computed result."""
    return hashlib.sha256(canonical(value).encode()).hexdigest()
