r"""When a confirmation that is to be precise looks at what it has, and when it ends.

Let θ be a candidate's gain, θ̂ⱼ its bias-corrected paired estimate on the first nⱼ of at most N
images, and seⱼ its standard error. K candidates share α = 0.05, so that each look has the interval

    Iⱼ = θ̂ⱼ ± zⱼ·seⱼ,   z from `metrics.spending` at α/K and the fractions nᵢ/N, i ≤ j.

All intervals of all looks hold together with probability 95 %. A look is the last if nⱼ = N, or
if, with all that is left of α spent on it, the widest Iⱼ is *precise*:

    zⱼ · max se ≤ precision · FID₁(1),   FID₁(1) as estimated at the first look.

Beyond the first look it depends on widths alone. Widths say nothing of the gains, so this choice
costs nothing (Chow & Robbins 1965), and Lan & DeMets' boundaries allow it at any n. FID₁(1) errs
with the first look's gains, and so is not estimated again: a few percent, which move the end a
little and coverage by less than simulations tell. N, the precision and K are settled before the
first look and kept with it. What ended a confirmation is

    proven    it is precise, and the interval of the best gain lies above zero;
    precise   it is precise, and no gain is proven: there is none that is worth the precision;
    samples   N came first.

It never ends merely because a gain is proven: that early, its size would be told too large.

Looks begin at n₁ = 4d, from where on the bias of the distance is small. Widths shrink as 1/√n, so
the next look is put where the interval should be precise, with some images to spare, and at most
four times as far as the last one: from few images its error is poorly known. The fifth is at N.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil

from lambda_search.metrics.spending import boundaries
from lambda_search.records import Terms
from lambda_search.search.confirm import level_for

__all__ = ["LookPlan", "Seen"]

MOST_LOOKS = 5
_FARTHEST = 4.0
_SPARE = 1.04
"""Of images: what the estimated error may err by, 2 %."""
_USUAL_ERROR = 0.36
"""Of a gain, as a share of FID(1) and in 1/√n: the bundled model's; for estimates of cost."""


@dataclass(frozen=True)
class Seen:
    """What a look sees of widths.

    Arguments:
        n: images.
        error: the largest standard error of a candidate's gain.
        baseline: FID(1), bias-corrected; that of the first look counts.
    """

    n: int
    error: float
    baseline: float


@dataclass(frozen=True)
class LookPlan:
    """The looks that a confirmation may take.

    Arguments:
        terms: N, the precision, and K; what has looked goes on under no others.
        first_from: images of the first look, in whole batches.
        batch: looks but the last one take whole batches.
    """

    terms: Terms
    first_from: int
    batch: int

    @property
    def samples(self) -> int:
        """N."""
        return self.terms.samples

    @property
    def precision(self) -> float | None:
        """The half-width asked for, as a share of FID(1); None for one look at N."""
        return self.terms.precision

    @property
    def level(self) -> float:
        """1 − α/K."""
        return level_for(self.terms.candidates)

    @property
    def first(self) -> int:
        """n₁."""
        if self.precision is None:
            return self.samples
        return min(self.first_from, self.samples)

    @property
    def most(self) -> int:
        """How many looks there may be."""
        return min(MOST_LOOKS, 1 + ceil((self.samples - self.first) / self.batch))

    @property
    def expected(self) -> int:
        """About how many images the last look has, where errors are as the bundled model's."""
        if self.precision is None:
            return self.samples
        [z] = boundaries(1 - self.level, [1.0])
        usual = ceil((z * _USUAL_ERROR / self.precision) ** 2 / self.batch) * self.batch
        return min(max(usual, self.first), self.samples)

    def boundary(self, made: Sequence[int], ended: bool) -> float:
        """The z at the last of the looks on `made` images."""
        return boundaries(1 - self.level, [n / self.samples for n in made], ended)[-1]

    def lack(self, made: Sequence[Seen]) -> float:
        """How many times as wide as asked the interval is if this look is the last; 1 will do."""
        if self.precision is None or not made:
            return 0.0
        last, wanted = made[-1], self.precision * made[0].baseline
        half = self.boundary([one.n for one in made], ended=True) * last.error
        return half / wanted if wanted > 0 else float("inf")

    def next(self, made: Sequence[Seen]) -> int | None:
        """How many images the look after those `made` has; None if these were all."""
        if not made:
            return self.first
        last, lack = made[-1].n, self.lack(made)
        if last >= self.samples or lack <= 1:
            return None
        if len(made) >= MOST_LOOKS - 1:
            return self.samples
        wanted = last * min(lack**2 * _SPARE, _FARTHEST)
        return min(ceil(wanted / self.batch) * self.batch, self.samples)

    def target(self, made: Sequence[Seen]) -> int:
        """About how many images there will be in the end."""
        if not made:
            return self.samples
        last, lack = made[-1].n, self.lack(made)
        return last if lack <= 1 else ceil(min(last * lack**2 * _SPARE, self.samples))

    def leads_to(self, made: Sequence[Seen]) -> bool:
        """Whether these are the looks that would have been made so far."""
        return all(self.next(made[:place]) == one.n for place, one in enumerate(made))
