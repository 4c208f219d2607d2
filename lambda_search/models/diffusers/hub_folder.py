"""A pipeline on the hub, fetched in two steps: what says its parts, then no more than these."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from lambda_search.errors import MissingFile
from lambda_search.errors import UsageError
from lambda_search.hub import NotOnHub
from lambda_search.hub import listing
from lambda_search.hub import snapshot
from lambda_search.models.diffusers.files import all_weights
from lambda_search.models.diffusers.files import check_part
from lambda_search.models.diffusers.files import check_variant
from lambda_search.models.diffusers.files import weights_name
from lambda_search.models.diffusers.parts import library_of
from lambda_search.models.diffusers.parts import networks_of
from lambda_search.models.diffusers.parts import tokenizers_of

__all__ = ["HubFolder"]

_ROOT = ("model_index.json", "config.json", "scheduler_config.json")


class HubFolder:
    """A repository's folder in the hub's cache.

    Where the hub cannot or may not be asked, it is what the cache holds.

    Arguments:
        name: owner/repository.

    Raises:
        MissingFile: if it is not there, and cannot or may not be fetched.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._names: tuple[str, ...] = ()
        self._away: NotOnHub | None = None
        commit = None
        try:
            commit, self._names = listing(name)
        except NotOnHub as error:
            self._away = error
        self._commit = commit
        if commit is not None and not {*_ROOT[:2]}.intersection(self._names):
            raise UsageError(
                f"{name} on the hub is not a diffusers pipeline: it has no model_index.json.",
                "Check the name; other files can be fetched by hand.",
            )
        self.folder = self._fetch([file for file in _ROOT if file in self._names])

    def whole(self, parts: Mapping[str, str], variant: str | None) -> Path:
        """The folder with all files of `parts`.

        Raises:
            MissingFile: if one is not there, and cannot or may not be fetched.
            UsageError: if the repository has none.
        """
        if self._away is None:
            check_variant({part: self._below(part)[1] for part in networks_of(parts)}, variant)
            files = {file for part in parts for file in self._files(part, parts, variant)}
            return self._fetch(sorted(files | set(_ROOT).intersection(self._names)))
        try:
            for part, kind in parts.items():
                check_part(self.folder, part, kind)
            libraries = {part: library_of(part) for part in networks_of(parts)}
            all_weights(self.folder, libraries, variant)
        except UsageError as error:
            raise MissingFile(
                f"{self._name} is not whole in the hub's cache, and {self._away.reason}: "
                f"{error.cause}",
                self._away.step,
            ) from error
        return self.folder

    def configuration(self) -> Path:
        """The folder with what describes its parts, and no weights.

        Raises:
            MissingFile: as `whole`.
        """
        if self._away is None:
            small = re.compile(r"(\w+/)?[\w.-]+\.(json|txt)")
            named = [file for file in self._names if small.fullmatch(file)]
            return self._fetch([file for file in named if ".index." not in file])
        return self.folder

    def _files(self, part: str, parts: Mapping[str, str], variant: str | None) -> list[str]:
        """The names of a part's files on the hub."""
        below, names = self._below(part)
        if part == "scheduler":
            wanted = ["scheduler_config.json"]
        elif part in tokenizers_of(parts):
            wanted = [name for name in names if name.endswith((".json", ".txt"))]
        else:
            chosen = weights_name(names, library_of(part), variant, part)
            if chosen is None:
                raise UsageError(
                    f"The weights of {self._name} cannot be read: {part} has no safetensors "
                    "file, nor a .bin.",
                    "Take a repository with the whole pipeline.",
                )
            wanted = ["config.json", chosen, *_shards_of(chosen, names)]
        return [f"{below}{name}" for name in wanted if name in names]

    def _below(self, part: str) -> tuple[str, list[str]]:
        """Where a part lies on the hub, and the names of the files there."""
        below = f"{part}/" if any(name.startswith(f"{part}/") for name in self._names) else ""
        names = [name[len(below) :] for name in self._names if name.startswith(below)]
        return below, [name for name in names if "/" not in name]

    def _fetch(self, files: list[str]) -> Path:
        try:
            if self._away is None:
                return snapshot(self._name, files, self._commit)
            return snapshot(self._name, list(_ROOT), fetch=False)
        except NotOnHub as error:
            told = self._away or error
            if not told.reason:
                raise MissingFile(
                    f"There is no checkpoint at {self._name}.",
                    "Check the path; relative paths start at the study file's folder.",
                ) from error
            raise MissingFile(
                f"There is no folder {self._name}, and the hub did not give it: {told.reason}.",
                told.step,
            ) from error


def _shards_of(index: str, names: list[str]) -> list[str]:
    """Those of `names` that are shards of `index`; whether it names more is seen when it is read.

    A variant's index has its word before or behind `safetensors.index`, its shards have it once.
    """
    if not index.endswith(".json"):
        return []
    stem, ending = re.split(r"\.(?=safetensors|bin)", index.removesuffix(".json"), maxsplit=1)
    suffix, _, rest = ending.partition(".")
    variant = rest.removeprefix("index").removeprefix(".")
    begin = f"{stem}.{variant}" if variant else stem
    shard = re.compile(rf"{re.escape(begin)}-\d+-of-\d+\.{suffix}")
    return [name for name in names if shard.fullmatch(name)]
