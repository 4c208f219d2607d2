"""What a study would measure on a landscape: its truth, a bias at n, and a noise field.

Image i moves the score of the schedule x by ψ(x, i) = F(1)·vᵢ·(c·z₀ + g(x)·z + own(x, i)): a
level that all schedules share, two slopes along the plane, and a part in which schedules differ
the more the farther they lie apart (a process of exponential covariance, by random Fourier
features), as `landscapes.Noise` has them; vᵢ spreads them as features do that are not normal.
Everything is drawn from (seed, i), so schedules on the same indices share noise, blocks of indices
apart share none.

The half-split score's bias at n images shrinks gains by 0.36·(d/n)^1.5, as a change of contrast
shows it at n/d = 1, 2 and 4 (d = 128), along the line from λ = 1 to the optimum.
"""

from __future__ import annotations

import numpy as np

from tests.search.landscapes import UNITS
from tests.search.landscapes import Landscape

_WAVES = 24
_CHUNK = 1024
_BIAS = 0.36


class Emulator:
    """A landscape as one seed's images show it.

    Arguments:
        landscape: the truth.
        seed: of all noise.
        own: times the part that schedules do not share.
        shown: what scores are of, where that is not quite the truth.
    """

    def __init__(
        self, landscape: Landscape, seed: int, own: float = 1.0, shown: Landscape | None = None
    ) -> None:
        self.landscape = landscape
        self._shown = shown or landscape
        self._seed = seed
        self._own = own * landscape.noise.own
        rng = np.random.default_rng([seed, 1])
        spread = np.sqrt(rng.gamma(0.5, 2.0, (_WAVES, 1)))
        self._waves = rng.standard_normal((_WAVES, 2)) / spread
        self._chunks: dict[int, np.ndarray] = {}

    def measure(self, mean: float, tilt: float, first: int, n: int) -> tuple[float, np.ndarray]:
        """The corrected score of a schedule on n images from `first` on, and influences [n]."""
        psi = self._noise(first, n) @ self._weights(mean, tilt)
        score = float(self._shown.fid(mean, tilt)) + self.bias(mean, tilt, n) + psi.mean()
        return score, psi - psi.mean()

    def covariance(self, one: tuple[float, float], other: tuple[float, float]) -> float:
        """Of the influences of two schedules, each (mean, tilt), on one image."""
        return float(self._weights(*one) @ self._weights(*other))

    def bias(self, mean: float, tilt: float, n: int) -> float:
        """Of the score, less that of λ = 1."""
        truth = self._shown
        at = np.array([mean - 1, tilt]) / UNITS
        best = np.array([truth.mean - 1, truth.tilt]) / UNITS
        along = float(at @ best) / max(float(best @ best), 1e-6)
        shrunk = _BIAS * min((truth.features / n) ** 1.5, 2.0)
        return shrunk * truth.gain * truth.one * along

    def _weights(self, mean: float, tilt: float) -> np.ndarray:
        at = np.array([mean - 1, tilt]) / UNITS
        phase = self._waves @ at
        own = self._own / _WAVES**0.5 * np.concatenate([np.cos(phase), np.sin(phase)])
        noise = self.landscape.noise
        smooth = np.array([noise.level, np.array(noise.steep) @ at, noise.tilt * at[1]])
        return self.landscape.one * np.concatenate([smooth, own])

    def _noise(self, first: int, n: int) -> np.ndarray:
        chunks = range(first // _CHUNK, -(-(first + n) // _CHUNK))
        rows = np.concatenate([self._chunk(number) for number in chunks])
        start = first - chunks[0] * _CHUNK
        return rows[start : start + n]

    def _chunk(self, number: int) -> np.ndarray:
        if number not in self._chunks:
            rng = np.random.default_rng([self._seed, 2, number])
            rows = rng.standard_normal((_CHUNK, 3 + 2 * _WAVES))
            self._chunks[number] = rows * np.sqrt(rng.gamma(1.5, 1 / 1.5, (_CHUNK, 1)))
        return self._chunks[number]
