r"""The kernel distance KID, beside the Fréchet distance for information.

    KID = mean k(x, x′) + mean k(y, y′) − 2 mean k(x, y),   k(a, b) = (a·b/d + 1)³,

over all pairs of different vectors: the unbiased estimate of MMD² (Bińkowski et al. 2018,
arXiv:1801.01401) over whole sets instead of random subsets, so that it does not depend on chance.
Its optimum in λ lies elsewhere than the FID's, so it never ranks schedules.
"""

from __future__ import annotations

from functools import cached_property

import torch
from torch import Tensor

from lambda_search.errors import LambdaSearchError
from lambda_search.metrics.moments import Features
from lambda_search.metrics.moments import as_features

__all__ = ["KernelReference"]

_ROWS = 1024


class KernelReference:
    """Features [m, d] of reference images; their own kernel mean is computed once.

    Arguments:
        features: [m, d], m ≥ 2.
        device: where distances are computed.
    """

    def __init__(self, features: Features, device: torch.device | None = None) -> None:
        self._y = as_features(features, device)

    @cached_property
    def _within(self) -> float:
        return _mean_within(self._y)

    def distance(self, features: Features) -> float:
        """KID between `features` [n, d] and the reference; unbiased, so it may be negative."""
        x = as_features(features, self._y.device)
        if x.shape[1] != self._y.shape[1]:
            raise LambdaSearchError(
                f"The features are {x.shape[1]} wide and the reference is {self._y.shape[1]}.",
                "Use a reference that was made with the same extractor.",
            )
        across = _total(x, self._y) / (len(x) * len(self._y))
        return _mean_within(x) + self._within - 2 * across


def _total(x: Tensor, y: Tensor) -> float:
    """Σ k(x, y) over all pairs."""
    d = x.shape[1]
    return float(sum(((part @ y.T) / d + 1).pow_(3).sum() for part in torch.split(x, _ROWS)))


def _mean_within(x: Tensor) -> float:
    """Mean of k over pairs of different vectors."""
    n, d = x.shape
    itself = float((x.square().sum(1) / d + 1).pow(3).sum())
    return (_total(x, x) - itself) / (n * (n - 1))
