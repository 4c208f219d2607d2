"""What a lookup asks for: fields of a setting by name, and whether a row has them."""

from __future__ import annotations

import operator
from collections.abc import Mapping
from typing import Any

from lambda_search.errors import UsageError
from lambda_search.records import Row
from lambda_search.setting import SamplerOptions
from lambda_search.setting import Setting
from lambda_search.store.contests import GRADES

__all__ = ["agrees", "asked_for", "best_first"]

_MOST_STEPS = 2**31 - 1
"""What a database can compare with; no grid is as long."""


def asked_for(
    steps: int | None, nfe: int | None, sampler: str | None, setting: Mapping[str, Any]
) -> dict[str, Any]:
    """What must agree, by field; what is None among the first three is left open.

    Raises:
        UsageError: for a field that does not exist, or a number that is none.
    """
    known = (set(Setting.model_fields) | set(SamplerOptions().told())) - {"options", "model"}
    unknown = set(setting) - known
    if unknown:
        raise UsageError(
            f"A setting has no field '{min(unknown)}'.", "See Setting and SamplerOptions."
        )
    counts = {"steps": steps, "nfe": nfe}
    found = dict(setting)
    found |= {name: _count(name, one) for name, one in counts.items() if one is not None}
    if found.get("guidance") is not None:
        found["guidance"] = _scale(found["guidance"])
    return found if sampler is None else found | {"sampler": sampler}


def agrees(row: Row, wanted: Mapping[str, Any]) -> bool:
    """Whether a row has all that is asked for."""
    told = row.setting.model_dump()
    told |= told.pop("options") | {"nfe": row.nfe}
    return all(_fits(row, name, told[name], value) for name, value in wanted.items())


def best_first(row: Row) -> tuple[int, float, int]:
    """Sorts rows of one metric: the order of `best`."""
    return GRADES[row.status], row.score, -row.n


def _count(name: str, value: Any) -> int:
    try:
        return max(-1, min(operator.index(value), _MOST_STEPS))
    except TypeError:
        raise UsageError(f"{name} is {value!r}.", "Give a whole number.") from None


def _scale(value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError):
        raise UsageError(f"guidance is {value!r}.", "Give a number.") from None


def _fits(row: Row, name: str, found: Any, value: Any) -> bool:
    match name:
        case "steps":
            return value in (found, len(row.lambdas))
        case "sampler":
            return value in (found, row.setting.solver)
        case "guidance":
            return bool(found == (None if value == 1 else value))
        case "weights" | "definition":
            return str(found).startswith(str(value))
        case "extractor" | "reference":
            label, _, fingerprint = str(found).partition("@")
            asked, mark, digits = str(value).partition("@")
            named = asked in ("", label) if mark else asked in (label, fingerprint)
            return named and fingerprint.startswith(digits)
    return bool(found == value)
