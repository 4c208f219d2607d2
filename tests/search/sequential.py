"""Confirmations of Gaussian features whose true Fréchet distances are known, look by look.

The reference is N(0, S) with variances k^−1.5, as the bundled extractor's fall. A schedule renders
the shared noise ξ with a contrast per direction and a little noise of its own,

    x = c ∘ S^½ (√(1 − τ²) ξ + τ η),   true distance Σ (1 − c)² s,

and all of it is scored and settled by the code that confirms studies.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from lambda_search.metrics.evidence import enough_images
from lambda_search.metrics.evidence import paired
from lambda_search.metrics.evidence import score
from lambda_search.metrics.frechet import FrechetReference
from lambda_search.records import Terms
from lambda_search.schedule import LambdaSchedule
from lambda_search.search.confirm import Contender
from lambda_search.search.confirm import Proof
from lambda_search.search.confirm import settle
from lambda_search.search.looks import LookPlan
from lambda_search.search.looks import Seen

CANDIDATES = 3
OWN = 0.1
LOSS = 0.3
"""1 − c at λ = 1."""


@dataclass(frozen=True)
class Outcome:
    """One confirmation.

    Arguments:
        made: images at each look.
        joint: whether every interval of every candidate at every look holds.
        held: whether the interval of the one that was picked holds.
        wider: its width over that of the interval for one look at the same n.
        error: its gain less the true one, in standard errors.
        ended, status: as the row says.
    """

    made: tuple[int, ...]
    joint: bool
    held: bool
    wider: float
    error: float
    ended: str
    status: str


class World:
    """λ = 1 and candidates of one true gain, in features of width `d`.

    Arguments:
        d: the width.
        gain: the true one, as a share of the distance at λ = 1.
        device: where features are made and scored.
    """

    def __init__(self, d: int, gain: float, device: str = "cpu") -> None:
        self.d = d
        spectrum = torch.arange(1, d + 1, dtype=torch.float64, device=device) ** -1.5
        self.reference = FrechetReference(torch.zeros_like(spectrum), torch.diag(spectrum))
        self._deviations = spectrum.sqrt()
        self.baseline = LOSS**2 * float(spectrum.sum())
        self.gain = gain * self.baseline
        wanted = (1 - gain) * self.baseline
        self._losses = [torch.full_like(spectrum, LOSS)]
        for candidate in range(CANDIDATES):  # each loses its contrast elsewhere
            place = torch.arange(d, device=device) % CANDIDATES == candidate
            loss = torch.where(place, 0.8, 1.0).to(spectrum)
            self._losses.append(loss * (wanted / float((loss**2 * spectrum).sum())) ** 0.5)

    def batch(self, n: int, generator: torch.Generator) -> list[Tensor]:
        """Features [n, d] at λ = 1 and of each candidate, on the same noise."""

        def normal() -> Tensor:
            return torch.randn(
                n, self.d, generator=generator, dtype=torch.float64, device=generator.device
            )

        shared = normal()
        return [
            (1 - loss) * self._deviations * ((1 - OWN**2) ** 0.5 * shared + OWN * normal())
            for loss in self._losses
        ]


def confirmed(world: World, seed: int, precision: float, samples: int, batch: int = 64) -> Outcome:
    """One confirmation of the world's candidates."""
    generator = torch.Generator(world.reference.device).manual_seed(seed)
    plan = LookPlan(Terms(samples, precision, CANDIDATES), enough_images(world.d), batch)
    have = [torch.empty(0, world.d, dtype=torch.float64, device=generator.device)] * 4
    made: list[Seen] = []
    joint = True
    while (n := plan.next(made)) is not None:
        more = world.batch(n - len(have[0]), generator)
        have = [torch.cat(both) for both in zip(have, more, strict=True)]
        baseline, *others = (score(one, world.reference) for one in have)
        against = [paired(one, baseline, 1.0) for one in others]
        made.append(Seen(n, max(one.standard_error for one in against), baseline.corrected))
        counts, ended = tuple(one.n for one in made), plan.next(made) is None
        z = plan.boundary(counts, ended)
        joint &= all(abs(one.gain - world.gain) <= z * one.standard_error for one in against)
    proof = Proof(plan.level, z, counts, plan.most, precision, plan.lack(made) <= 1)
    contenders = [
        Contender(number, LambdaSchedule(1 + number / 100), one, other)
        for number, (one, other) in enumerate(zip(others, against, strict=True), start=1)
    ]
    found = settle(baseline, contenders, proof)
    assert found.looks is not None
    fixed = found.best.against_baseline.interval(plan.level)
    return Outcome(
        counts,
        joint,
        found.interval.low <= world.gain <= found.interval.high,
        found.interval.half_width / fixed.half_width,
        (found.gain - world.gain) / found.best.against_baseline.standard_error,
        found.looks.ended,
        found.status,
    )
