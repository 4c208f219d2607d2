"""The features of several images, as tasks name them: which shards, and where they lie."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from lambda_search.work.features import FeatureFiles
from lambda_search.work.features import Place

__all__ = ["Array", "Lost", "Rows"]

Array: TypeAlias = NDArray[np.float32]


@dataclass(frozen=True)
class Lost:
    """What a task says instead of an answer: these shards' features are gone, or damaged."""

    names: tuple[str, ...]


@dataclass(frozen=True)
class Rows:
    """Features of n images in index order.

    Arguments:
        place, family: where they lie.
        names: of the shards, in order; of the last one perhaps only a part is meant.
        batch: B, images of a shard.
        n: images in all.
        width: d.
    """

    place: Place
    family: str
    names: tuple[str, ...]
    batch: int
    n: int
    width: int

    def read(self, files: FeatureFiles) -> Array | Lost:
        """The features [n, d], shard by shard; damaged ones are removed."""
        found = np.empty((self.n, self.width), np.float32)
        lost = []
        for place, name in enumerate(self.names):
            features = files.get(self.family, name, (self.batch, self.width))
            if features is None:
                lost.append(name)
            else:
                rows = found[place * self.batch : (place + 1) * self.batch]
                rows[:] = features[: len(rows)]
        return Lost(tuple(lost)) if lost else found
