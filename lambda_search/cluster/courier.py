"""Files that the driver's host has and a worker's lacks, brought there through Ray's object store.

An actor beside the driver reads them in blocks, each of which is put into the store once for all
hosts that read side by side. A host keeps what it got in its data folder by the content, whole or
not at all: one of its workers fetches it, under a lock, and checks each file's SHA-256.
"""

from __future__ import annotations

import hashlib
import itertools
import os
import tempfile
from collections.abc import Callable
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from typing import NamedTuple

import ray
from filelock import FileLock
from ray.exceptions import RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from lambda_search.errors import LambdaSearchError
from lambda_search.errors import last_line
from lambda_search.files import files_below
from lambda_search.files import private_folder
from lambda_search.files import sha256_of
from lambda_search.files import sweep
from lambda_search.paths import fetched_folder

__all__ = ["Courier", "Entry", "Files", "carried", "received", "start_courier"]

_RAY: Any = ray
_NAME = "lambda-search-files"
_BLOCK = 16 * 2**20
_KEPT = 4
"""Blocks that stay in the object store, for hosts that come next."""

_MOST_FILES = 1000
"""More are no model, but images: a reference that every host should have, or its moments."""


class Entry(NamedTuple):
    """A file: its name, from the folder on in which the place lies that was asked for."""

    name: str
    size: int
    sha256: str


class Files:
    """What lies on this host."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[object, tuple[Entry, ...]]] = {}

    def contents(self, place: str) -> tuple[Entry, ...]:
        """The files that make up what `place` names; none if there is nothing, or too much.

        With a `.safetensors` comes the config that `models convert` wrote beside it.
        """
        files = dict(itertools.islice(_files(Path(place)), _MOST_FILES + 1))
        if len(files) > _MOST_FILES:
            return ()
        files = dict(sorted(files.items()))
        stamp = [(name, _stamp(path)) for name, path in files.items()]
        known = self._known.get(place)
        if known is None or known[0] != stamp:
            entries = (Entry(name, it.stat().st_size, sha256_of(it)) for name, it in files.items())
            known = self._known[place] = stamp, tuple(entries)
        return known[1]

    def read(self, place: str, name: str, number: int) -> bytes:
        """A block of one of the files; b"" after its end."""
        with (Path(place).parent / name).open("rb") as stream:
            stream.seek(number * _BLOCK)
            return stream.read(_BLOCK)


class Courier(Files):
    """The same for other hosts; `ray.remote` makes an actor of it."""

    def __init__(self) -> None:
        super().__init__()
        self._blocks: dict[tuple[str, str, int], Any] = {}

    def block(self, place: str, name: str, number: int) -> list[Any]:
        """As `read`, in the object store: a list of one reference."""
        key = place, name, number
        found = self._blocks.pop(key, None) or _RAY.put(self.read(*key))
        self._blocks[key] = found
        while len(self._blocks) > _KEPT:
            del self._blocks[next(iter(self._blocks))]
        return [found]


def start_courier() -> Any:
    """An actor beside the driver; it ends with the driver, or when it is killed."""
    here = NodeAffinitySchedulingStrategy(_RAY.get_runtime_context().get_node_id(), soft=False)
    actor = _RAY.remote(num_cpus=0, max_restarts=3, max_task_retries=3)(Courier)
    return actor.options(name=_NAME, get_if_exists=True, scheduling_strategy=here).remote()


def carried(place: Path) -> Path | None:
    """A copy on this host of what `place` names on the driver's; None if there is nothing there.

    Raises:
        LambdaSearchError: as `received`, and if it cannot be read there.
    """
    try:
        courier = _RAY.get_actor(_NAME)
    except ValueError:  # one host alone: nothing has to be carried
        return None

    def answer(asked: Any) -> Any:
        try:
            return _RAY.get(asked)
        except RayError as error:  # an OSError of that host too: it is not this one's
            raise LambdaSearchError(
                f"{place} cannot be brought from the driver's host: {last_line(error)}.",
                "Check there that it can be read, and leave it alone meanwhile.",
            ) from error

    def block(name: str, number: int) -> bytes:
        (found,) = answer(courier.block.remote(str(place), name, number))
        content: bytes = answer(found)
        return content

    return received(place, answer(courier.contents.remote(str(place))), block)


def received(
    place: Path, contents: tuple[Entry, ...], block: Callable[[str, int], bytes]
) -> Path | None:
    """Writes files to the data folder, unless they are there already.

    Arguments:
        place: where they lie on the other host.
        contents: which they are.
        block: a file's content, block by block.

    Returns:
        What stands for `place` here; None if there are no files.

    Raises:
        LambdaSearchError: if what comes is not what it should be, or cannot be written.
    """
    if not contents:
        return None
    digest = hashlib.sha256(repr((place.name, sorted(contents))).encode()).hexdigest()[:32]
    folder = fetched_folder() / digest
    try:
        private_folder(folder.parent)
        with FileLock(f"{folder}.lock"):
            if not folder.is_dir():
                _write(folder, place, contents, block)
    except OSError as error:
        raise LambdaSearchError(
            f"{place}, which the driver's host has, cannot be kept in {folder.parent}: "
            f"{error.strerror or error}.",
            "Free some space there, or move the data folder with LAMBDA_SEARCH_HOME.",
        ) from error
    return folder / place.name


def _write(
    folder: Path, place: Path, contents: tuple[Entry, ...], block: Callable[[str, int], bytes]
) -> None:
    sweep(folder)
    with tempfile.TemporaryDirectory(
        dir=folder.parent, prefix=f"{folder.name}.", suffix=".part"
    ) as temporary:
        for entry in contents:
            path = Path(temporary, "whole", entry.name)
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("wb") as stream:
                for number in range(-(-entry.size // _BLOCK)):
                    stream.write(block(entry.name, number))
            if sha256_of(path) != entry.sha256:
                raise LambdaSearchError(
                    f"{path.name} came otherwise than it lies on the driver's host.",
                    "Launch again, and leave the file alone meanwhile.",
                )
        os.replace(Path(temporary, "whole"), folder)


def _files(place: Path) -> Iterator[tuple[str, Path]]:
    """The files at `place` and below it, by their names from its folder on."""
    for path in files_below(place):
        yield str(path.relative_to(place.parent)), path
    beside = place.with_suffix(".json")
    if place.suffix == ".safetensors" and place.is_file() and beside.is_file():
        yield beside.name, beside


def _stamp(path: Path) -> tuple[int, int]:
    told = path.stat()
    return told.st_size, told.st_mtime_ns
