"""What cannot be: rows that contradict themselves, whoever hands them over.

An id is made from what a row says, so it tells a broken row, not an impossible one.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from datetime import UTC
from datetime import datetime
from datetime import timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lambda_search.records.evidence import Interval
    from lambda_search.records.rows import Row

__all__ = ["check_possible"]

_LARGEST_COUNT = 2**31 - 1
_CLOCKS_DIFFER = timedelta(days=1)
_LONGEST = {
    "model": 200,
    "weights": 64,
    "framework": 50,
    "sampler": 50,
    "origin.by": 200,
    "origin.tool": 100,
    "model.dataset": 200,
    "model.hub": 200,
    "model.revision": 64,
    "model.file": 255,
}
"""Characters that every store takes."""


def check_possible(row: Row) -> None:
    """Raises ValueError for a row that contradicts itself, or that no store can hold."""
    for wrong in (*_texts(row), *_schedule(row), *_evidence(row), *_candidates(row)):
        raise ValueError(wrong)


def _texts(row: Row) -> Iterator[str]:
    setting, origins = row.setting, row.origins
    texts = {
        "model": setting.model,
        "weights": setting.weights,
        "framework": setting.framework,
        "sampler": setting.sampler,
        "origin.by": row.origin.by,
        "origin.tool": row.origin.tool,
        "model.dataset": origins.dataset or "",
        "model.hub": origins.hub or "",
        "model.revision": origins.revision or "",
        "model.file": origins.file or "",
    }
    for name, text in texts.items():
        if len(text) > _LONGEST[name]:
            yield f"{name} has {len(text)} characters, and at most {_LONGEST[name]} are kept"
    if not setting.model:
        yield "its model has no name"
    if row.created > datetime.now(UTC) + _CLOCKS_DIFFER:
        yield f"it was made in the future, on {row.created:%Y-%m-%d}"


def _schedule(row: Row) -> Iterator[str]:
    steps = len(row.lambdas)
    if row.setting.steps > _LARGEST_COUNT:
        yield "it has too many steps"
    told = (row.schedule.at(i) for i in range(steps))
    if not all(map(math.isclose, row.lambdas, told)):
        yield f"its λ step by step are not λ(i) = {row.schedule}"
    if not all(0 < value < math.inf for value in row.lambdas):
        yield "λ is not positive at every step"
    known = [one for one in row.levels if one.timestep is not None]
    if row.levels and len(known) != steps:
        yield "the noise of some of its steps is missing"


def _evidence(row: Row) -> Iterator[str]:
    setting, told = row.setting, row.provenance
    for name, here, there in (
        ("extractor", setting.extractor, told.extractor),
        ("reference", setting.reference, told.reference),
    ):
        if here != there and (there or "@" in here or row.status != "published"):
            yield f"its {name} is {here}, and its numbers are from {there or 'nowhere'}"
    measured = (row.fid_interval, row.baseline_interval, row.gain, row.gain_interval)
    if row.status == "published":
        if row.provenance.source is None:
            yield "it is published, and does not say where"
        if any(one is not None for one in measured):
            yield "it is published, and has intervals or a corrected gain"
        return
    if any(one is None for one in measured):
        yield f"it is {row.status}, and an interval or its gain is missing"
        return
    for name, value, interval in (
        ("FID", row.fid, row.fid_interval),
        ("FID at λ = 1", row.baseline_fid, row.baseline_interval),
        ("gain", row.gain, row.gain_interval),
    ):
        if interval is not None and value is not None and not _holds(interval, value):
            yield f"its {name} is {value:g}, outside of its interval"
    if row.status == "confirmed" and row.gain_interval is not None and row.gain_interval.low <= 0:
        yield "it is confirmed, and the interval of its gain does not lie above zero"


def _candidates(row: Row) -> Iterator[str]:
    told = row.provenance
    numbers = {one.trial for one in told.candidates}
    if told.candidates and told.trial not in numbers:
        yield f"it is about trial {told.trial}, which is none of its candidates"
    for other in told.also:
        if not numbers <= {one.trial for one in other.candidates}:
            yield f"{other.extractor} has not measured all of its candidates"
    if told.worth is not None:
        if not {told.worth.linear, told.worth.constant} <= numbers | {0}:
            yield "it says what k is worth of trials that are none of its candidates"
        if not told.worth.low <= told.worth.gain <= told.worth.high:
            yield f"k is worth {told.worth.gain:g}, outside of its interval"
    chosen = row.candidate
    if chosen is None:
        return
    if chosen.gain != row.gain:
        yield f"its gain is {row.gain}, and that of trial {chosen.trial} is {chosen.gain}"
    if row.status == "confirmed" and (chosen.b, chosen.k) != (row.schedule.b, row.schedule.k):
        yield f"it recommends {row.schedule}, which is not the schedule of trial {chosen.trial}"
    if told.confirm_indices is not None:
        first, last = told.confirm_indices
        if last - first != row.n:
            yield f"it has {row.n:,} images, and the indices of {last - first:,}"
    if told.looks is not None:
        made = told.looks.made
        if not made or made[-1] != row.n or list(made) != sorted(set(made)):
            yield f"it has {row.n:,} images, and its looks were at {list(made)}"
        if len(made) > told.looks.planned:
            yield f"it has made {len(made)} looks of {told.looks.planned}"


def _holds(interval: Interval, value: float) -> bool:
    return interval.low <= value <= interval.high
