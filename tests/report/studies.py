"""Studies of a simulated valley, written into a store as their driver would, without a model."""

import random
import struct
import zlib
from datetime import UTC
from datetime import datetime
from hashlib import sha256
from math import exp
from math import sqrt

from lambda_search.events import Events
from lambda_search.records import Candidate
from lambda_search.records import Evaluation
from lambda_search.records import Event
from lambda_search.records import Figures
from lambda_search.records import Identity
from lambda_search.records import Image
from lambda_search.records import Interval
from lambda_search.records import Origin
from lambda_search.records import Provenance
from lambda_search.records import Row
from lambda_search.records import Trial
from lambda_search.schedule import LambdaSchedule
from lambda_search.setting import Setting
from lambda_search.spec import parse_specs
from lambda_search.store.queue import Queue

STUDY = """
name: {name}
model: {{framework: diffusers, checkpoint: "path/to/pipeline", name: {model}}}
sampler: {{name: ancestral, steps: {steps}}}
search: {{mean: {mean}, slope: {slope}, trials: {trials}}}
metric: {{name: fid, extractor: bundled, reference: "images:photos", rungs: [150, 300]}}
confirm: {{top: 2, samples: 2000}}
"""
MEAN, SLOPE = (0.99, 1.06), (-0.009, 0.005)
AT_ONE = 21.6
BEST = 1.03, -0.06
"""Mean and tilt k(T′ − 1) of the valley's lowest point."""


def fid(mean, slope, steps):
    """The FID of a schedule, without noise: a curved valley."""

    def height(mean, tilt):
        across = (mean - BEST[0]) + 0.35 * (tilt - BEST[1])
        return 12 * across / 0.08 * across / 0.08 * 0.08 + ((tilt - BEST[1]) / 0.1) ** 2 * 0.25

    return AT_ONE * exp(height(mean, slope * (steps - 1)) - height(1.0, 0.0))


def simulate(
    store,
    name="valley",
    steps=10,
    trials=16,
    mean=MEAN,
    slope=SLOPE,
    until="row",
    seed=0,
    text=None,
    words="gain confirmed on 2,000 images that the search has not seen",
    model="valley",
    pictures=None,
):
    """A study up to `until`: `queued`, `began`, `search`, or `row`; what was written."""
    spec_text = text or STUDY.format(
        name=name, steps=steps, mean=list(mean), slope=list(slope), trials=trials, model=model
    )
    [spec] = parse_specs(spec_text)
    queue, noise, events = Queue(store), random.Random(seed), Events(name, [store.say])
    queue.submit(name, spec_text.strip())
    events.say("queued", "waits for a driver")
    if until == "queued":
        return None
    claim = queue.claim([name])
    events.say("began", "taken by process 1 on host")
    setting = _setting(steps, model)
    identity = Identity(0, "cpu", "philox", 1, {"torch": "2"})
    study = queue.bind(claim.lease, setting, steps, identity)
    if until == "began":
        return claim
    events.say("search", "searching")
    ended, evaluations = searched(steps, trials, mean, slope, noise)
    store.propose(claim.lease, ended)
    store.close_rung(claim.lease, evaluations, ended)
    now = datetime.now(UTC)
    store.say_all([Event(name, "trial", f"trial {one.number}", now) for one in ended])
    if until == "search":
        return claim
    best = max(ended[1:], key=lambda one: (one.n, one.gain))
    events.say("confirm", f"confirming trial {best.number} and λ = 1 on 2,000 images")
    proven = [_scored(one, 2000, steps, noise, "confirm") for one in (ended[0], best)]
    row = _row(best, proven, setting, name, words, identity)
    plain, scaled = pictures or (png(90), png(200))
    images = [Image("λ = 1", plain), Image(f"λ = {best.schedule}", scaled)]
    store.close_rung(claim.lease, proven)
    row = store.publish(claim.lease, row, images)
    events.say("row", f"row {row.id[:12]}: λ(i) = {row.schedule}, {row.status}")
    events.say("done", row.verdict)
    return study, spec, row


def searched(steps=10, trials=16, mean=MEAN, slope=SLOPE, noise=None):
    """The trials of a search, ended, and their evaluations: half of them go to the last rung."""
    noise = noise or random.Random(0)
    points = [(1.0, 0.0), *_spread(mean, slope, trials - 1)]
    several = [
        Trial(number, number // 4, LambdaSchedule.from_mean(*point, steps), *point)
        for number, point in enumerate(points)
    ]
    first = {one.number: _scored(one, 150, steps, noise) for one in several}
    alive = sorted(several, key=lambda one: -first[one.number].gain)[: trials // 2]
    last = {one.number: _scored(one, 300, steps, noise) for one in [several[0], *alive]}
    ended = [_ended(one, last.get(one.number) or first[one.number]) for one in several]
    return ended, [*first.values(), *last.values()]


def png(grey, width=64, height=32):
    """A plain grey picture."""

    def chunk(kind, data):
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    lines = b"".join(b"\0" + bytes([grey]) * width for _ in range(height))
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        [chunk(b"IHDR", header), chunk(b"IDAT", zlib.compress(lines)), chunk(b"IEND", b"")]
    )


def _setting(steps, model):
    return Setting(
        sampler="ancestral",
        steps=steps,
        model=model,
        weights=sha256(model.encode()).hexdigest(),
        framework="diffusers",
        definition="cd" * 32,
        extractor="bundled@12345678",
        reference="images:photos@9abcdef0",
    )


def _spread(mean, slope, count):
    """The R2 sequence, scaled to the ranges."""
    for i in range(1, count + 1):
        x, y = (0.5 + i * 0.7548776662) % 1, (0.5 + i * 0.5698402910) % 1
        yield (
            round(mean[0] + x * (mean[1] - mean[0]), 5),
            round(slope[0] + y * (slope[1] - slope[0]), 7),
        )


def _scored(trial, n, steps, noise, phase="search"):
    error = 0.0 if trial.number == 0 else 7 / sqrt(n)
    gain = AT_ONE - fid(trial.mean, trial.slope, steps) + noise.gauss(0, 0.6) * error
    gain = 0.0 if trial.number == 0 else gain
    bias = 500 / n
    first = 10**6 if phase == "confirm" else 0
    return Evaluation(
        trial=trial.number,
        phase=phase,
        first=first,
        n=n,
        fid=AT_ONE - gain + bias,
        corrected=AT_ONE - gain,
        standard_error=20 / sqrt(n),
        gain=gain,
        raw_gain=gain,
        gain_standard_error=error,
        correlation=0.9,
        fingerprint=f"{trial.number}-{phase}-{n}",
    )


def _ended(trial, found):
    return Trial(
        **{
            **vars(trial),
            "state": "complete" if found.n == 300 else "stopped",
            "n": found.n,
            "gain": found.gain,
            "fid": found.fid,
        }
    )


def _row(best, proven, setting, name, words, identity):
    at_one, found = proven
    return Row(
        schedule=best.schedule,
        lambdas=best.schedule.values(setting.steps),
        setting=setting,
        status="confirmed",
        verdict=words,
        n=found.n,
        fid=found.fid,
        fid_interval=Interval.around(found.fid, found.standard_error),
        baseline_fid=at_one.fid,
        baseline_interval=Interval.around(at_one.fid, at_one.standard_error),
        gain=found.gain,
        gain_interval=Interval.around(found.gain, found.gain_standard_error, 0.975),
        provenance=Provenance(
            study=name,
            framework="diffusers",
            checkpoint="path/to/pipeline",
            extractor=setting.extractor,
            reference=setting.reference,
            seed=0,
            rungs=(150, 300),
            confirm_indices=(10**6, 10**6 + found.n),
            baseline=Figures(at_one.fid, at_one.corrected),
            candidates=(
                Candidate(
                    trial=best.number,
                    b=best.schedule.b,
                    k=best.schedule.k,
                    fid=found.fid,
                    corrected=found.corrected,
                    gain=found.gain,
                    raw_gain=found.raw_gain,
                    gain_standard_error=found.gain_standard_error,
                    correlation=found.correlation,
                ),
            ),
            trial=best.number,
            identity=identity,
            versions={"torch": "2"},
            preview=f"{name}-preview",
        ),
        origin=Origin("me@host", "lambda-search 0.1.0"),
        created=datetime.now(UTC),
    )
