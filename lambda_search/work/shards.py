"""Shards of a process: each is sampled once, whoever asks for it, and kept as a file.

Features are copied to where they are needed as they come, and are not held here. Files are written
by a thread of its own, so that the pool's is free.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from collections.abc import Sequence
from concurrent.futures import Future
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from dataclasses import field
from typing import Protocol
from typing import Self
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from lambda_search.schedule import LambdaSchedule
from lambda_search.work.pool import Pool
from lambda_search.work.recipe import Measure
from lambda_search.work.recipe import Recipe
from lambda_search.work.tasks import SampleShard
from lambda_search.work.tasks import ShardResult

__all__ = ["Answer", "FeatureStore", "Shards", "Wanted"]

Array: TypeAlias = NDArray[np.float32]


class FeatureStore(Protocol):
    """Where shards' features are kept, by family and name."""

    def has(self, family: str, name: str) -> bool: ...

    def get(self, family: str, name: str, shape: tuple[int, int]) -> Array | None: ...

    def put(self, family: str, name: str, features: Array) -> None: ...

    def drop(self, family: str) -> None: ...


@dataclass(frozen=True)
class Wanted:
    """A shard's features by one measure, and who takes them.

    Arguments:
        name: the shard's, for this measure.
        measure: whose features.
        take: copies the features [B, d], or what it needs of them, and returns its copy.
    """

    name: str
    measure: Measure
    take: Callable[[Array], Array]


@dataclass
class Answer:
    """What becomes of a request.

    Arguments:
        coming: one for each that is sampled; done when it was taken.
        kept: those that lie in a file.
        sampled: whether this request had the shard sampled.
    """

    coming: list[Future[None]]
    kept: list[Wanted]
    sampled: bool


@dataclass(eq=False)
class _Shard:
    """A shard that is under way, by one measure.

    Arguments:
        waiting: who takes its features, and on whose behalf.
        computed: the pool's promise, once it is asked.
    """

    waiting: list[tuple[Wanted, Future[None], object]] = field(default_factory=list)
    computed: Future[ShardResult] | None = None


class Shards:
    """What is under way in this process, and what is kept; one for all its studies.

    Used as a context manager: at the end all that arrived is written.

    Arguments:
        pool: who samples.
        files: where features are kept.
    """

    def __init__(self, pool: Pool, files: FeatureStore) -> None:
        self.pool = pool
        self._files = files
        self._lock = threading.Lock()
        self._under_way: dict[str, _Shard] = {}
        self._beside = ThreadPoolExecutor(1, thread_name_prefix="features")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Waits until all that arrived is written."""
        self._beside.shutdown()

    def request(
        self,
        recipe: Recipe,
        schedule: LambdaSchedule,
        start: int,
        wanted: Sequence[Wanted],
        made: Callable[[ShardResult], None],
        kind: str | None = None,
        owner: object = None,
    ) -> Answer:
        """Has the batch at index `start` sampled, unless it is kept or under way.

        Arguments:
            recipe, schedule, start: which images.
            wanted: their features, by one measure or more; what is missing is sampled together.
            made: is told if it was sampled for this request.
            kind: of the device that samples it.
            owner: on whose behalf; `withdraw` takes it.
        """
        answer = Answer([], [], False)
        new = []
        with self._lock:  # a file is there before its shard is no longer under way
            for one in wanted:
                shard = self._under_way.get(one.name)
                if shard is None and self._files.has(recipe.family, one.name):
                    answer.kept.append(one)
                    continue
                if shard is None:
                    shard = self._under_way[one.name] = _Shard()
                    new.append(one)
                future: Future[None] = Future()
                shard.waiting.append((one, future, owner))
                answer.coming.append(future)
        if new:
            answer.sampled = True
            task = SampleShard(recipe, schedule, start, tuple(one.measure for one in new))
            try:
                computed = self.pool.submit(task, kind=kind)
            except BaseException as error:
                self._fail(new, error)
                raise
            with self._lock:
                for one in new:
                    if one.name in self._under_way:
                        self._under_way[one.name].computed = computed
            computed.add_done_callback(
                lambda done: self._put_aside(recipe.family, new, done, made)
            )
        return answer

    def withdraw(self, owner: object) -> None:
        """Takes back what was requested for `owner`; what nobody else waits for is cancelled."""
        with self._lock:
            for shard in self._under_way.values():
                shard.waiting = [one for one in shard.waiting if one[2] is not owner]
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

    def read(self, recipe: Recipe, kept: Sequence[Wanted]) -> list[Wanted]:
        """Hands over what lies in files; returns those that turned out to be damaged."""
        damaged = []
        for one in kept:
            shape = recipe.batch, one.measure.width
            features = self._files.get(recipe.family, one.name, shape)
            if features is None:
                damaged.append(one)
            else:
                one.take(features)
        return damaged

    def forget(self, family: str) -> None:
        """Removes the features of a family that nobody needs any more."""
        self._files.drop(family)

    def _put_aside(
        self,
        family: str,
        wanted: Sequence[Wanted],
        computed: Future[ShardResult],
        made: Callable[[ShardResult], None],
    ) -> None:
        """Copies what was sampled, in the pool's thread, and leaves the rest to the other one."""
        if computed.cancelled():  # nobody waits for it
            return
        try:
            result = computed.result()
            copies = []
            for one, features in zip(wanted, result.features, strict=True):
                copy = one.take(features)
                copies.append(copy if len(copy) == len(features) else np.array(features))
            made(result)
            self._beside.submit(self._keep, family, wanted, copies)
        except BaseException as error:
            self._fail(wanted, error)

    def _keep(self, family: str, wanted: Sequence[Wanted], copies: Sequence[Array]) -> None:
        """Writes what was sampled, and hands it to all others who wait for it."""
        try:
            for one, features in zip(wanted, copies, strict=True):
                self._files.put(family, one.name, features)
        except BaseException as error:
            self._fail(wanted, error)
            return
        for one, features in zip(wanted, copies, strict=True):
            for waiting, future, _ in self._arrived(one.name):
                if waiting is not one:
                    waiting.take(features)
                future.set_result(None)

    def _fail(self, wanted: Sequence[Wanted], error: BaseException) -> None:
        for one in wanted:
            for _, future, _ in self._arrived(one.name):
                future.set_exception(error)

    def _arrived(self, name: str) -> list[tuple[Wanted, Future[None], object]]:
        with self._lock:
            return self._under_way.pop(name, _Shard()).waiting
