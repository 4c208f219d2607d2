"""What every framework's model offers to the sampler."""

from __future__ import annotations

import math
from abc import ABC
from abc import abstractmethod
from collections.abc import Sequence
from contextlib import AbstractContextManager
from contextlib import nullcontext

import torch
from torch import Tensor

from lambda_search.diffusion.grid import Grid
from lambda_search.diffusion.noise import normal
from lambda_search.diffusion.samplers import Prediction
from lambda_search.errors import UsageError
from lambda_search.setting import SamplerOptions

__all__ = ["Model", "refuse_options"]

_DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}


class Model(ABC):
    """A pretrained network on a device.

    Arguments:
        framework: its registered name.
        sha256: of the weights, hexadecimal.
        definition: SHA-256 of the configuration that the weights are run with.
        shape: (c, h, w) of the state that is sampled: images, or latents.
        device: where it computes.
        classes: how many labels (or prompts) samples are drawn from; None: unconditional.
        null_label: the label of the pass without a condition, where classifier-free guidance is
            possible.
    """

    samplers: tuple[str, ...] = ()
    dtype = torch.float32
    """Of the state; the network computes in float32 or less."""

    def __init__(
        self,
        framework: str,
        sha256: str,
        definition: str,
        shape: tuple[int, int, int],
        device: torch.device,
        *,
        classes: int | None = None,
        null_label: int | None = None,
    ) -> None:
        self.framework = framework
        self.sha256 = sha256
        self.definition = definition
        self.shape = shape
        self.device = device
        self.classes = classes
        self.null_label = null_label

    @abstractmethod
    def resolve(self, sampler: str, steps: int, options: SamplerOptions) -> SamplerOptions:
        """`options` with every open field that `sampler` uses set to the authors' own default.

        Raises:
            UsageError: for a sampler or an option that this model cannot do.
        """

    @abstractmethod
    def grid(self, sampler: str, steps: int, options: SamplerOptions) -> Grid:
        """The noise grid for `steps` steps, `options` resolved.

        Raises:
            UsageError: for a step count that the framework's grid cannot have.
        """

    @abstractmethod
    def predict(
        self,
        x: Tensor,
        time: float,
        labels: Tensor | None,
        guidance: float | None,
        options: SamplerOptions,
    ) -> Prediction:
        """The network at state `x` [n, c, h, w] and `time`, guidance included; ε like `x`."""

    def rounded(self, sigma: float) -> float:
        """The noise level nearest to `sigma` that the network knows, where it knows but some."""
        return sigma

    def prior(self, seed: int, indices: Sequence[int]) -> Tensor:
        """x_T of samples `indices` as the framework's own sampler receives it, [n, c, h, w]."""
        return normal(seed, indices, 0, self.shape)

    def start(self, x_T: Tensor, grid: Grid) -> Tensor:
        """The state at the grid's noisiest level, from the prior's x_T."""
        return x_T

    def decode(self, x: Tensor) -> Tensor:
        """Images of final states `x`; pixels are their own images."""
        return x

    def check_decoder(self) -> None:  # noqa: B027  pixels need none
        """Raises UsageError if `decode` needs a decoder that is not there."""

    def autocast(self, precision: str) -> AbstractContextManager[object]:
        """The context in which the network runs at `precision` (fp32, bf16 or fp16)."""
        if precision == "fp32":
            return nullcontext()
        return torch.autocast(self.device.type, dtype=_DTYPES[precision])

    def check_conditions(self, labels: Tensor | None, guidance: float | None) -> None:
        """Raises UsageError for labels or a guidance scale that the network cannot take."""
        if guidance is not None and not (math.isfinite(guidance) and guidance >= 0):
            raise UsageError(f"A guidance scale of {guidance:g} is impossible.", "Take 0 or more.")
        if self.classes is None:
            if labels is not None or guidance is not None:
                raise UsageError("This model is unconditional.", "Leave labels and guidance out.")
            return
        if guidance is not None and self.null_label is None:
            raise UsageError(
                f"A {self.framework} model has no classifier-free guidance.",
                "Leave guidance out.",
            )
        if labels is None:
            return
        most = max(self.classes - 1, self.null_label or 0)
        if labels.dtype.is_floating_point or labels.ndim != 1:
            raise UsageError("Labels must be class indices [n].", "Pass a tensor of integers.")
        if len(labels) and not 0 <= int(labels.min()) <= int(labels.max()) <= most:
            raise UsageError(
                f"Labels lie between {int(labels.min())} and {int(labels.max())}.",
                f"This model has the labels 0 to {most}.",
            )

    def check_sampler(self, sampler: str) -> None:
        """Raises UsageError unless this model can be sampled with `sampler`."""
        if sampler not in self.samplers:
            raise UsageError(
                f"A {self.framework} model cannot be sampled with '{sampler}'.",
                f"Choose one of: {', '.join(self.samplers)}.",
            )


_EVERYWHERE = {"precision", "batch"}


def refuse_options(sampler: str, options: SamplerOptions, *used: str) -> None:
    """Raises UsageError if `options` sets a field that is not among `used`."""
    for name, value in options:
        if value is not None and name not in _EVERYWHERE and name not in used:
            known = ", ".join(sorted({*used, *_EVERYWHERE}))
            raise UsageError(
                f"The sampler '{sampler}' has no option '{name}' here.",
                f"Remove {name}; its options are {known}.",
            )
