"""Confirmations of normal gains, look by look: all that looks depend on, and no features.

Each image adds to every candidate's gain, and to FID(1), a normal number; they share a part. So
FID(1) errs with the gains, and standard errors are estimated, as from images.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.stats import norm

from lambda_search.search.looks import LookPlan
from lambda_search.search.looks import Seen

BASELINE = 20.0
DEVIATION = 8.0
"""Of one image's part in a gain."""
SHARED = 0.5
"""Of its variance: what candidates have in common."""
BASELINE_DEVIATION = 90.0
"""Of one image's part in FID(1): 20 % of it on 512 images, ten times the bundled model's."""


@dataclass(frozen=True)
class Path:
    """What one confirmation would see after each batch.

    Arguments:
        gains: [batches, K], less the true gain.
        errors: [batches, K], standard errors.
        baselines: [batches], FID(1).
    """

    gains: np.ndarray
    errors: np.ndarray
    baselines: np.ndarray


def paths(plan: LookPlan, runs: int, seed: int = 0) -> list[Path]:
    """Confirmations of candidates without a gain."""
    rng, batches = np.random.default_rng(seed), plan.samples // plan.batch
    shape = runs, batches, plan.terms.candidates
    n = plan.batch * np.arange(1, batches + 1)
    common = rng.standard_normal(shape[:2])
    own = rng.standard_normal(shape)
    parts = SHARED**0.5 * common[..., None] + (1 - SHARED) ** 0.5 * own
    gains = DEVIATION * parts.cumsum(1) * plan.batch**0.5 / n[:, None]
    spread = rng.chisquare(plan.batch, shape).cumsum(1) / n[:, None]
    errors = DEVIATION * (spread / n[:, None]) ** 0.5
    apart = rng.standard_normal(shape[:2])
    shift = (0.9 * common + 0.19**0.5 * apart).cumsum(1) * plan.batch**0.5 / n
    baselines = BASELINE + BASELINE_DEVIATION * shift
    return [Path(*one) for one in zip(gains, errors, baselines, strict=True)]


def holds(plan: LookPlan, path: Path) -> tuple[bool, int]:
    """Whether all intervals of a confirmation hold, and how many looks it took."""
    made: list[Seen] = []
    held = True
    while (n := plan.next(made)) is not None:
        at = n // plan.batch - 1
        made.append(Seen(n, float(path.errors[at].max()), float(path.baselines[at])))
        z = plan.boundary([one.n for one in made], plan.next(made) is None)
        held &= bool((abs(path.gains[at]) <= z * path.errors[at]).all())
    return held, len(made)


def holds_once_proven(plan: LookPlan, path: Path) -> bool:
    """The same by a wrong rule: the quantile for one look, and an end once a gain looks proven."""
    z = float(norm.isf((1 - plan.level) / 2))
    at = plan.first // plan.batch - 1
    while True:
        best = path.gains[at].argmax()
        proven = path.gains[at, best] > z * path.errors[at, best]
        if proven or at == len(path.gains) - 1:
            return bool((abs(path.gains[at]) <= z * path.errors[at]).all())
        at = min(2 * at + 1, len(path.gains) - 1)
