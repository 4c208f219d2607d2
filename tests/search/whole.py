"""Whole studies that play an emulator: a search to its own end, and the proof of what it found.

The search is `players.fewest`'s, the proof the code that confirms studies (`search.looks`,
`search.confirm`), told of the emulator's scores on images that the search has not seen.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from lambda_search.metrics.evidence import Score
from lambda_search.metrics.evidence import enough_images
from lambda_search.metrics.evidence import paired
from lambda_search.records import RowStatus
from lambda_search.records import Terms
from lambda_search.schedule import LambdaSchedule
from lambda_search.search.confirm import Contender
from lambda_search.search.confirm import Proof
from lambda_search.search.confirm import settle
from lambda_search.search.kg import KnowledgeGradient
from lambda_search.search.looks import LookPlan
from lambda_search.search.looks import Seen
from lambda_search.search.space import IDENTITY
from lambda_search.search.space import Point
from tests.search.emulator import Emulator
from tests.search.players import SPACE
from tests.search.players import STEPS
from tests.search.players import rounds
from tests.search.players import tilt

__all__ = ["Study", "studied"]

_CONFIRM_FROM = 1_000_000


@dataclass(frozen=True)
class Study:
    """How one ended.

    Arguments:
        ending: of the search.
        searched, images: made by the search, and in all.
        status: of the row.
        recommended: what it recommends.
        worth: its true gain over λ = 1, as a share of FID(1); negative = it is worse.
        held: whether the interval of the best candidate's gain holds.
        half_width: of that interval, as a share of FID(1).
    """

    ending: str
    searched: int
    images: int
    status: RowStatus
    recommended: Point
    worth: float
    held: bool
    half_width: float


def studied(
    emulator: Emulator,
    seed: int,
    precision: float = 0.015,
    samples: int = 50_000,
    top: int = 1,
    budget: int | None = None,
    ranked: Emulator | None = None,
) -> Study:
    """One study; arguments as a study's file has them.

    `ranked`: what its rounds are told by, where that is not the FID but a projected distance.
    """
    truth, shown = emulator.landscape, ranked or emulator
    width = shown.landscape.features
    least = None if ranked is None else enough_images(width)
    first = enough_images(truth.features)
    proof = 2 * LookPlan(Terms(samples, precision, top), first, 1).expected
    search = KnowledgeGradient(SPACE, width, seed=seed, budget=budget, least=least, proof=proof)
    played = rounds(shown, search)
    scores, spent, verdict = next(one for one in played if one[2].ending is not None)
    candidates = search.candidates(scores, top) or [Point(SPACE.mean[1], 0.0)]
    plan = LookPlan(Terms(samples, precision, len(candidates)), first, 1)
    made: list[Seen] = []
    while (n := plan.next(made)) is not None:
        baseline, *others = (_score(emulator, one, n) for one in (IDENTITY, *candidates))
        against = [paired(one, baseline, 1.0) for one in others]
        made.append(Seen(n, max(one.standard_error for one in against), baseline.corrected))
    counts = tuple(one.n for one in made)
    proof = Proof(
        plan.level, plan.boundary(counts, True), counts, plan.most, precision, plan.lack(made) <= 1
    )
    contenders = [
        Contender(number, LambdaSchedule.from_mean(at.mean, at.slope, STEPS), one, other)
        for number, (at, one, other) in enumerate(zip(candidates, others, against, strict=True))
    ]
    found = settle(baseline, contenders, proof)
    best = candidates[found.best.trial]
    recommended = best if found.status == "confirmed" else IDENTITY
    gain = truth.one - float(truth.fid(best.mean, tilt(best)))
    return Study(
        str(verdict.ending),
        spent.images,
        spent.images + counts[-1] * (1 + len(candidates)),
        found.status,
        recommended,
        1 - float(truth.fid(recommended.mean, tilt(recommended))) / truth.one,
        bool(found.interval.low <= gain <= found.interval.high),
        float(found.interval.half_width / truth.one),
    )


def _score(emulator: Emulator, at: Point, n: int) -> Score:
    """Of a schedule on the proof's first n images."""
    score, psi = emulator.measure(at.mean, tilt(at), _CONFIRM_FROM, n)
    error = float(psi.std()) / n**0.5
    width = emulator.landscape.features
    return Score(n, score, error, score, torch.as_tensor(psi), width=width)
