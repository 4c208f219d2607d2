"""What a study file says of the pretrained model."""

from __future__ import annotations

from typing import Any

from pydantic import Field
from pydantic import field_validator

from lambda_search.setting import FrozenModel
from lambda_search.spec.names import without_keys

__all__ = ["CONFIG_PATHS", "ModelSpec", "SourceSpec"]

CONFIG_PATHS = ("checkpoint", "vae", "prompts", "config")
"""Entries of a framework's config that name files."""


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
        return without_keys(value)
