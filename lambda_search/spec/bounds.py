"""What a study may name that came from somebody who was let in by a service, and no further.

Files inside the roots that the operator names, links followed; repositories of the hub that the
operator lists; what ships, and what is registered here. No address, no way out of the roots, and
no extractor by its path: one may be a TorchScript file, which is a program. A service looks before
it queues a study, and a driver again before it reads anything for it, however it came there. Its
priority is looked at where it is queued: 0 at most.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import entry_points
from pathlib import Path
from pathlib import PurePosixPath
from typing import Any
from typing import Self

from lambda_search.errors import MissingFile
from lambda_search.errors import UsageError
from lambda_search.errors import printable
from lambda_search.setting import OWN_NETWORK
from lambda_search.setting import own_network
from lambda_search.setting import own_steps
from lambda_search.spec.configs import read_options
from lambda_search.spec.measuring import MeasureSpec
from lambda_search.spec.models import StudySpec
from lambda_search.spec.pretrained import CONFIG_PATHS

__all__ = ["SERVICE", "USUAL_PIPELINES", "Bounds", "registered"]

SERVICE = "service"
"""The door (`records.Study`) of what was posted to a service."""

_SHIPPED = re.compile(r"bundled:\w[\w-]*", re.ASCII)
_PUBLISHED = re.compile(r"clean-fid:\w+/\w+/\w+", re.ASCII)
_ON_HUB = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*", re.ASCII)
_WORD = re.compile(r"\w[\w.-]*", re.ASCII)
_FILE = (".bin", ".ckpt", ".json", ".npz", ".pkl", ".pt", ".pth", ".safetensors", ".txt", ".zip")
_DEEPEST = 32
USUAL_PIPELINES = (
    "stable-diffusion-v1-5/stable-diffusion-v1-5",
    "stabilityai/stable-diffusion-xl-base-1.0",
)
"""What describes Stable Diffusion (XL) in a single file, as diffusers has it."""


def registered() -> dict[str, tuple[str, ...]]:
    """The frameworks and extractors that can be named, without loading one."""
    found = {
        name: set(entry_points(group=f"lambda_search.{name}").names)
        for name in ("frameworks", "extractors")
    }
    found["extractors"].add(OWN_NETWORK)
    return {name: tuple(sorted(names)) for name, names in found.items()}


@dataclass(frozen=True)
class Bounds:
    """What a posted study may name.

    Arguments:
        roots: folders, links in their own paths followed.
        hub: repositories, OWNER/NAME.
    """

    roots: tuple[Path, ...] = ()
    hub: frozenset[str] = frozenset()

    @classmethod
    def of(cls, roots: Iterable[Path] = (), hub: Iterable[str] = ()) -> Self:
        """Bounds as an operator names them.

        Raises:
            UsageError: for a root that is no folder, or a repository that is none.
        """
        found = tuple(root.expanduser().resolve() for root in roots)
        for root in found:
            if not root.is_dir():
                raise UsageError(f"The root {root} is no folder.", "Check --roots.")
        listed = frozenset(hub)
        for name in listed:
            if _ON_HUB.fullmatch(name) is None:
                raise UsageError(
                    f"{printable(name)} names no repository of the hub.", "Write OWNER/NAME."
                )
        return cls(found, listed)

    def check(self, spec: StudySpec, files: Mapping[str, bytes]) -> None:
        """Whether a study may be queued; files that are not here may be where it is driven.

        Arguments:
            spec: as it is written.
            files: the config and prompt files that came with it, by name.

        Raises:
            UsageError: for what it may not name, or a priority that it may not ask for.
        """
        if spec.queue is not None and spec.queue.priority > 0:
            raise UsageError(
                f"A posted study may not ask for {spec.queue.priority} in queue.priority.",
                "Leave it out, or write 0 or less; more is for who submits to the store itself.",
            )
        _Bounded(self, files, {name: Path(name) for name in files}, here=False).located(spec)

    def located(
        self, spec: StudySpec, files: Mapping[str, bytes], places: Mapping[str, Path]
    ) -> StudySpec:
        """`spec` with its files' names made absolute; what its config file says stands in it.

        Arguments:
            spec: as it is written.
            files: the config and prompt files that came with it, by name.
            places: where these lie here.

        Raises:
            UsageError: for what it may not name.
            MissingFile: for a file that is in none of the roots here.
        """
        return _Bounded(self, files, places, here=True).located(spec)


@dataclass(frozen=True)
class _Bounded:
    """The names of one study; `here` if its files must be in the roots of this machine."""

    bounds: Bounds
    files: Mapping[str, bytes]
    places: Mapping[str, Path]
    here: bool

    def located(self, spec: StudySpec) -> StudySpec:
        known = registered()
        if spec.model.framework not in known["frameworks"]:
            raise _refused("model.framework", spec.model.framework, known["frameworks"])
        for one in spec.metric.measures:
            own = own_network(one.extractor) is not None
            if not own and one.extractor not in known["extractors"]:
                raise _refused("metric.extractor", one.extractor, known["extractors"])
        checkpoint = self._place("model.checkpoint", spec.model.checkpoint)
        config = self._config(spec.model.config, Path(checkpoint))
        if spec.model.framework == "diffusers" and config is not None:
            config = self._described(config, Path(checkpoint))
        model = spec.model.model_copy(update={"checkpoint": checkpoint, "config": config})
        also = spec.metric.also and tuple(map(self._measure, spec.metric.also))
        reference = self._measure(spec.metric).reference
        metric = spec.metric.model_copy(update={"also": also, "reference": reference})
        return spec.model_copy(update={"model": model, "metric": metric})

    def _measure(self, one: MeasureSpec) -> MeasureSpec:
        if _PUBLISHED.fullmatch(one.reference) or own_steps(one.reference) is not None:
            return one
        word, colon, place = one.reference.partition(":")
        images = colon != "" and word == "images"
        found = self._place("metric.reference", place if images else one.reference)
        return one.model_copy(update={"reference": f"images:{found}" if images else found})

    def _config(
        self, config: dict[str, Any] | str | None, checkpoint: Path
    ) -> dict[str, Any] | None:
        if config is None:  # then what `models convert` wrote beside a checkpoint is read
            beside = checkpoint.with_suffix(".json")
            found = checkpoint.is_absolute() and os.path.lexists(beside)
            if checkpoint.suffix != ".safetensors" or not found:
                return None
            path = self._checked("model.checkpoint", beside.name, beside)
            return self._options(read_options(path, beside.name), beside.parent)
        if isinstance(config, dict):
            return self._options(config, Path())
        if config in self.files:
            return self._options(read_options(self.files[config], config), _below(config))
        path = Path(self._place("model.config", config))
        if not path.is_absolute():
            if self.here:
                raise _refused("model.config", config)
            return None  # it may be where the study is driven
        return self._options(read_options(path, config), path.parent)

    def _options(self, config: Mapping[str, Any], below: Path, depth: int = 0) -> dict[str, Any]:
        """A framework's options with the names of files among them made absolute."""
        return {name: self._option(name, it, below, depth) for name, it in config.items()}

    def _option(self, name: str, value: Any, below: Path, depth: int) -> Any:
        if depth > _DEEPEST:
            raise UsageError("model.config is nested too deeply.", "Make it flatter.")
        if isinstance(value, Mapping):
            return self._options(value, below, depth + 1)
        if name == "variant" and isinstance(value, str) and _WORD.fullmatch(value) is None:
            raise _refused(f"model.config.{name}", value)
        texts = isinstance(value, list) and all(isinstance(one, str) for one in value)
        if isinstance(value, list) and (name not in CONFIG_PATHS or not texts):
            return [self._option(name, one, below, depth + 1) for one in value]
        if name not in CONFIG_PATHS or value is None or (name == "prompts" and texts):
            return value
        if not isinstance(value, str):
            raise _refused(f"model.config.{name}", str(value))
        if name == "prompts" and value in self.places:
            return str(self.places[value])
        return self._place(f"model.config.{name}", value, below)

    def _described(self, config: dict[str, Any], checkpoint: Path) -> dict[str, Any]:
        """`config` of a pipeline; of a single file it says which repository describes it.

        Unless it says so, one is fetched that goes by what the file holds.
        """
        here = checkpoint.is_absolute()  # else it is found where the study is driven
        single = checkpoint.is_file() if here else checkpoint.name.endswith(_FILE)
        if not single or config.get("config") is not None:
            return config
        listed = [name for name in USUAL_PIPELINES if name in self.bounds.hub]
        if not listed:
            raise UsageError(
                "The pipeline that describes a single file may not be fetched here.",
                "Name its folder in the roots as config in model.config, or have the operator "
                f"list one of {', '.join(USUAL_PIPELINES)}.",
            )
        return config if len(listed) > 1 else {**config, "config": listed[0]}

    def _place(self, field: str, name: str, below: Path = Path()) -> str:
        """Where a name leads: what ships, a repository that is listed, or a file in a root."""
        if _SHIPPED.fullmatch(name):
            return name
        parts = PurePosixPath(name)
        if not _is_plain(name) or ".." in parts.parts:
            raise _refused(field, name)
        roots = self.bounds.roots
        if parts.is_absolute():
            tried = [Path(name)]
            if not any(_inside(_followed(Path(name)), root) for root in roots):
                raise _refused(field, name)
        else:
            several = (root / part / name for root in roots for part in (below, Path()))
            tried = [path for path in several if any(_inside(path, root) for root in roots)]
        for path in dict.fromkeys(tried):
            if os.path.lexists(path):
                return str(self._checked(field, name, path))
        if name in self.bounds.hub:
            return name
        on_hub = _ON_HUB.fullmatch(name) is not None and not name.endswith(_FILE)
        if on_hub or not roots:
            raise _refused(field, name)
        if self.here:
            raise MissingFile(
                f"{field} names {printable(name)}, which is in no root of this driver.",
                "Put it there, or name its folder with --roots.",
            )
        return name

    def _checked(self, field: str, name: str, path: Path) -> Path:
        """What a path leads to; all of it must lie in the roots."""
        found = _followed(path)
        for one in (found, *_links(found)):
            if not any(_inside(_followed(one), root) for root in self.bounds.roots):
                raise UsageError(
                    f"{printable(name)} in {field} leads out of the roots of posted studies.",
                    "Have the files themselves there, without links to elsewhere.",
                )
        return found


def _links(folder: Path) -> Iterable[Path]:
    for place, folders, files in os.walk(folder):
        for one in (*folders, *files):
            path = Path(place, one)
            if path.is_symlink():
                yield path


def _followed(path: Path) -> Path:
    return Path(os.path.realpath(path))


def _inside(path: Path, root: Path) -> bool:
    return path.is_relative_to(root)


def _below(name: str) -> Path:
    """The folder that a file's name has, if it leads nowhere else."""
    parent = PurePosixPath(name).parent
    return Path() if parent.is_absolute() or ".." in parent.parts else Path(parent)


def _is_plain(name: str) -> bool:
    """Whether it can be a file's name, and no address, other prefix, or home folder."""
    return name != "" and name.isprintable() and not re.search(r"[:\\~]", name)


def _refused(field: str, name: str, known: Iterable[str] = ()) -> UsageError:
    listed = ", ".join(known)
    return UsageError(
        f"A posted study may not name {printable(name) or 'nothing'} in {field}.",
        f"Known: {listed}."
        if listed
        else "It may name what ships, files inside the service's roots, and the repositories of "
        "the hub that its operator lists.",
    )
