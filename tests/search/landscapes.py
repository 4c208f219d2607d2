"""Landscapes of FID over (mean, tilt) that a search is tried on, smooth and known.

All have one form, taken from the bundled model's ancestral sampler at 10 steps (truth.csv): a
valley along a line in the plane, whose floor rises away from the optimum and whose walls are
parabolas that turn into cones,

    F = F*·(1 + R·floor(t) + W·(√(1 + (h/w)²) − 1)·(1 + a·tanh(h/0.03))),
    h = m − m* − r·(t − t*).

Its optimum is at (m*, t*), by definition of the form, except where there are two basins.
"""

from __future__ import annotations

from dataclasses import dataclass
from dataclasses import replace
from functools import cached_property

import numpy as np

MEAN, TILT = (0.99, 1.05), (-0.08, 0.05)
"""The default ranges of a study."""


@dataclass(frozen=True)
class Landscape:
    """One of them.

    Arguments:
        name: for people.
        one: FID of λ = 1.
        rise: how steep the floor is.
        mean, tilt: of the optimum.
        ridge: r, how the valley's mean moves with the tilt.
        wall, width, skew: W, w and a.
        noise: standard deviation of the influences, in those of the bundled model.
        features: d, which decides the bias.
        basins: 1, or 2: another one then, at a tilt that is 0.096 higher.
    """

    name: str
    one: float
    rise: float
    mean: float
    tilt: float
    ridge: float = -0.319
    wall: float = 0.309
    width: float = 0.019
    skew: float = -0.39
    noise: float = 1.0
    features: int = 128
    basins: int = 1

    def fid(self, mean: np.ndarray | float, tilt: np.ndarray | float) -> np.ndarray:
        """The true FID of schedules."""
        return self.best * self._above(mean, tilt)

    @cached_property
    def best(self) -> float:
        """The lowest FID, F*."""
        return self.one / float(self._above(1.0, 0.0))

    @cached_property
    def gain(self) -> float:
        """Of the optimum, as a share of the FID at λ = 1."""
        return 1 - self.best / self.one

    def good(self, mean: float, tilt: float) -> bool:
        """Whether a schedule reaches the goal.

        Within 1 % of the optimum and a quarter of its gain; where that is below 2 %, no worse
        than λ = 1.
        """
        found = float(self.fid(mean, tilt))
        if self.gain < 0.02:
            return found <= self.one * (1 + 1e-9)
        return found <= 1.01 * self.best and found <= self.one * (1 - 0.75 * self.gain)

    def beside(self, share: float, sign: int = 1) -> Landscape:
        """One whose optimum lies on the floor, where this one's FID is `share` above its lowest.

        That is what a score shows which is not the FID. `sign`: to which side.
        """
        away = sign * np.linspace(0, 0.2, 20_001)
        floor = self.rise * (self._floor(self.tilt + away) - self._floor(self.tilt))
        off = float(away[np.argmax(floor >= share)])
        return replace(self, tilt=self.tilt + off, mean=self.mean + self.ridge * off)

    def _above(self, mean: np.ndarray | float, tilt: np.ndarray | float) -> np.ndarray:
        return 1 + self.rise * self._floor(tilt) + self._walls(mean, tilt)

    def _floor(self, tilt: np.ndarray | float) -> np.ndarray:
        x = (np.asarray(tilt) - self.tilt) / 0.06
        if self.basins == 1:
            return np.sqrt(1 + x * x) - 1
        return x * x * (0.12 + (x - 1.6) ** 2) / (1 + x * x / 4)  # a second one at about 1.6

    def _walls(self, mean: np.ndarray | float, tilt: np.ndarray | float) -> np.ndarray:
        h = np.asarray(mean) - self.mean - self.ridge * (np.asarray(tilt) - self.tilt)
        rise = np.sqrt(1 + (h / self.width) ** 2) - 1
        return self.wall * rise * (1 + self.skew * np.tanh(h / 0.03))


_DDIM = {"ridge": -0.417, "wall": 0.65, "noise": 1.2}
_WIDE = {"features": 2048, "noise": 2.2}

BUNDLED = (
    Landscape("ancestral, 10 steps", 22.554, 0.147, 1.035, -0.084),
    Landscape("ancestral, 5 steps", 42.7, 0.292, 1.0141, -0.02),
    Landscape("ancestral, 20 steps", 13.93, 1.128, 1.0161, -0.02),
    Landscape("ddim, 5 steps", 42.9, 0.195, 0.9878, 0.0212, **_DDIM),
    Landscape("ddim, 10 steps", 28.3, 0.160, 0.9878, 0.0212, **_DDIM),
    Landscape("ddim, 20 steps", 24.4, 0.180, 0.98, 0.05, **_DDIM),
)
"""The bundled model's: the first fitted to truth.csv (rms 0.23), the fifth's valley to a grid of
27 schedules × 1,000 images; of the others optimum and gain are those of searches in narrow ranges
(ancestral gains more in wider ones: effect.csv), and the valley's shape is that of the same
sampler at 10 steps."""

SIMULATED = (
    Landscape("below one", 10.0, 0.3, 0.985, 0.03, **_WIDE),
    Landscape("on an edge", 10.0, 0.15, 1.058, -0.085, **_WIDE | {"wall": 0.15}),
    Landscape("flat", 10.0, 0.05, 1.006, 0.02, **_WIDE | {"wall": 0.05}),
    Landscape("noisy", 10.0, 0.32, 1.02, -0.03, **_WIDE | {"noise": 4.0}),
    Landscape("tilted", 10.0, 0.116, 1.03, -0.1, **_WIDE),
    Landscape("two basins", 10.0, 0.3, 1.03, -0.09, **_WIDE, basins=2),
)

NO_GAIN = Landscape("λ = 1 is best", 22.554, 0.147, 1.0, 0.0)

SMALL_GAINS = (
    Landscape("gains 3 %, ancestral", 22.554, 0.147, 1.01527, -0.03664),
    Landscape("gains 3 %, ddim", 42.9, 0.195, 0.98526, 0.02562, **_DDIM),
)
"""The first and the fourth of the bundled ones, with the optimum nearer to λ = 1, or farther."""
