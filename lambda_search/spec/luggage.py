"""What travels with study files to a machine that has no folder in common with this one.

The files themselves, and every file or folder that they name by a relative path, as they lie to
each other; so the same text finds the same files there. Other names are that machine's own:
absolute ones, those from a home folder on, the hub's, what ships, and what is not here.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lambda_search.errors import UsageError
from lambda_search.spec.places import attachments
from lambda_search.spec.places import located
from lambda_search.spec.reading import Written
from lambda_search.spec.reading import read_specs
from lambda_search.spec.reading import study_files

__all__ = ["LARGEST", "packed"]

LARGEST = 500 * 2**20
"""Bytes in all: what Ray takes for a job."""


def packed(paths: Sequence[Path], folder: Path) -> list[str]:
    """Lays study files and what they name into an empty folder, as links.

    Arguments:
        paths: study files, or folders of them.
        folder: where they are laid.

    Returns:
        The study files' paths there, relative to `folder`.

    Raises:
        UsageError: if one cannot be read, or if all that they name is larger than 500 MiB.
    """
    files = [Path(os.path.abspath(file)) for path in paths for file in study_files(path)]
    named = [path for file in files for one in read_specs(file) for path in _carried(one)]
    several = list(dict.fromkeys([*files, *named]))
    size = sum(map(_size, several))
    if size > LARGEST:
        largest = max(several, key=_size)
        raise UsageError(
            f"What the studies name has {size / 2**20:,.0f} MiB in all, {largest} the most; "
            f"{LARGEST // 2**20} MiB can travel with a job.",
            "Name it by a path from / on that all nodes of the cluster have, or by its address.",
        )
    root = Path(os.path.commonpath([path.parent for path in several]))
    for path in several:
        there = folder / path.relative_to(root)
        if not any(parent in several for parent in path.parents):  # else it comes with its folder
            there.parent.mkdir(parents=True, exist_ok=True)
            there.symlink_to(path)
    return [str(file.relative_to(root)) for file in files]


def _carried(study: Written) -> Iterator[Path]:
    """The files and folders here that a study names by relative paths."""
    config = study.spec.model.config
    below = study.base / Path(config).parent if isinstance(config, str) else study.base
    for name in attachments(study.spec, study.base):
        if _is_relative(name):
            yield _normal((study.base if name == config else below) / name)
    found = located(study.spec, [study.base])
    for name, place in _pairs(study.spec.model_dump(), found.model_dump()):
        path = place[place.find("/") :]
        if _is_relative(name.rpartition(":")[2]) and name != place and os.path.exists(path):
            yield _normal(Path(path))


def _pairs(before: Any, after: Any) -> Iterator[tuple[str, str]]:
    """The texts of two values of one shape, side by side."""
    if isinstance(before, str) and isinstance(after, str):
        yield before, after
    elif isinstance(before, dict) and isinstance(after, dict):
        for key in before.keys() & after.keys():
            yield from _pairs(before[key], after[key])
    elif isinstance(before, list | tuple) and isinstance(after, list | tuple):
        for one, other in zip(before, after, strict=True):
            yield from _pairs(one, other)


def _is_relative(name: str) -> bool:
    return not os.path.isabs(name) and not name.startswith("~")


def _normal(path: Path) -> Path:
    return Path(os.path.normpath(path))


def _size(path: Path) -> int:
    """Bytes of a file, or of all files in a folder."""
    if not path.is_dir():
        return path.stat().st_size
    return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
