"""What is best for a relative of a setting: where a search may begin.

Relatives are rows of the same model (by its weights) at other steps, with another sampler or
guidance, the nearest as a lookup has it, and else of the published ones of its framework and
sampler the one that is nearest in steps. λ must act at the same place; mean and k(T′ − 1) are
kept, but where the search keeps to its ranges and they lie outside. A row that recommends λ = 1
tells nothing of where to look. A confirmed row of the very setting, at 1.25 times as many steps or
as few at most, is close: a search trusts it more. (From 5 to 10 to 20 steps the bundled model's
optima move by 0.2 to 0.6 half-widths of the default ranges.)
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace

from lambda_search.records import Row
from lambda_search.records import Study
from lambda_search.records import WarmStart
from lambda_search.search.plan import Plan
from lambda_search.search.plane import FARTHEST
from lambda_search.search.plane import Plane
from lambda_search.search.space import Point
from lambda_search.store.catalogue import entries
from lambda_search.store.leases import Lease
from lambda_search.store.nearest import nearest_rows
from lambda_search.store.store import Store

__all__ = ["warm_start", "warmed"]

_CLOSE = 1.25
"""Steps of a close relative beside those that are searched for, or the reverse, at most."""


def warmed(plan: Plan, study: Study, lease: Lease, store: Store) -> Plan:
    """`plan` with where its search begins, if its file asks for that and there is a relative.

    It is looked for before the first trials alone, and kept: a driver that starts again begins at
    the same place, whatever the store has by then.
    """
    if not plan.spec.search.warm_start:
        return plan
    start = study.warm_start
    if start is None and not store.trials(study.id):
        start = warm_start(plan, store)
        if start is not None:
            store.begin_at(lease, start)
    return replace(plan, warm_start=start)


def warm_start(plan: Plan, store: Store) -> WarmStart | None:
    """What `store` and the catalogue know of the nearest relative; None if there is none."""
    found = next(_of_model(plan, store), None) or next(_published(plan), None)
    if found is None:
        return None
    row, words = found
    point, is_whole = _begin(row, plan)
    is_close = is_whole and _is_close(row, plan)
    return WarmStart(point.mean, point.slope, row.id, f"row {row.id[:12]}: {words}", is_close)


def _begin(row: Row, plan: Plan) -> tuple[Point, bool]:
    """Where a row's schedule lies for the study, and whether nothing of it had to be changed.

    Searches by rounds go beyond their ranges, as far as a plane opens, but for what is fixed.
    """
    space, grid, schedule = plan.space, len(row.lambdas), row.schedule
    slope = schedule.k * (grid - 1) / max(space.steps - 1, 1)
    point, plane = space.readable(Point(schedule.mean(grid), slope)), Plane(space)
    begin = space.rounded(point)
    if plan.kg is not None and max(map(abs, plane.place(point))) <= FARTHEST:
        moves_mean, moves_slope = plane.has_width
        begin = Point(
            point.mean if moves_mean else begin.mean, point.slope if moves_slope else begin.slope
        )
    return begin, begin == point


def _is_close(row: Row, plan: Plan) -> bool:
    """Whether it was confirmed for the study's own setting, with nearly as many steps.

    The best constant is not where the best line is.
    """
    fewer, more = sorted((row.setting.steps, plan.setting.steps))
    own = {"steps": plan.setting.steps, "model": plan.setting.model}
    alike = row.setting.model_copy(update=own)
    is_line = row.schedule.k != 0 or plan.space.slope == (0.0, 0.0)
    is_near = more <= _CLOSE * fewer and alike.key == plan.setting.key
    return is_near and is_line and row.status == "confirmed"


def _of_model(plan: Plan, store: Store) -> Iterator[tuple[Row, str]]:
    """Rows of the study's own weights, whatever their names, the nearest first."""
    setting = plan.setting
    wanted = {
        "steps": plan.space.steps,
        "sampler": setting.solver,
        "guidance": setting.guidance,
        "site": setting.site,
        "weights": setting.weights,
        "definition": setting.definition,
    }
    names = dict.fromkeys([setting.model, *store.models_of(setting.weights)])
    found = [match for name in names for match in nearest_rows(store, name, wanted)]
    for match in sorted(found, key=lambda one: one.distance):
        [row] = match.rows
        if not row.schedule.is_identity:
            name = row.setting.model
            words = "this model" if name == setting.model else f"these weights, called {name}"
            yield row, ", ".join((f"{row.status} for {words}", *match.reasons))


def _published(plan: Plan) -> Iterator[tuple[Row, str]]:
    """Published rows of other models, nearest in steps first."""
    setting, steps = plan.setting, plan.space.steps
    kept = ("site", "framework", "solver")
    found = [
        one.row
        for one in entries()
        if all(getattr(one.setting, name) == getattr(setting, name) for name in kept)
        and (one.setting.guidance is None) == (setting.guidance is None)
        and not one.schedule.is_identity
    ]
    for row in sorted(found, key=lambda row: abs(math.log(len(row.lambdas) / steps))):
        yield row, f"published for {row.setting.model}, {len(row.lambdas)} steps"
