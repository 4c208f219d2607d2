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
from safetensors.torch import load_file
from torch import Tensor

from lambda_search.errors import UsageError
from lambda_search.errors import first_line
from lambda_search.errors import printable
from lambda_search.files import check_regular
from lambda_search.files import open_regular
from lambda_search.models.file_kinds import HEAD
from lambda_search.models.file_kinds import is_safetensors
from lambda_search.models.pickles.read import read_pickle
from lambda_search.setting import first_problem
from lambda_search.spec.configs import plain

__all__ = [
    "Section",
    "read_checkpoint",
    "read_safetensors",
    "recorded",
    "refuse_misspelt",
    "validated",
]

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
        place, said, _ = first_problem(error)
        where = f"{printable(place)}: " if place else ""
        raise UsageError(
            f"The {framework} config: {where}{printable(said, 300)}.",
            "Give the config that the checkpoint was trained with.",
        ) from error


def recorded(settings: Mapping[Any, Any], what: str) -> dict[str, Any]:
    """A model's settings of a pickle, copied; whatever shows them may then walk through them.

    Raises:
        UsageError: if they hold anything but plain values, themselves, or too much; `what` is
            their name.
    """
    try:
        found: dict[str, Any] = plain(settings)
    except ValueError as error:
        raise UsageError(
            f"{what} are no plain values: {error}.", "Take the file from the model's authors."
        ) from error
    return found


def read_checkpoint(path: Path) -> Any:
    """What the file holds, whatever its suffix: tensors by name, or the content of a pickle.

    Raises:
        UsageError: if it cannot be read.
    """
    return read_safetensors(path) if holds_safetensors(path) else read_pickle(path)


def holds_safetensors(path: Path) -> bool:
    """Whether that is the file's format, by its content; False where it cannot be opened."""
    try:
        with open_regular(path) as stream:
            return is_safetensors(stream.read(HEAD))
    except OSError:
        return False


def read_safetensors(path: Path) -> dict[str, Tensor]:
    """The tensors of a safetensors file by name.

    Raises:
        UsageError: if it cannot be read.
    """
    try:
        check_regular(path)
        return load_file(path)
    except MemoryError as error:
        cause = f"There is not enough memory to read {path}."
        raise UsageError(cause, "Free some, or use a machine with more.") from error
    except Exception as error:  # damage shows as whatever the library happens to raise
        said = printable(first_line(error))
        raise UsageError(
            f"{path} cannot be read: {said}.", "It may be truncated; download or copy it again."
        ) from error
