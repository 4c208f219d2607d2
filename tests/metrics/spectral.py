r"""A wide world in the eigenbasis of its reference, where distances are known and cheap.

Reference features have independent components of variance wᵢ = c·i^(−exponent), and a mean.
Schedules are numbered by u; λ = 1 is u = 0. One changes their contrast, sharpness or mean,

    x = μ + o(u) + a(u)·√w·(√(1 − s²) z + s z′),   s = own·u,

z shared by all schedules of one draw, z′ not, both of a length that varies from image to image as
features' do that are not normal. With a diagonal covariance the distance is in closed form,

    d² = |o(u)|² + Σ wᵢ (aᵢ(u) − 1)².

An exponent of 1 gives a distance between two sets of d = 2,048 a bias of about 170 times the
reference's variance / n, as sets of real images show it by Inception: some 13 at n = 2,048.
"""

from __future__ import annotations

from typing import Literal
from typing import TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

__all__ = ["Change", "Spectral"]

Change: TypeAlias = Literal["contrast", "sharpness", "mean"]

_VARIANCE, _MEAN = 150.0, 330.0
"""Of all of Inception's features together: their variance, and the square of their mean's norm."""
_ROUGH, _OFFSET = 3.0, 6.0
"""What schedules do not mend: distance of components' variances, and of the mean."""
_LENGTH = 8.0
"""Shape of the gamma distribution of images' squared lengths."""
_AT = 0.4
_REACH = {"contrast": 0.2, "sharpness": 0.33, "mean": 2.5}
_OWN = 0.3


class Spectral:
    """Features of width `d`.

    Arguments:
        d: the width.
        change: what schedules change. The best one lies at u = 0.4 if they change nothing else.
        exponent: of the spectrum.
        seed: of what is fixed.
    """

    def __init__(self, d: int, change: Change, exponent: float = 1.0, seed: int = 0) -> None:
        rng = np.random.default_rng(seed)
        i = np.arange(1, d + 1)
        w = i**-exponent
        w *= _VARIANCE / w.sum()
        self.d, self.variances = d, torch.from_numpy(w)
        direction = rng.standard_normal((3, d)) * w**0.5
        direction /= np.linalg.norm(direction, axis=1, keepdims=True)
        self.mean = torch.from_numpy(_MEAN**0.5 * direction[0])
        self._sharpness = torch.from_numpy(2 * np.log(i) / np.log(d) - 1)
        rough = rng.standard_normal(d)
        for one in np.linalg.qr((w**0.5 * np.stack([np.ones(d), self._sharpness])).T)[0].T:
            rough -= one * (one @ (w**0.5 * rough)) / w**0.5  # which no schedule mends
        self._rough = torch.from_numpy(rough * (_ROUGH / (w @ rough**2)) ** 0.5)
        self._offset, self._towards = torch.from_numpy(direction[1:])
        self._offset *= _OFFSET**0.5
        self._change = change

    def _scale(self, u: float) -> Tensor:
        away = _REACH[self._change] * (u - _AT)
        if self._change == "contrast":
            return 1 + self._rough + away
        return 1 + self._rough + away * self._sharpness * (self._change == "sharpness")

    def _shift(self, u: float) -> Tensor:
        away = _REACH["mean"] * (u - _AT) * (self._change == "mean")
        return self._offset + away * self._towards

    def truth(self, u: float, k: int | None = None, means: bool = False) -> float:
        """The distance of a schedule, in all components or the leading k, or those and all means.

        Arguments:
            u: which schedule.
            k: how many components; all unless given.
            means: whether the others' means count.
        """
        k = k or self.d
        scale, shift = self._scale(u)[:k], self._shift(u)[: self.d if means else k]
        return float(shift @ shift + self.variances[:k] @ (scale - 1) ** 2)

    def truths(
        self, schedules: list[float], k: int | None = None, means: bool = False
    ) -> NDArray[np.float64]:
        """The distances of several; arguments as of `truth`."""
        return np.array([self.truth(u, k, means) for u in schedules])

    def samples(self, rng: np.random.Generator, n: int, schedules: list[float]) -> list[Tensor]:
        """Features [n, d] of each schedule, on the same noise."""
        length = np.sqrt(rng.gamma(_LENGTH, 1 / _LENGTH, (n, 1)))
        z, *own = (
            torch.from_numpy(length * rng.standard_normal((n, self.d)))
            for _ in range(1 + len(schedules))
        )
        root = self.variances.sqrt()
        found = []
        for u, other in zip(schedules, own, strict=True):
            s = _OWN * u
            mixed = (1 - s * s) ** 0.5 * z + s * other
            found.append(self.mean + self._shift(u) + self._scale(u) * root * mixed)
        return found

    def parts(self, x: Tensor) -> tuple[float, float, Tensor]:
        """|μ − μᵣ|², tr Σ and the eigenvalues of √Σᵣ Σ √Σᵣ, of the first k features [n, k]."""
        n, k = x.shape
        centred = x - x.mean(0)
        shift = x.mean(0) - self.mean[:k]
        projected = centred * self.variances[:k].sqrt()
        gram = projected @ projected.T if n < k else projected.T @ projected
        values = torch.linalg.eigvalsh(gram / (n - 1)).clamp(min=0)
        return float(shift @ shift), float(centred.square().sum()) / (n - 1), values

    def distance(self, x: Tensor) -> float:
        """The plain distance of features [n, d], or in their first k components of [n, k]."""
        shift, trace, values = self.parts(x)
        whole = float(self.variances[: x.shape[1]].sum())
        return shift + trace + whole - 2 * float(values.sqrt().sum())

    def of_means(self, x: Tensor, k: int) -> float:
        """What the means of features [n, d] add that are not of the first k components."""
        return float((x.mean(0) - self.mean)[k:].square().sum())

    def of_variances(self, x: Tensor, k: int) -> float:
        """What their variances add, each component apart."""
        apart = x[:, k:].std(0) - self.variances[k:].sqrt()
        return float(apart.square().sum())

    def kid(self, x: Tensor) -> float:
        """KID of features [n, d], less what all schedules share, the reference's mean in full.

        Given x, y is symmetric about its mean, so E (x·y/d + 1)³ = a³ + 3aσ².
        """
        n = len(x)
        a = x @ self.mean / self.d + 1
        spread = x.square() @ self.variances / self.d**2
        across = (a**3 + 3 * a * spread).mean()
        kernel = (x @ x.T / self.d + 1).pow_(3)
        within = (kernel.sum() - kernel.diagonal().sum()) / (n * (n - 1))
        return float(within - 2 * across)
