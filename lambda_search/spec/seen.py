"""Whether the files that a study names are the very ones that were read before.

Times of writing do not tell: `mv other.pt w.pt` keeps an old one. Kept is what changes with every
change, device, inode, size and both times of each file, from just before the files were read; it
is kept for the digest of what they came to, on this host alone.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterator
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from lambda_search.files import private_folder
from lambda_search.files import written_whole
from lambda_search.paths import seen_folder
from lambda_search.spec.configs import read_options
from lambda_search.spec.models import StudySpec
from lambda_search.spec.places import attachments
from lambda_search.spec.places import located

__all__ = ["keep_stamp", "stamp", "was_seen"]


def stamp(spec: StudySpec, base: Path) -> str:
    """SHA-256 over what lies at the places that `spec` names, and at all below them.

    Arguments:
        spec: as it is written.
        base: the folder that relative names start from.

    Raises:
        UsageError: if its config cannot be read.
    """
    here = located(spec, [base])
    named = {here.model.checkpoint: base, **dict.fromkeys(_strings(here.model.config), base)}
    for one in here.metric.measures:
        for name in (one.extractor, one.reference):
            named |= dict.fromkeys((name, name.partition(":")[2]), base)
    config = spec.model.config
    carried = attachments(spec, base)
    if isinstance(config, str) and config in carried:
        folder = (base / os.path.expanduser(config)).parent
        named |= dict.fromkeys(_strings(read_options(carried[config], config)), folder)
    digest = hashlib.sha256()
    for name, folder in named.items():
        if name:
            for line in _seen(str(folder / os.path.expanduser(name))):
                digest.update(os.fsencode(f"{line}\n"))
    return digest.hexdigest()


def keep_stamp(decides: str, found: str) -> None:
    """Keeps that what `found` stands for came to the digest `decides`; no harm if it cannot."""
    with suppress(OSError), written_whole(private_folder(seen_folder()) / decides, True) as stream:
        stream.write(found.encode())


def was_seen(decides: str, found: str) -> bool:
    """Whether the last files that came to `decides` are those that `found` stands for."""
    try:
        return (seen_folder() / decides).read_text(encoding="utf-8") == found
    except (OSError, ValueError):
        return False


def _seen(path: str) -> Iterator[str]:
    """A line for what lies at `path`, where links lead, and for all below it."""
    waiting, folders = [path], set()
    while waiting:
        path = waiting.pop()
        try:
            there = os.stat(path)
            one = there.st_dev, there.st_ino
            yield f"{path!a} {one} {there.st_size} {there.st_mtime_ns} {there.st_ctime_ns}"
            if stat.S_ISDIR(there.st_mode) and one not in folders:  # links may lead back
                folders.add(one)
                waiting += sorted((entry.path for entry in os.scandir(path)), reverse=True)
        except (OSError, ValueError):
            yield f"{path!a} cannot be seen"


def _strings(config: Any) -> Iterator[str]:
    if isinstance(config, str):
        yield config
    elif isinstance(config, Mapping):
        for value in config.values():
            yield from _strings(value)
