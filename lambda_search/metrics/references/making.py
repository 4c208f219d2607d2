"""Statistics of images, streamed: never all of them in memory, and gone on with after a stop."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from filelock import FileLock
from numpy.typing import NDArray
from torch import Tensor

from lambda_search.errors import LambdaSearchError
from lambda_search.errors import UsageError
from lambda_search.files import private_folder
from lambda_search.files import sweep
from lambda_search.files import written_whole
from lambda_search.metrics.exact import ExactSum
from lambda_search.metrics.extractors.base import Described
from lambda_search.metrics.extractors.base import Extractor
from lambda_search.metrics.moments import Moments
from lambda_search.metrics.references.images import ImageSet
from lambda_search.metrics.references.statistics import Statistics
from lambda_search.metrics.references.statistics import check_origin
from lambda_search.metrics.references.statistics import read_statistics
from lambda_search.metrics.references.statistics import write_statistics

__all__ = ["KEPT_FEATURES", "PARTIAL", "Watch", "recall", "statistics_of"]

Watch = Callable[[int, int], None]
"""Is told (images done, images in all)."""

PARTIAL = ".partial"
"""Ending of the file in which an unfinished one is kept."""

_SCHEME = b"lambda_search: unfinished moments, 2\n"
_BATCH = 64
_BLOCK = 512
_SAVE_SECONDS = 10.0
KEPT_FEATURES = 2000
"""Of the images, for KID."""


def statistics_of(
    images: ImageSet, extractor: Extractor, kept: Path | None, watch: Watch | None = None
) -> Statistics:
    """What is kept in the file `kept`, or else computed, by one process while others wait.

    An interrupted computation goes on, to the same bits; it loses the images of its last block
    of 512, or of ten seconds.

    Raises:
        UsageError: for images that cannot be read, or whose features are NaN.
        LambdaSearchError: if `kept` cannot be written; nothing half-written is left.
    """
    if kept is None:
        return _measure(images, extractor, None, watch)
    found = recall(kept, extractor)
    if found is not None:
        return found
    try:
        private_folder(kept.parent)
        with FileLock(kept.with_suffix(".lock")):
            found = recall(kept, extractor)
            if found is None:
                partial = kept.with_suffix(PARTIAL)
                sweep(kept)
                sweep(partial)
                found = _measure(images, extractor, partial, watch)
                write_statistics(kept, found)
                partial.unlink(missing_ok=True)
    except OSError as error:
        raise LambdaSearchError(
            f"The reference's moments cannot be kept in {kept.parent}: {error.strerror or error}.",
            "Free some space there, or move the data folder with LAMBDA_SEARCH_HOME.",
        ) from error
    return found


def recall(kept: Path, extractor: Described) -> Statistics | None:
    """What `kept` holds, or None if it is missing, damaged or another extractor's."""
    if not kept.is_file():
        return None
    try:
        found = read_statistics(kept)
        check_origin(found, kept, extractor)
    except LambdaSearchError:
        return None
    return found if found.extractor is not None else None


@dataclass(frozen=True)
class _State:
    """What is known after `moments.n` images; some of their features are kept.

    `order` names the images in their order, which their reference's fingerprint does not: renamed
    ones may come in another.
    """

    order: str
    moments: Moments
    features: NDArray[np.float32]

    def save(self, path: Path) -> None:
        moments = self.moments
        with written_whole(path) as stream:
            np.savez(
                stream,
                order=self.order,
                n=moments.n,
                sums=_parts(moments.sums),
                products=_parts(moments.products),
                centre=moments.centre.numpy(),
                features=self.features,
            )

    @classmethod
    def load(cls, path: Path | None, order: str) -> _State | None:
        """What `path` holds; None if it is missing, damaged, or of images in another order."""
        if path is None or not path.is_file():
            return None
        try:
            with np.load(path, allow_pickle=False) as arrays:
                sums, products = (_whole(arrays[name]) for name in ("sums", "products"))
                centre = torch.from_numpy(arrays["centre"])
                moments = Moments(int(arrays["n"]), sums, products, centre)
                found = cls(str(arrays["order"]), moments, arrays["features"])
        except Exception:  # numpy and zipfile raise many kinds; it is computed again
            return None
        return found if found.order == order else None


def _parts(total: ExactSum) -> NDArray[np.int64]:
    held = total.carried()
    return torch.stack([held.high, held.low]).numpy()


def _whole(parts: NDArray[np.int64]) -> ExactSum:
    high, low = torch.from_numpy(parts)
    return ExactSum.held(high, low)


def _measure(
    images: ImageSet, extractor: Extractor, partial: Path | None, watch: Watch | None
) -> Statistics:
    """Moments about the first block's mean, and evenly spread features."""
    count = len(images.names)
    wanted = set(np.linspace(0, count - 1, min(count, KEPT_FEATURES)).round().astype(int))
    order = hashlib.sha256(_SCHEME + b"".join(images.digests)).hexdigest()
    state = _State.load(partial, order)
    saved = time.monotonic()
    for block in _blocks(images, extractor, 0 if state is None else state.moments.n):
        begin = 0 if state is None else state.moments.n
        here = [row for row in range(len(block)) if begin + row in wanted]
        features = block[here].to(torch.float32).numpy()
        if state is None:
            state = _State(order, Moments.from_features(block, block.mean(0)), features)
        else:
            kept = np.concatenate([state.features, features])
            state = _State(order, state.moments.absorbed(block), kept)
        if watch is not None:
            watch(state.moments.n, count)
        if partial is not None and time.monotonic() - saved > _SAVE_SECONDS:
            state.save(partial)
            saved = time.monotonic()
    assert state is not None
    return Statistics(
        state.moments.mean.numpy(),
        state.moments.cov.numpy(),
        count,
        state.features,
        extractor.fingerprint,
        extractor.name,
        str(images.path),
        images.shape,
    )


def _blocks(images: ImageSet, extractor: Extractor, start: int) -> Iterator[Tensor]:
    """Features from image `start` on, joined to blocks of at least 512, whatever `start` is.

    The last one has two images at least, since moments need two.
    """
    block: list[Tensor] = []
    left = len(images.names) - start
    for part in _features(images, extractor, start):
        block.append(part)
        left -= len(part)
        if sum(map(len, block)) >= _BLOCK and left != 1:
            yield torch.cat(block)
            block = []
    if block:
        yield torch.cat(block)


def _features(images: ImageSet, extractor: Extractor, start: int) -> Iterator[Tensor]:
    """Features of batch after batch, float64 [n, d]."""
    first = start
    for batch in images.batches(_BATCH, start):
        features = extractor(batch).to("cpu", torch.float64)
        if features.shape != (len(batch), extractor.dim):
            raise LambdaSearchError(
                f"The extractor {extractor.name} made {list(features.shape)} of {len(batch)} "
                f"images; it promises features {extractor.dim} wide.",
                "Mend the extractor.",
            )
        bad = (~torch.isfinite(features)).any(1)
        if bad.any():
            name = images.names[first + int(bad.int().argmax())]
            raise UsageError(
                f"The extractor makes NaN or infinity of {name} in {images.path}.",
                "Look at the image; if it is sound, use another extractor.",
            )
        first += len(batch)
        yield features
