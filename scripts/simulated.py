"""Studies that nobody computes, for benchmarks: written into a store as a driver writes them."""

from __future__ import annotations

import random
from datetime import UTC
from datetime import datetime

from bench_lookup import a_row

from lambda_search.records import Evaluation
from lambda_search.records import Event
from lambda_search.records import Identity
from lambda_search.records import Trial
from lambda_search.schedule import LambdaSchedule
from lambda_search.store.claiming import Claim
from lambda_search.store.queue import Queue
from lambda_search.store.store import Store

__all__ = ["SPEC", "begun", "scored", "searched"]

SPEC = """
name: {name}
model: {{framework: diffusers, checkpoint: "bundled:fashion-mnist"}}
sampler: {{name: ancestral, steps: 4}}
search: {{mean: [0.98, 1.06], slope: [-0.01, 0.01], trials: 3000}}
metric: {{extractor: bundled, reference: "bundled:fashion-mnist"}}
"""


def begun(store: Store, name: str) -> Claim:
    """Queues a study and takes it; its claim."""
    queue = Queue(store)
    queue.submit(name, SPEC.format(name=name))
    claim = queue.claim([name])
    assert claim is not None
    setting = a_row(2, 0).setting
    identity = Identity(0, "cpu", "philox", 1, {"torch": "2"})
    queue.bind(claim.lease, setting, setting.steps, identity)
    return claim


def scored(number: int) -> tuple[Trial, Evaluation]:
    """A trial of a noisy valley that has ended, and its evaluation."""
    chance = random.Random(number)
    mean, slope = chance.uniform(0.98, 1.06), chance.uniform(-0.01, 0.01)
    n = 500 if number % 4 else 2000
    gain = 2.0 - ((mean - 1.02) / 0.02) ** 2 - (slope / 0.01) ** 2 + chance.gauss(0, 0.2)
    gain = gain if number else 0.0
    schedule = LambdaSchedule.from_mean(mean, slope, 4) if number else LambdaSchedule()
    place = (mean, slope) if number else (1.0, 0.0)
    told = {"n": n, "gain": gain, "fid": 20.0 - gain}
    state = "complete" if n == 2000 else "stopped"
    trial = Trial(number, number // 4, schedule, *place, state=state, **told)  # type: ignore[arg-type]
    one = Evaluation(
        trial=number,
        phase="search",
        first=0,
        n=n,
        fid=20.0 - gain,
        corrected=19.0 - gain,
        standard_error=0.3,
        gain=gain,
        raw_gain=gain,
        gain_standard_error=0.2,
        correlation=0.9,
        fingerprint=f"{number}-{n}",
    )
    return trial, one


def searched(store: Store, name: str, trials: int) -> None:
    """A study with so many trials that have ended, which its driver goes on with."""
    claim = begun(store, name)
    found = [scored(number) for number in range(trials)]
    ended, evaluations = [one for one, _ in found], [one for _, one in found]
    store.propose(claim.lease, ended)
    store.close_rung(claim.lease, evaluations, ended)
    now = datetime.now(UTC)
    store.say_all([Event(name, "trial", f"trial {one.number}", now) for one in ended])
