"""`extractor: model`: what a study's own network makes of samples, where Inception means nothing.

The network is called once on x = α·x0 + σ·ε, and the activations of one block, averaged over space
or tokens, are the features [n, d] of x0: d is as wide as the block. ε is one tensor for all
samples. So a feature is a function of its sample alone, as any extractor's is: it depends on no
index, batch or worker, real images have it too, and no noise comes into the covariances. The
network is told the null label where it has one, else class 0: what is common to all samples, for
what it is told must not tell them apart. It computes in full precision, whatever samples do.

Samples of pixels go through bytes, as for any extractor, so that references of images are seen
alike. Latents are seen as they are sampled: nothing here encodes images, and their decoder would
stand between the network and what it knows. Such features have references `self:STEPS` alone.
"""

from __future__ import annotations

import math
from contextlib import suppress
from typing import Any
from typing import cast

import torch
from torch import Tensor
from torch import nn

from lambda_search.diffusion.grid import Grid
from lambda_search.diffusion.grid import Level
from lambda_search.errors import UsageError
from lambda_search.errors import printable
from lambda_search.metrics.extractors.base import Extractor
from lambda_search.metrics.extractors.base import NetworkExtractor
from lambda_search.metrics.extractors.base import pinned
from lambda_search.metrics.preprocessing import Preprocessing
from lambda_search.models.base import Model
from lambda_search.models.options import sampling_of
from lambda_search.models.running import unrecorded
from lambda_search.setting import OWN
from lambda_search.setting import OWN_NETWORK
from lambda_search.setting import SamplerOptions
from lambda_search.setting import Sampling
from lambda_search.setting import own_network

__all__ = ["OwnNetworkExtractor", "blocks_of", "extracted", "reads_states"]

DEFAULT_LEVEL = 0.57
"""σ/α: fairly noisy. Less noise misled in a study of the bundled model made before this code:
Spearman with FID of 500 images .93, .89 and .85 at 0.57, 0.2 and 0.04 (ancestral), .96, .82 and
.89 (DDIM).
"""

_SCHEME = "own-network-1"
_FINE = (1000, 500, 250, 100, 50, 25, 10, 5, 4, 2)
"""Steps of the grid that levels are taken from: the first of them that the model can have."""
_NOISE_SEED = 2**33
"""Of ε: beyond all that studies and models' own samples draw."""
_IMAGES = "images:"
_CHUNK, _PIXELS = 128, 1 << 18
"""States at once, and the pixels of all of them."""
_NO_BLOCKS = (nn.Linear, nn.Embedding, nn.SiLU, nn.Identity)


class OwnNetworkExtractor(NetworkExtractor):
    """A block of a model's network at one noise level.

    Arguments:
        name: as `own_network` reads it.
        model: whose network; it computes where the model is.
        width: d, where it is known already.

    After construction `block` is its name in the network, `level` is where the network is called,
    and `of_states` is whether it reads states (see `extracted`) and not their images.

    Raises:
        UsageError: for a block that the network has not, or a level that it does not know.
    """

    def __init__(self, name: str, model: Model, width: int = 0) -> None:
        network, usual = model.blocks()
        known = blocks_of(network)
        block, ratio = own_network(name) or (None, None)
        self.block = block or usual
        if self.block not in known:
            raise UsageError(
                f"The network of this {model.framework} model has no block "
                f"'{printable(self.block)}'.",
                f"Its blocks: {', '.join(known)}.",
            )
        self._model, self._module = model, known[self.block]
        self._sampling, grid = _finest(model)
        self.level = _nearest(grid, ratio)
        self._noise = model.start(model.prior(_NOISE_SEED, [0]), grid) / grid.sigma[-1]
        self._label = None
        if model.classes is not None:
            self._label = 0 if model.null_label is None else model.null_label
        channels, *size = model.shape
        self.of_states = model.latent or channels not in (1, 3)
        seen = Preprocessing(
            channels=1 if channels == 1 else 3,
            size=(size[0], size[1]),
            mean=(127.5,),
            std=(127.5,),
        )
        if not width:
            with torch.inference_mode():
                width = self._features_of(torch.zeros(1, *model.shape)).shape[1]
        super().__init__(
            OWN_NETWORK,
            lambda images: self._features_of(model.encode(images)),
            seen,
            f"{model.framework} {model.sha256} {model.definition}",
            width,
            model.device,
            layer=f"{_SCHEME} {self.block} {self.level.timestep:.6g} {self.noise:.6g} "
            f"{self._label} {self.of_states}",
        )

    @property
    def noise(self) -> float:
        """σ/α of its level."""
        return self.level.sigma / self.level.alpha

    @property
    def summary(self) -> str:
        """What it measures, for people."""
        return (
            f"{self.dim} features of the block {self.block} of the model's own network, at noise "
            f"{self.noise:.3g}; a distance in the network's own eyes, comparable with no other"
        )

    def check_reference(self, reference: str) -> None:
        """Raises UsageError for images as the reference of features of states."""
        if self.of_states and reference.startswith(_IMAGES):
            raise _only_states()

    def _features(self, images: Tensor) -> Tensor:
        if self.of_states:
            raise _only_states()
        return super()._features(images)

    @torch.inference_mode()
    def seen(self, states: Tensor) -> Tensor:
        """States [n, c, h, w] that `of_states` is true of → float32 [n, d] on the CPU."""
        with pinned():
            return self._features_of(states).cpu()

    def _features_of(self, states: Tensor) -> Tensor:
        """Of few states at once: the network holds many maps of each."""
        fitting = max(1, min(_CHUNK, _PIXELS // math.prod(states.shape[2:])))
        return torch.cat([self._of_some(part) for part in torch.split(states, fitting)])

    def _of_some(self, states: Tensor) -> Tensor:
        model, level = self._model, self.level
        clean = states.to(model.device, model.dtype)
        x = level.alpha * clean + level.sigma * self._noise.to(model.device, model.dtype)
        labels = None
        if self._label is not None:
            labels = torch.full((len(x),), self._label, device=model.device)
        hook = self._module.register_forward_hook(_stop)
        try:
            with unrecorded(), model.running(SamplerOptions()):
                model.predict(x, level, labels, self._sampling)
        except _Reached as reached:
            found = reached.activations
        else:
            raise self._unfit("is not run")
        finally:
            hook.remove()
        if not isinstance(found, Tensor) or found.ndim not in (3, 4) or len(found) != len(x):
            raise self._unfit("makes neither maps [n, d, h, w] nor tokens [n, t, d]")
        return found.float().mean((2, 3) if found.ndim == 4 else 1)

    def _unfit(self, why: str) -> UsageError:
        return UsageError(
            f"The block '{self.block}' of this {self._model.framework} model {why}.",
            f"Take another one, such as {self._model.blocks()[1]}.",
        )


def extracted(extractor: Extractor, states: Tensor, images: Tensor) -> Tensor:
    """Features [n, d] of final states, of which `images` (uint8) are decoded."""
    if reads_states(extractor):
        return cast(OwnNetworkExtractor, extractor).seen(states)
    return extractor(images)


def reads_states(extractor: Extractor) -> bool:
    """Whether an extractor reads states instead of their images."""
    return isinstance(extractor, OwnNetworkExtractor) and extractor.of_states


def blocks_of(network: nn.Module) -> dict[str, nn.Module]:
    """What of a network can be features: its children, those of containers one by one."""
    found: dict[str, nn.Module] = {}
    for name, child in network.named_children():
        if type(child) in (nn.ModuleList, nn.ModuleDict):  # kinds of these are called themselves
            found |= {f"{name}.{below}": block for below, block in blocks_of(child).items()}
        elif not _embeds(child):
            found[name] = child
    return found


def _embeds(part: nn.Module) -> bool:
    """Whether it is a layer, or a chain of layers, of conditions and not of maps."""
    inner = part if isinstance(part, nn.Sequential) else [part]
    return all(isinstance(one, _NO_BLOCKS) for one in inner)


def _only_states() -> UsageError:
    return UsageError(
        "The extractor model reads this model's states as they are sampled, not images.",
        f"Measure against the model's own samples: reference: {OWN}250.",
    )


class _Reached(Exception):
    """The block has said what it says; the rest of the network is not needed."""

    def __init__(self, activations: object) -> None:
        super().__init__()
        self.activations = activations


def _stop(module: nn.Module, inputs: Any, output: Any) -> None:
    raise _Reached(output[0] if isinstance(output, tuple) else output)


def _finest(model: Model) -> tuple[Sampling, Grid]:
    """The finest grid that the model can have, and how it is sampled then."""
    sampler = "ddim" if "ddim" in model.samplers else model.samplers[0]
    for steps in _FINE:
        with suppress(UsageError):
            sampling = model.resolve(sampling_of(sampler, steps))
            return sampling, model.grid(sampling)
    raise UsageError(
        f"This {model.framework} model has no grid of {_FINE[0]} steps, or of fewer.",
        "Take another extractor.",
    )


def _nearest(grid: Grid, ratio: float | None) -> Level:
    """The level of the grid whose σ/α is nearest to `ratio`, or to the usual one."""
    ratios = [s / a if a else math.inf for s, a in zip(grid.sigma, grid.alpha, strict=True)]
    ends = min(ratios), max(one for one in ratios if one < math.inf)
    if ratio is not None and not ends[0] <= ratio <= ends[1]:
        raise UsageError(
            f"This model knows no noise level {ratio:g}.",
            f"Take one from {ends[0]:.3g} to {ends[1]:.3g}: noise in units of the signal, σ/α.",
        )
    wanted = math.log(ratio or DEFAULT_LEVEL)
    return grid.level(min(range(len(grid)), key=lambda i: abs(math.log(ratios[i]) - wanted)))
