"""What is wrong with a posted study, line by line: where in its text each complaint belongs."""

from __future__ import annotations

import re
from contextlib import suppress
from dataclasses import dataclass

import yaml

from lambda_search.errors import UsageError
from lambda_search.spec.documents import LARGEST
from lambda_search.spec.documents import Loader

__all__ = ["Complaint", "complaints_of"]

_LINE = re.compile(r"\bline (\d{1,7})\b")
_FIELD = re.compile(r"^\s*((?:[a-z_]+)(?:\.[A-Za-z_0-9]+)*)(?=[: ])")
_TOP = ("name", "model", "sampler", "search", "metric", "confirm", "queue", "matrix")


@dataclass(frozen=True)
class Complaint:
    """Something that is wrong.

    Arguments:
        text: what.
        line: in which line, from 1; None where it is in none.
    """

    text: str
    line: int | None = None


def complaints_of(error: UsageError, text: str) -> list[Complaint]:
    """The complaints of an error about the study file `text`."""
    root = _composed(text)
    head, *several = error.cause.split("\n")
    if several:
        return [Complaint(one.strip(), _line(one, root)) for one in several]
    parts = head.split("; ") if _LINE.search(head) else [head]
    return [Complaint(part, _line(part, root)) for part in parts]


def _line(complaint: str, root: yaml.Node | None) -> int | None:
    told = _LINE.search(complaint)
    if told:
        return int(told[1])
    for place in re.findall(r"[a-z_]+(?:\.[A-Za-z_0-9]+)*", complaint):
        if place.partition(".")[0] in _TOP and ("." in place or _FIELD.match(complaint)):
            return _place(place.split("."), root)
    return None


def _place(parts: list[str], node: yaml.Node | None) -> int | None:
    """The line of a field, or of what it is missing from."""
    found: int | None = None
    for part in parts:
        if isinstance(node, yaml.MappingNode):
            pairs = [pair for pair in node.value if pair[0].value == part]
            if not pairs:
                break
            key, node = pairs[0]
            found = key.start_mark.line + 1
        elif isinstance(node, yaml.SequenceNode) and part.isdecimal():
            if int(part) >= len(node.value):
                break
            node = node.value[int(part)]
            found = node.start_mark.line + 1
        else:
            break
    return found


def _composed(text: str) -> yaml.Node | None:
    """The text's nodes, within the limits of study files; None for what is no YAML."""
    with suppress(yaml.YAMLError, ValueError):
        if len(text) <= LARGEST:
            loader = Loader(text)
            try:
                node: yaml.Node | None = loader.get_single_node()
                return node
            finally:
                loader.dispose()
    return None
