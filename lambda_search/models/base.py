"""What every framework's model offers to the sampler."""

from __future__ import annotations

from abc import ABC
from abc import abstractmethod
from collections.abc import Callable
from collections.abc import Collection
from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch import nn

from lambda_search.diffusion.grid import Grid
from lambda_search.diffusion.grid import Level
from lambda_search.diffusion.noise import normal
from lambda_search.diffusion.samplers import Observer
from lambda_search.diffusion.samplers import Prediction
from lambda_search.errors import UsageError
from lambda_search.models.running import running
from lambda_search.schedule import LambdaSchedule

if TYPE_CHECKING:
    from lambda_search.setting import SamplerOptions
    from lambda_search.setting import Sampling

__all__ = ["ON_SIGMA", "SCHEDULER", "Model", "check_sampler", "check_site"]

SCHEDULER = "scheduler"
"""The sampler that is a library's own scheduler, told λ from outside."""
ON_SIGMA = ("euler", "heun")
"""Samplers that walk σ in variance-exploding coordinates (`diffusion/ode`)."""

_CORNER = 8


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
    latent: bool = False
    """Whether states are latents, of which `decode` makes images and nothing makes them back."""
    revision: str | None = None
    """The commit on the hub that it was fetched at; None where it was not."""

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

    def resolve(self, sampling: Sampling) -> Sampling:
        """`sampling` with every open option that its sampler uses set to the authors' own default.

        Samplings of equal effect resolve to one and the same, and `steps` becomes the real number
        of them wherever asking for that number gives the same grid. Resolving twice changes
        nothing.

        Raises:
            UsageError: for what this model cannot do: a sampler, an option, a site, a guidance
                scale, or a step count that the framework's grid cannot have.
        """
        check_sampler(self.framework, self.samplers, sampling.sampler)
        check_site(sampling)
        self.check_conditions(None, sampling.guidance)
        resolved = sampling.model_copy(update={"options": self.filled(sampling)})
        return self.spelled(resolved, self.grid(resolved))

    @abstractmethod
    def filled(self, sampling: Sampling) -> SamplerOptions:
        """The options of `sampling`, every open one that its sampler uses set to its default.

        Raises:
            UsageError: for an option that this model cannot do.
        """

    def spelled(self, sampling: Sampling, grid: Grid) -> Sampling:
        """The one spelling of all that have the effect of `sampling`.

        Arguments:
            sampling: its options filled.
            grid: its grid.
        """
        return sampling

    @abstractmethod
    def grid(self, sampling: Sampling) -> Grid:
        """The noise grid of `sampling`, its options filled.

        Raises:
            UsageError: for a step count that the framework's grid cannot have.
        """

    @abstractmethod
    def predict(
        self, x: Tensor, level: Level, labels: Tensor | None, sampling: Sampling
    ) -> Prediction:
        """The network at state `x` [n, c, h, w], guidance included; ε like `x`.

        Arguments:
            x: the state, on the model's device.
            level: where it is.
            labels: int64 [n] of a conditional model, else None.
            sampling: resolved; its guidance and classifier_scale matter here.
        """

    def rounded(self, sigma: float) -> float:
        """The noise level nearest to `sigma` that the network knows, where it knows but some."""
        return sigma

    def scheduled(
        self,
        sampling: Sampling,
        schedule: LambdaSchedule,
        draw: Callable[[int], Tensor],
        labels: Tensor | None,
        observe: Observer,
        watch: Callable[[], AbstractContextManager[object]],
    ) -> Tensor:
        """The states after the last step of one batch with the sampler `scheduler`.

        Arguments as `sampling.sample_batch` has them; for models that have this sampler.
        """
        raise NotImplementedError

    def prior(self, seed: int, indices: Sequence[int]) -> Tensor:
        """x_T of samples `indices` as the framework's own sampler receives it, [n, c, h, w]."""
        return normal(seed, indices, 0, self.shape)

    def noise(self, seed: int, indices: Sequence[int]) -> Tensor:
        """ε of x = α·x0 + σ·ε as in training, that of the prior's x_T, [n, c, h, w]."""
        return self.prior(seed, indices)

    def start(self, x_T: Tensor, grid: Grid) -> Tensor:
        """The state at the grid's noisiest level, from the prior's x_T."""
        return x_T

    def decode(self, x: Tensor) -> Tensor:
        """Images of final states `x`; pixels are their own images."""
        return x

    def encode(self, images: Tensor) -> Tensor:
        """The states whose images are `images` in [−1, 1], where these are no latents."""
        return images

    def blocks(self) -> tuple[nn.Module, str]:
        """The network whose blocks `extractor: model` can see with, and the usual one's name.

        Raises:
            UsageError: if the framework does not say it.
        """
        raise UsageError(
            f"The framework {self.framework} does not say which blocks its network has.",
            "Take another extractor than the model.",
        )

    def image_shape(self) -> tuple[int, int, int] | None:
        """(c, h, w) of the images that `decode` makes; None where it cannot.

        It looks at a corner: decoders are convolutional.
        """
        try:
            self.check_decoder()
        except UsageError:
            return None
        c, h, w = self.shape
        corner = torch.zeros(1, c, min(h, _CORNER), min(w, _CORNER), device=self.device)
        _, channels, height, width = self.decode(corner.to(self.dtype)).shape
        return channels, height * h // corner.shape[2], width * w // corner.shape[3]

    def check_decoder(self) -> None:  # noqa: B027  pixels need none
        """Raises UsageError if `decode` needs a decoder that is not there."""

    def running(self, options: SamplerOptions) -> AbstractContextManager[None]:
        """The context in which the network runs as `options` have it."""
        return running(self.device, options.precision, options.kernels == "compiled")

    def check_conditions(self, labels: Tensor | None, guidance: float | None) -> None:
        """Raises UsageError for labels or a guidance scale that the network cannot take."""
        if guidance is not None and guidance < 0:
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


def check_sampler(framework: str, samplers: Collection[str], sampler: str) -> None:
    """Raises UsageError unless models of `framework`, which have `samplers`, have `sampler`."""
    if sampler not in samplers:
        raise UsageError(
            f"A {framework} model cannot be sampled with '{sampler}'.",
            f"Choose one of: {', '.join(samplers)}.",
        )


def check_site(sampling: Sampling) -> None:
    """Raises UsageError unless λ can act at the site of `sampling`."""
    if sampling.site == "x0_only" and sampling.sampler in (*ON_SIGMA, SCHEDULER):
        raise UsageError(
            f"The sampler '{sampling.sampler}' has no site x0_only.",
            "Use full, or the sampler ddim.",
        )
