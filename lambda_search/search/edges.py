"""What the search leaves open: a best λ at the end of a range, and trials that repeat each other.

A best schedule at the end of a range is not bracketed: a better one may lie beyond it. "At the
end" is within 5 % of the range's width, which is how far a repeated proposal is moved from it at
first (`proposals`). A range that is one point is meant so.
"""

from __future__ import annotations

from collections.abc import Iterator
from collections.abc import Sequence
from dataclasses import replace

from lambda_search.errors import LambdaSearchError
from lambda_search.records import Trial
from lambda_search.search.space import Placed
from lambda_search.search.space import Space
from lambda_search.spec import Range

__all__ = ["left_open"]

_EDGE = 0.05
_WIDER = (0.5, 0.25, 0.125)
"""By how much of its width a range may be widened; the first for which λ stays positive."""

_CROWD = 1 / 3
"""The share of the candidates from which on it is said that they lie together at an edge."""

_FEWEST = 4


def left_open(
    space: Space, trials: Sequence[Trial], best: Placed, asked: Space | None = None
) -> tuple[str, ...]:
    """What the search leaves open, a sentence each; nothing if all is well.

    Arguments:
        space: the ranges that were searched.
        trials: all trials of the study, λ = 1 among them.
        best: the best of them on the confirmation's images.
        asked: the file's ranges, where others were searched; wider ones hold them.
    """
    edges = tuple(_edges(space, best, asked or space))
    return edges + tuple(_repeats(space, trials, best, bool(edges)))


def _edges(space: Space, best: Placed, asked: Space) -> Iterator[str]:
    for name, symbol, limits, held, value, digits in (
        ("mean", "λ̄", space.mean, asked.mean, best.mean, 5),
        ("slope", "k", space.slope, asked.slope, best.slope, 3),
    ):
        side = _side(limits, value)
        if side is None:
            continue
        wider = _wider(space, name, limits, side, held)
        advice = (
            "λ cannot go much further there and stay positive"
            if wider is None
            else f"widen search.{name} to {_shown(wider, digits)}"
        )
        yield (
            f"the best λ lies at the edge of the {name} range {_shown(limits, digits)} "
            f"({symbol} = {value:.{digits}g}), and a better one may lie beyond it: {advice}"
        )


def _repeats(space: Space, trials: Sequence[Trial], best: Placed, at_edge: bool) -> Iterator[str]:
    inside = [one for one in trials if one.number and space.contains(one)]
    same = len(inside) - len({one.schedule for one in inside})
    if same:
        yield f"{same} of {len(inside)} candidates repeat the schedule of another"
    around = sum(space.near(one, best, _EDGE) for one in inside)
    if at_edge and around >= _FEWEST and around > _CROWD * len(inside):
        yield f"{around} of {len(inside)} candidates lie at that one edge"


def _side(limits: Range, value: float) -> int | None:
    """0 at the lower end, 1 at the upper one, None between them."""
    low, high = limits
    width = high - low
    if width <= 0:
        return None
    if value <= low + _EDGE * width:
        return 0
    return 1 if value >= high - _EDGE * width else None


def _wider(space: Space, name: str, limits: Range, side: int, held: Range) -> Range | None:
    for share in _WIDER:
        more = share * (limits[1] - limits[0])
        low, high = (limits[0] - more, limits[1]) if side == 0 else (limits[0], limits[1] + more)
        wider = min(low, held[0]), max(high, held[1])
        try:
            (replace(space, mean=wider) if name == "mean" else replace(space, slope=wider)).check()
        except LambdaSearchError:
            continue
        return wider
    return None


def _shown(limits: Range, digits: int) -> str:
    return f"[{limits[0]:.{digits}g}, {limits[1]:.{digits}g}]"
