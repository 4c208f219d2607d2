"""What a study took, by phase: schedules, images, network evaluations, time."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from lambda_search.records import Evaluation
from lambda_search.records import Event

__all__ = ["Effort", "efforts", "seconds_by_phase", "total"]

PREPARING, SEARCH, CONFIRMATION = "preparing", "search", "confirmation"
_BEGINS = {"search": SEARCH, "confirm": CONFIRMATION}
_BEGAN = {"searching": "search", "confirming": "confirm"}
"""By what an older release's event `phase` begins with: the kind that it has now."""


@dataclass(frozen=True)
class Effort:
    """A phase, or a rung of one.

    Arguments:
        name: of the phase; of a rung or of rounds, how many images of each schedule they have.
        schedules: how many were scored, λ = 1 among them.
        images: scored for the first time there.
        network_evaluations: for these; None if the steps are not known.
        seconds: that drivers were at it, by the events; None where none tells it.
        is_part: whether it is a part of the one above it.
    """

    name: str
    schedules: int
    images: int
    network_evaluations: int | None
    seconds: float | None = None
    is_part: bool = False

    @property
    def images_per_second(self) -> float | None:
        """Images over time."""
        return self.images / self.seconds if self.images and self.seconds else None


def efforts(
    evaluations: Sequence[Evaluation], events: Sequence[Event], nfe: int | None
) -> list[Effort]:
    """The phases of a study that have begun, the search by its rungs.

    Arguments:
        evaluations, events: of the study.
        nfe: network evaluations for an image.
    """
    spent = seconds_by_phase(events)
    found = []
    if PREPARING in spent:
        found.append(Effort(PREPARING, 0, 0, None, spent[PREPARING]))
    searched = [one for one in evaluations if one.phase == "search"]
    if searched or SEARCH in spent:
        rungs = list(_rungs(searched, nfe))
        images = sum(rung.images for rung in rungs)
        schedules = len({one.trial for one in searched})
        found.append(
            Effort(SEARCH, schedules, images, _network(images, nfe), spent.get(SEARCH)),
        )
        found += rungs if len(rungs) > 1 else []
    confirmed = [one for one in evaluations if one.phase == "confirm"]
    if confirmed or CONFIRMATION in spent:
        images = sum(_most_of_each_round(confirmed))
        schedules = len({one.trial for one in confirmed})
        seconds = spent.get(CONFIRMATION)
        found.append(Effort(CONFIRMATION, schedules, images, _network(images, nfe), seconds))
    return found


def total(several: Sequence[Effort]) -> Effort:
    """All of them together."""
    whole = [one for one in several if not one.is_part]
    timed = [one.seconds for one in whole if one.seconds is not None]
    counted = [one.network_evaluations for one in whole if one.network_evaluations is not None]
    return Effort(
        "in all",
        max((one.schedules for one in whole), default=0),
        sum(one.images for one in whole),
        sum(counted) if counted else None,
        sum(timed) if timed else None,
    )


def seconds_by_phase(events: Sequence[Event]) -> dict[str, float]:
    """How long drivers were at each phase; the time between two drivers is nobody's.

    A driver that was lost is taken to have worked until the last that it told.
    """
    spent: dict[str, float] = defaultdict(float)
    phase, since, last = "", None, None
    for event in events:
        if event.kind == "began":
            _add(spent, phase, since, last)
            phase, since = PREPARING, event.at
        elif (kind := _kind(event)) in _BEGINS:
            _add(spent, phase, since, event.at)
            phase, since = _BEGINS[kind], event.at
        elif event.kind in ("row", "done", "stopped", "failed"):
            _add(spent, phase, since, event.at)
            phase, since = "", None
        last = event.at
    _add(spent, phase, since, last)
    return dict(spent)


def _kind(event: Event) -> str:
    if event.kind != "phase":
        return event.kind
    return _BEGAN.get(event.text.partition(" ")[0].rstrip(","), "note")


def _add(
    spent: dict[str, float], phase: str, since: datetime | None, until: datetime | None
) -> None:
    if phase and since is not None and until is not None:
        spent[phase] += max((until - since).total_seconds(), 0.0)


def _rungs(searched: Sequence[Evaluation], nfe: int | None) -> list[Effort]:
    """The search by rung, or by the size of rounds; a rung's images are those beyond the last."""
    counts: dict[tuple[int, int], set[int]] = defaultdict(set)
    for one in searched:
        counts[one.trial, one.first].add(one.n)
    new: dict[int, list[int]] = defaultdict(list)
    for several in counts.values():
        before = 0
        for n in sorted(several):
            new[n].append(n - before)
            before = n
    name = "rounds of" if any(one.first for one in searched) else "to"
    return [
        Effort(
            f"{name} {n:,} images", len(each), sum(each), _network(sum(each), nfe), is_part=True
        )
        for n, each in sorted(new.items())
    ]


def _most_of_each_round(confirmed: Sequence[Evaluation]) -> Iterable[int]:
    """Images of a schedule in a round: those of its last look, which has all of the earlier."""
    most: dict[tuple[int, int], int] = {}
    for one in confirmed:
        most[one.trial, one.first] = max(one.n, most.get((one.trial, one.first), 0))
    return most.values()


def _network(images: int, nfe: int | None) -> int | None:
    return None if nfe is None else images * nfe
