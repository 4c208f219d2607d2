"""What travels with study files to a machine that has no folder in common with this one.

The files themselves, and every file or folder that they or their configs name by a relative path,
as they lie to each other; so the same text finds the same files there. Other names are that
machine's own: absolute ones, those from a home folder on, the hub's, what ships, and what is not
here. It is one archive, made here: Ray's own leaves out what a .gitignore names, which may be the
very images that a study is about.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from zipfile import ZipFile

from lambda_search.errors import UsageError
from lambda_search.files import files_below
from lambda_search.spec.configs import read_options
from lambda_search.spec.configs import with_paths
from lambda_search.spec.places import located
from lambda_search.spec.reading import Written
from lambda_search.spec.reading import read_specs
from lambda_search.spec.reading import study_files

__all__ = ["LARGEST", "packed"]

LARGEST = 500 * 2**20
"""Bytes in all: what Ray takes for a job."""
_CONVERTED = ".safetensors"
"""Of files whose config `models convert` writes beside them."""
_HISTORY = ".git"
"""Of a repository that was cloned: as large as its files, and no part of them."""


def packed(paths: Sequence[Path], archive: Path) -> list[str]:
    """Writes study files and what they name into a ZIP archive.

    Arguments:
        paths: study files, or folders of them.
        archive: is made.

    Returns:
        The study files' names in it.

    Raises:
        UsageError: if one cannot be read, or if all that they name is larger than 500 MiB.
    """
    files = [file.parent.resolve() / file.name for path in paths for file in study_files(path)]
    named = [path for file in files for one in read_specs(file) for path in _carried(one)]
    try:
        several = _within_bounds(dict.fromkeys([*files, *named]))
        root = Path(os.path.commonpath([path.parent for path in (*files, *named)]))
        with ZipFile(archive, "w", strict_timestamps=False) as written:
            for path in several:
                written.write(path, path.relative_to(root))
    except OSError as error:
        raise UsageError(
            f"What the studies name cannot be packed: {error.strerror}: "
            f"{error.filename or archive}.",
            "Check its permissions, and that the temporary folder has room.",
        ) from error
    return [file.relative_to(root).as_posix() for file in files]


def _within_bounds(named: Iterable[Path]) -> list[Path]:
    """All files at `named` and below; raises UsageError if they are larger than 500 MiB."""
    several: dict[Path, None] = {}
    size = 0
    for path in named:
        for file in files_below(path, without=(_HISTORY,)):
            if file not in several:
                several[file] = None
                size += file.stat().st_size
            if size > LARGEST:
                raise UsageError(
                    f"With {path} the studies name more than the {LARGEST // 2**20} MiB that can "
                    "travel with a job.",
                    "Name it by a path from / on that all nodes of the cluster have, or by its "
                    "address.",
                )
    return list(several)


def _carried(study: Written) -> Iterator[Path]:
    """The files and folders here that a study names by relative paths."""
    told, found = study.spec.model, located(study.spec, [study.base])
    for name, place in _pairs(study.spec.model_dump(), found.model_dump()):
        scheme, colon, own = name.rpartition(":")
        path = Path(place.removeprefix(scheme + colon))
        if name != place and _is_relative(own) and path.exists():
            yield _normal(path)
            beside = path.with_suffix(".json")  # what a checkpoint or an extractor is fed
            if path.is_file() and beside.is_file():
                yield _normal(beside)
    if isinstance(told.config, str) and _is_relative(told.config):
        yield from _named_in(Path(str(found.model.config)))
    converted = Path(found.model.checkpoint)
    if told.config is None and converted.suffix == _CONVERTED and _is_relative(told.checkpoint):
        yield from _named_in(converted.with_suffix(".json"))


def _named_in(config: Path) -> Iterator[Path]:
    """The files and folders that a config file, if it is here, names from its own folder on."""
    if not config.is_file():
        return
    names: list[str] = []

    def noted(name: str) -> str:
        names.append(name)
        return name

    with_paths(read_options(config, config.name), noted)
    for name in names:
        if _is_relative(name) and (config.parent / name).exists():
            yield _normal(config.parent / name)


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
