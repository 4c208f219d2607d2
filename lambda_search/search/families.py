"""The families of λ that a study proposes: linear schedules, constants (k = 0), or both.

Of both, every third trial is a constant, proposed on the line k = 0 alone by a sampler that knows
that line; the others come from the whole plane, told of all. So each family has its own optimum,
and what k is worth can be asked of the two (`worth`). A study that looked for linear schedules
alone before makes up for the constants that it lacks.
"""

from __future__ import annotations

from collections.abc import Sequence

from lambda_search.search.proposals import Observation
from lambda_search.search.proposals import propose
from lambda_search.search.space import IDENTITY
from lambda_search.search.space import Point
from lambda_search.search.space import Space
from lambda_search.spec import SearchSpec

__all__ = ["propose_next"]

_EACH = 3


def propose_next(
    search: SearchSpec,
    space: Space,
    generation: int,
    history: Sequence[Observation],
    first: int,
    count: int,
    begin: Point | None = None,
) -> list[Point]:
    """The next `count` points of a study, fewer where the ranges hold no others.

    Arguments:
        search: what its file says.
        space: its ranges.
        generation: which these are.
        history: what has ended.
        first: the number of the first of them.
        begin: what is best for a relative, if that is known.
    """
    kind, trials, seed = search.proposals, search.trials, search.seed
    constants: list[Point] = []
    if search.family == "both":
        known = [told for told in history if told.point.slope == 0]
        tried = sum(
            told.point != IDENTITY and space.constants.contains(told.point) for told in known
        )
        wanted = min(count, max(0, _constants(first + count) - tried))
        known = known or [Observation(IDENTITY, 0.0)]
        of_line = 1 + _constants(trials)
        constants = propose(space.constants, kind, of_line, seed, generation, known, wanted)
        trials -= of_line - 1
    wanted = count - len(constants)
    points = propose(space, kind, trials, seed, generation, history, wanted, begin)
    return [*(one for one in points if one not in constants), *constants]


def _constants(before: int) -> int:
    """How many trials with numbers below `before` are constants, λ = 1 apart."""
    return before // _EACH
