r"""FID∞: what the Fréchet distance would be on infinitely many images.

The distance on n images is biased upwards by about c/n. A line through the distances at several n,
over 1/n, meets 1/n = 0 at FID∞ (Chong & Forsyth 2020, arXiv:1911.07023; there: 15 numbers from
5,000 on, at random). Here the numbers are prefixes, in which classes are balanced.
"""

from __future__ import annotations

import numpy as np

from lambda_search.metrics.frechet import FrechetReference
from lambda_search.metrics.moments import Features

__all__ = ["fid_at_infinity"]

_POINTS = 15
_FROM = 5000


def fid_at_infinity(features: Features, reference: FrechetReference) -> float:
    """FID∞ of features [n, d] in index order, n ≥ 8.

    The smallest prefix has 5,000 images, or n/2 where n is below 10,000.
    """
    n = len(features)
    points = min(_POINTS, max(n // 4, 2))
    sizes = np.linspace(min(_FROM, n // 2), n, points).round().astype(int)
    distances = reference.prefix_distances(features, sizes.tolist())
    return float(np.polyfit(1 / sizes, distances, 1)[1])
