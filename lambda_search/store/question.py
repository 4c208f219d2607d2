"""A question to the table in two parts: its shape decides the statements, its values go in.

Statements of one shape are made once. What is compared is text, and every value has one spelling.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import BindParameter
from sqlalchemy import ColumnElement
from sqlalchemy import Integer
from sqlalchemy import SQLColumnExpression
from sqlalchemy import String
from sqlalchemy import bindparam
from sqlalchemy import func
from sqlalchemy import or_

from lambda_search.setting import SamplerOptions
from lambda_search.setting import canonical

__all__ = ["COLUMNS", "Question", "condition", "spelled"]

COLUMNS = ("model", "steps", "nfe", "sampler")
"""What contests have columns for; the first three have indexes."""

_ESCAPE = "/"
_OPTIONS = frozenset(SamplerOptions().told())


@dataclass(frozen=True)
class Question:
    """What is asked for.

    Arguments:
        contest: how fields of the setting are compared, by name: the shape.
        options: how options of the sampler are.
        values: what they are compared with, by parameter.
    """

    contest: tuple[tuple[str, str], ...]
    options: tuple[tuple[str, str], ...]
    values: Mapping[str, Any]

    @classmethod
    def of(cls, model: str, wanted: Mapping[str, Any]) -> Question:
        """The question for a model's rows that have what is wanted.

        By names with a fingerprint it finds perhaps a few too many.
        """
        values: dict[str, Any] = {}
        contest: list[tuple[str, str]] = []
        options: list[tuple[str, str]] = []
        for name, value in sorted({**wanted, "model": model}.items()):
            how = _compared(name, value, values)
            (options if name in _OPTIONS else contest).append((name, how))
        return cls(tuple(contest), tuple(options), values)


def condition(name: str, how: str, told: SQLColumnExpression[Any]) -> ColumnElement[bool]:
    """That a column has what parameter `name` says."""
    kind = Integer if name in ("steps", "nfe") else String
    value: BindParameter[Any] = bindparam(name, type_=kind)
    match how:
        case "none":
            return told.is_(None)
        case "starts":
            return _starts(told, value)
        case "holds":
            return told.like(value, escape=_ESCAPE)
        case "label" | "any":
            starts = _starts(told, bindparam(f"{name}_start", type_=String))
            if how == "label":
                return or_(told == value, starts)
            ends = told.like(bindparam(f"{name}_end", type_=String), escape=_ESCAPE)
            return or_(told == value, starts, ends)
    return told == value


def spelled(value: Any) -> str:
    """The one text of a value; numbers that are equal have the same."""
    if isinstance(value, str):
        return value
    if isinstance(value, int | float) and not isinstance(value, bool):
        return repr(float(value))
    return canonical(value) if isinstance(value, bool | list | dict) else str(value)


def _compared(name: str, value: Any, values: dict[str, Any]) -> str:
    """How a field is compared, and with what: `values` get it."""
    if name in ("steps", "nfe"):
        values[name] = value
        return "is"
    if value is None or (name == "guidance" and value == 1):
        return "none"
    if name == "sampler" and value == "scheduler":  # of whatever class
        values[name] = "%Scheduler"
        return "holds"
    values[name] = spelled(value)
    if name in ("weights", "definition"):
        return "starts"
    return _named(name, values) if name in ("extractor", "reference") else "is"


def _named(name: str, values: dict[str, Any]) -> str:
    """`LABEL`, `FINGERPRINT`, `@DIGITS` or `LABEL@DIGITS`."""
    asked = values[name]
    label, mark, digits = asked.partition("@")
    if not label:
        values[name] = f"%@{_escaped(digits)}%"
        return "holds"
    if mark and digits:
        return "starts"
    values[name], values[f"{name}_start"] = label, f"{label}@"
    if mark:
        return "label"
    values[f"{name}_end"] = f"%@{_escaped(label)}"
    return "any"


def _starts(told: SQLColumnExpression[str], start: BindParameter[Any]) -> ColumnElement[bool]:
    # LIKE takes capitals for others in SQLite
    return func.substr(told, 1, func.length(start)) == start


def _escaped(text: str) -> str:
    for mark in (_ESCAPE, "%", "_"):
        text = text.replace(mark, f"{_ESCAPE}{mark}")
    return text
