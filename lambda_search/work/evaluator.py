"""Scores of schedules: shards that are known are read, the others are computed.

A shard's name is the SHA-256 of all that its features depend on, so a restarted launch, a higher
rung or a second study computes only what is missing.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import asdict
from dataclasses import dataclass
from dataclasses import field
from dataclasses import replace
from importlib.metadata import version
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from lambda_search.diffusion.samplers import SAMPLER_REVISION
from lambda_search.metrics.evidence import Comparison
from lambda_search.metrics.evidence import Score
from lambda_search.metrics.evidence import compare
from lambda_search.schedule import LambdaSchedule
from lambda_search.setting import SEED_SCHEME
from lambda_search.setting import fingerprint
from lambda_search.work.pool import Pool
from lambda_search.work.recipe import Measure
from lambda_search.work.recipe import Recipe
from lambda_search.work.tasks import Preview
from lambda_search.work.tasks import Rehearse
from lambda_search.work.tasks import SampleShard
from lambda_search.work.tasks import ScoreFeatures
from lambda_search.work.tasks import ShardResult

__all__ = ["Evaluator", "FeatureStore", "Meter", "Scored"]

Array = NDArray[np.float32]


class FeatureStore(Protocol):
    """Where shards' features are kept."""

    def get(self, fingerprint: str) -> Array | None: ...

    def put(self, fingerprint: str, features: Array) -> None: ...


@dataclass
class Meter:
    """What was computed so far.

    Arguments:
        images: computed in this process's pool.
        reused: images whose features were already known.
        network_seconds, feature_seconds: summed over the workers.
    """

    images: int = 0
    reused: int = 0
    network_seconds: float = 0.0
    feature_seconds: float = 0.0
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def add(self, result: ShardResult) -> None:
        """Counts a computed shard."""
        with self._lock:
            self.images += result.images
            self.network_seconds += result.network_seconds
            self.feature_seconds += result.feature_seconds

    def reuse(self, images: int) -> None:
        """Counts a shard that was known."""
        with self._lock:
            self.reused += images


@dataclass(frozen=True)
class Scored:
    """A schedule's score and the features behind it.

    Arguments:
        score: of the distance that ranks.
        features: float32 [n, d].
        also: the same for the other distances, on the same images.
    """

    score: Score
    features: Array
    also: tuple[Scored, ...] = ()

    def against(self, baseline: Scored) -> Comparison:
        """The comparison with λ = 1 on the same indices."""
        return compare(self.score, baseline.score, self.features, baseline.features)


class Evaluator:
    """Turns (schedule, indices) into scores.

    Arguments:
        recipe: how images are made and measured.
        pool: who computes.
        files: what is known.
        meter: what to count in.

    `identity` is what the features depend on besides the recipe: versions, hardware, noise.
    """

    def __init__(
        self, recipe: Recipe, pool: Pool, files: FeatureStore, meter: Meter | None = None
    ) -> None:
        self.recipe = recipe
        self._pool = pool
        self._files = files
        self._counted: set[str] = set()
        self.identity: dict[str, object] = {
            "seed": recipe.seed,
            "device": pool.device_kind,
            "torch": torch.__version__,
            "diffusers": version("diffusers"),
            "noise": SEED_SCHEME,
            "sampler_revision": SAMPLER_REVISION,
        }
        self._under_way: dict[str, Future[Array]] = {}
        self.meter = meter or Meter()
        told = asdict(recipe) | {"sampling": recipe.sampling.model_dump(exclude_none=True)}
        for name in ("checkpoint", "measures"):
            del told[name]  # the weights' hash is there; measures come with each name
        self._identity = told | self.identity

    def shard_names(
        self, schedule: LambdaSchedule, first: int, n: int, measure: Measure | None = None
    ) -> dict[int, str]:
        """The names of the shards of n images from index `first` on, by start index.

        A shard has a name for each measure; that of the ranking one unless given.
        """
        batch = self.recipe.batch
        identity = self._identity | {
            "b": schedule.b,
            "k": schedule.k,
            "extractor": (measure or self.recipe.measures[0]).extractor_fingerprint,
        }
        return {
            start: fingerprint(identity | {"start": start})
            for start in range(first, first + n, batch)
        }

    def all_shards(self, schedule: LambdaSchedule, first: int, n: int) -> Iterator[str]:
        """The names of those shards, for every measure."""
        for measure in self.recipe.measures:
            yield from self.shard_names(schedule, first, n, measure).values()

    def name(self, schedule: LambdaSchedule, first: int, n: int) -> str:
        """The name of the evaluation of n images from index `first` on."""
        return fingerprint({"shards": self.shard_names(schedule, first, n), "n": n})

    def prepare(self) -> None:
        """Tries every extractor, and loads or makes every reference.

        Raises:
            UsageError: for one that turns out to be broken, before anything is sampled.
        """
        self._pool.submit(Rehearse(self.recipe)).result()

    def scores(
        self, schedules: Sequence[LambdaSchedule], first: int, n: int, whole: bool = False
    ) -> list[Scored]:
        """Scores of `schedules` on the n images from index `first` on, in order.

        All their shards are queued at once; each schedule is scored as soon as its images are
        there. With `whole`, every measure is scored on them, with FID∞ and KID beside.
        """
        measures = self.recipe.measures if whole else self.recipe.measures[:1]
        pending = [self._features(schedule, first, n, measures) for schedule in schedules]
        scoring = []
        for collect in pending:
            features = collect()
            tasks = [ScoreFeatures(m, f, whole) for m, f in zip(measures, features, strict=True)]
            scoring.append((features, [self._pool.submit(task, urgent=True) for task in tasks]))
        found = []
        for features, futures in scoring:
            ranking, *others = (
                Scored(future.result(), array)
                for future, array in zip(futures, features, strict=True)
            )
            found.append(replace(ranking, also=tuple(others)))
        return found

    def preview(
        self, schedules: Sequence[LambdaSchedule], first: int, count: int
    ) -> list[NDArray[np.uint8]]:
        """Images of each schedule from `first` on, uint8 [count, c, h, w]; at most a batch."""
        futures = [
            self._pool.submit(Preview(self.recipe, schedule, first, count))
            for schedule in schedules
        ]
        return [future.result() for future in futures]

    def _features(
        self, schedule: LambdaSchedule, first: int, n: int, measures: Sequence[Measure]
    ) -> Callable[[], list[Array]]:
        """Queues what is missing; the returned function waits for each measure's [n, d]."""
        extractors = {measure.extractor_fingerprint: measure for measure in measures}
        names = [self.shard_names(schedule, first, n, one) for one in extractors.values()]
        parts = [
            self._shard(schedule, start, [each[start] for each in names], [*extractors.values()])
            for start in names[0]
        ]

        def collect() -> list[Array]:
            columns = zip(*parts, strict=True)
            arrays = [np.concatenate([part.result() for part in column])[:n] for column in columns]
            found = dict(zip(extractors, arrays, strict=True))
            return [found[measure.extractor_fingerprint] for measure in measures]

        return collect

    def _shard(
        self,
        schedule: LambdaSchedule,
        start: int,
        names: Sequence[str],
        measures: Sequence[Measure],
    ) -> list[Future[Array]]:
        """One shard's features by measure; what is missing of it is sampled once."""
        found = [self._known(name) for name in names]
        missing = [place for place, future in enumerate(found) if future is None]
        if not missing:
            if names[0] not in self._counted and names[0] not in self._under_way:
                self._counted.add(names[0])
                self.meter.reuse(self.recipe.batch)
            return [future for future in found if future is not None]
        kept: dict[int, Future[Array]] = {place: Future() for place in missing}

        def keep(computed: Future[ShardResult]) -> None:
            try:
                result = computed.result()
                for place, features in zip(missing, result.features, strict=True):
                    self._files.put(names[place], features)
                self._counted.add(names[0])
                self.meter.add(result)
                for place, features in zip(missing, result.features, strict=True):
                    kept[place].set_result(features)
            except BaseException as error:
                for future in kept.values():
                    if not future.done():
                        future.set_exception(error)
            finally:
                for place in missing:
                    self._under_way.pop(names[place], None)

        for place, future in kept.items():
            self._under_way[names[place]] = future
        wanted = tuple(measures[place] for place in missing)
        task = SampleShard(self.recipe, schedule, start, wanted)
        self._pool.submit(task).add_done_callback(keep)
        return [kept[place] if known is None else known for place, known in enumerate(found)]

    def _known(self, name: str) -> Future[Array] | None:
        """A shard's features that are under way or kept."""
        under_way = self._under_way.get(name)
        if under_way is not None:
            return under_way
        features = self._files.get(name)
        if features is None:
            return None
        kept: Future[Array] = Future()
        kept.set_result(features)
        return kept
