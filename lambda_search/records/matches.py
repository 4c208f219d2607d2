"""What a lookup answers that need not be exact: a row, or what lies between two."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from typing import Literal
from typing import TypeAlias

from lambda_search.records.rows import Row
from lambda_search.schedule import LambdaSchedule

__all__ = ["Match", "MatchKind"]

MatchKind: TypeAlias = Literal["exact", "interpolated", "nearest"]


@dataclass(frozen=True)
class Match:
    """An answer, and how far it is from what was asked.

    Arguments:
        kind: `exact`; `interpolated` between two step counts, measured at neither; or `nearest`, a
            row as it was measured, for a setting that is another one.
        schedule: λ(i) = b + k·i.
        steps: T′, the steps that the schedule is for.
        rows: the row; where it is interpolated, the one of fewer steps and the one of more.
        distance: 0 where it is exact; 1 is twice the steps, another sampler, or one unit of
            guidance; sums of these.
        reasons: what is otherwise than asked, a phrase each.
    """

    kind: MatchKind
    schedule: LambdaSchedule
    steps: int
    rows: tuple[Row, ...]
    distance: float = 0.0
    reasons: tuple[str, ...] = ()

    @classmethod
    def of(cls, row: Row, distance: float = 0.0, reasons: tuple[str, ...] = ()) -> Match:
        """A row as an answer."""
        kind: MatchKind = "nearest" if reasons else "exact"
        return cls(kind, row.schedule, len(row.lambdas), (row,), distance, reasons)

    @property
    def lambdas(self) -> tuple[float, ...]:
        """λ(0), …, λ(T′ − 1); 0 = least noisy step."""
        return self.schedule.values(self.steps)

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            "kind": self.kind,
            "distance": self.distance,
            "reasons": list(self.reasons),
            "b": self.schedule.b,
            "k": self.schedule.k,
            "lambdas": list(self.lambdas),
            "rows": [row.to_json() for row in self.rows],
        }
