r"""The Fréchet distance without the covariances that few images cannot tell: it ranks, no more.

In the principal components of the reference, Σᵣ = V diag(w) Vᵀ with w falling, the covariance of
the k leading components counts as in the whole distance, of the others variances alone:

    d²ₖ = |m − Vᵀμᵣ|² + tr(S + W − 2(√W S √W)^½)  over the first k  +  Σ_{i>k} (√Sᵢᵢ − √wᵢ)²,

with m and S of Vᵀx. All means and variances have their part in it. As the distance after
covariances were set to zero it is no larger than the FID (fidelity grows under pinching), and
equal to it where these are zero. Its bias goes by k/n, where the whole one's goes by d/n: a few
hundred images compare schedules where those take thousands (`scripts/results/ranking.md`).
"""

from __future__ import annotations

import torch
from torch import Tensor

from lambda_search.metrics.evidence import Score
from lambda_search.metrics.evidence import score
from lambda_search.metrics.frechet import FrechetReference
from lambda_search.metrics.moments import Features
from lambda_search.metrics.moments import as_features

__all__ = ["Projection"]


class Projection:
    """A reference in its principal components.

    Arguments:
        reference: μᵣ and Σᵣ.
        components: k, how many leading ones have covariances; d at most.
    """

    def __init__(self, reference: FrechetReference, components: int) -> None:
        values, vectors = torch.linalg.eigh(reference.cov)
        values = values.flip(0).clamp(min=0)
        self._axes = vectors.flip(1)
        self._k, self._whole = components, reference
        mean = reference.mean @ self._axes
        self._block = FrechetReference(mean[:components], torch.diag(values[:components]))
        self._means, self._deviations = mean[components:], values[components:].sqrt()

    @property
    def dim(self) -> int:
        """d, the width of the features."""
        return len(self._axes)

    def score(self, features: Features) -> Score:
        """The score of features [n, d] of images in index order.

        Raises:
            LambdaSearchError: as `evidence.score`.
        """
        x = as_features(features, self._axes.device)
        self._whole.check_width(x.shape[1])
        return score(x @ self._axes, self)

    def analyse(self, features: Features) -> tuple[float, Tensor]:
        """The distance to Vᵀx [n, d], and how much each vector moves it (`FrechetReference`).

        The influence of a variance is (1 − √wᵢ/√Sᵢᵢ)·(yᵢ² − Sᵢᵢ), y = Vᵀx − m.
        """
        x = as_features(features, self._axes.device)
        distance, psi = self._block.analyse(x[:, : self._k])
        others = x[:, self._k :]
        means = others.mean(0)
        squares = (others - means).square()
        deviations = (squares.sum(0) / (len(x) - 1)).sqrt()
        shift, apart = means - self._means, deviations - self._deviations
        varies = deviations > 0
        weights = torch.where(varies, apart / torch.where(varies, deviations, 1.0), 0.0)
        own = 2 * (others - means) @ shift + squares @ weights
        return distance + float(shift @ shift + apart @ apart), psi + (own - own.mean()).cpu()
