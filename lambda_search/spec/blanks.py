"""Blanks of a study file: what only its user knows, marked, and refused until it is filled in."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import yaml

from lambda_search.errors import UsageError

__all__ = ["BLANK", "blanks", "lines_of_blanks", "refuse_blanks"]

BLANK = "???"
"""Stands for a value that has to be filled in, as in Hydra's and OmegaConf's files."""


def blanks(document: Any, place: str = "") -> list[str]:
    """The fields of a study that are blank, as `metric.reference`, in their order."""
    if document == BLANK:
        return [place]
    if isinstance(document, dict):
        inner = [(str(name), value) for name, value in document.items()]
    elif isinstance(document, list | tuple):
        inner = [(str(number), value) for number, value in enumerate(document)]
    else:
        return []
    below = f"{place}." if place else ""
    return [found for name, value in inner for found in blanks(value, below + name)]


def refuse_blanks(document: Any, text: str | bytes, source: str) -> None:
    """Raises UsageError, with the lines to fill in, if something in a study file is blank.

    Arguments:
        document: what was read.
        text: what it was read from.
        source: the file's name.
    """
    found = blanks(document)
    if not found:
        return
    # an alias repeats a blank without a line of its own
    several = zip(found, lines_of_blanks(text), strict=False)
    places = [f"line {number}: {name}" for name, number in several]
    raise UsageError(
        f'{source} has blanks ("{BLANK}"): {"; ".join(places)}.',
        f"Fill in the line{'s' if len(places) > 1 else ''}; the comment above says with what.",
    )


def lines_of_blanks(text: str | bytes) -> list[int]:
    """The lines of a study file, from 1, that have to be filled in."""
    return list(_lines(yaml.compose(text, yaml.SafeLoader)))


def _lines(node: yaml.Node | None) -> Iterator[int]:
    if isinstance(node, yaml.ScalarNode) and node.value == BLANK:
        yield node.start_mark.line + 1
    elif isinstance(node, yaml.SequenceNode):
        for item in node.value:
            yield from _lines(item)
    elif isinstance(node, yaml.MappingNode):
        for _, value in node.value:
            yield from _lines(value)
