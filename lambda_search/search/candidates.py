"""Who is confirmed: the best trials at the last rung, whatever rungs they went through.

The rungs of a study may change between launches. A trial that lost at one of the present rungs has
had its chance; all others compete. The leading ones among these that have no score at the last
rung are scored there first, so that gains are compared on one number of images.
"""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Sequence

from lambda_search.records import Trial
from lambda_search.schedule import LambdaSchedule

__all__ = ["best_of", "unscored_leaders"]

_LEADERS = 2


def unscored_leaders(
    trials: Sequence[Trial], gains: Mapping[int, float], rungs: Sequence[int], top: int
) -> list[Trial]:
    """The trials to score at the last rung before the best are picked; 2·top at most.

    Arguments:
        trials: all that are closed and did not diverge, λ = 1 apart.
        gains: at the last rung, by trial number.
        rungs: the present ones.
        top: how many will be confirmed.
    """
    lost = {trial.number for trial in trials if trial.state == "stopped" and trial.n in rungs}
    eligible = [trial for trial in trials if trial.number in gains or trial.number not in lost]
    if not eligible:  # none but λ = 1 came as far: then those who came farthest
        farthest = max((trial.n or 0 for trial in trials), default=0)
        eligible = [trial for trial in trials if trial.n == farthest]
    own = {trial.number: trial.gain for trial in trials if trial.gain is not None}
    leaders = _distinct(eligible, own | dict(gains))[: _LEADERS * top]
    return [trial for trial in leaders if trial.number not in gains]


def best_of(trials: Sequence[Trial], gains: Mapping[int, float]) -> list[Trial]:
    """The trials that have a gain at the last rung, the best first, each schedule once."""
    return _distinct([trial for trial in trials if trial.number in gains], gains)


def _distinct(trials: Sequence[Trial], gains: Mapping[int, float]) -> list[Trial]:
    found: dict[LambdaSchedule, Trial] = {}
    for trial in sorted(trials, key=lambda trial: (-gains[trial.number], trial.number)):
        found.setdefault(trial.schedule, trial)
    return list(found.values())
