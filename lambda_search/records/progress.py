"""How far a running study is; a snapshot that its driver keeps in the store."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from typing import Literal
from typing import TypeAlias

from lambda_search.schedule import LambdaSchedule

__all__ = ["Progress", "Stage"]

Stage: TypeAlias = Literal["preparing", "search", "confirm", "done", "stopped", "failed"]


@dataclass(frozen=True)
class Progress:
    """How far a running study is; a snapshot.

    Arguments:
        study: its name.
        phase: `preparing`, `search`, `confirm`, `done`, `stopped` or `failed`.
        trials_done, trials_total: ended trials, and the budget.
        images, images_expected: made or known from before, and about how many there will be.
        made: images that were made by this driver.
        images_per_second: of these lately, over wall time.
        useful_seconds: what workers spent in network and extractor for it.
        best: the schedule with the largest gain among the ended trials on the most images; λ = 1,
            with a gain of 0, where none is better. None before any has ended.
        best_gain, best_n: its gain, on how many images.
        at: UTC.
        workers: of the pool that the study shares with others.
        places: where these are: host, kind of device, how many. One study of a driver tells it.
        made_in_all, seconds_in_all: as `made` and `useful_seconds`, by all its drivers.
    """

    study: str
    phase: str
    trials_done: int
    trials_total: int
    images: int
    images_expected: int
    made: int
    images_per_second: float
    useful_seconds: float
    best: LambdaSchedule | None
    best_gain: float | None
    best_n: int | None
    at: datetime
    workers: int = 0
    places: tuple[tuple[str, str, int], ...] = ()
    made_in_all: int = 0
    seconds_in_all: float = 0.0

    @property
    def has_ended(self) -> bool:
        """Whether nothing is done for it any more."""
        return self.phase in ("done", "stopped", "failed")

    @property
    def share_done(self) -> float:
        """About how much of the work is behind, 0 to 1."""
        if self.phase == "done":
            return 1.0
        return min(0.99, self.images / max(self.images_expected, 1))

    @property
    def seconds_left(self) -> float | None:
        """About how long it still takes at the present speed; None if that is not known."""
        if self.has_ended or self.images_per_second <= 0:
            return None
        return max(self.images_expected - self.images, 0) / self.images_per_second

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return asdict(self) | {"at": self.at.isoformat()}

    @classmethod
    def from_json(cls, told: Mapping[str, Any]) -> Progress:
        """What `to_json` wrote."""
        best = told["best"] and LambdaSchedule(**told["best"])
        places = tuple((host, kind, count) for host, kind, count in told.get("places", ()))
        found = {"best": best, "at": datetime.fromisoformat(told["at"]), "places": places}
        return cls(**{**told, **found})
