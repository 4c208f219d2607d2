"""Bounds of what a config or a file may ask for, checked before anything of it is built.

A network is built, without memory for its weights, before they are compared with the file's: its
number of parts must not be the file's to choose. Published models stay far below all of these.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated
from typing import TypeVar

import torch
from pydantic import Field
from torch import nn

from lambda_search.errors import UsageError
from lambda_search.errors import first_line

__all__ = [
    "MOST_CHANNELS",
    "MOST_CLASSES",
    "MOST_TIMESTEPS",
    "Channels",
    "Classes",
    "Multipliers",
    "Pixels",
    "Resolutions",
    "Timesteps",
    "built",
    "check_parts",
]

MOST_PIXELS, MOST_CHANNELS, MOST_CLASSES, MOST_TIMESTEPS = 4096, 1 << 16, 1 << 20, 100_000
_MOST_LEVELS, _MOST_PARTS = 12, 512

Pixels = Annotated[int, Field(ge=1, le=MOST_PIXELS)]
"""Height and width."""
Channels = Annotated[int, Field(ge=1, le=MOST_CHANNELS)]
Classes = Annotated[int, Field(ge=1, le=MOST_CLASSES)]
Timesteps = Annotated[int, Field(ge=2, le=MOST_TIMESTEPS)]
Multipliers = Annotated[
    tuple[Annotated[int, Field(ge=1, le=1024)], ...],
    Field(min_length=1, max_length=_MOST_LEVELS),
]
"""Each level's width, in units of the first."""
Resolutions = Annotated[tuple[int, ...], Field(max_length=64)]
"""Those that attention works on."""

N = TypeVar("N", bound=nn.Module)


def check_parts(levels: int, blocks: int, each: int = 1) -> None:
    """Raises ValueError for a network with more blocks than any has.

    Arguments:
        levels: of the network.
        blocks: of each level.
        each: parts of each block.
    """
    if levels > _MOST_LEVELS or levels * blocks * each > _MOST_PARTS:
        raise ValueError(
            f"{levels} levels of {blocks} blocks are more than any network has "
            f"({_MOST_LEVELS} levels, {_MOST_PARTS} blocks)"
        )


def built(make: Callable[[], N], framework: str) -> N:
    """What `make` builds, on the meta device: without memory for its weights.

    Raises:
        UsageError: if its arguments do not fit together.
    """
    try:
        with torch.device("meta"):
            return make()
    except (TypeError, ValueError, ArithmeticError, RuntimeError, AssertionError) as error:
        raise UsageError(
            f"The {framework} config describes no network: {first_line(error)}.",
            "Give the config that the checkpoint was trained with.",
        ) from error
