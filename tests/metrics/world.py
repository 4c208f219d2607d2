"""A small world in which the truth is known: images, a sampler that drifts, and features.

Data are a mixture of Gaussians. A sampler at λ renders each datum with a drift that λ scales, and
shares its noise with every other λ. Features come from a random ReLU network, so they are not
Gaussian; the reference has 200,000 of them.
"""

from __future__ import annotations

import numpy as np

from lambda_search.metrics.frechet import FrechetReference
from lambda_search.metrics.moments import Moments

WIDTH = 24


class World:
    """Features of width `d`."""

    def __init__(self, d: int, seed: int = 0) -> None:
        rng = np.random.default_rng(seed)
        normal = rng.standard_normal
        self.d = d
        self._first = normal((WIDTH, 4 * WIDTH)) / WIDTH**0.5, 0.3 * normal(4 * WIDTH)
        self._second = normal((4 * WIDTH, d)) / (4 * WIDTH) ** 0.5, 0.2 * normal(d)
        self._centres = 1.2 * normal((6, WIDTH))
        self._drift = normal((WIDTH, WIDTH)) / WIDTH**0.5
        real = self.features(self._data(rng, 200_000))
        moments = Moments.from_features(real, real.mean(0))
        self.reference = FrechetReference(moments.mean, moments.cov)

    def features(self, x: np.ndarray) -> np.ndarray:
        """[n, WIDTH] → [n, d]."""
        (a, b), (c, e) = self._first, self._second
        return np.maximum(np.maximum(x @ a + b, 0) @ c + e, 0)

    def _data(self, rng: np.random.Generator, n: int) -> np.ndarray:
        return self._centres[rng.integers(0, 6, n)] + 0.6 * rng.standard_normal((n, WIDTH))

    def samples(self, rng: np.random.Generator, n: int, lambdas: list[float]) -> list[np.ndarray]:
        """Features [n, d] at each λ, on the same noise; the best λ is a little above 1.

        Contrast falls with λ, the drift stays; each sample has a little noise of its own at λ ≠ 1,
        as an image that a changed trajectory ends at another mode has.
        """
        x, e = self._data(rng, n), rng.standard_normal((n, WIDTH))
        found = []
        for value in lambdas:
            own = abs(value - 1) * rng.standard_normal((n, WIDTH))
            drifted = x * (1.06 - (value - 1)) + 0.12 * np.tanh(x @ self._drift) + 0.1 * e
            found.append(self.features(drifted + own))
        return found

    def truth(self, lambdas: list[float], n: int = 300_000) -> np.ndarray:
        """The distance at each λ on so many samples that its bias does not count."""
        sets = self.samples(np.random.default_rng(10**6), n, lambdas)
        return np.array(
            [self.reference.distance(Moments.from_features(x, x.mean(0))) for x in sets]
        )
