"""PFGM++: EDM's networks and solvers from another prior (Xu et al. 2023, arXiv:2302.04265).

With D augmented dimensions and r = σ√D, the prior at σ_max is a uniform direction in the N image
dimensions with the radius R = r_max·√(u/(1 − u)), u ~ Beta(N/2, D/2) (appendix B); D → ∞ gives
EDM's Gaussian. The published weights are CC BY-NC-SA 4.0.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from lambda_search.diffusion.grid import Grid
from lambda_search.diffusion.noise import beta
from lambda_search.diffusion.noise import normal
from lambda_search.errors import UsageError
from lambda_search.files import sha256_of
from lambda_search.models.base import Model
from lambda_search.models.checkpoints import find
from lambda_search.models.edm.checkpoint import config_of
from lambda_search.models.edm.checkpoint import read_network
from lambda_search.models.edm.checkpoint import weights_of
from lambda_search.models.edm.model import EdmModel
from lambda_search.models.edm.model import loaded
from lambda_search.models.edm.preconditioning import Preconditioned
from lambda_search.models.registry import Config
from lambda_search.models.registry import Framework

__all__ = ["FRAMEWORK", "PfgmppModel", "load", "radial_prior"]

DEFAULT_D = 128
"""Augmented dimensions of a network that does not record them, as in the authors' code."""


class PfgmppModel(EdmModel):
    """A network trained with D augmented dimensions; arguments as in `EdmModel`."""

    def __init__(
        self,
        network: Preconditioned,
        definition: Mapping[str, Any],
        sha256: str,
        device: torch.device,
    ) -> None:
        super().__init__(network, definition, sha256, device, "pfgmpp")
        told = definition.get("D", DEFAULT_D)
        if not isinstance(told, int | float) or not 1 <= told < math.inf:
            raise UsageError(
                "The network's augmented dimensions D are no positive number.",
                "Take the file from the model's authors.",
            )
        self.augmented = int(told)

    def prior(self, seed: int, indices: Sequence[int]) -> Tensor:
        dimensions = math.prod(self.shape)
        share = beta(seed, indices, dimensions / 2, self.augmented / 2)
        return radial_prior(
            normal(seed, indices, 0, self.shape), share, self.augmented, self.sigma_max
        )

    def noise(self, seed: int, indices: Sequence[int]) -> Tensor:
        return self.prior(seed, indices) / self.sigma_max  # the kernel widens with r = σ√D

    def start(self, x_T: Tensor, grid: Grid) -> Tensor:
        return x_T  # the prior is at σ_max already


def radial_prior(gauss: Tensor, share: Tensor, augmented: int, sigma_max: float) -> Tensor:
    """x_T = R·g/‖g‖ with R = σ_max·√D·√(u/(1 − u)), float64 like `share`.

    Arguments:
        gauss: g ~ N(0, I), [n, c, h, w].
        share: u ~ Beta(N/2, D/2), [n].
        augmented: D.
        sigma_max: σ of the prior.
    """
    radius = sigma_max * math.sqrt(augmented) * (share / (1 - share)).sqrt()
    direction = gauss.to(share.dtype)
    direction = direction / torch.linalg.vector_norm(direction, dim=(1, 2, 3), keepdim=True)
    scaled: Tensor = radius[:, None, None, None] * direction
    return scaled


def load(checkpoint: str, config: Config, device: torch.device) -> Model:
    """Reads a `.pkl` or `.pt`, or what `lambda-search models convert` made of one."""
    read = read_network(find(checkpoint), config)
    if not read.arguments.get("pfgmpp"):
        raise UsageError(
            f"{checkpoint} is not a PFGM++ network: it has no augmented dimensions.",
            "Name it with framework: edm.",
        )
    network = loaded(read, checkpoint)
    return PfgmppModel(network, read.definition, sha256_of(find(checkpoint)), device)


FRAMEWORK = Framework(
    load,
    PfgmppModel.samplers,
    partial(weights_of, augmented=True),
    config_of,
    needs="Keep the .json that was written beside it.",
    licence="CC BY-NC-SA 4.0 (Newbeeer/pfgmpp)",
)
