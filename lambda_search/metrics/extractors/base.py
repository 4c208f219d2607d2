"""What a feature extractor is, and one that is a network behind its preprocessing."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from typing import Protocol
from typing import TypeAlias
from typing import cast

import torch
from torch import Tensor

from lambda_search.errors import LambdaSearchError
from lambda_search.errors import UsageError
from lambda_search.metrics.preprocessing import Preprocessing
from lambda_search.setting import fingerprint

__all__ = [
    "Described",
    "Extractor",
    "Factory",
    "Known",
    "NetworkExtractor",
    "Weights",
    "pinned",
]

_CHUNK = 128
_PIXELS = 1 << 24
"""At most so many images at once, and so many pixels on their way; or one image."""


class Described(Protocol):
    """An extractor as far as references need to know it.

    Arguments:
        name: its registered name, or its file's.
        fingerprint: over weights, resize and value range; equal fingerprints, comparable features.
            "" where the weights are not here.
        dim: d, the width of its features; 0 where only running it would tell.
        published: the word by which clean-fid calls statistics of exactly these features
            (`clean`, `legacy_tensorflow` …), or "" where nobody publishes any.
    """

    @property
    def name(self) -> str: ...
    @property
    def fingerprint(self) -> str: ...
    @property
    def dim(self) -> int: ...
    @property
    def published(self) -> str: ...


@dataclass(frozen=True)
class Known:
    """What an extractor's name alone tells of it (see `Described`)."""

    name: str
    fingerprint: str = ""
    dim: int = 0
    published: str = ""


class Extractor(Protocol):
    """Turns images into feature vectors.

    Arguments:
        name, fingerprint, dim, published: as in `Described`, all known.
    """

    name: str
    fingerprint: str
    dim: int
    published: str

    def __call__(self, images: Tensor) -> Tensor:
        """uint8 [n, c, h, w], on any device → float32 [n, d] on the CPU."""
        ...


@dataclass(frozen=True)
class Weights:
    """Where an extractor may take its weights from.

    Arguments:
        path: of the user's own, or None for the published ones.
        fetch: whether published ones may be fetched.
        run: whether what in a file is a program, as TorchScript is, may be run; if not, an
            extractor that is one is only described.
    """

    path: Path | None = None
    fetch: bool = True
    run: bool = True


Factory: TypeAlias = Callable[[torch.device, Weights], Extractor]


class NetworkExtractor:
    """A network behind its preprocessing.

    Arguments:
        name, dim, published: as in `Extractor`.
        network: float32 [n, channels, h, w] → [n, d], on `device`; None: it is only described,
            and cannot be called.
        preprocessing: what it is fed.
        weights: SHA-256 of its weights.
        device: where it computes.
        layer: which of its layers the features are, where its weights do not tell.
    """

    def __init__(
        self,
        name: str,
        network: Callable[[Tensor], Tensor] | None,
        preprocessing: Preprocessing,
        weights: str,
        dim: int,
        device: torch.device,
        published: str = "",
        layer: str | None = None,
    ) -> None:
        self.name = name
        self.dim = dim
        self.published = published
        told = {"weights": weights, "preprocessing": preprocessing.model_dump(mode="json")}
        self.fingerprint = fingerprint(told if layer is None else told | {"layer": layer})
        self.preprocessing = preprocessing
        self._network = network
        self._device = device

    @torch.inference_mode()
    def __call__(self, images: Tensor) -> Tensor:
        with pinned():
            return self._features(images)

    def _features(self, images: Tensor) -> Tensor:
        assert self._network is not None
        if images.ndim != 4 or images.shape[1] not in (1, 3):
            raise UsageError(
                f"The extractor {self.name} reads grey or colour images [n, 1 or 3, h, w], not "
                f"{list(images.shape)}.",
                "Give the model a decoder to images, if these are its latents.",
            )
        parts = []
        fitting = _PIXELS // max(1, self.preprocessing.pixels(*images.shape[2:]))
        for chunk in torch.split(images, min(_CHUNK, max(1, fitting))):
            found = self._network(self.preprocessing(chunk.to(self._device))).float()
            if found.shape != (len(chunk), self.dim):
                raise LambdaSearchError(
                    f"The extractor {self.name} makes {list(found.shape)} of {len(chunk)} images "
                    f"of {list(images.shape[1:])}; [{len(chunk)}, {self.dim}] is needed.",
                    "Use images of the size that it is made for, or another extractor.",
                )
            parts.append(found)
        return torch.cat(parts).cpu()


@contextmanager
def pinned() -> Iterator[None]:
    """Kernels that give one result: no TF32, no autotuning, no TorchScript that warms up."""
    exact = torch.backends.cudnn.flags(
        enabled=True, benchmark=False, deterministic=True, allow_tf32=False
    )
    with exact, cast(Any, torch.jit).optimized_execution(False):
        yield
