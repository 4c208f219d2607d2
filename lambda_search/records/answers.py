"""Rows and answers as programs get them, from the shell or a service, and read back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

from lambda_search.records.matches import Match
from lambda_search.records.row_parts import Arrival
from lambda_search.records.rows import Row
from lambda_search.schedule import LambdaSchedule

__all__ = ["match_from_json", "match_json", "row_from_json", "row_json"]


def row_json(row: Row) -> dict[str, Any]:
    """A row with how it came into its store."""
    told = row.arrival
    arrival = None if told is None else {"from": told.source, "at": told.at.isoformat()}
    return row.to_json() | {"imported": arrival}


def match_json(found: Match) -> dict[str, Any]:
    """An answer."""
    return found.to_json() | {"rows": [row_json(row) for row in found.rows]}


def row_from_json(told: Mapping[str, Any]) -> Row:
    """What `row_json` wrote.

    Raises:
        ValueError: as `Row.from_json`.
    """
    content = dict(told)
    arrival = content.pop("imported", None)
    row = Row.from_json(content)
    if arrival is None:
        return row
    at = datetime.fromisoformat(arrival["at"])
    return replace(row, arrival=Arrival(str(arrival["from"]), at))


def match_from_json(told: Mapping[str, Any]) -> Match:
    """What `match_json` wrote.

    Raises:
        ValueError: as `Row.from_json`.
    """
    return Match(
        kind=told["kind"],
        schedule=LambdaSchedule(told["b"], told["k"]),
        steps=len(told["lambdas"]),
        rows=tuple(row_from_json(one) for one in told["rows"]),
        distance=told["distance"],
        reasons=tuple(told["reasons"]),
    )
