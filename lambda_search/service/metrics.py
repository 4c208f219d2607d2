"""What a service counts, for Prometheus."""

from __future__ import annotations

from collections import Counter as Tally
from collections.abc import Callable
from collections.abc import Sequence
from dataclasses import dataclass

from prometheus_client import CollectorRegistry
from prometheus_client import Counter
from prometheus_client import Gauge
from prometheus_client import Histogram
from prometheus_client import ProcessCollector
from prometheus_client import generate_latest
from prometheus_client.core import CounterMetricFamily
from prometheus_client.registry import Collector

from lambda_search.errors import LambdaSearchError
from lambda_search.records import Progress
from lambda_search.records import Study
from lambda_search.spec import stored_spec
from lambda_search.store.store import Store

__all__ = ["Metrics"]

_STATES = ("queued", "running", "done", "failed", "stopped")
_MOST_RUNNING = 1000
_MOST_STUDIES = 200
_MOST_PLACES = 1000
"""Studies and hosts with numbers of their own: time series that nobody removes."""
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
        for answer in ("kept", "found", "none"):
            self.lookups.labels(answer)

    def text(self, store: Store | None) -> bytes:
        """All of them; what the store knows is asked now, and left out while it is away (None)."""
        told = b"" if store is None else _of_store(store)
        self._up.set(1 if told else 0)
        return generate_latest(self._registry) + told


def _of_store(store: Store) -> bytes:
    """What a store knows; nothing if it is away."""
    try:
        states, alive = store.states(), store.driven()
        running, _ = store.studies_page(_MOST_RUNNING, states=("running",))
    except LambdaSearchError:
        return b""
    registry = CollectorRegistry()

    def gauge(name: str, words: str, labels: tuple[str, ...] = ()) -> Gauge:
        return Gauge(f"lambda_search_{name}", words, labels, registry=registry)

    studies = gauge("studies", "Studies by state.", ("state",))
    for state in _STATES:
        studies.labels(state).set(states.get(state, 0))
    driven = [study for study in running if study.id in alive]
    speeds = [(_speed(study), _batch(study)) for study in driven]
    gauge("driven_studies", "Studies that a driver is at work on.").set(len(driven))
    images = gauge("images_per_second", "Images that all drivers make.")
    images.set(sum(speed for speed, _ in speeds))
    shards = gauge("shards_per_second", "Shards that all drivers make.")
    shards.set(sum(speed / batch for speed, batch in speeds))
    workers = gauge("workers", "Workers that are up, of all drivers.", ("node", "kind"))
    for (node, kind), count in _workers(driven).most_common(_MOST_PLACES):
        workers.labels(node, kind).set(count)
    _by_study(driven, gauge, registry)
    return generate_latest(registry)


@dataclass(frozen=True, eq=False)
class _Told(Collector):
    """Counts that are kept elsewhere; those of a registry say that they begin now."""

    families: Sequence[CounterMetricFamily]

    def collect(self) -> Sequence[CounterMetricFamily]:
        return self.families


def _by_study(
    driven: Sequence[Study], gauge: Callable[..., Gauge], registry: CollectorRegistry
) -> None:
    """What each study that is driven has cost so far; of very many, those that cost the most."""

    def counter(name: str, words: str) -> CounterMetricFamily:
        return CounterMetricFamily(f"lambda_search_study_{name}", words, labels=["study"])

    speed = gauge("study_images_per_second", "Images that are made for a study.", ("study",))
    left = gauge("study_seconds_left", "About how long a study still takes.", ("study",))
    images = counter("images", "Images that were made for a study, by all its drivers.")
    seconds = counter("worker_seconds", "What a study's images took on workers' devices.")
    known = [(one.name, one.progress) for one in driven if one.progress is not None]
    known.sort(key=lambda one: one[1].seconds_in_all, reverse=True)
    for name, progress in known[:_MOST_STUDIES]:
        speed.labels(name).set(progress.images_per_second)
        images.add_metric([name], progress.made_in_all)
        seconds.add_metric([name], progress.seconds_in_all)
        if progress.seconds_left is not None:
            left.labels(name).set(progress.seconds_left)
    registry.register(_Told([images, seconds]))


def _workers(driven: Sequence[Study]) -> Tally[tuple[str, str]]:
    """Workers by host and kind. Each driver's latest word counts: its studies share a pool."""
    latest: dict[str, Progress] = {}
    for study in driven:
        one, before = study.progress, latest.get(study.driver)
        if one is not None and one.places and (before is None or one.at > before.at):
            latest[study.driver] = one
    found: Tally[tuple[str, str]] = Tally()
    for progress in latest.values():
        for host, kind, count in progress.places:
            found[host, kind] += count
    return found


def _speed(study: Study) -> float:
    return 0.0 if study.progress is None else study.progress.images_per_second


def _batch(study: Study) -> int:
    """Images of a shard."""
    if study.setting is not None:
        return study.setting.options.batch
    spec = stored_spec(study.spec)
    return 1 if spec is None else spec.sampler.batch
