"""The config of a pipeline: of text-to-image models, which prompts, and how large images are."""

from __future__ import annotations

from io import TextIOWrapper
from pathlib import Path
from typing import Any

from pydantic import ConfigDict
from pydantic import Field

from lambda_search.errors import UsageError
from lambda_search.files import open_regular
from lambda_search.models.checkpoints import read_config
from lambda_search.models.inputs import Section
from lambda_search.models.inputs import validated
from lambda_search.models.registry import Config
from lambda_search.models.registry import ConfigNeeded
from lambda_search.paths import locate

__all__ = ["NoiseConfig", "TextConfig", "read_noise_config", "read_text_config"]

_NEXT = "Set model.config to {prompts: ./prompts.txt}, one prompt a line, or to a list of prompts."


class NoiseConfig(Section):
    """What a folder that samples from noise alone may leave open.

    Arguments:
        variant: of the weights, where there are several.
        scheduler: in diffusers' own words, `_class_name` among them; None: the folder's own.
    """

    model_config = ConfigDict(extra="forbid")

    variant: str | None = None
    scheduler: dict[str, Any] | None = None


class TextConfig(Section):
    """What to draw.

    Arguments:
        prompts: one for each label.
        negative_prompt: what guidance leads away from; None: the pipeline's own, `""` or zeros.
        height, width: of the images, in pixels; None: what the network was made for.
        variant: of the weights, where there are several.
        config: of a single file, the folder or hub name of a pipeline with its configuration.
    """

    model_config = ConfigDict(extra="forbid")

    prompts: tuple[str, ...] = Field(min_length=1)
    negative_prompt: str | None = None
    height: int | None = Field(default=None, ge=1)
    width: int | None = Field(default=None, ge=1)
    variant: str | None = None
    config: str | None = None


def read_noise_config(config: Config) -> NoiseConfig:
    """`config` of a folder that samples from noise alone: mostly there is none.

    Raises:
        UsageError: for entries that such a folder cannot have.
    """
    given = {} if config is None else read_config(config)
    if not given.keys() <= NoiseConfig.model_fields.keys():
        raise UsageError(
            "A diffusers folder that samples from noise alone needs no config.",
            "Leave model.config out.",
        )
    return validated(NoiseConfig, given, "diffusers")


def read_text_config(config: Config) -> TextConfig:
    """`config` with the prompts of the file that it may name.

    Arguments:
        config: a mapping, or a JSON or YAML file with it. `prompts` is a list, or a text file with
            one prompt a line, where blank lines are skipped; its path starts at the config file,
            if there is one.

    Raises:
        UsageError: if there are no prompts, or the config cannot be read.
    """
    if config is None:
        raise ConfigNeeded("A text-to-image pipeline needs prompts.", _NEXT, "prompts")
    given = read_config(config)
    if isinstance(given.get("prompts"), str):
        base = Path(config).parent if isinstance(config, str | Path) else None
        given["prompts"] = _read_prompts(given["prompts"], base)
    try:
        checked = validated(TextConfig, given, "text-to-image")
    except UsageError as error:
        raise UsageError(error.cause, _NEXT) from error
    blank = [number for number, prompt in enumerate(checked.prompts) if not prompt.strip()]
    if blank:
        raise UsageError(f"Prompt {blank[0]} of the config is blank.", "Leave it out.")
    return checked


def _read_prompts(name: str, base: Path | None) -> list[str]:
    """The lines of a text file that are not blank."""
    path = locate(name, base)
    try:
        if path is None:
            raise FileNotFoundError("there is no such file")
        with TextIOWrapper(open_regular(path), "utf-8-sig") as stream:
            lines = stream.read().split("\n")  # no other sign ends a line
    except (OSError, UnicodeDecodeError) as error:
        said = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise UsageError(
            f"The prompts {name} cannot be read: {said.rstrip('.')}.", _NEXT
        ) from error
    prompts = [line.strip() for line in lines if line.strip()]
    if not prompts:
        raise UsageError(f"There are no prompts in {name}.", _NEXT)
    return prompts
