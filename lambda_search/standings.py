"""How a study stands, as plain values: what `status --json` prints and a service answers."""

from __future__ import annotations

from collections.abc import Iterator
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from lambda_search.records import Event
from lambda_search.records import Study
from lambda_search.spec import stored_spec
from lambda_search.store.store import Store
from lambda_search.store.tallies import Tally

__all__ = ["event_facts", "facts", "history", "several_facts"]

_AT_ONCE = 500


def facts(store: Store, study: Study) -> dict[str, Any]:
    """How a study stands: its state, trials, best schedule so far, and row."""
    return next(several_facts(store, [study]))


def several_facts(store: Store, studies: Sequence[Study]) -> Iterator[dict[str, Any]]:
    """The same of several, with a constant number of queries for some hundred of them."""
    for first in range(0, len(studies), _AT_ONCE):
        page = studies[first : first + _AT_ONCE]
        tallies = store.tallies(page)
        yield from (_facts(one, tallies[one.id]) for one in page)


def _facts(study: Study, tally: Tally) -> dict[str, Any]:
    best, row, spec, running = tally.best, tally.row, stored_spec(study.spec), tally.driven
    abandoned = study.state == "running" and not running
    progress = study.progress if running else None
    return {
        "study": study.name,
        "state": "queued" if abandoned else study.state,
        "phase": None if progress is None else progress.phase,
        "message": "Its driver is gone; the next one goes on." if abandoned else study.message,
        "driver": study.driver if running else None,
        "trials": tally.trials,
        "budget": None if spec is None else spec.search.trials,
        "images": None if progress is None else progress.images,
        "images_expected": None if progress is None else progress.images_expected,
        "images_per_second": None if progress is None else progress.images_per_second,
        "workers": None if progress is None else progress.workers,
        "places": None if progress is None else [list(place) for place in progress.places],
        "worker_seconds": None if study.progress is None else study.progress.seconds_in_all,
        "seconds_left": None if progress is None else progress.seconds_left,
        "best": None
        if best is None
        else {
            "b": best.schedule.b,
            "k": best.schedule.k,
            "schedule": str(best.schedule),
            "gain": best.gain,
            "n": best.n,
        },
        "row": None
        if row is None
        else {
            "id": row.id,
            "b": row.schedule.b,
            "k": row.schedule.k,
            "schedule": str(row.schedule),
            "status": row.status,
        },
        "created": study.created.isoformat(),
        "updated": study.updated.isoformat(),
    }


def history(store: Store, study: Study, events: int | None = None) -> dict[str, Any]:
    """Who drove a study, and what happened: the last `events`; all unless given."""
    return {
        "attempts": [
            asdict(one)
            | {
                "began": one.began.isoformat(),
                "ended": None if one.ended is None else one.ended.isoformat(),
            }
            for one in study.attempts
        ],
        "events": [event_facts(event) for event in store.events(study.name, most=events)],
    }


def event_facts(event: Event) -> dict[str, Any]:
    """What happened."""
    return asdict(event) | {"at": event.at.isoformat()}
