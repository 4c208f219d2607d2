"""What a service counts, for Prometheus."""

from __future__ import annotations

from prometheus_client import CollectorRegistry
from prometheus_client import Counter
from prometheus_client import Gauge
from prometheus_client import Histogram
from prometheus_client import ProcessCollector
from prometheus_client import generate_latest

from lambda_search.errors import LambdaSearchError
from lambda_search.records import Study
from lambda_search.spec import stored_spec
from lambda_search.store.store import Store

__all__ = ["Metrics"]

_STATES = ("queued", "running", "done", "failed", "stopped")
_MOST_RUNNING = 1000
_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)


class Metrics:
    """The counts of one service."""

    def __init__(self) -> None:
        registry = self._registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        self.requests = Counter(
            "lambda_search_requests",
            "Requests that were answered.",
            ("method", "route", "status"),
            registry=registry,
        )
        self.seconds = Histogram(
            "lambda_search_request_seconds",
            "Time to the end of an answer.",
            ("route",),
            buckets=_BUCKETS,
            registry=registry,
        )
        self.lookups = Counter(
            "lambda_search_lookups",
            "Lookups of the best schedule: kept from before, found, or none.",
            ("answer",),
            registry=registry,
        )
        self.errors = Counter(
            "lambda_search_errors", "Answers with a status of 500 or more.", registry=registry
        )
        self.streams = Gauge(
            "lambda_search_streams", "Event streams that are open.", registry=registry
        )
        self._up = Gauge("lambda_search_store_up", "Whether the store answers.", registry=registry)
        self._studies = Gauge(
            "lambda_search_studies", "Studies by state.", ("state",), registry=registry
        )
        self._driven = Gauge(
            "lambda_search_driven_studies",
            "Studies that a driver is at work on.",
            registry=registry,
        )
        self._images = Gauge(
            "lambda_search_images_per_second", "Images that all drivers make.", registry=registry
        )
        self._shards = Gauge(
            "lambda_search_shards_per_second", "Shards that all drivers make.", registry=registry
        )
        for answer in ("kept", "found", "none"):
            self.lookups.labels(answer)

    def text(self, store: Store | None) -> bytes:
        """All of them; what the store knows is asked now, unless it is away (None)."""
        self._up.set(0 if store is None or not self._asked(store) else 1)
        return generate_latest(self._registry)

    def _asked(self, store: Store) -> bool:
        try:
            states = store.states()
            running, _ = store.studies_page(_MOST_RUNNING, states=("running",))
            alive = store.driven()
        except LambdaSearchError:
            return False
        driven = [study for study in running if study.id in alive]
        for state in _STATES:
            self._studies.labels(state).set(states.get(state, 0))
        speeds = [(_speed(study), _batch(study)) for study in driven]
        self._driven.set(len(driven))
        self._images.set(sum(speed for speed, _ in speeds))
        self._shards.set(sum(speed / batch for speed, batch in speeds))
        return True


def _speed(study: Study) -> float:
    return 0.0 if study.progress is None else study.progress.images_per_second


def _batch(study: Study) -> int:
    """Images of a shard."""
    if study.setting is not None:
        return study.setting.options.batch
    spec = stored_spec(study.spec)
    return 1 if spec is None else spec.sampler.batch
