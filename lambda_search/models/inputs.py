"""What a user hands to a framework, checked: configs against their fields, files as data."""

from __future__ import annotations

from collections.abc import Collection
from collections.abc import Iterable
from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any
from typing import TypeVar

from pydantic import BaseModel
from pydantic import ConfigDict
from pydantic import ValidationError
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from lambda_search.errors import UsageError
from lambda_search.models.pickles.read import read_pickle

__all__ = ["Section", "read_checkpoint", "refuse_misspelt", "tensors", "validated"]

C = TypeVar("C", bound=BaseModel)


class Section(BaseModel):
    """A part of a framework's config; entries that sampling does not need are ignored."""

    model_config = ConfigDict(frozen=True, extra="ignore", allow_inf_nan=False)


def refuse_misspelt(names: Iterable[str], known: Collection[str], complaint: str) -> None:
    """Raises UsageError for a name that is not known but much like one that is.

    What resembles none is another fork's, and not about sampling.
    """
    for name in names:
        close = [] if name in known else get_close_matches(str(name), known, n=1)
        if close:
            raise UsageError(f"{complaint} '{name}'.", f"Did you mean {close[0]}?")


def validated(kind: type[C], config: Mapping[str, Any], framework: str) -> C:
    """`config` as a `kind`.

    Raises:
        UsageError: for its first entry that is missing or wrong.
    """
    try:
        return kind.model_validate(config)
    except ValidationError as error:
        problem = error.errors()[0]
        name = ".".join(str(part) for part in problem["loc"])
        said = problem["msg"].removeprefix("Value error, ")
        raise UsageError(
            f"The {framework} config: {name + ': ' if name else ''}{said}.",
            "Give the config that the checkpoint was trained with.",
        ) from error


def read_checkpoint(path: Path) -> Any:
    """What the file holds: tensors by name (`.safetensors`), or the content of a pickle.

    Raises:
        UsageError: if it cannot be read.
    """
    if path.suffix != ".safetensors":
        return read_pickle(path)
    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise UsageError(
            f"{path} cannot be read: {error}.", "It may be truncated; copy it again."
        ) from error


def tensors(content: Any, source: str) -> dict[str, Tensor]:
    """`content` as a state dict.

    Raises:
        UsageError: if it is none.
    """
    if isinstance(content, Mapping) and all(isinstance(v, Tensor) for v in content.values()):
        return {str(name): value for name, value in content.items()}
    raise UsageError(
        f"{source} is no checkpoint of this framework: it holds no state dict.",
        "Check the path and the framework.",
    )
