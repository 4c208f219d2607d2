"""What lies in a folder or an archive of images: what is read, and what is left out and why."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from dataclasses import field
from pathlib import Path
from pathlib import PurePosixPath

from lambda_search.errors import UsageError
from lambda_search.metrics.references.decoding import SUFFIXES

__all__ = ["Found", "in_archive", "in_folder"]

_HIDDEN = re.compile(r"\.[^.]")
_MOST_VISITS = 100
"""Of one folder, by links; in a web of them a few levels make billions."""


@dataclass
class Found:
    """The images of a folder or an archive.

    Arguments:
        names: of those that are read, as paths within it.
        left_out: how many others there are, by what they are.
    """

    names: list[str] = field(default_factory=list)
    left_out: Counter[str] = field(default_factory=Counter)

    def add(self, name: str) -> None:
        """A file, which is read or left out for its name."""
        path = PurePosixPath(name)
        if any(_HIDDEN.match(part) for part in path.parts):
            self.left_out["hidden"] += 1
        elif path.suffix.lower() in SUFFIXES:
            self.names.append(name)
        else:
            self.left_out[path.suffix.lower() or "without a suffix"] += 1

    def __str__(self) -> str:
        kinds = Counter(PurePosixPath(name).suffix.lower() for name in self.names)
        told = f"{len(self.names):,} images: {_counted(kinds)}"
        return f"{told}; left out: {_counted(self.left_out)}" if self.left_out else told


def in_archive(names: Iterable[str]) -> Found:
    """Sorts the files of an archive; of several with one name the last is read, as Python does."""
    found = Found()
    for name, count in sorted(Counter(names).items()):
        found.add(name)
        if count > 1:
            found.left_out["earlier of the same name"] += count - 1
    return found


def in_folder(folder: Path) -> Found:
    """Sorts all files below `folder`; links are followed, but not back to a folder above them.

    Raises:
        UsageError: for a folder that may not be read, a link to nowhere, and a pipe or a device
            with an image's name.
    """
    found, visits = Found(), Counter[tuple[int, int]]()
    waiting = [(folder, "", frozenset[tuple[int, int]]())]
    while waiting:
        place, name, above = waiting.pop()
        try:
            here, entries = _identity(place), list(os.scandir(place))
        except OSError as error:
            raise UsageError(
                f"{f'{name} in ' * bool(name)}{folder} cannot be read: {error.strerror}.",
                "Allow it to be read, or take it away; its images would be missing.",
            ) from error
        visits[here] += 1
        if here in above:
            found.left_out["links back to a folder above"] += 1
            continue
        if visits[here] > _MOST_VISITS:
            raise UsageError(
                f"Links in {folder} lead to {name} more than {_MOST_VISITS} times.",
                "Take them away.",
            )
        for entry in entries:
            below = f"{name}/{entry.name}" if name else entry.name
            kind = _kind(place / entry.name)
            if _HIDDEN.match(entry.name):
                found.left_out["hidden"] += 1
            elif kind == "folder":
                waiting.append((place / entry.name, below, above | {here}))
            elif kind == "file":
                found.add(below)
            elif kind == "link to nowhere" or PurePosixPath(below).suffix.lower() in SUFFIXES:
                raise UsageError(f"{below} in {folder} is a {kind}.", "Mend it, or take it away.")
            else:
                found.left_out["pipes and devices"] += 1
    found.names.sort()
    return found


def _identity(folder: Path) -> tuple[int, int]:
    stat = folder.stat()
    return stat.st_dev, stat.st_ino


def _kind(path: Path) -> str:
    """What is at `path`, links followed."""
    if path.is_dir():
        return "folder"
    if path.is_file():
        return "file"
    return "pipe or a device" if path.exists() else "link to nowhere"


def _counted(counts: Counter[str]) -> str:
    return ", ".join(f"{count:,} {what}" for what, count in sorted(counts.items()))
