"""The nearest answer where no row is exact: labelled, with how far it is and why.

What changes what λ means or what an FID is worth (weights, site, metric …) and the options that
are asked for must agree; the steps, the sampler and the guidance may be others. A row is handed
out as it was measured, for its own steps: k is per index and is not carried over.

Between two step counts λ is interpolated for Euler steps of the ODE alone (`euler` without churn,
`ddim` with η = 0), whose published optima fall steadily as steps grow. With Heun they do not (EDM,
unconditional CIFAR-10: 1.006, 0.9985, 1.0005 at 7, 11, 18 steps), so that there is nothing to
interpolate. With w = ln(T/T₀)/ln(T₁/T₀), λ at either end of the grid is (1 − w)·λ₀ + w·λ₁: of two
rows that agree in all but their steps, neither of which is only `measured`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence
from itertools import groupby
from typing import Any

from lambda_search.records import Match
from lambda_search.records import Row
from lambda_search.schedule import LambdaSchedule
from lambda_search.setting import fingerprint
from lambda_search.store.asked import agrees
from lambda_search.store.asked import best_first
from lambda_search.store.contests import GRADES
from lambda_search.store.contests import Near
from lambda_search.store.contests import contest_values
from lambda_search.store.store import Store
from lambda_search.store.surroundings import Surroundings

__all__ = ["between", "near_of", "nearest_rows", "surroundings"]

_SOFT = ("steps", "nfe", "sampler", "guidance")
_EULER_STEPS = (("euler", "s_churn", 0.0), ("euler", "s_churn", None), ("ddim", "eta", 0.0))
"""Samplers with the option, and its values, that make their steps Euler's."""

_NEIGHBOURS = 16
"""Contests on either side in which the two rows may be that lie next to a step count."""


def surroundings(store: Store, model: str, wanted: Mapping[str, Any], most: int) -> Surroundings:
    """What a miss is told about; of the contests a few that are close, the closest first."""
    by = _counted(wanted)
    found = store.around(model, by, wanted.get(by, 0), most)
    near = [*found.near, *(near_of(row) for row in store.absent_rows(model))]
    near.sort(key=lambda one: (_apart(one, wanted)[0], GRADES[one.status], one.fid))
    return found._replace(near=near[:most])


def nearest_rows(store: Store, model: str, wanted: Mapping[str, Any]) -> list[Match]:
    """The rows that are equally near to what is wanted, and nearer than all others."""
    by = _counted(wanted)
    firm = {name: value for name, value in wanted.items() if name not in _SOFT}
    rows = [row for row in store.absent_rows(model) if agrees(row, firm)]
    found = [Match.of(row, *_apart(near_of(row), wanted)) for row in rows]
    near = sorted(
        (_apart(one, wanted)[0], one.contest)
        for one in store.near(model, firm, by, wanted.get(by, 0))
    )
    for _, equal in groupby(near, key=lambda one: one[0]):
        rows = store.best_of([contest for _, contest in equal], firm)
        new = [Match.of(row, *_apart(near_of(row), wanted)) for row in rows if agrees(row, firm)]
        if new:
            found += new
            break
    least = min((one.distance for one in found), default=0.0)
    return [one for one in found if one.distance == least]


def near_of(row: Row) -> Near:
    """A row as the best of its contest."""
    told = contest_values(row)
    named = (told["steps"], told["nfe"], told["sampler"], told["fields"].get("guidance"))
    b, k = row.schedule.b, row.schedule.k
    return Near(0, *named, told["fields"], row.id, b, k, row.fid, row.status)


def between(store: Store, model: str, wanted: Mapping[str, Any]) -> Match | None:
    """What lies between the two rows next to a step count; None where nothing may."""
    steps = wanted.get("steps", wanted.get("nfe"))  # an Euler step evaluates once
    if steps is None or steps < 1:
        return None
    others = {name: value for name, value in wanted.items() if name not in ("steps", "nfe")}
    near = store.near(model, others, "steps", steps, _NEIGHBOURS)
    fewer: dict[str, Row] = {}
    more: dict[str, Row] = {}
    for row in _euler_rows(store, near, others):
        side = fewer if len(row.lambdas) < steps else more
        before = side.setdefault(_all_but_steps(row), row)
        if abs(len(row.lambdas) - steps) < abs(len(before.lambdas) - steps):
            side[_all_but_steps(row)] = row
    pairs = [(fewer[key], more[key]) for key in fewer.keys() & more.keys()]
    if not pairs:
        return None
    low, high = min(
        pairs, key=lambda two: (len(two[1].lambdas) / len(two[0].lambdas), best_first(two[0]))
    )
    return _interpolated(low, high, steps)


def _interpolated(low: Row, high: Row, steps: int) -> Match:
    a, b = len(low.lambdas), len(high.lambdas)
    w = math.log(steps / a) / math.log(b / a)
    clean, noisy = ((1 - w) * low.lambdas[end] + w * high.lambdas[end] for end in (0, -1))
    slope = (noisy - clean) / (steps - 1) if steps > 1 else 0.0
    apart = min(steps / a, b / steps) - 1
    reason = f"between {a} and {b} steps of {low.setting.solver}, in ln(steps); not measured"
    schedule = LambdaSchedule(clean, slope)
    return Match("interpolated", schedule, steps, (low, high), apart, (reason,))


def _euler_rows(store: Store, near: Sequence[Near], others: Mapping[str, Any]) -> Iterator[Row]:
    """The rows of these contests that took Euler steps of the ODE, and are not only measured."""
    for sampler, option, value in _EULER_STEPS:
        contests = [one.contest for one in near if one.sampler == sampler]
        for row in store.rows_of(contests, {**others, option: value}) if contests else ():
            whole = len(row.lambdas) == row.setting.steps
            is_euler = row.setting.sampler == sampler and row.status != "measured"
            if is_euler and whole and agrees(row, others):
                yield row


def _all_but_steps(row: Row) -> str:
    return fingerprint([row.setting.model_copy(update={"steps": 1}).key, row.status])


def _counted(wanted: Mapping[str, Any]) -> str:
    return "nfe" if "nfe" in wanted else "steps"


def _apart(place: Near, wanted: Mapping[str, Any]) -> tuple[float, tuple[str, ...]]:
    """How far a place is from what is wanted, and in what."""
    distance, reasons = 0.0, []
    for name, words in (("steps", "steps"), ("nfe", "network evaluations")):
        here, asked = getattr(place, name), wanted.get(name)
        if asked is not None and here != asked:
            distance += max(here, asked) / max(min(here, asked), 1) - 1
            reasons.append(f"{here} {words}, not {asked}")
    if "sampler" in wanted and place.sampler != wanted["sampler"]:
        distance += 1
        reasons.append(f"{place.sampler}, not {wanted['sampler']}")
    if "guidance" in wanted:
        here, asked = (
            1.0 if one is None else float(one) for one in (place.guidance, wanted["guidance"])
        )
        if here != asked:
            distance += abs(here - asked)
            reasons.append(f"guidance {here:g}, not {asked:g}")
    return distance, tuple(reasons)
