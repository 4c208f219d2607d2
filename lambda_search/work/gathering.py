"""A schedule's features, gathered from its shards as they are kept; and tasks that read them."""

from __future__ import annotations

from collections.abc import Collection
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial
from math import ceil
from typing import Generic
from typing import TypeVar

from lambda_search.errors import LambdaSearchError
from lambda_search.records import Identity
from lambda_search.schedule import LambdaSchedule
from lambda_search.work.halting import Halt
from lambda_search.work.meter import Meter
from lambda_search.work.recipe import Measure
from lambda_search.work.recipe import Recipe
from lambda_search.work.recipe import shard_name
from lambda_search.work.rows import Lost
from lambda_search.work.rows import Rows
from lambda_search.work.shards import Shards
from lambda_search.work.shards import Wanted
from lambda_search.work.tasks import ShardResult
from lambda_search.work.tasks import Task

__all__ = ["Gathering", "Reading", "Source"]

T = TypeVar("T")

_TIMES_LOST = 3
"""After which what is lost again and again is no accident."""


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

    def submit(self, task: Task[T], urgent: bool = False) -> Future[T]:
        """Queues a task on the kind of device that makes the features."""
        return self.shards.pool.submit(task, urgent, self.identity.device)


class Gathering:
    """The features of n images by each of `measures`, on their way to where they are kept.

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
        self._n = n
        self._coming: list[Future[None]] = []
        extractors = {measure.extractor_fingerprint: measure for measure in measures}
        self._shards = {
            start: [
                Wanted(source.name(schedule, start, measure), measure)
                for measure in extractors.values()
            ]
            for start in range(first, first + n, source.recipe.batch)
        }
        for start, wanted in self._shards.items():
            self._request(start, wanted)

    def wait(self) -> None:
        """Returns when all of them are kept.

        Raises:
            Diverged: if they are not finite; and whatever else a worker's task raised.
        """
        try:
            for future in self._coming:
                self._source.halt.result(future)
        finally:
            self._coming.clear()

    def rows(self, measure: Measure, n: int | None = None) -> Rows:
        """The features by one measure, of the first n images unless of all, as tasks name them."""
        n, recipe, extractor = n or self._n, self._source.recipe, measure.extractor_fingerprint
        names = [
            one.name
            for wanted in self._shards.values()
            for one in wanted
            if one.measure.extractor_fingerprint == extractor
        ]
        return Rows(
            self._source.shards.place,
            recipe.family,
            tuple(names[: ceil(n / recipe.batch)]),
            recipe.batch,
            n,
            measure.width,
        )

    def recover(self, names: Collection[str]) -> None:
        """Has those shards of these that a task did not find sampled again; waits for them.

        Raises:
            As `wait`.
        """
        for start, wanted in self._shards.items():
            lost = [one for one in wanted if one.name in names]
            if lost:
                self._request(start, lost, lost=True)
        self.wait()

    def _request(self, start: int, wanted: list[Wanted], lost: bool = False) -> None:
        source, shard = self._source, wanted[0].name
        answer = source.shards.request(
            source.recipe,
            self._schedule,
            start,
            wanted,
            partial(self._made, shard),
            source.identity.device,
            source.halt,
            lost,
        )
        self._coming.extend(answer.coming)
        if not answer.sampled:
            source.meter.reuse(shard, source.recipe.batch)

    def _made(self, shard: str, result: ShardResult) -> None:
        self._source.meter.add(shard, result)
        self.picture = self.picture or result.picture


class Reading(Generic[T]):
    """An urgent task that reads gathered features, on its way.

    Arguments:
        source: where they come from.
        task: reads them; it may find that some are lost.
        gathered: all that it reads.
    """

    def __init__(
        self, source: Source, task: Task[T | Lost], gathered: Sequence[Gathering]
    ) -> None:
        self._source = source
        self._task = task
        self._gathered = gathered
        self._future = source.submit(task, urgent=True)

    def result(self) -> T:
        """Its answer; features that it finds lost are sampled again before it is sent once more.

        Raises:
            LambdaSearchError: if they are lost again and again; and whatever it raises itself.
        """
        for _ in range(_TIMES_LOST):
            found = self._source.halt.result(self._future)
            if not isinstance(found, Lost):
                return found
            for one in self._gathered:
                one.recover(found.names)
            self._future = self._source.submit(self._task, urgent=True)
        raise LambdaSearchError(
            f"Features at {self._source.shards.place.url} are lost as soon as they are written.",
            "Name a place with --features that all hosts see alike, and that keeps what it has.",
        )
