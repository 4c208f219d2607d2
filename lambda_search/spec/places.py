"""The files that a study names: where they lie, and which of them travel with it.

A study may be submitted on a host that has none of its weights. Its config and prompt files, which
are small, are stored with it; every other relative name is looked up where it is driven.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from typing import TypeVar

from lambda_search.errors import UsageError
from lambda_search.errors import printable
from lambda_search.files import private_folder
from lambda_search.files import written_whole
from lambda_search.setting import own_network
from lambda_search.setting import own_steps
from lambda_search.spec.configs import read_options
from lambda_search.spec.configs import with_paths
from lambda_search.spec.measuring import EXTRACTOR_FILES
from lambda_search.spec.measuring import MeasureSpec
from lambda_search.spec.models import StudySpec

__all__ = ["attachments", "located", "named_files", "unpacked"]

Measured = TypeVar("Measured", bound=MeasureSpec)

_LARGEST = 2**20
_LONGEST_NAME = 255
_LONGEST_PART = 200  # bytes; with the digest before it, and while it is written, at most 255
_HERE = ("./", "../", "~")


def located(
    spec: StudySpec, folders: Sequence[Path], files: Mapping[str, Path] | None = None
) -> StudySpec:
    """`spec` with its files' names made absolute; hub names and the like stay.

    Arguments:
        spec: names in it may be relative.
        folders: where they are looked up, in this order.
        files: what came with the study, by the name that it has there; it comes first.
    """
    known = files or {}

    def absolute(name: str, below: Path = Path()) -> str:
        if name.startswith("images:"):
            return f"images:{absolute(name.removeprefix('images:'))}"
        if name in known:
            return str(known[name])
        places = [folder / part for folder in folders for part in dict.fromkeys((below, Path()))]
        paths = [place / os.path.expanduser(name) for place in places]
        there = next((path for path in paths if os.path.exists(path)), None)
        if there is None and not (paths and name.startswith(_HERE)):
            return name
        return str(there or paths[-1])

    def measured(one: Measured) -> Measured:
        named, colon, place = one.extractor.partition(":")
        if own_network(one.extractor) is not None:
            named = one.extractor
        elif place:
            named = f"{named}:{absolute(place)}"
        elif colon:
            named = one.extractor
        elif "/" in named or named.endswith(EXTRACTOR_FILES):  # else a registered name
            named = absolute(named)
        own = own_steps(one.reference) is not None
        reference = one.reference if own else absolute(one.reference)
        return one.model_copy(update={"extractor": named, "reference": reference})

    checkpoint, config = absolute(spec.model.checkpoint), spec.model.config
    if isinstance(config, str) and config in known:
        told, below = read_options(known[config], known[config].name), Path(config).parent
        config = with_paths(told, lambda name: absolute(name, below))  # from its own folder on
    elif config is not None:
        config = absolute(config) if isinstance(config, str) else with_paths(config, absolute)
    model = spec.model.model_copy(update={"checkpoint": checkpoint, "config": config})
    also = spec.metric.also and tuple(measured(one) for one in spec.metric.also)
    metric = measured(spec.metric).model_copy(update={"also": also})
    return spec.model_copy(update={"model": model, "metric": metric})


def attachments(spec: StudySpec, base: Path) -> dict[str, bytes]:
    """The config and prompt files that `spec` names and that lie here, by the names they have.

    Arguments:
        spec: as it is written.
        base: the folder that relative names start from.

    Raises:
        UsageError: for one that cannot be read, or is larger than 1 MiB.
    """
    found: dict[str, bytes] = {}
    config, folder = spec.model.config, base
    if isinstance(config, str):
        path = base / os.path.expanduser(config)
        if not os.path.isfile(path):
            return found
        found[config] = _content(path)
        config, folder = read_options(found[config], str(path)), path.parent
    for name in _prompts(config or {}):
        path = folder / os.path.expanduser(name)
        if os.path.isfile(path):
            found[name] = _content(path)
    return found


def named_files(spec: StudySpec, files: Mapping[str, bytes]) -> dict[str, bytes]:
    """Those of `files` that `spec` names as its config or its prompts.

    Raises:
        UsageError: for a config that cannot be read, a name that is none, or a file that is larger
            than 1 MiB.
    """
    config = spec.model.config
    named = [config] if isinstance(config, str) else []
    if isinstance(config, str):
        config = read_options(files[config], config) if config in files else None
    named += _prompts(config or {})
    found = {name: files[name] for name in named if name in files}
    for name, content in found.items():
        if len(content) > _LARGEST or len(name) > _LONGEST_NAME or not name.isprintable():
            raise UsageError(
                f"The file {printable(name)} has more than {_LARGEST:,} bytes, or no good name.",
                "Name a smaller file, or put it where the study is driven.",
            )
    return found


def unpacked(files: Mapping[str, bytes], folder: Path) -> dict[str, Path]:
    """Writes what came with a study below `folder`, under names of the contents; where each is."""
    places = {}
    for name, content in files.items():
        digest = hashlib.sha256(content).hexdigest()[:16]
        named = Path(name).name.encode()[-_LONGEST_PART:].decode(errors="ignore")
        places[name] = folder / f"{digest}-{named}"
        if not places[name].is_file() or places[name].read_bytes() != content:
            private_folder(folder)
            with written_whole(places[name], private=True) as stream:
                stream.write(content)
    return places


def _prompts(config: Mapping[str, Any]) -> Iterator[str]:
    for name, value in config.items():
        if isinstance(value, Mapping):
            yield from _prompts(value)
        elif name == "prompts" and isinstance(value, str):
            yield value


def _content(path: Path) -> bytes:
    try:
        if path.stat().st_size > _LARGEST:
            raise UsageError(
                f"{path} has more than {_LARGEST:,} bytes; a study cannot carry it.",
                "Name a smaller file, or put it where the study is driven.",
            )
        return path.read_bytes()
    except OSError as error:
        raise UsageError(
            f"{path} cannot be read: {error.strerror}.", "Check the file's permissions."
        ) from error
