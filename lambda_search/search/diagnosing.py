"""A prediction of λ from at most 1,000 images and no extractor but the model's own network.

λ = 1, and two schedules beside it on a few of its images, tell along which line good schedules lie
(`valley`). On a plane along this line a search of four rounds (`kg`) measures the Fréchet distance
of features of the model's own network (`own_network`) to those of a few hundred clean images, and
a prudent choice is made of what it found.

The features are those at little noise where steps add noise, and at much where they add none. On
the bundled model with 10 steps, 512 images a schedule, the distance is lowest along the valley at
so many times the tilt of FID's optimum:

| σ/α | 0.1 | 0.3 | 0.57 | 1.5 |
|---|---|---|---|---|
| ancestral | 1.2 | 0.8 | 0.5 | λ = 1 |
| DDIM | beyond 2 | beyond 2 | beyond 2 | 1.0 |

So no one level serves both: features that see fine detail reward DDIM for sharpening for ever, and
those that do not see nothing of what λ does to ancestral sampling.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from collections.abc import Mapping
from typing import Any

from lambda_search.errors import LambdaSearchError
from lambda_search.errors import UsageError
from lambda_search.metrics.evidence import Score
from lambda_search.metrics.extractors.own_network import OwnNetworkExtractor
from lambda_search.metrics.references.load import IMAGES
from lambda_search.models.base import SCHEDULER
from lambda_search.models.base import Model
from lambda_search.models.options import sampling_of
from lambda_search.records import Diagnosis
from lambda_search.records import Tried
from lambda_search.search.allowance import Block
from lambda_search.search.allowance import Spent
from lambda_search.search.clean import Clean
from lambda_search.search.clean import features_of
from lambda_search.search.clean import own_images
from lambda_search.search.clean import real_images
from lambda_search.search.kg import OPENING
from lambda_search.search.kg import KnowledgeGradient
from lambda_search.search.noise import Measurement
from lambda_search.search.norms import true_norms
from lambda_search.search.ranges import usual_ranges
from lambda_search.search.space import IDENTITY
from lambda_search.search.space import Point
from lambda_search.search.space import Space
from lambda_search.search.tried import Run
from lambda_search.search.tried import Target
from lambda_search.search.valley import Reach
from lambda_search.search.valley import adds_noise
from lambda_search.setting import OWN_NETWORK
from lambda_search.setting import Sampling
from lambda_search.setting import Site
from lambda_search.spec.searching import DEFAULT_TILT

__all__ = ["FEWEST_IMAGES", "MOST_IMAGES", "diagnose"]

MOST_IMAGES, FEWEST_IMAGES = 1000, 500
"""What a diagnosis samples, own samples of the model included, unless told, and at least."""

_BATCH = 32
_REAL, _OWN, _OWN_NORMS = 400, 192, 64
"""Clean images: real ones; own samples; own samples where real ones lack their labels."""
_NOISY, _SMOOTH = (0.1, 1.0), (1.5, 1.5)
"""Where steps add noise, and where they do not: σ/α of the features, and how far rounds after the
first look, in what that one does. Few images see optima everywhere.

These and the next were set on ancestral sampling and DDIM with 10 steps of the bundled model, the
caution by emulated models too whose λ = 1 is best (results/diagnose.md says what was seen of other
steps before)."""
_ACROSS, _ALONG = 2 / 3, 2.0
"""How far the first round looks across the line and along it, in half-widths of usual ranges."""
_WAY, _CAUTION = (0.75, 0.5, 0.25), 0.75
"""Of the way from λ = 1 to the lowest it takes such a share, and of a gain it takes off so many
standard deviations. The lowest point of a surface that few images tell of may lie far out where
nothing is gained, and what lies before it gains nearly as much."""
_BESIDE, _ROUNDS = 2, 3
"""Schedules beside the best so far in rounds after the first, and how many of these there are."""
_EDGE, _ASKED = 0.98, 2
"""What counts as the edge of what is looked at; images that tell of a scheduler's noise."""
_BLOCKS = OPENING + (1 + _BESIDE) * _ROUNDS
"""Schedules of all rounds, λ = 1 in the middle of the first."""


def diagnose(
    model: Model,
    sampler: str,
    steps: int,
    *,
    reference: str | None = None,
    constant: bool = False,
    images: int = MOST_IMAGES,
    seed: int = 0,
    guidance: float | None = None,
    site: Site = "full",
    options: Mapping[str, Any] | None = None,
    say: Callable[[str], None] = lambda line: None,
) -> Diagnosis:
    """How a model's inputs drift in sampling, and the λ(i) to begin with, from 1,000 images.

    Arguments:
        model, sampler, steps, guidance, site, options: as in `sample`.
        reference: `images:PATH`, real images; without any the model's own samples of many steps
            stand for them.
        constant: whether λ is to be one number, k = 0.
        images: to sample at most, own samples of the model included; 1,000 are usual.
        seed: of the noise.
        say: is told what is being done.

    Raises:
        UsageError: for what the model cannot do, and for images that cannot be used.
        Diverged: if λ = 1 makes images that are not finite.
    """
    if images < FEWEST_IMAGES:
        raise UsageError(
            f"{images} images tell too little.", f"Take {FEWEST_IMAGES} or more; 1,000 are usual."
        )
    asked = sampling_of(sampler, steps, guidance, site, options)
    sampling = _in_batches(model, asked, _BATCH)
    level, farthest = _NOISY if adds_noise(model, sampling) else _SMOOTH
    extractor = OwnNetworkExtractor(f"{OWN_NETWORK}@{level}", model)
    clean, known = _clean(model, sampling, extractor, reference, say)
    target = Target.of(features_of(model, extractor, clean.states))
    made = clean.made if known is clean else clean.made + known.made
    n = (images - made - _ASKED) // (_BLOCKS + 1)
    parts = max(-(-n // sampling.options.batch), 2)
    sampling = _in_batches(model, asked, n // parts)
    batch = sampling.options.batch
    say("along which line good schedules lie")
    run = Run(model, sampling, seed, extractor, target, batch * parts)
    length = len(model.grid(sampling))
    reach = _reach(model, sampling, length, constant)
    ridge = run.ridge(reach, batch * (parts // 2))
    say("norms of ε at true noised images")
    indices = range(min(run.n, len(known.states)))
    truth = true_norms(model, sampling, *known.first(len(indices)), seed, indices)
    looked = _Looked(run, reach, ridge, farthest, target.width, seed)
    for number in range(1 + _ROUNDS):
        block = looked.next()
        say(f"round {number}: {run.n} images of each of {len(block.points)} schedules")
        looked.measure(block)
    point, lowest = looked.prudent, looked.lowest
    return Diagnosis(
        model.framework,
        model.sha256,
        sampler,
        length,
        looked.space.schedule(point),
        point.mean,
        point.slope,
        *looked.gain(point),
        looked.space.schedule(lowest),
        looked.is_edge(lowest),
        ridge,
        run.curve(truth),
        looked.tried,
        run.images + made + (_ASKED if sampler == SCHEDULER else 0),
        seed,
        extractor.summary,
        clean.words,
        known.words,
    )


class _Looked:
    """A search of the plane along a line, by blocks of `run`.

    Arguments:
        run: what measures.
        reach: half-widths of usual ranges.
        ridge: how the mean moves with the tilt along the line.
        farthest: how far rounds after the first look, in what that one does.
        width: of the features.
        seed: of the search.
    """

    def __init__(
        self, run: Run, reach: Reach, ridge: float, farthest: float, width: int, seed: int
    ) -> None:
        span = max(reach.steps - 1, 1)
        across, along = reach.mean * (_ACROSS if reach.tilt else 1.0), reach.tilt * _ALONG / span
        slopes = (-along, along) if along else (0.0, 0.0)
        self.space = Space((1 - across, 1 + across), slopes, reach.steps)
        self._limits = across * farthest, along * farthest
        self._ridge = ridge * span
        self._search = KnowledgeGradient(
            self.space,
            width,
            seed=seed,
            count=_BESIDE,
            each=run.n,
            ridge=self._ridge,
            farthest=farthest,
        )
        self._run = run
        self._spent = Spent(0, 0, 0)
        self._points: list[Point] = []
        self._measured: list[Measurement] = []
        self._lost: list[Point] = []

    def next(self) -> Block:
        """What to measure next."""
        if not self._measured:
            return self._search.opening()
        return self._search.next(self._measured, self._spent, self._lost)

    def measure(self, block: Block) -> None:
        """Scores all of `block`; schedules that reach zero are lost as those that diverge."""
        for point in block.points:
            found = self._score(point, block.first)
            if found is None:
                self._lost.append(point)
                continue
            told = found.corrected, found.influence.double().numpy()
            self._points.append(point)
            self._measured.append(self._search.measurement(point, block.first, *told))
        schedules, spent = len({*self._points, *self._lost}), self._spent
        self._spent = Spent(spent.rounds + 1, spent.images + block.images, schedules)

    def _score(self, point: Point, first: int) -> Score | None:
        schedule = self.space.schedule(point)
        try:
            schedule.values(self.space.steps)
        except LambdaSearchError:
            return None
        return self._run.score(schedule, first)

    @property
    def lowest(self) -> Point:
        """Where the distance is lowest, by the model."""
        return self._search.lowest(self._measured, self._lost)

    @property
    def prudent(self) -> Point:
        """Where the gain less some of its doubt is most, on the way from λ = 1 to the lowest.

        λ = 1 where there is none.
        """
        lowest, best, most = self.lowest, IDENTITY, 0.0
        for share in _WAY:
            mean = round(1 + share * (lowest.mean - 1), self.space.digits)
            point = Point(mean, round(share * lowest.slope, 7) + 0.0)
            gain, deviation = self.gain(point)
            if gain - _CAUTION * deviation > most:
                best, most = point, gain - _CAUTION * deviation
        return best

    def is_edge(self, point: Point) -> bool:
        """Whether a schedule lies as far out as is looked."""
        across = abs(point.mean - 1 - self._ridge * point.slope)
        far = zip((across, abs(point.slope)), self._limits, strict=True)
        return any(limit > 0 and off >= _EDGE * limit for off, limit in far)

    @property
    def tried(self) -> tuple[Tried, ...]:
        """What was measured, λ = 1 first, then what was lost."""
        blocks = Counter(self._points)
        lost = [one for one in dict.fromkeys(self._lost) if one not in blocks]
        return tuple(
            Tried(
                self.space.schedule(point),
                point.mean,
                point.slope,
                max(blocks[point], 1) * self._run.n,
                *(self.gain(point) if point in blocks else (None, None)),
            )
            for point in (*blocks, *lost)
        )

    def gain(self, point: Point) -> tuple[float, float]:
        """Of a schedule by the model, and its standard deviation."""
        return self._search.gain(self._measured, point, self._lost)


def _in_batches(model: Model, asked: Sampling, most: int) -> Sampling:
    batch = min(most, asked.options.batch)
    small = asked.options.model_copy(update={"batch": batch})
    return model.resolve(asked.model_copy(update={"options": small}))


def _reach(model: Model, sampling: Sampling, length: int, constant: bool) -> Reach:
    """Half-widths of what studies of such a model look through, where its optima are published.

    Elsewhere those of what a study file leaves open.
    """
    mean, slope = usual_ranges(model.framework, sampling.sampler, length, sampling.site)
    span = length - 1
    low, high = DEFAULT_TILT if slope is None else (span * slope[0], span * slope[1])
    tilt = 0.0 if constant or not span else (high - low) / 2
    return Reach((mean[1] - mean[0]) / 2, tilt, length)


def _clean(
    model: Model,
    sampling: Sampling,
    extractor: OwnNetworkExtractor,
    reference: str | None,
    say: Callable[[str], None],
) -> tuple[Clean, Clean]:
    """The images that features are compared with, and those of the true norms.

    The labels of real images are not known; with others than their own the network would see
    images that it was never trained for. So a model that has labels tells its own samples.
    """
    batch = sampling.options.batch

    def own(n: int) -> Clean:
        say(f"{n} of the model's own samples of many steps")
        return own_images(model, sampling, -(-n // batch) * batch)

    if reference is None:
        both = own(_OWN)
        return both, both
    if not reference.startswith(IMAGES):
        raise UsageError(
            f"{reference} holds no images to look at.",
            f"Name {IMAGES}PATH, or leave it out: the model's own samples of many steps stand for "
            "real images then.",
        )
    if extractor.of_states:
        extractor.check_reference(reference)
    real = real_images(model, reference, _REAL)
    return real, real if model.classes is None else own(_OWN_NORMS)
