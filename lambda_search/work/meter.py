"""How much was computed for a study."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from dataclasses import field

from lambda_search.work.tasks import ShardResult

__all__ = ["Meter"]


@dataclass
class Meter:
    """What was computed so far; every shard counts once.

    Arguments:
        images: computed for this study.
        reused: images whose features were known, or under way for another study.
        network_seconds, feature_seconds: summed over the workers.
    """

    images: int = 0
    reused: int = 0
    network_seconds: float = 0.0
    feature_seconds: float = 0.0
    _counted: set[str] = field(default_factory=set, repr=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def add(self, shard: str, result: ShardResult) -> None:
        """Counts a computed shard."""
        with self._lock:
            self._counted.add(shard)
            self.images += result.images
            self.network_seconds += result.network_seconds
            self.feature_seconds += result.feature_seconds

    def reuse(self, shard: str, images: int) -> None:
        """Counts a shard that was known, unless it is counted already."""
        with self._lock:
            if shard not in self._counted:
                self._counted.add(shard)
                self.reused += images
