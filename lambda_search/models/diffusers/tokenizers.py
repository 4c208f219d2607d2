"""Tokenizers of transformers, from files that are bounded and name no code."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lambda_search.errors import UsageError
from lambda_search.errors import first_line
from lambda_search.models.diffusers.files import check_inside
from lambda_search.models.diffusers.files import place_of
from lambda_search.models.json_files import Unreadable
from lambda_search.models.json_files import read_bytes
from lambda_search.models.json_files import read_json

__all__ = ["read_tokenizer", "tokenizer_files"]

_MOST_BYTES = 1 << 24
"""Of a file; CLIP's largest has 2 MB."""


def read_tokenizer(name: str, folder: Path, part: str, longest: int) -> Any:
    """The tokenizer that lies in a part's folder.

    Arguments:
        name: of its class in transformers.
        folder: of the pipeline.
        part: of it.
        longest: number of tokens that its text encoder takes.

    Raises:
        UsageError: if it cannot be read, or makes more tokens than that.
    """
    import transformers

    place = place_of(folder, part)
    for file in tokenizer_files(folder, part):
        check_inside(folder, file)
        if file.suffix == ".json":
            read_json(file, _MOST_BYTES)
            continue
        try:
            read_bytes(file, _MOST_BYTES)
        except (OSError, Unreadable) as error:
            raise _refused(folder, part, f"{file.name}: {first_line(error)}") from error
    try:
        found = getattr(transformers, name).from_pretrained(
            place, local_files_only=True, trust_remote_code=False
        )
    except Exception as error:  # the library lets through whatever a broken file provokes
        raise _refused(folder, part, first_line(error)) from error
    if not 0 < found.model_max_length <= longest:
        raise UsageError(
            f"{part} makes texts of {found.model_max_length} tokens, and its text encoder takes "
            f"at most {longest}.",
            "Take the tokenizer that the text encoder was trained with.",
        )
    return found


def tokenizer_files(folder: Path, part: str) -> list[Path]:
    """All files of a tokenizer."""
    return sorted(place_of(folder, part).glob("*.*"))


def _refused(folder: Path, part: str, why: str) -> UsageError:
    return UsageError(
        f"The pipeline in {folder} cannot be read: {part}: {why}.",
        "A file may be missing or truncated; fetch or copy it again.",
    )
