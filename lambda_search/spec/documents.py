"""YAML that others wrote: read to plain values, in bounded time and memory.

Read are mappings with strings as keys, lists, and YAML 1.1's scalars as PyYAML has them, except
for two readings that surprise: 1:30 is not ninety, and a date stays the text that it is.
"""

from __future__ import annotations

from typing import Any
from typing import cast

import yaml

from lambda_search.errors import UsageError

__all__ = ["DEEPEST", "LARGEST", "YAML", "BadYaml", "Loader", "loaded", "read_yaml"]

_MEND = "Check its indentation and quotes."

LARGEST = 256 * 1024
"""Bytes of a file."""
DEEPEST = 32
"""Levels of mappings and lists."""
YAML = "tag:yaml.org,2002:"
"""What the tags of plain values begin with."""

_ALIASES = 200
_VALUES = 20_000
_LONGEST_INTEGER = 100
_TAGS = ("map", "seq", "str", "int", "float", "bool", "null", "merge")


def read_yaml(content: bytes | str, source: str) -> Any:
    """The value of the only document in `content`; None for an empty one.

    Arguments:
        content: UTF-8, or UTF-16 with a byte order mark, if bytes.
        source: its name, for errors.

    Raises:
        UsageError: if it is not YAML, or beyond the limits: 256 KiB, 32 levels, 200 aliases and
            20,000 values once these are followed; a key that stands twice, or is no string; a tag
            that is no plain value's. The message says in which line.
    """
    if len(content) > LARGEST:
        raise UsageError(
            f"{source} has more than {LARGEST // 1024} KiB.", "A study file has a few lines."
        )
    try:
        return loaded(content, Loader)
    except BadYaml as error:
        kind = "is too much" if error.too_much else "is not YAML"
        hint = "Make it smaller." if error.too_much else _MEND
        raise UsageError(f"{source} {kind}: {error}.", hint) from error


class BadYaml(ValueError):
    """Text that is no YAML, or passes a limit; its text says in which line, and why."""

    def __init__(self, told: str, too_much: bool = False) -> None:
        super().__init__(told)
        self.too_much = too_much


def loaded(content: bytes | str, kind: type[Loader]) -> Any:
    """The value of the only document in `content`, as a loader of this kind has it.

    Raises:
        BadYaml: if it is not YAML, or beyond the loader's limits.
    """
    try:
        loader = kind(content)
        try:
            return loader.get_single_data()
        finally:
            loader.dispose()
    except yaml.YAMLError as error:
        told = " ".join(f"line {_line(content, error)}: {_problem(error)}".split())
        raise BadYaml(told, isinstance(error, _TooMuch)) from error


class _TooMuch(yaml.MarkedYAMLError):
    """A limit is passed."""


class Loader(yaml.SafeLoader):
    """PyYAML's own reader of plain values, with limits."""

    def __init__(self, content: bytes | str) -> None:
        super().__init__(content)
        self._depth = 0
        self._aliases = 0
        self._values = 0
        self._within: dict[int, int] = {}
        """Values below each node that is whole."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        event = self.peek_event()  # type: ignore[no-untyped-call]
        mark = event.start_mark
        before = self._values
        if isinstance(event, yaml.AliasEvent):
            self._aliases += 1
            node = super().compose_node(parent, index)
            if id(node) not in self._within:
                raise _wrong(f"*{event.anchor} contains itself", mark)
            self._values += self._within[id(node)]
        else:
            self._values += 1
            self._depth += 1
            if self._depth > DEEPEST:
                raise _too_much(f"it is nested deeper than {DEEPEST} levels", mark)
            node = super().compose_node(parent, index)
            self._depth -= 1
            self._within[id(node)] = self._values - before
        if self._aliases > _ALIASES:
            raise _too_much(f"there are more than {_ALIASES} aliases", mark)
        if self._values > _VALUES:
            raise _too_much(f"there are more than {_VALUES:,} values, aliases followed", mark)
        return node

    def construct_object(self, node: Any, deep: bool = False) -> Any:
        tag = self.checked_tag(node)
        if tag == "int" and len(node.value) > _LONGEST_INTEGER:
            raise _too_much(f"a number has more than {_LONGEST_INTEGER} digits", node.start_mark)
        try:
            return super().construct_object(node, deep=deep)
        except (ValueError, TypeError, KeyError, IndexError) as error:  # such as !!int x
            raise _wrong(f"{node.value!r:.40} is no {tag}", node.start_mark) from error

    def checked_tag(self, node: yaml.Node) -> str:
        """The tag of a plain value, without what all of them begin with."""
        tag: str = node.tag.removeprefix(YAML)
        if tag not in _TAGS:
            raise _wrong(f"the tag {node.tag} is no plain value's", node.start_mark)
        return tag

    def checked_key(self, key: yaml.Node) -> str:
        """The text of a mapping's key."""
        if key.tag != f"{YAML}str" or not isinstance(key, yaml.ScalarNode):
            told = key.value if isinstance(key, yaml.ScalarNode) else "in brackets"
            raise _wrong(f"the key {told:.40} is no text; put it in quotes", key.start_mark)
        return cast(str, key.value)

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        node: yaml.MappingNode = super().compose_mapping_node(anchor)
        there: set[str] = set()
        for key, _ in node.value:
            if key.tag == f"{YAML}merge":
                continue
            name = self.checked_key(key)
            if name in there:
                raise _wrong(f"the key '{name:.40}' stands there twice", key.start_mark)
            there.add(name)
        return node

    def resolve(self, kind: Any, value: Any, implicit: Any) -> str:
        found: str = super().resolve(kind, value, implicit)  # type: ignore[no-untyped-call]
        tag = found.removeprefix(YAML)
        of_base_60 = tag in ("int", "float") and ":" in value
        return YAML + ("str" if of_base_60 or tag in ("timestamp", "value") else tag)


def _problem(error: yaml.YAMLError) -> str:
    if not isinstance(error, yaml.MarkedYAMLError):
        return str(error)  # of characters, before there are lines
    problem = error.problem or ""
    return f"{error.context}, {problem}" if problem.startswith("but") else problem


def _line(content: bytes | str, error: yaml.YAMLError) -> int:
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark is not None:
        return error.problem_mark.line + 1
    before = content[: getattr(error, "position", 0)]
    return 1 + (before.count("\n") if isinstance(before, str) else before.count(b"\n"))


def _wrong(problem: str, mark: yaml.Mark) -> yaml.MarkedYAMLError:
    return yaml.MarkedYAMLError(problem=problem, problem_mark=mark)


def _too_much(problem: str, mark: yaml.Mark) -> _TooMuch:
    return _TooMuch(problem=problem, problem_mark=mark)
