"""A schedule's features, gathered from its shards as they arrive."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial

import numpy as np

from lambda_search.records import Identity
from lambda_search.schedule import LambdaSchedule
from lambda_search.work.halting import Halt
from lambda_search.work.meter import Meter
from lambda_search.work.recipe import Measure
from lambda_search.work.recipe import Recipe
from lambda_search.work.recipe import shard_name
from lambda_search.work.shards import Array
from lambda_search.work.shards import Shards
from lambda_search.work.shards import Wanted
from lambda_search.work.tasks import ShardResult

__all__ = ["Gathering", "Source"]


@dataclass(frozen=True)
class Source:
    """Where a study's features come from.

    Arguments:
        recipe, identity: what they depend on besides schedule and indices.
        shards: what is known and under way.
        meter: what to count in.
        halt: ends the waiting.
    """

    recipe: Recipe
    identity: Identity
    shards: Shards
    meter: Meter
    halt: Halt

    def name(self, schedule: LambdaSchedule, start: int, measure: Measure) -> str:
        """The name of the features of the batch at index `start`."""
        return shard_name(self.recipe, self.identity, schedule, start, measure)

    def gather(
        self, schedule: LambdaSchedule, first: int, n: int, measures: Sequence[Measure]
    ) -> Gathering:
        """Queues what is missing of the n images from index `first` on."""
        return Gathering(self, schedule, first, n, measures)


class Gathering:
    """The features of n images by each of `measures`, [n, d], on their way.

    Arguments as in `Source.gather`. Measures of one extractor share its features. `picture` is a
    PNG of the first images, if they were sampled for this.
    """

    def __init__(
        self,
        source: Source,
        schedule: LambdaSchedule,
        first: int,
        n: int,
        measures: Sequence[Measure],
    ) -> None:
        self.picture: bytes | None = None
        self._source = source
        self._schedule = schedule
        self._coming: list[Future[None]] = []
        self._kept: list[tuple[int, list[Wanted]]] = []
        self._places = [measure.extractor_fingerprint for measure in measures]
        extractors = {measure.extractor_fingerprint: measure for measure in measures}
        self._arrays = {
            name: np.empty((n, measure.width), np.float32) for name, measure in extractors.items()
        }
        for start in range(first, first + n, source.recipe.batch):
            wanted = [
                Wanted(
                    source.name(schedule, start, measure),
                    measure,
                    self._taker(name, start - first),
                )
                for name, measure in extractors.items()
            ]
            self._request(start, wanted)

    def wait(self) -> list[Array]:
        """The features by each measure, in index order.

        Raises:
            Diverged: if they are not finite; and whatever else a worker's task raised.
        """
        try:
            for start, kept in self._kept:  # grows where a file turns out to be damaged
                damaged = self._source.shards.read(self._source.recipe, kept)
                if damaged:
                    self._request(start, damaged)
            for future in self._coming:
                self._source.halt.result(future)
        finally:  # these refer to the arrays, which would live until they are collected
            self._kept.clear()
            self._coming.clear()
        return [self._arrays[name] for name in self._places]

    def _request(self, start: int, wanted: list[Wanted]) -> None:
        source, shard = self._source, wanted[0].name
        made, device = partial(self._made, shard), source.identity.device
        answer = source.shards.request(
            source.recipe, self._schedule, start, wanted, made, device, source.halt
        )
        self._coming.extend(answer.coming)
        if answer.kept:
            self._kept.append((start, answer.kept))
        if not answer.sampled:
            source.meter.reuse(shard, source.recipe.batch)

    def _made(self, shard: str, result: ShardResult) -> None:
        self._source.meter.add(shard, result)
        self.picture = self.picture or result.picture

    def _taker(self, extractor: str, row: int) -> Callable[[Array], Array]:
        """Copies a shard's features to where they belong, from `row` on."""

        def take(features: Array) -> Array:
            rows = self._arrays[extractor][row : row + len(features)]
            rows[:] = features[: len(rows)]
            return rows

        return take
