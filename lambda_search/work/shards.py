"""Shards of a process: each is sampled once, whoever asks for it, and kept as a file.

Who samples one writes its features to the place where they are kept, and says so. They do not come
to this process, which knows what is there by name.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from dataclasses import field
from typing import Self

from lambda_search.schedule import LambdaSchedule
from lambda_search.work.features import FeatureFiles
from lambda_search.work.features import Place
from lambda_search.work.pool import Pool
from lambda_search.work.recipe import Measure
from lambda_search.work.recipe import Recipe
from lambda_search.work.tasks import SampleShard
from lambda_search.work.tasks import ShardResult

__all__ = ["Answer", "Shards", "Wanted"]


@dataclass(frozen=True)
class Wanted:
    """A shard's features by one measure.

    Arguments:
        name: the shard's, for this measure.
        measure: whose features.
    """

    name: str
    measure: Measure


@dataclass
class Answer:
    """What becomes of a request.

    Arguments:
        coming: one for each that is not kept yet; done when it is.
        sampled: whether this request had the shard sampled.
    """

    coming: list[Future[None]]
    sampled: bool


@dataclass(eq=False)
class _Shard:
    """A shard that is under way, by one measure.

    Arguments:
        waiting: who is to be told, and on whose behalf.
        computed: the pool's promise, once it is asked.
    """

    waiting: list[tuple[Future[None], object]] = field(default_factory=list)
    computed: Future[ShardResult] | None = None


class Shards:
    """What is under way in this process, and what is kept; one for all its studies.

    Used as a context manager: at the end the place where features are kept is left.

    Arguments:
        pool: who samples.
        files: where features are kept; every worker has to see it.
    """

    def __init__(self, pool: Pool, files: FeatureFiles) -> None:
        self.pool = pool
        self._files = files
        self._lock = threading.Lock()
        self._under_way: dict[str, _Shard] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._files.close()

    @property
    def place(self) -> Place:
        """Where features are kept, as tasks are told."""
        with self._lock:
            return self._files.place

    def request(
        self,
        recipe: Recipe,
        schedule: LambdaSchedule,
        start: int,
        wanted: Sequence[Wanted],
        made: Callable[[ShardResult], None],
        kind: str | None = None,
        owner: object = None,
        lost: bool = False,
    ) -> Answer:
        """Has the batch at index `start` sampled, unless it is kept or under way.

        Arguments:
            recipe, schedule, start: which images.
            wanted: their features, by one measure or more; what is missing is sampled together.
            made: is told if it was sampled for this request.
            kind: of the device that samples it.
            owner: on whose behalf; `withdraw` takes it.
            lost: whether somebody did not find them, so that they have to be looked for afresh.
        """
        answer = Answer([], False)
        place, new = self.place, []
        with self._lock:  # a file is there before its shard is no longer under way
            left = [
                one
                for one in wanted
                if one.name in self._under_way
                or not self._files.has(recipe.family, one.name, afresh=lost)
            ]
            for one in left:
                shard = self._under_way.get(one.name)
                if shard is None:
                    shard = self._under_way[one.name] = _Shard()
                    new.append(one)
                future: Future[None] = Future()
                shard.waiting.append((future, owner))
                answer.coming.append(future)
        if new:
            answer.sampled = True
            measures = tuple(one.measure for one in new)
            names = tuple(one.name for one in new)
            task = SampleShard(recipe, schedule, start, measures, place, names)
            try:
                computed = self.pool.submit(task, kind=kind)
            except BaseException as error:
                self._fail(names, error)
                raise
            with self._lock:
                for name in names:
                    if name in self._under_way:
                        self._under_way[name].computed = computed
            computed.add_done_callback(lambda done: self._tell(recipe.family, names, done, made))
        return answer

    def withdraw(self, owner: object) -> None:
        """Takes back what was requested for `owner`; what nobody else waits for is cancelled."""
        with self._lock:
            for shard in self._under_way.values():
                shard.waiting = [one for one in shard.waiting if one[1] is not owner]
            wanted = {shard.computed for shard in self._under_way.values() if shard.waiting}
            idle = {shard.computed for shard in self._under_way.values()} - wanted - {None}
            self._under_way = {  # who asks for one of these from now on has it sampled anew
                name: shard
                for name, shard in self._under_way.items()
                if shard.computed not in idle
            }
        for computed in idle:
            if computed is not None:
                computed.cancel()

    def forget(self, family: str) -> None:
        """Removes the features of a family that nobody needs any more."""
        self._files.drop(family)

    def _tell(
        self,
        family: str,
        names: Sequence[str],
        computed: Future[ShardResult],
        made: Callable[[ShardResult], None],
    ) -> None:
        """Tells all who wait for them that features are kept."""
        if computed.cancelled():  # nobody waits for it
            return
        try:
            made(computed.result())
        except BaseException as error:
            self._fail(names, error)
            return
        for name in names:
            self._files.note(family, name)
            for future, _ in self._arrived(name):
                future.set_result(None)

    def _fail(self, names: Sequence[str], error: BaseException) -> None:
        for name in names:
            for future, _ in self._arrived(name):
                future.set_exception(error)

    def _arrived(self, name: str) -> list[tuple[Future[None], object]]:
        with self._lock:
            return self._under_way.pop(name, _Shard()).waiting
