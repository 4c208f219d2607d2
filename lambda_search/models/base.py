"""What every framework's model offers to the sampler."""

from __future__ import annotations

from abc import ABC
from abc import abstractmethod
from contextlib import AbstractContextManager
from contextlib import nullcontext

import torch
from torch import Tensor

from lambda_search.diffusion.grid import Grid
from lambda_search.diffusion.samplers import Prediction
from lambda_search.errors import UsageError
from lambda_search.setting import SamplerOptions

__all__ = ["Model"]

_DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}


class Model(ABC):
    """A pretrained network on a device.

    Arguments:
        framework: its registered name.
        sha256: of the weights, hexadecimal.
        definition: SHA-256 of the configuration that the weights are run with.
        shape: (c, h, w) of the state that is sampled: images, or latents.
        device: where it computes.
    """

    samplers: tuple[str, ...] = ()
    conditional = False

    def __init__(
        self,
        framework: str,
        sha256: str,
        definition: str,
        shape: tuple[int, int, int],
        device: torch.device,
    ) -> None:
        self.framework = framework
        self.sha256 = sha256
        self.definition = definition
        self.shape = shape
        self.device = device

    @abstractmethod
    def resolve(self, sampler: str, options: SamplerOptions) -> SamplerOptions:
        """`options` with every open field that `sampler` uses set to the framework's own default.

        Raises:
            UsageError: for a sampler or an option that this model cannot do.
        """

    @abstractmethod
    def grid(self, sampler: str, steps: int, options: SamplerOptions) -> Grid:
        """The noise grid of `steps` steps.

        Raises:
            UsageError: for a step count that the framework's grid cannot have.
        """

    @abstractmethod
    def predict(
        self, x: Tensor, time: float, labels: Tensor | None, guidance: float | None
    ) -> Prediction:
        """The network at state `x` [n, c, h, w] and `time`, guidance included."""

    def decode(self, x: Tensor) -> Tensor:
        """Images of final states `x`; pixels are their own images."""
        return x

    def autocast(self, precision: str) -> AbstractContextManager[object]:
        """The context in which the network runs at `precision` (fp32, bf16 or fp16)."""
        if precision == "fp32":
            return nullcontext()
        return torch.autocast(self.device.type, dtype=_DTYPES[precision])

    def check_conditions(self, labels: object, guidance: float | None) -> None:
        """Raises UsageError if an unconditional model is given labels or guidance."""
        if not self.conditional and (labels is not None or guidance is not None):
            raise UsageError("This model is unconditional.", "Leave labels and guidance out.")

    def check_sampler(self, sampler: str) -> None:
        """Raises UsageError unless this model can be sampled with `sampler`."""
        if sampler not in self.samplers:
            raise UsageError(
                f"A {self.framework} model cannot be sampled with '{sampler}'.",
                f"Choose one of: {', '.join(self.samplers)}.",
            )
