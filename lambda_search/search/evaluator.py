"""Scores of schedules: shards that are known are read, the others are computed.

A shard's name is the SHA-256 of all that its features depend on, so a restarted launch, a higher
rung or a second study computes only what is missing.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import asdict
from dataclasses import dataclass
from dataclasses import field
from importlib.metadata import version
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from lambda_search.diffusion.noise import NOISE_SCHEME
from lambda_search.diffusion.samplers import SAMPLER_REVISION
from lambda_search.metrics.evidence import Score
from lambda_search.schedule import LambdaSchedule
from lambda_search.search.plan import Plan
from lambda_search.search.pool import Pool
from lambda_search.search.tasks import Preview
from lambda_search.search.tasks import SampleShard
from lambda_search.search.tasks import ScoreFeatures
from lambda_search.search.tasks import ShardResult
from lambda_search.setting import fingerprint

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
            self.images += len(result.features)
            self.network_seconds += result.network_seconds
            self.feature_seconds += result.feature_seconds

    def reuse(self, images: int) -> None:
        """Counts a shard that was known."""
        with self._lock:
            self.reused += images


@dataclass(frozen=True)
class Scored:
    """A schedule's score and the features behind it, float32 [n, d]."""

    score: Score
    features: Array


class Evaluator:
    """Turns (schedule, indices) into scores.

    Arguments:
        plan: how images are made and measured.
        pool: who computes.
        files: what is known.
        meter: what to count in.

    `identity` is what the features depend on besides the recipe: versions, hardware, noise.
    """

    def __init__(
        self, plan: Plan, pool: Pool, files: FeatureStore, meter: Meter | None = None
    ) -> None:
        self._recipe = plan.recipe
        self._pool = pool
        self._files = files
        self._counted: set[str] = set()
        self.identity: dict[str, object] = {
            "seed": plan.recipe.seed,
            "device": pool.device_kind,
            "torch": torch.__version__,
            "diffusers": version("diffusers"),
            "noise": NOISE_SCHEME,
            "sampler_revision": SAMPLER_REVISION,
        }
        self._under_way: dict[str, Future[Array]] = {}
        self.meter = meter or Meter()
        told = asdict(plan.recipe) | {"options": plan.recipe.options.model_dump(exclude_none=True)}
        for name in ("checkpoint", "reference", "reference_fingerprint"):
            del told[name]  # the weights' hash is there; scores come later
        self._identity = told | self.identity

    def shard_names(self, schedule: LambdaSchedule, first: int, n: int) -> dict[int, str]:
        """The names of the shards of n images from index `first` on, by start index."""
        batch = self._recipe.options.batch
        identity = self._identity | {"b": schedule.b, "k": schedule.k}
        return {
            start: fingerprint(identity | {"start": start})
            for start in range(first, first + n, batch)
        }

    def name(self, schedule: LambdaSchedule, first: int, n: int) -> str:
        """The name of the evaluation of n images from index `first` on."""
        return fingerprint({"shards": self.shard_names(schedule, first, n), "n": n})

    def scores(self, schedules: Sequence[LambdaSchedule], first: int, n: int) -> list[Scored]:
        """Scores of `schedules` on the n images from index `first` on, in order.

        All their shards are queued at once; each schedule is scored as soon as its images are
        there.
        """
        pending = [self._features(schedule, first, n) for schedule in schedules]
        scoring = []
        for collect in pending:
            features = collect()
            scoring.append(
                (features, self._pool.submit(ScoreFeatures(self._recipe, features), urgent=True))
            )
        return [Scored(future.result(), features) for features, future in scoring]

    def preview(
        self, schedules: Sequence[LambdaSchedule], first: int, count: int
    ) -> list[NDArray[np.uint8]]:
        """Images of each schedule from `first` on, uint8 [count, c, h, w]; at most a batch."""
        futures = [
            self._pool.submit(Preview(self._recipe, schedule, first, count))
            for schedule in schedules
        ]
        return [future.result() for future in futures]

    def _features(self, schedule: LambdaSchedule, first: int, n: int) -> Callable[[], Array]:
        """Queues what is missing; the returned function waits for features [n, d]."""
        parts: list[Future[Array]] = [
            self._shard(schedule, start, name)
            for start, name in self.shard_names(schedule, first, n).items()
        ]
        return lambda: np.concatenate([part.result() for part in parts])[:n]

    def _shard(self, schedule: LambdaSchedule, start: int, name: str) -> Future[Array]:
        under_way = self._under_way.get(name)
        if under_way is not None:
            return under_way
        kept: Future[Array] = Future()
        known = self._files.get(name)
        if known is not None:
            if name not in self._counted:
                self._counted.add(name)
                self.meter.reuse(len(known))
            kept.set_result(known)
            return kept

        def keep(computed: Future[ShardResult]) -> None:
            try:
                result = computed.result()
                self._files.put(name, result.features)
                self._counted.add(name)
                self.meter.add(result)
                kept.set_result(result.features)
            except BaseException as error:
                kept.set_exception(error)
            finally:
                self._under_way.pop(name, None)

        self._under_way[name] = kept
        self._pool.submit(SampleShard(self._recipe, schedule, start)).add_done_callback(keep)
        return kept
