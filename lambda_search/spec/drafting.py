"""Study files for people who have not written one: every field, with its words above it."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Mapping
from dataclasses import dataclass
from dataclasses import replace
from functools import reduce
from operator import getitem
from pathlib import Path
from typing import Any

import yaml

from lambda_search.spec.blanks import BLANK
from lambda_search.spec.blanks import blanks
from lambda_search.spec.fields import FIELDS
from lambda_search.spec.models import StudySpec
from lambda_search.spec.places import located

__all__ = ["Choice", "nested", "on_one_line", "rebased", "study_file"]

_WIDTH = 98
_FILL_IN = "  # FILL IN: the comment above says with what"


@dataclass(frozen=True)
class Choice:
    """What a drafted file says in a field, and why.

    Arguments:
        value: None leaves the field open: it stands there behind a `#`.
        why: in a sentence.
    """

    value: Any
    why: str = ""


def study_file(choices: Mapping[str, Choice], heading: Iterable[str]) -> str:
    """A study file with all fields, those that are not chosen commented out.

    Arguments:
        choices: by their places, such as `sampler.steps`.
        heading: lines of a comment at its top.
    """
    lines = [f"# {line}".rstrip() for line in heading]
    for place in FIELDS:
        if "." not in place:
            lines.append("")
        lines += _written(place, choices)
    return "\n".join(lines) + "\n"


def nested(choices: Mapping[str, Choice]) -> dict[str, Any]:
    """What is chosen, as the document that the file is read to."""
    document: dict[str, Any] = {}
    for place, choice in choices.items():
        *parents, leaf = place.split(".")
        if choice.value is not None:
            inner = document
            for parent in parents:
                inner = inner.setdefault(parent, {})
            inner[leaf] = choice.value
    return document


def rebased(choices: Mapping[str, Choice], folder: Path) -> dict[str, Choice]:
    """The choices with the files' names, which start at `folder`, made absolute."""
    document = nested(choices)
    steps = document["sampler"]["steps"]
    document["sampler"]["steps"] = steps[0] if isinstance(steps, list) else steps
    told = located(StudySpec.model_validate(document), [folder]).model_dump(mode="json")
    moved = dict(choices)
    for place, choice in choices.items():
        if place.startswith(("model.", "metric.")) and choice.value is not None:
            value = reduce(getitem, place.split("."), told)
            moved[place] = replace(choice, value=value)
    return moved


def _written(place: str, choices: Mapping[str, Choice]) -> Iterator[str]:
    """The lines of one field: its words, then the field."""
    field, choice = FIELDS[place], choices.get(place, Choice(None))
    *parents, name = place.split(".")
    indent = "  " * len(parents)
    words = " ".join(filter(None, (field.what, choice.why, field.other)))
    for line in textwrap.wrap(words, _WIDTH - len(indent) - 2, break_on_hyphens=False):
        yield f"{indent}# {line}"
    if not field.example:  # a section
        yield f"{indent}{_mark(place, choices)}{name}:"
        return
    shown = field.example if choice.value is None else on_one_line(choice.value)
    blank = _FILL_IN if blanks(choice.value) else ""
    yield f"{indent}{_mark(place, choices)}{name}: {shown}{blank}"


def _mark(place: str, choices: Mapping[str, Choice]) -> str:
    """What stands before a field that is open, or a section without any other."""
    chosen = (at for at, choice in choices.items() if choice.value is not None)
    return "" if any(f"{at}.".startswith(f"{place}.") for at in chosen) else "#"


class _Flow(yaml.SafeDumper):
    """Writes texts that would not stay on one line, and blanks, in double quotes."""


def _text(dumper: yaml.SafeDumper, value: str) -> yaml.ScalarNode:
    style = '"' if value == BLANK or not value.isprintable() else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style=style)


_Flow.add_representer(str, _text)


def on_one_line(value: Any) -> str:
    """`value` as YAML on one line."""
    text: str = yaml.dump(
        value,
        Dumper=_Flow,
        default_flow_style=True,
        sort_keys=False,
        allow_unicode=True,
        width=float("inf"),
    )
    return text.removesuffix("\n").removesuffix("\n...")
