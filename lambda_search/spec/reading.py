"""Reading study files (YAML).

A file describes one study, or several: where `sampler.steps` is a list, or `matrix` names fields
with lists, there is one study per combination, named after the values (`name-20`, `name-50`, …).
"""

from __future__ import annotations

import itertools
import math
import re
from collections import Counter
from collections.abc import Iterable
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from difflib import get_close_matches
from functools import lru_cache
from pathlib import Path
from typing import Any
from typing import get_args

from pydantic import ValidationError

from lambda_search.errors import UsageError
from lambda_search.errors import first_line
from lambda_search.errors import printable
from lambda_search.files import open_regular
from lambda_search.spec.blanks import refuse_blanks
from lambda_search.spec.documents import LARGEST
from lambda_search.spec.documents import read_yaml
from lambda_search.spec.models import StudySpec
from lambda_search.spec.places import located

__all__ = [
    "Written",
    "check_names",
    "load_specs",
    "parse_specs",
    "read_specs",
    "stored_spec",
    "study_files",
]

_MOST_STUDIES = 500
_DEEPEST_FIELD = 8
_TAKEN = ("new",)
"""Addresses below /studies of a service."""
_SHOWN = 10
_LONGEST_SHOWN, _LONGEST_PLACE, _LONGEST_MESSAGE = 80, 60, 300


@dataclass(frozen=True)
class Written:
    """A study as its file has it.

    Arguments:
        spec: names in it are as they were written.
        base: the folder that relative ones start from.
    """

    spec: StudySpec
    base: Path


def load_specs(path: Path) -> list[StudySpec]:
    """The studies of a file, or of all `.yaml` and `.yml` files of a folder.

    Paths inside a file become absolute, relative to the file's folder.

    Raises:
        UsageError: for a missing or unreadable file, and for anything in it that makes no sense.
    """
    return [located(one.spec, [one.base]) for one in read_specs(path)]


def read_specs(path: Path) -> list[Written]:
    """The studies of a file or a folder, as they are written; errors as in `load_specs`."""
    if path.is_dir():
        found = [one for file in study_files(path) for one in read_specs(file)]
    else:
        base = path.parent.resolve()
        found = [Written(spec, base) for spec in parse_specs(_content(path), source=str(path))]
    check_names([one.spec for one in found])
    return found


def study_files(path: Path) -> list[Path]:
    """The study files that `path` names: itself, or all `.yaml` and `.yml` files of a folder.

    Raises:
        UsageError: if there is none in the folder.
    """
    if not path.is_dir():
        return [path]
    files = sorted(file for file in path.rglob("*") if file.suffix in (".yaml", ".yml"))
    if not files:
        raise UsageError(f"There is no study file in {path}.", "Study files end in .yaml.")
    return files


def _content(path: Path) -> bytes:
    """What a study file holds; of a larger one no more than tells that it is too large."""
    try:
        with open_regular(path) as stream:
            return stream.read(LARGEST + 1)
    except (OSError, ValueError) as error:
        missing = isinstance(error, FileNotFoundError)
        reason = "does not exist" if missing else f"is unreadable ({first_line(error)})"
        raise UsageError(
            f"The study file {path} {reason}.", "Name a .yaml file or a folder."
        ) from error


def check_names(specs: Iterable[StudySpec]) -> None:
    """Raises UsageError if two studies have one name, or one has that of the form for studies."""
    specs = list(specs)
    if any(spec.name in _TAKEN for spec in specs):
        raise UsageError(
            "No study can be named 'new': that is the form for studies in a service's pages.",
            "Give it another name.",
        )
    counts = Counter(spec.name for spec in specs)
    repeated = sorted(name for name, count in counts.items() if count > 1)
    if repeated:
        raise UsageError(
            f"Several studies are named {', '.join(repeated)}.", "Give each its own name."
        )


def parse_specs(text: str | bytes, source: str = "study") -> list[StudySpec]:
    """The studies that `text` (YAML) describes.

    Raises:
        UsageError: for anything in it that makes no sense; it names `source`.
    """
    document = read_yaml(text, source)
    if not isinstance(document, dict):
        raise UsageError(f"{source} is not a study.", "It needs name, model, sampler and metric.")
    refuse_blanks(document, text, source)
    return [_validate(one, source) for one in _expand(document, source)]


@lru_cache(maxsize=512)
def stored_spec(text: str) -> StudySpec | None:
    """The one study in a file that the store holds; None if this release cannot read it."""
    with suppress(UsageError):
        [spec] = parse_specs(text)
        return spec
    return None


def _expand(document: dict[str, Any], source: str) -> list[dict[str, Any]]:
    """One document per combination of the listed values."""
    matrix = document.pop("matrix", None) or {}
    if not isinstance(matrix, Mapping) or not all(
        isinstance(field, str) and isinstance(v, list) and v for field, v in matrix.items()
    ):
        raise UsageError(
            f"{source}: matrix must map fields to lists.",
            "For example: {sampler.steps: [20, 50]}.",
        )
    axes = dict(matrix)
    sampler = document.get("sampler")
    if isinstance(sampler, dict) and isinstance(sampler.get("steps"), list):
        if "sampler.steps" in axes or not sampler["steps"]:
            raise UsageError(
                f"{source}: sampler.steps is an empty list, or stands in matrix too.",
                "Give it once, with one value or more.",
            )
        axes["sampler.steps"] = sampler["steps"]
    count = math.prod(len(options) for options in axes.values())
    if count > _MOST_STUDIES or any(field.count(".") > _DEEPEST_FIELD for field in axes):
        raise UsageError(
            f"{source}: matrix and sampler.steps make {count:,} studies; at most {_MOST_STUDIES} "
            f"can stand in a file, and fields at most {_DEEPEST_FIELD} dots deep.",
            "Make several files, or shorter lists.",
        )
    expanded = []
    for values in itertools.product(*axes.values()):
        one = _copy(document)
        for field, value in zip(axes, values, strict=True):
            *parents, leaf = field.split(".")
            target = one
            for parent in parents:
                target = target.setdefault(parent, {})
                if not isinstance(target, dict):
                    raise UsageError(
                        f"{source}: matrix names {printable(field)}, which is no field.",
                        "Check it.",
                    )
            target[leaf] = _copy(value)
        varying = [
            (field, _slug(value))
            for (field, options), value in zip(axes.items(), values, strict=True)
            if len(options) > 1
        ]
        model = one.get("model")
        if isinstance(model, dict):
            own = [slug for field, slug in varying if field.startswith("model.")]
            model.setdefault("name", "-".join([str(one.get("name", "")), *own]))
        if "name" in one:
            one["name"] = "-".join([str(one["name"]), *(slug for _, slug in varying)])
        expanded.append(one)
    return expanded


def _validate(document: dict[str, Any], source: str) -> StudySpec:
    try:
        return StudySpec.model_validate(document)
    except ValidationError as error:
        problems = "\n".join(f"  {problem}" for problem in _problems(error))
        raise UsageError(
            f"{source} is not a valid study:\n{problems}", "Mend the file and launch again."
        ) from error


def _problems(error: ValidationError) -> Iterable[str]:
    """One line per problem, in the words of the study file."""
    several = error.errors()
    if len(several) > _SHOWN:
        yield f"{len(several)} problems, of which the first are:"
    for item in several[:_SHOWN]:
        place = printable(".".join(str(part) for part in item["loc"]), _LONGEST_PLACE)
        place = place or "the study"
        message = printable(item["msg"].removeprefix("Value error, "), _LONGEST_MESSAGE)
        match item["type"]:
            case "extra_forbidden":
                known = _fields_beside(item["loc"])
                close = get_close_matches(str(item["loc"][-1]), known, n=1)
                advice = f"did you mean '{close[0]}'?" if close else f"known: {', '.join(known)}"
                yield f"{place}: there is no such field; {advice}"
            case "missing":
                yield f"{place}: is missing"
            case _:
                shown = (
                    "" if isinstance(item["input"], dict) else f" (it is {_short(item['input'])})"
                )
                yield f"{place}: {message[0].lower()}{message[1:]}{shown}"


def _short(value: Any) -> str:
    told = repr(value)
    return told if len(told) <= _LONGEST_SHOWN else f"{told[:_LONGEST_SHOWN]}…"


def _fields_beside(location: tuple[int | str, ...]) -> list[str]:
    model: Any = StudySpec
    for part in location[:-1]:
        if isinstance(part, str):
            model = model.model_fields[part].annotation
            while get_args(model):  # of X | None and tuple[X, ...], X
                model = get_args(model)[0]
    return list(model.model_fields)


def _copy(value: Any) -> Any:
    if isinstance(value, list):
        return [_copy(item) for item in value]
    return {key: _copy(item) for key, item in value.items()} if isinstance(value, dict) else value


def _slug(value: object) -> str:
    text = Path(value).stem if isinstance(value, str) else f"{value}"
    return re.sub(r"[^a-z0-9.]+", "-", text.lower()).strip("-")
